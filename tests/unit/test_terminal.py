"""What comes from elsewhere is shown by a terminal, and never acted on."""

from __future__ import annotations

import unicodedata
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.cli import images
from rebuilder.cli.terminal import LONGEST_LINE, log_text, one_line, printable, shortened
from rebuilder.domain.image import Fault
from rebuilder.engine.external_parents import Refreshed
from rebuilder.store.sync import SyncResult

TURNS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
EVIL = "\x1b]0;owned\x07\u202e\n\x9b2J"


def acts(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in TURNS


@given(st.text(st.characters(codec=None)))
def test_nothing_that_acts_is_left(text: str) -> None:
    assert not [found for found in printable(text) if acts(found) and found not in "\t\n"]
    assert not [found for found in one_line(text) if acts(found)]
    assert not [found for found in log_text(text) if acts(found) and found not in "\t\n"]


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))))
def test_whatever_is_no_command_stays(text: str) -> None:
    assert printable(text) == log_text(text) == text


def test_a_log_loses_its_colours_and_keeps_its_lines() -> None:
    assert log_text("\x1b[1;31mred\x1b[0m\r\nten\rtwenty\n") == "red\nten\ntwenty\n"


def test_what_nobody_reads_is_cut() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "abc…"
    assert len(one_line("x y" * 100_000)) == LONGEST_LINE + 1


def test_a_fault_of_an_inventory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    result = SyncResult((), (), (), (), 0, faults=(Fault("a:f42", EVIL),), hints=(EVIL,))
    monkeypatch.setattr(images.inventory_sync, "sync", lambda *_, **__: result)
    monkeypatch.setattr(images.external_parents, "refresh", lambda *_: Refreshed())
    done = CliRunner().invoke(images.inventory, ["sync"], obj=SimpleNamespace(engine=None, settings=None))
    assert len(done.stderr.splitlines()) == 3
    assert not [found for found in done.output if acts(found) and found != "\n"]
