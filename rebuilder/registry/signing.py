"""Signatures of images in registries, by whatever command the configuration names."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from rebuilder.config import child_environment
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.wording import last_line

REFERENCE = "{ref}"
LONGEST = 300  # characters of what the command says that are told on


def sign(command: Sequence[str], at: str, seconds: float) -> None:
    """Run the command for the image `at`, a pull spec by digest, which takes the place of {ref}.

    Raises InfrastructureError where it ends with another status than 0, or not within so many seconds.
    """
    words = [word.replace(REFERENCE, at) for word in command]
    try:
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=child_environment(),
            start_new_session=True, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise _failed(at, f"{words[0]}: {error.strerror or error}") from None
    status, said = _ended(child, seconds)
    if status is None:
        raise _failed(at, f"{words[0]} did not end within {seconds:g} s")
    if status:
        raise _failed(at, f"{words[0]} exited with status {status}{_last(said)}")


def _last(said: str) -> str:
    """The last line of what the command said."""
    line = last_line(said)
    return f": {line[:LONGEST]}" if line else ""


def _ended(child: subprocess.Popen[str], seconds: float) -> tuple[int | None, str]:
    """The status and what was said; None where it had to be ended, with all that it started."""
    try:
        said, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        said, _ = child.communicate()
        return None, said
    return child.returncode, said


def _failed(at: str, why: str) -> InfrastructureError:
    return InfrastructureError(f"{at} cannot be signed, so no tag moves to it: {why}")
