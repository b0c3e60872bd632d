"""From what a page says to HTML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from rebuilder.domain.change import Change
from rebuilder.domain.rpm import SourceBuild
from rebuilder.domain.times import approx_duration, format_duration
from rebuilder.web.pages.rendering import TEMPLATES, bodhi, escape_controls, koji, link, segment

CHANGE = Change(SourceBuild.parse("openssl-3.2.2-1.fc42"), "f42")


@pytest.mark.parametrize(("seconds", "words"), [
    (0, "0 s"), (-3, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (86400, "1 d"),
    (90000, "1 d 1 h"),
])  # fmt: skip
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
    assert approx_duration(seconds) == " ".join(words.split()[:2])


@pytest.mark.parametrize(("text", "seen"), [
    ("plain", "plain"), ("two\nlines", "two\nlines"), ("bell\x07", "bell\\x07"), ("esc\x1b[31m", "esc\\x1b[31m"),
    ("\u202egnp.exe", "\\u202egnp.exe"), ("nul\0", "nul\\x00"), ("Ärger", "Ärger"),
])  # fmt: skip
def test_what_has_no_shape_is_shown_by_its_code(text: str, seen: str) -> None:
    assert escape_controls(text) == seen


@given(st.text())
def test_whatever_is_put_into_a_template_comes_out_as_printable_text_without_markup(text: str) -> None:
    made = TEMPLATES.env.from_string("{{ text }}").render(text=text)
    assert made.replace("\n", "").replace("\t", "").isprintable()
    assert not set("<>\"'") & set(made)
    assert Markup(made).unescape() == escape_controls(text)


@pytest.mark.parametrize("url", [
    "javascript:alert(1)", "data:text/html,x", "//elsewhere", "/here", "http:nowhere", "", "http://[", "ftp://x/y",
    "JAVASCRIPT://x/%0aalert(1)", "https://x/\n",
])  # fmt: skip
def test_what_a_browser_might_run_is_no_link(url: str) -> None:
    assert link(url) == ""


def test_links_to_koji_and_bodhi() -> None:
    assert koji("https://koji", "a b&c-1-1") == "https://koji/search?match=exact&type=build&terms=a%20b%26c-1-1"
    assert koji("", "a-1-1") == ""
    named = Change(CHANGE.build, "f42", update="FEDORA-1")
    assert bodhi("https://bodhi", CHANGE) == ""
    assert bodhi("https://bodhi", named) == "https://bodhi/updates/FEDORA-1"
    told = Change(CHANGE.build, "f42", update="FEDORA-1", url="https://other/1")
    assert bodhi("https://bodhi", told) == "https://other/1"
    wicked = Change(CHANGE.build, "f42", update="FEDORA-1", url="javascript:alert(1)")
    assert bodhi("https://bodhi", wicked) == "https://bodhi/updates/FEDORA-1"


@given(st.text())
def test_any_name_is_one_part_of_a_path(name: str) -> None:
    made = segment(name.encode(errors="replace").decode())
    assert not set("/?#\\ <>\"'") & set(made)
