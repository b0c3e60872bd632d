"""What the end of a buildah process means: whether its build or its test is bad, or the machine failed."""

from __future__ import annotations

import re
from pathlib import Path

from rebuilder.builders import buildah_log
from rebuilder.domain.build import Phase, Status

TROUBLE = re.compile(
    r"no space left|connection (refused|reset)|i/o timeout|TLS handshake|pinging container registry|no such host|"
    r"network is unreachable|no route to host|unexpected EOF|too ?many ?requests|50[234] |temporary failure in name|"
    r"too many open files|cannot allocate memory|input/output error|read-only file system|image not known|"
    r"reading manifest sha256:\w+ in |unauthorized|authentication required|x509:",
    re.IGNORECASE,
)
STEP = re.compile(r'at STEP ".*"')
END_BYTES = 1_000_000


def bad(status: int, log: Path) -> Status:
    """What an exit status other than 0 means. Buildah's own is the one of the RUN that failed, be it 1 or 255."""
    text = end_of(log)
    error = buildah_log.last_error(text)
    if status > 128 and not error.startswith("Error: "):
        return Status(Phase.ABORTED, f"killed by signal {status - 128}")
    trouble = TROUBLE.search(STEP.sub("", error))
    return Status(Phase.ABORTED if trouble else Phase.FAILED, buildah_log.failure(text))


def end_of(log: Path) -> str:
    """The end of a log; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - END_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
