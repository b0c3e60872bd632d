"""What went wrong, from the log of a build by buildah."""

from __future__ import annotations

import re

from rebuilder.domain.log_text import plain

LINES, LONGEST = 8, 2000
STEP = re.compile(r"^(\[\d+/\d+\] )?STEP \d+(/\d+)?: ")
# What buildah says of a step that failed: which one, in full, and then why.
AT_STEP = re.compile(r'^error:?\s*(?:error )?building at STEP ".*?": (?P<why>.*)$', re.DOTALL | re.IGNORECASE)
# With the isolation `chroot` it says no more than how the command ended.
RAN = re.compile(
    r'building at STEP "RUN\b.*": (?:(?:error )?while running runtime: )?(?P<status>exit status \d+|signal: .*)$',
    re.DOTALL | re.IGNORECASE,
)
NOISE = re.compile(
    r"^(time=\"\S+\" level=\w+ msg=|(WARN|ERRO|INFO|DEBU)\[\d+\] |(subprocess exited with|exit) status \d+$|"
    r"Getting image source signatures|Copying (blob|config) |Writing manifest to |Storing signatures|Trying to pull |"
    r"--> |COMMIT\b|Checking if image destination supports signatures)"
)
NOTHING = "buildah exited without output"


def failure(log: str) -> str:
    """The last lines of the step that failed; where it had no output, or another part of the build failed, why."""
    lines = [line.rstrip() for line in plain(log).splitlines() if line.strip()]
    if not lines:
        return NOTHING
    error_at = _error(lines)
    if error_at is None:
        return _end(lines) or lines[-1]
    error = "\n".join(lines[error_at:])
    if (ran := RAN.search(error)) is not None:
        return "\n".join(filter(None, (_end(lines[:error_at]), ran["status"])))
    match = AT_STEP.match(error)
    return (match["why"] if match else error.removeprefix("Error: "))[:LONGEST]


def last_error(log: str) -> str:
    """What buildah itself says of the failure: a command's output may have any words in it."""
    lines = [line.strip() for line in plain(log).splitlines() if line.strip()]
    error_at = _error(lines)
    return (lines or [NOTHING])[-1] if error_at is None else lines[error_at]


def _error(lines: list[str]) -> int | None:
    """Where buildah's own error begins, which ends the log: of a long step it has several lines."""
    errors = [at for at, line in enumerate(lines) if line.lower().startswith("error")]
    steps = [at for at in errors if "building at STEP " in lines[at]]
    return max(steps or errors, default=None)


def _end(lines: list[str]) -> str:
    """The last lines of the last step, without what buildah says about itself."""
    begins = max((at for at, line in enumerate(lines) if STEP.match(line)), default=-1)
    said = [line for line in lines[begins + 1 :] if not NOISE.match(line.strip())]
    return "\n".join(said[-LINES:])[-LONGEST:]
