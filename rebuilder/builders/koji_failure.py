"""What a failed task of Koji means, and why its build failed."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from rebuilder.builders import reactor_log
from rebuilder.builders.koji_logs import TaskLogs
from rebuilder.domain.build import Phase, Status
from rebuilder.domain.errors import InfrastructureError
from rebuilder.inventory.koji.faults import conclusion, story
from rebuilder.inventory.koji.session import Denied

log = logging.getLogger(__name__)
EXPLAIN_SECONDS = 10.0  # from its start, after which a poll reads no log: others wait for what it says of their builds
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


def explained(statuses: Mapping[str, Status], logs: TaskLogs, began: float) -> dict[str, Status]:
    """Those of the failed whose fault does not say why a build failed, with the error that their logs have.

    `began` is when the poll did, by the monotonic clock. Where a log is refused, the hub is away, or the time of a
    poll is over, the fault's words stay.
    """
    clearer: dict[str, Status] = {}
    vague = {ref: status for ref, status in statuses.items() if _is_vague(status)}
    try:
        for ref, status in vague.items():
            if said := _error(int(ref), logs, began + EXPLAIN_SECONDS):
                clearer[ref] = replace(status, reason=f"{said} [{status.reason}]")
    except InfrastructureError as error:
        log.info("why builds failed cannot be read from their logs: %s", error)
    return clearer


def _is_vague(status: Status) -> bool:
    return status.phase is Phase.FAILED and reactor_log.is_vague(status.reason)


def _error(task: int, logs: TaskLogs, until: float) -> str:
    """The error of each log that has one: koji-containerbuild writes one log for each platform, named after it.

    Raises InfrastructureError where the hub is away or too slow.
    """
    try:
        errors = {name: reactor_log.error(end.split("\n")) for name, end in logs.ends(task, until)}
    except Denied as error:
        log.info("why task %s failed cannot be read from its logs: %s", task, error)
        return ""
    return "; ".join(f"{name}: {error}" for name, error in errors.items() if error)
