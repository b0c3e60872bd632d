"""What may reach a terminal: text that it shows, and nothing that it acts on. Kept small, as every verb loads it."""

from __future__ import annotations

import re

# C0 but for tab and line feed, DEL and C1; what turns the direction of text; line separators; what has no encoding.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
LONGEST, LONGEST_LINE = 20_000, 2000


def printable(text: str) -> str:
    """The text without what a terminal would act on."""
    return CONTROL.sub("?", text)


def shortened(text: str, longest: int = LONGEST) -> str:
    """The beginning of what is too long to read, and a terminal takes minutes for."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def one_line(text: str) -> str:
    """The text for a message: one line, and not without end."""
    return shortened(printable(" ".join(text.split())), LONGEST_LINE)


def log_text(text: str) -> str:
    """A part of a build's log. Colours go; a progress bar, which returns to the line's beginning, begins a new one."""
    return printable(COLOUR.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))
