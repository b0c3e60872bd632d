"""What a failed task of Koji means, and why its build failed."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rebuilder.builders import reactor_log
from rebuilder.builders.koji_logs import TaskLogs
from rebuilder.domain.build import InfrastructureError, Phase, Status
from rebuilder.inventory.koji.faults import conclusion, story
from rebuilder.inventory.koji.session import Denied

log = logging.getLogger(__name__)
EXPLAIN_SECONDS = 10.0  # after which one poll reads no further log: others wait for what it says of their builds
INFRASTRUCTURE = re.compile(
    r"ServerOffline|ConnectionError|connection (aborted|refused|reset)|timed? ?out|temporary failure in name|"
    r"no space left|remote end closed|broken pipe|cannot allocate memory|50[234] (server error|bad gateway|service)|"
    r"too many requests",
    re.IGNORECASE,
)


def failure(ref: str, result: Any, begun: float | None) -> Status:
    """What a failed task means: its fault says whether the image is bad, or what builds it is out of order.

    A traceback names many errors on its way; the one that it ends with is the cause.
    """
    text = result.text if isinstance(result, Denied) else ""
    phase = Phase.ABORTED if INFRASTRUCTURE.search(conclusion(text)) else Phase.FAILED
    return Status(phase, story(text) or f"task {ref} failed without a reason", begun)


def explained(statuses: Mapping[str, Status], logs: TaskLogs) -> dict[str, Status]:
    """Those of the failed whose fault does not say why a build failed, with the error that their logs have.

    Where the logs cannot be read, or of too many at the same time, the fault's words stay.
    """
    found: dict[str, Status] = {}
    until = time.monotonic() + EXPLAIN_SECONDS
    for ref, status in statuses.items():
        if status.phase is not Phase.FAILED or not reactor_log.is_vague(status.reason):
            continue
        try:
            said = _error(int(ref), logs)
        except InfrastructureError as error:
            log.info("why builds failed cannot be read from their logs: %s", error)
            break
        if said:
            found[ref] = replace(status, reason=f"{said} [{status.reason}]")
        if time.monotonic() > until:
            break
    return found


def _error(task: int, logs: TaskLogs) -> str:
    """The error of each log that has one: koji-containerbuild writes one log for each platform, named after it."""
    found = {name: reactor_log.error(end.split("\n")) for name, end in logs.ends(task)}
    return "; ".join(f"{name}: {error}" for name, error in found.items() if error)
