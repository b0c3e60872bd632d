"""What the texts of Koji's faults say: long tracebacks, with the cause in their last lines."""

from __future__ import annotations

LONGEST = 500  # characters of a line that people read among others
TRACEBACK = "Traceback (most recent call last):"


def whole(text: str) -> str:
    """All of the text in one line."""
    return " ".join(text.split())


def one_line(text: str) -> str:
    """What the text says in the end, in one line, and not too long for one."""
    line = whole(conclusion(text))
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def conclusion(text: str) -> str:
    """The exception that ends the last traceback in the text, with all lines of its message; else the whole text.

    Frames of a traceback are indented; its exception is not, and several lines of a message need not be.
    """
    _, marker, after = text.rpartition(TRACEBACK)
    if not marker:
        return text
    lines = after.splitlines()
    ended = next((at for at, line in enumerate(lines) if line.strip() and not line[:1].isspace()), None)
    return text if ended is None else "\n".join(lines[ended:])


def story(text: str) -> str:
    """All of the text in one line, what it says in the end first: wherever it is cut, the cause stays."""
    said, everything = whole(conclusion(text)), whole(text)
    return said if said == everything else f"{said} [{everything.removesuffix(said).rstrip()}]"
