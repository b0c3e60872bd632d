"""Programs of this machine that are asked something: they answer within a time, or what went wrong is told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence


def ask(
    command: Sequence[str], seconds: float, failure: Callable[[str], Exception]
) -> subprocess.CompletedProcess[str]:
    """How the program ended, and all that it wrote.

    Raises `failure` with the reason where it cannot be started, or does not end within so many seconds.
    """
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise failure(f"{command[0]} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise failure(f"{command[0]}: {error.strerror or error}") from None
