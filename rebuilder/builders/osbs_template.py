"""The template of a PipelineRun (osbs.conf's pipeline_run_path), filled in as osbs-client does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Template

import yaml

# What osbs-client fills in (osbs/api.py, _get_pipeline_template_substitutions); it leaves every other field as it is.
SAMPLE: Mapping[str, str] = {
    "osbs_buildtime_limit": "3600s",
    "osbs_configmap_name": "reactor-config-map",
    "osbs_namespace": "osbs",
    "osbs_pipeline_run_name": "rebuilder-sample",
    "osbs_user_params_json": json.dumps({"user": "rebuilder", "platforms": ["x86_64"], "userdata": {"key": "a: b"}}),
}
CONFIG_MAP, LIMIT = "osbs_configmap_name", "osbs_buildtime_limit"  # the limit is filled in since osbs-client 2.2


def fields_of(text: str) -> frozenset[str]:
    """The fields that the template has. `$(…)` is Tekton's own, and `$$` is a dollar."""
    return frozenset(Template(text).get_identifiers())


def fault_of(text: str, *, limited: bool) -> str:
    """What keeps every run of this template from being made; empty where nothing does.

    `limited` says whether the client fills in the limit of a build.
    """
    fields = SAMPLE.keys() - (() if limited else {LIMIT})
    if unknown := sorted(fields_of(text) - fields):
        return f"osbs-client does not know its field {', '.join(f'${name}' for name in unknown)} ($$ is a dollar)"
    try:
        document = yaml.safe_load(Template(text).safe_substitute(SAMPLE))
    except yaml.YAMLError as error:
        return f"it is not YAML when it is filled in: {' '.join(str(error).split())}"
    if not isinstance(document, dict) or document.get("kind") != "PipelineRun":
        return "it is not a PipelineRun when it is filled in"
    name = (document.get("metadata") or {}).get("name")
    return "" if name == SAMPLE["osbs_pipeline_run_name"] else "its metadata.name is not $osbs_pipeline_run_name"
