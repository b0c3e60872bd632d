"""A terminal, as a person has one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

ROWS = 40
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def shown(command: Sequence[str], environment: Mapping[str, str], columns: int = 80, typed: str = "") -> str:
    """What the command writes to a terminal of that width, with codes for colours, and what is typed there."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    settings = {key: value for key, value in environment.items() if key not in ("LINES", "FORCE_COLOR")}
    settings |= {"TERM": "xterm-256color", "COLUMNS": str(columns)}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=settings) as running:
        os.close(its)
        os.write(ours, typed.encode())
        try:
            return b"".join(iter(lambda: _read(ours), b"")).decode().replace("\r\n", "\n")
        finally:
            os.close(ours)
            running.wait(60)


def _read(terminal: int) -> bytes:
    """The next bytes; none once the other side is closed, which Linux tells by an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def plain(text: str) -> str:
    """The text without its colours."""
    return COLOUR.sub("", text)
