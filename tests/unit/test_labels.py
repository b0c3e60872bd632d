"""Each word that says how something stands has a label: a style on terminals, an icon and a style on pages."""

from __future__ import annotations

from pathlib import Path

import pytest

import rebuilder.web
from rebuilder.domain.impact import Skip
from rebuilder.domain.labels import LABELS
from rebuilder.domain.lifecycle import State

WEB = Path(rebuilder.web.__file__).parent
ICONS, STYLES = (WEB / "templates/parts.html").read_text(), (WEB / "static/style.css").read_text()


@pytest.mark.parametrize("word", [*map(str, State), *map(str, Skip), *LABELS])
def test_it_has_an_icon_and_a_style(word: str) -> None:
    shape = LABELS[word].shape
    assert f'id="i-{shape}"' in ICONS
    assert f".s-{shape}" in STYLES


@pytest.mark.parametrize("word", [*map(str, State), *map(str, Skip)])
def test_it_has_a_style_on_terminals_and_a_colour_in_drawings(word: str) -> None:
    assert LABELS[word].style
    assert LABELS[word].colour.startswith("#")
    assert LABELS[word].colour != "#000000"
