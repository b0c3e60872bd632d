"""What went wrong, from the log of a task of atomic-reactor, which builds for OSBS: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rebuilder.builders import buildah_log
from rebuilder.domain.log_text import plain
from rebuilder.inventory.koji import faults

# osbs-client's ATOMIC_REACTOR_LOGGING_FMT; older ones name the platform after the time.
RECORD = re.compile(
    r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ (?:platform:\S+ )?- (?P<logger>[\w.]+) - (?P<level>[A-Z]+) - (?P<text>.*)$"
)
BUILD = "atomic_reactor.tasks.binary_container_build"
SAID = ("INFO", "ERROR")
NO_OUTPUT = "None"  # how it tells of the last line where podman printed nothing
BEGINS, LAST = "Building image=", "ERROR"  # the build on a host; its last line is told as an error
ONLY_STATUS = re.compile(r"exit status \d+|signal: .*")
TELLING = re.compile(
    r"\b(error|fatal|failed|failure|cannot|can't|no match|nothing provides|not found|no such|unable|denied|"
    r"conflict\w*)\b",
    re.IGNORECASE,
)
# What leaves out why a build failed: atomic-reactor's words have podman's last line, Tekton's only the exit status.
VAGUE = re.compile(r"Build failed \(rc=|exited with (?:code )?\d")


def is_vague(said: str) -> bool:
    """Whether the log may tell more than these words of a task that failed."""
    return VAGUE.search(said) is not None


def error(lines: Iterable[str]) -> str:
    """The error in one line, what tells most first; empty where the log does not have it.

    It is what the step printed that podman failed at, else the exception that ended the task.
    """
    text = [plain(line) for line in lines]
    built = list(_build(text))
    if built:
        return _told(buildah_log.failure("\n".join(built)))
    return _exception(text)


def _exception(lines: Sequence[str]) -> str:
    """The exception that ended the task: one that something is logged after was survived."""
    records = [at for at, line in enumerate(lines) if RECORD.match(line)]
    end = "\n".join(lines[max(records, default=-1) + 1 :])
    return faults.one_line(end) if faults.TRACEBACK in end else ""


def _build(lines: Iterable[str]) -> Iterator[str]:
    """What podman printed in the last build that failed; nothing where none did."""
    said: list[str] = []
    failed: list[str] = []
    for line in lines:
        record = RECORD.match(line)
        if record is None or record["logger"] != BUILD or record["level"] not in SAID:
            continue
        if record["text"].startswith(BEGINS):
            said, failed = [], []
            continue
        if record["text"] != NO_OUTPUT:
            said.append(record["text"])
        if record["level"] == LAST:
            failed, said = said, []
    yield from failed


def _told(failure: str) -> str:
    """The failure in one line: the last line that tells of an error, then the others."""
    lines = [faults.whole(line) for line in failure.splitlines() if line.strip()]
    output = [line for line in lines if not ONLY_STATUS.fullmatch(line)]
    if not output:
        return ""  # the step printed nothing: whoever named the step says more
    chosen = _chosen(lines, output)
    others = " / ".join(lines[:chosen] + lines[chosen + 1 :])
    summary = f"{lines[chosen]} [{others}]" if others else lines[chosen]
    return summary if len(summary) <= faults.LONGEST else f"{summary[: faults.LONGEST]}…"


def _chosen(lines: Sequence[str], output: Sequence[str]) -> int:
    """Where the line is that tells most: the last of the output that speaks of an error, else the last one."""
    telling = [at for at, line in enumerate(lines) if line in output and TELLING.search(line)]
    return telling[-1] if telling else len(output) - 1
