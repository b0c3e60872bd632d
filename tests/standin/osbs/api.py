from __future__ import annotations

import functools
import re
import secrets
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from osbs.build.user_params import BuildUserParams
from osbs.exceptions import OsbsCommitNotFound, OsbsException, OsbsValidationException
from osbs.tekton import Openshift, PipelineRun

LABELS = ("name", "com.redhat.component", "version")


def osbsapi(method: Callable[..., Any]) -> Callable[..., Any]:
    """Whatever goes wrong is an OsbsException, with what it was as its cause."""

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except OsbsException:
            raise
        except Exception as error:
            raise OsbsException(cause=error, traceback=error.__traceback__) from error

    return wrapped


@dataclass
class RepoInfo:
    git_uri: str
    git_ref: str
    git_branch: str
    base_image: str
    labels: dict[str, str]
    buildtime_limit: int


def get_repo_info(git_uri: str, git_ref: str, git_branch: str) -> RepoInfo:
    with tempfile.TemporaryDirectory() as folder:
        clone = ["git", "clone", "-q", "-b", git_branch, "--single-branch", git_uri, folder]
        done = subprocess.run(clone, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OsbsException(f"Unable to clone git repo '{git_uri}' branch '{git_branch}'", cause=done.stderr)
        reset = ["git", "-C", folder, "reset", "-q", "--hard", git_ref]
        if subprocess.run(reset, check=False, stderr=subprocess.DEVNULL).returncode:
            raise OsbsCommitNotFound(f"Commit {git_ref} is not reachable in branch {git_branch}")
        text = (Path(folder) / "Dockerfile").read_text()
        container = Path(folder) / "container.yaml"
        settings = yaml.safe_load(container.read_text()) if container.exists() else {}
    labels = dict(re.findall(r'^LABEL (\S+?)="?([^"\n]*)"?$', text, re.MULTILINE))
    return RepoInfo(git_uri, git_ref, git_branch, re.findall(r"^FROM (\S+)", text, re.MULTILINE)[-1], labels,
                    settings.get("buildtime_limit", 0))  # fmt: skip


class OSBS:
    @osbsapi
    def __init__(self, openshift_configuration: Any) -> None:
        conf = self.os_conf = openshift_configuration
        self.os = Openshift(
            conf.get_openshift_base_uri(), conf.get_openshift_oauth_api_uri(), conf.get_username(),
            conf.get_password(), conf.get_verify_ssl(), conf.get_use_auth(), conf.get_oauth2_token(),
            conf.get_namespace(),
        )  # fmt: skip

    def _get_binary_container_pipeline_name(self, user_params: Any) -> str:
        return f"osbs-{secrets.token_hex(4)}"

    def _get_binary_container_pipeline_data(
        self, *, buildtime_limit: Any, user_params: Any, pipeline_run_name: str
    ) -> Any:
        text = Path(self.os_conf.get_pipeline_run_path()).read_text()
        return yaml.safe_load(Template(text).safe_substitute({
            "osbs_buildtime_limit": f"{buildtime_limit}s", "osbs_configmap_name": user_params.reactor_config_map,
            "osbs_namespace": self.os_conf.get_namespace(),
            "osbs_pipeline_run_name": pipeline_run_name, "osbs_user_params_json": user_params.to_json(),
        }))  # fmt: skip

    @osbsapi
    def create_binary_container_build(self, **kwargs: Any) -> Any:
        return self.create_binary_container_pipeline_run(**kwargs)

    @osbsapi
    def create_binary_container_pipeline_run(
        self, git_uri: Any = None, git_ref: Any = None, git_branch: Any = None, component: Any = None,
        flatpak: Any = None, git_commit_depth: Any = None, isolated: Any = None, koji_task_id: Any = None,
        target: Any = None, operator_csv_modifications_url: Any = None, **kwargs: Any,
    ) -> Any:
        needed = {"git_uri": git_uri, "git_ref": git_ref, "git_branch": git_branch}
        if missing := [name for name, value in needed.items() if not value]:
            raise OsbsException(f"required parameter {', '.join(missing)} missing")
        info = get_repo_info(git_uri, git_ref, git_branch)
        # As osbs/api.py does since 2.2: the limits are in no signature, and the default fills the template's time-out.
        default, most = kwargs.get("default_buildtime_limit"), kwargs.get("max_buildtime_limit")
        if info.buildtime_limit > most:
            raise OsbsException(f"Build limit cannot be more than {most} and is set to {info.buildtime_limit}")
        limit = info.buildtime_limit or default
        if any(not info.labels.get(label) for label in LABELS):
            raise OsbsValidationException("required label missing from Dockerfile")
        params = BuildUserParams.make_params(
            build_conf=self.os_conf, component=component or info.labels["com.redhat.component"],
            name_label=info.labels["name"], base_image=info.base_image, isolated=isolated, koji_target=target,
            koji_task_id=koji_task_id, repo_info=info, **kwargs,
        )
        name = self._get_binary_container_pipeline_name(params)
        run = PipelineRun(self.os, name, self._get_binary_container_pipeline_data(
            buildtime_limit=limit, user_params=params, pipeline_run_name=name,
        ))  # fmt: skip
        run.start_pipeline_run()
        return run

    @osbsapi
    def get_build_name(self, build_response: PipelineRun) -> str:
        return build_response.pipeline_run_name

    @osbsapi
    def get_build(self, build_name: str) -> Any:
        return PipelineRun(self.os, build_name).get_info()

    @osbsapi
    def get_build_reason(self, build_name: str) -> Any:
        return PipelineRun(self.os, build_name).condition.get("reason")

    @osbsapi
    def build_has_succeeded(self, build_name: str) -> bool:
        return PipelineRun(self.os, build_name).has_succeeded()

    @osbsapi
    def build_not_finished(self, build_name: str) -> bool:
        return PipelineRun(self.os, build_name).has_not_finished()

    @osbsapi
    def build_was_cancelled(self, build_name: str) -> bool:
        return PipelineRun(self.os, build_name).was_cancelled()

    @osbsapi
    def cancel_build(self, build_name: str) -> Any:
        return PipelineRun(self.os, build_name).cancel_pipeline_run()

    @osbsapi
    def remove_build(self, build_name: str) -> Any:
        return PipelineRun(self.os, build_name).remove_pipeline_run()

    @osbsapi
    def get_build_logs(self, build_name: str, follow: bool = False, wait: bool = False) -> Any:
        return PipelineRun(self.os, build_name).get_logs(follow=follow, wait=wait)

    @osbsapi
    def get_build_error_message(self, build_name: str) -> str:
        return PipelineRun(self.os, build_name).get_error_message()

    @osbsapi
    def get_build_results(self, build_name: str) -> Any:
        return PipelineRun(self.os, build_name).pipeline_results

    @osbsapi
    def get_task_results(self, build_name: str) -> Any:
        return PipelineRun(self.os, build_name).get_task_results()
