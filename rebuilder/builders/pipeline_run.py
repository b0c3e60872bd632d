"""What a Tekton PipelineRun says: pure functions of its JSON document."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from msgspec import Struct

from rebuilder.domain.build import BuildRequest, Phase, Status

NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # also good as the label that Tekton makes of it
KEY, IMAGE, PARENTS, EXTERNALS, CAUSES = (
    f"rebuilder/{word}" for word in ("key", "image", "parents", "externals", "causes")
)
LABELS = {"rebuilder/managed": "true"}  # by which all runs of ours are listed in one call
NOT_BEGUN = frozenset({"", "PipelineRunPending"})
GOOD = frozenset({"Succeeded", "Completed"})
CANCELED = frozenset({"PipelineRunCancelled", "Cancelled", "CancelledRunFinally", "StoppedRunFinally"})
BAD_BUILD = "Failed"  # every other reason (a time-out, a pipeline that cannot be found) is not the build's fault


def name_of(key: str) -> str:
    """The name of the run that a key has, always the same: a valid name in Kubernetes of at most 63 characters."""
    if NAME.fullmatch(key):
        return key
    slug = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
    begun = slug if slug[:1].isalpha() else f"r-{slug}"
    return f"{begun[:52].strip('-')}-{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()[:10]}"


def annotations_of(order: BuildRequest) -> dict[str, str]:
    """What the run says of itself, so that any engine can adopt it, and operators see why it is there."""
    return {
        KEY: order.key,
        IMAGE: order.image.key,
        PARENTS: json.dumps([parent.ident for parent in order.parents]),
        EXTERNALS: json.dumps(order.image.externals),
        CAUSES: json.dumps([str(change.build) for change in order.causes]),
    }




class PipelineRun(Struct, frozen=True, dict=True):
    """One run, as it was when it was read."""

    document: Mapping[str, Any]

    def _annotation(self, name: str) -> str:
        return str((self.document.get("metadata") or {}).get("annotations", {}).get(name, ""))

    @property
    def image(self) -> str:
        """The image's key; empty where the run is not ours."""
        return self._annotation(IMAGE)

    @property
    def parents(self) -> tuple[str, ...]:
        """The parents of ours that it was submitted with, as pull specs."""
        return tuple(json.loads(self._annotation(PARENTS) or "[]"))

    @property
    def externals(self) -> tuple[str, ...]:
        """What the image's file calls its external parents."""
        return tuple(json.loads(self._annotation(EXTERNALS) or "[]"))

    @cached_property
    def _status(self) -> Mapping[str, Any]:
        return self.document.get("status") or {}

    @cached_property
    def _condition(self) -> Mapping[str, Any]:
        return condition_of(self.document)

    @property
    def status(self) -> Status:
        """How it stands. Pending, or with no `.status` yet, it waits."""
        reason, message = str(self._condition.get("reason", "")), one_line(str(self._condition.get("message", "")))
        text = ": ".join(filter(None, (reason, message)))
        match self._condition.get("status"):
            case "True":
                good = reason in GOOD
                return Status(Phase.SUCCEEDED) if good else Status(Phase.ABORTED, f"ended with the unknown {text}")
            case "False":
                if reason in CANCELED or self.canceled:
                    return Status(Phase.CANCELED, f"canceled at OSBS: {text}")
                return Status(Phase.FAILED if reason == BAD_BUILD else Phase.ABORTED, text or "the run failed")
            case _ if self.begun is None and reason in NOT_BEGUN:
                return Status(Phase.WAITING)
            case _:
                return Status(Phase.RUNNING, begun=self.begun)

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return str((self.document.get("metadata") or {}).get("name", ""))

    @property
    def key(self) -> str:
        """The key under which it was submitted; empty where it does not say."""
        return self._annotation(KEY)

    @property
    def ended(self) -> float | None:
        """When it ended, in seconds since the epoch; None before, or where the time cannot be read."""
        return _moment(self._status.get("completionTime"))

    @property
    def begun(self) -> float | None:
        """When Tekton began with it, in seconds since the epoch; None before, or where the time cannot be read."""
        return _moment(self._status.get("startTime"))

    @property
    def progress(self) -> object:
        """What changes whenever one of its tasks begins or ends."""
        children = self._status.get("childReferences") or self._status.get("taskRuns") or ()
        return len(children), self._condition.get("message")

    @property
    def results(self) -> dict[str, object]:
        """What it wrote down: JSON where it is some, else the text. Tekton's v1 has another word for it."""
        results = self._status.get("pipelineResults") or self._status.get("results") or ()
        return {str(result.get("name", "")): _value(result.get("value")) for result in results}

    @property
    def canceled(self) -> bool:
        """Whether somebody, maybe we, asked for its end."""
        return (self.document.get("spec") or {}).get("status") in CANCELED


def _value(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _moment(value: object) -> float | None:
    try:
        return datetime.fromisoformat(str(value or "")).timestamp()
    except ValueError:
        return None


def condition_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first condition of a run or a task; empty where it has not begun."""
    conditions = (document.get("status") or {}).get("conditions") or [{}]
    condition: Mapping[str, Any] = conditions[0]
    return condition


def pull_specs(repositories: object) -> Iterator[str]:
    """All names that the image was pushed under, those that are never moved first."""
    if isinstance(repositories, list):
        yield from map(str, repositories)
    elif isinstance(repositories, dict):
        for kind in ("unique", "primary", "floating"):
            yield from map(str, repositories.get(kind) or ())


def one_line(text: str) -> str:
    """The text with each run of white space as one space."""
    return " ".join(text.split())
