from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import yaml

from osbs import utils
from osbs.build.user_params import BuildUserParams
from osbs.exceptions import OsbsException, OsbsValidationException
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

    def _checks_for_flatpak(self, flatpak: Any, repo_info: Any) -> None:
        if not flatpak and repo_info.configuration.is_flatpak:
            told = "Not a flatpak build, but repository has a container.yaml with a flatpak: section"
            raise OsbsException(told)

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
        info = utils.get_repo_info(git_uri, git_ref, git_branch)
        self._checks_for_flatpak(flatpak, info)
        # As osbs/api.py does since 2.2: the limits are in no signature, and the default fills the template's time-out.
        default, most = kwargs.get("default_buildtime_limit"), kwargs.get("max_buildtime_limit")
        limit = info.configuration.buildtime_limit
        if limit > most:
            raise OsbsException(f"Build limit cannot be more than {most} and is set to {limit}")
        limit = limit or default
        if any(not info.labels.get(label) for label in LABELS):
            raise OsbsValidationException("required label missing from Dockerfile")
        params = BuildUserParams.make_params(
            build_conf=self.os_conf, component=component or info.labels["com.redhat.component"],
            name_label=info.labels["name"], base_image=info.base_image, isolated=isolated, koji_target=target,
            koji_task_id=koji_task_id, repo_info=info, **kwargs,
        )
        if params.isolated and not params.values.get("release"):
            raise OsbsValidationException("The release parameter is required for isolated builds.")
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
    def cancel_build(self, build_name: str) -> Any:
        return PipelineRun(self.os, build_name).cancel_pipeline_run()
