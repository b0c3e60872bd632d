"""Tables on narrow terminals: text wraps, names stay whole."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from rebuilder.cli.tables import FittingTable

NAME = "a-very-long-name-of-a-container-image-for-web-servers:f42"
WHY = "openssl-libs-1:3.2.1-1.fc42.x86_64 (from base:f42) is older than 3.2.2-1.fc42, which the update brings"
COLUMNS = ("level", "image", "state", "why")
ROWS = [("0", "base:f42", "succeeded", WHY), ("1", NAME, "queued", WHY), ("1", "tools:f42", "queued", "")]


def shown(width: int, rows: list[tuple[str, ...]] = ROWS) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(FittingTable(COLUMNS, [[Text(cell) for cell in row] for row in rows], Text("wave 7")))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 240])
def test_names_are_whole_and_nothing_is_lost_at_any_width(width: int) -> None:
    said = shown(width)
    for name in ("base:f42", NAME, "tools:f42"):
        assert name in (said if width > len(NAME) else said.replace("\n", ""))
    assert "".join(WHY.split()) in "".join(said.split()) or width > 60
    assert all(word in said for word in ("succeeded", "queued", "wave 7"))


@pytest.mark.parametrize("width", [60, 80, 120, 240])
def test_lines_fit(width: int) -> None:
    assert max(len(line.rstrip()) for line in shown(width).splitlines()) <= max(width, len(NAME))


def test_a_wide_terminal_has_a_table_and_a_narrow_one_blocks_under_the_names() -> None:
    assert shown(240).splitlines()[1].split() == ["level", "image", "state", "why"]
    lines = shown(60).splitlines()
    at = lines.index(NAME)
    assert lines[at + 1].rstrip() == "  level: 1  state: queued"
    assert lines[at + 2].startswith("  why: openssl-libs")
    assert lines[lines.index("tools:f42") + 1 :] == ["  level: 1  state: queued".ljust(60)]


def test_short_names_leave_room_for_a_table_whose_reasons_wrap() -> None:
    lines = shown(60, [ROWS[0]]).splitlines()
    assert lines[1].split() == ["level", "image", "state", "why"]
    assert len(lines) > 3
