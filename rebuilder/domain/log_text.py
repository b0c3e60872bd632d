"""The text of builds' logs: what a terminal would show of it, and in which colours. Pure.

A build writes for a terminal: colours, and progress bars that return to the beginning of their line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

# Control sequences, and those that set a title or a link and end with BEL or ST; then single escapes.
SEQUENCE = re.compile(
    r"\x1b\[(?P<codes>[0-9;:]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]", re.DOTALL
)
COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
FIRST, BRIGHT = 30, 90
RESET, BOLD, DIM, NOT_BOLD, DEFAULT = 0, 1, 2, 22, 39
EXTENDED = (38, 48)
BY_NUMBER, BY_RGB = 5, 2


class Style(Struct, frozen=True):
    """How a piece of text looks: the name of its colour, `bright-…` for the brighter ones, and its weight."""

    colour: str = ""
    bold: bool = False
    dim: bool = False


PLAIN = Style()


class Span(Struct, frozen=True):
    """A piece of text that looks the same throughout."""

    text: str
    style: Style = PLAIN


def plain(text: str) -> str:
    """The text without control sequences; of a line that was written over, what was written last."""
    return "\n".join(SEQUENCE.sub("", _last_written(line)) for line in text.replace("\r\n", "\n").split("\n"))


def coloured(text: str) -> Iterator[Span]:
    """The same text with its colours. Sequences that mean something else than a colour are left out."""
    style = PLAIN
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n")):
        if number:
            yield Span("\n", PLAIN)
        line = _last_written(line)
        at = 0
        for match in SEQUENCE.finditer(line):
            if match.start() > at:
                yield Span(line[at : match.start()], style)
            at = match.end()
            if (codes := match["codes"]) is not None:
                style = _styled(style, codes)
        if at < len(line):
            yield Span(line[at:], style)


def _last_written(line: str) -> str:
    """What stands there when all is written: a return to the beginning makes room for something else."""
    parts = [part for part in line.split("\r") if SEQUENCE.sub("", part)]
    return parts[-1] if parts else ""


def _styled(style: Style, codes: str) -> Style:
    """The style after these codes of a "select graphic rendition" sequence."""
    numbers = [int(code) if code else 0 for code in re.split("[;:]", codes)]
    while numbers:
        code = numbers.pop(0)
        style = _extended(style, code, numbers) if code in EXTENDED else _changed(style, code)
    return style


def _changed(style: Style, code: int) -> Style:
    if code == RESET:
        return PLAIN
    if code in (BOLD, DIM):
        return replace(style, bold=style.bold or code == BOLD, dim=style.dim or code == DIM)
    if code == NOT_BOLD:
        return replace(style, bold=False, dim=False)
    if code == DEFAULT:
        return replace(style, colour="")
    if FIRST <= code < FIRST + len(COLOURS):
        return replace(style, colour=COLOURS[code - FIRST])
    if BRIGHT <= code < BRIGHT + len(COLOURS):
        return replace(style, colour=f"bright-{COLOURS[code - BRIGHT]}")
    return style


def _extended(style: Style, code: int, numbers: list[int]) -> Style:
    """A colour by its number of 256, or by red, green and blue: of these the first 16 have names, others none."""
    kind = numbers.pop(0) if numbers else 0
    if kind == BY_RGB:
        del numbers[:3]
        return style
    number = numbers.pop(0) if kind == BY_NUMBER and numbers else len(COLOURS) * 2
    if code != EXTENDED[0] or number >= len(COLOURS) * 2:
        return style
    name = COLOURS[number % len(COLOURS)]
    return replace(style, colour=name if number < len(COLOURS) else f"bright-{name}")
