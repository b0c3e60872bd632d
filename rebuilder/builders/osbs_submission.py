"""Submitting a run with osbs-client, under the name that we give it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rebuilder.builders import osbs_site
from rebuilder.builders.osbs_errors import RefusedByOsbs, is_trouble, message_of
from rebuilder.builders.osbs_library import CHECKING, NAMING, WRITING, Library
from rebuilder.builders.pipeline_run import LABELS, one_line
from rebuilder.domain.build import BuildRejected, SiteError
from rebuilder.domain.errors import InfrastructureError


@contextmanager
def _as_site_error(path: str, *, limited: bool) -> Iterator[None]:
    """A template that cannot be filled in is the site's fault, unless only what this build is told does not fit in."""
    if fault := osbs_site.template_fault(path, limited=limited):
        raise SiteError(f"OSBS: pipeline_run_path: {fault}")
    try:
        yield
    except Exception as error:
        raise BuildRejected(f"its parameters do not fit into {path}: {one_line(str(error))}") from None


def submitting_class(library: Library, name: str, annotations: Mapping[str, str]) -> Any:
    """A class of clients whose next run has this name and these annotations, and our label.

    Its `judged` says whether the client has taken the source; what goes wrong later is the site's.
    """

    def checked(client: Any, flatpak: Any, repo_info: Any) -> None:
        getattr(super(submitting, client), CHECKING)(flatpak, repo_info)
        if (repo_info.configuration.container or {}).get("operator_manifests"):
            raise library.exceptions.OsbsException("operator manifests are not supported")

    def written(client: Any, *args: Any, **kwargs: Any) -> Any:
        client.judged = True
        with _as_site_error(client.os_conf.get_pipeline_run_path(), limited=library.takes_limits):
            document = getattr(super(submitting, client), WRITING)(*args, **kwargs)
            metadata = document["metadata"]
            metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
            metadata["labels"] = {**(metadata.get("labels") or {}), **LABELS}
        return document

    members = {"judged": False, CHECKING: checked, WRITING: written, NAMING: lambda client, *args, **kwargs: name}
    submitting: Any = type("OSBS", (library.api.OSBS,), members)
    return submitting


def submit(library: Library, client: Any, parameters: Mapping[str, object]) -> None:
    """Make the run with a client of such a class.

    Raises RefusedByOsbs where the client does not take the source, InfrastructureError where something kept it from
    judging it, and its own exceptions for what goes wrong later.
    """
    try:
        client.create_binary_container_build(**parameters)
    except library.exceptions.OsbsException as error:
        if client.judged:
            raise
        if is_trouble(error):
            raise InfrastructureError(f"OSBS: {message_of(error)}", arrived=False) from None
        raise RefusedByOsbs(error) from None
