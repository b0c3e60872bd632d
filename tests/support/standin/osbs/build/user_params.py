from __future__ import annotations

import json
import secrets
import time
from typing import Any

from osbs.exceptions import OsbsValidationException

KEPT = frozenset({
    *("base_image", "component", "compose_ids", "git_branch", "git_commit_depth", "git_ref", "git_uri"),
    *("isolated", "koji_parent_build"),
    *("koji_target", "koji_task_id", "platforms", "release", "scratch", "signing_intent", "user", "userdata"),
    *("yum_repourls", "reactor_config_map", "image_tag", "kind", "name"),
})  # fmt: skip


def _name(repo_info: Any) -> str:
    """As osbs.utils.make_name_from_git: the repository, the branch, and what makes it another each time."""
    repository = repo_info.git_uri.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return f"{repository}-{repo_info.git_branch}-{secrets.token_hex(3)}-{time.strftime('%Y%m%d%H%M%S')}"


class BuildCommon:
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.isolated, self.scratch = values.get("isolated"), values.get("scratch")
        self.reactor_config_map = values.get("reactor_config_map")

    @classmethod
    def make_params(
        cls, build_conf: Any = None, component: Any = None, koji_target: Any = None, koji_task_id: Any = None,
        scratch: Any = None, signing_intent: Any = None, user: Any = None, userdata: Any = None,
        **kwargs: Any,
    ) -> Any:
        kwargs |= {
            "component": component, "koji_target": koji_target, "koji_task_id": koji_task_id, "user": user,
            "scratch": build_conf.get_scratch(scratch), "signing_intent": signing_intent, "userdata": userdata,
            "kind": "build_user_params", "reactor_config_map": build_conf.get_reactor_config_map(),
        }
        if kwargs["scratch"]:
            kwargs["reactor_config_map"] = build_conf.get_reactor_config_map_scratch()
        if user is None:
            raise OsbsValidationException("Missing required params: 'user'")
        return cls({key: value for key, value in kwargs.items() if value is not None and key in KEPT})

    def to_json(self) -> str:
        return json.dumps({key: value for key, value in self.values.items() if value}, sort_keys=True)


class BuildUserParams(BuildCommon):
    @classmethod
    def make_params(
        cls, base_image: Any = None, build_conf: Any = None, compose_ids: Any = None, git_branch: Any = None,
        git_ref: Any = None, git_uri: Any = None, isolated: Any = None, koji_parent_build: Any = None,
        name_label: Any = None, platforms: Any = None, release: Any = None, repo_info: Any = None,
        yum_repourls: Any = None, **kwargs: Any,
    ) -> Any:
        if not base_image or not name_label:
            raise OsbsValidationException("base_image and name_label must be provided")
        if kwargs.get("signing_intent") and compose_ids:
            raise OsbsValidationException("Please only define signing_intent -OR- compose_ids, not both")
        for name, value in (("compose_ids", compose_ids), ("yum_repourls", yum_repourls)):
            if not (value is None or isinstance(value, list)):
                raise OsbsValidationException(f"{name} must be a list")
        kwargs |= {
            "base_image": base_image, "build_conf": build_conf, "compose_ids": compose_ids, "isolated": isolated,
            "koji_parent_build": koji_parent_build, "platforms": platforms, "release": release,
            "yum_repourls": yum_repourls, "name": _name(repo_info),
            "image_tag": f"{kwargs.get('user')}/{name_label}:unique",
            "git_uri": repo_info.git_uri, "git_ref": repo_info.git_ref,
            "git_branch": repo_info.git_branch, "git_commit_depth": repo_info.git_commit_depth,
        }
        return super().make_params(**kwargs)
