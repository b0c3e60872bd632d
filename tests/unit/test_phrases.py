"""Sentences that a person reads are plain English: these phrases are refused, each with what to write instead."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFUSED = {
    r"goes? not with": "cannot be combined with",
    r"is no moment|moment is over": "is not a valid time; must be in the future",
    r"does it run\?": "no engine is running: start `rebuilder run`",
    r"is none of (?!these|that name)|none of ours|fault of ours": "not a …; internal error",
    r"(?<!there )is no (image|wave)\b|is no wave's number": "no such image; no such wave",
    r"was heard of": "unknown update",
    r"\bstayed, ": "is still installed",
    r"\bis offered\b": "is available",
    r"not any more as|stay as they were": "changed meanwhile; keep their last known state",
    r"cannot be asked|left alone for a moment": "is unreachable; deferred",
    r"said nothing": "exited without output",
    r"\bnobody\b": "say who does it: no consumer, no operator",
    r"\bnone gets in|\bgot on\b": "none is being consumed; last heartbeat",
    r"\bit settles|changes? settl(e|ing)\b": "pending: waiting for further updates",
    r"nothing that came by the bus": "no update",
    r"the waves tell": "more in Waves",
    r"\bSay a part of": "Search by image, package, update, CVE or wave",
    r"\bneeds? somebody\b": "needs attention",
    r"(it|which) is (not )?known (of|what|which)\b|what is in \w+ is unknown": "its contents are unknown",
    r"does not work since": "has not worked since",
    r"can be (no|in no)\b": "is not a valid …",
    r"the least that (is possible|there can be)": "the shortest possible time",
    r"(?<!all )as is usual|what is usual|said twice": "the default; announced twice",
    r"left alone for": "next try in … s",
    r"And why not": "Updates that did not rebuild it",
    r"asks an operator": "requires approval",
    r"is there twice": "is defined twice",
    r"costs nobody": "is retried",
    r"\btroubles?\b": "an infrastructure error",
    r"(?<!here )\bis no (number|text|platform|file|regular|substitution|Unicode)": "is not a …",
}
# What scripts rely on stays: a word of the API, a column, a label of a metric, a class of the style sheet.
KEPT = {"trouble"}
CODE = re.compile(r"`trouble`")
QUOTED_KEY = re.compile(r'"trouble"|\w\.trouble\b')
GAP = "…"  # what a text is filled with
FILLED = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\$\{.*?\}")
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\*\*")
PARAGRAPH = re.compile(r"[^\n]+(\n[^\n]+)*")
READ = ("rebuilder/web/templates/*", "docs/*.md", "config/*", "systemd/**/*.[cst]*", "monitoring/*", "changes/*.md",
        "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")  # fmt: skip


def _texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """The texts, docstrings and comments of a module, each with its line; what a text is filled with is a gap in it."""
    tree = ast.parse(path.read_text())
    filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for text in filled for part in text.values}
    yield from ((text.lineno, CODE.sub("", _in_one(text))) for text in filled)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, CODE.sub("", " ".join(node.value.split()))
    with path.open("rb") as file:
        comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    yield from ((token.start[0], CODE.sub("", token.string)) for token in comments)


def _in_one(text: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in text.values)


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Each paragraph as a person reads it, with the line at which it begins: in one line, and without markup."""
    blank = "\n" + "\n".join("" if not line.strip() else line for line in text.splitlines())
    for found in PARAGRAPH.finditer(blank):
        line = blank.count("\n", 0, found.start())
        yield line, QUOTED_KEY.sub("", " ".join(MARKUP.sub("", FILLED.sub(GAP, found[0])).split()))


def sentences() -> Iterator[tuple[str, str]]:
    """Each text that a person reads, with its place."""
    for folder in ("rebuilder", "consumers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "versions" not in path.parts:
                yield from ((f"{path.relative_to(ROOT)}:{line}", text) for line, text in _texts_of(path))
    for path in filter(Path.is_file, (page for kind in READ for page in sorted(ROOT.glob(kind)))):
        yield from ((f"{path.relative_to(ROOT)}:{line}", text) for line, text in _paragraphs(path.read_text()))


def test_no_sentence_that_a_person_reads_has_a_refused_phrase() -> None:
    found = [
        f"{place}: {match[0]!r}: write {better!r}"
        for place, text in sentences()
        if text not in KEPT
        for refused, better in REFUSED.items()
        for match in re.finditer(refused, text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


def test_a_phrase_is_found_behind_a_link_and_across_lines() -> None:
    texts = [text for _, text in _paragraphs("and <a href='/'>more</a>: the <b>waves</b>\ntell.\n\nNo {{ x }} image")]
    assert texts == ["and more: the waves tell.", "No … image"]


@pytest.mark.parametrize("text", ["--watch goes not with --json", "Nobody could read that.", "no trouble"])
def test_the_list_knows_the_phrases(text: str) -> None:
    assert any(re.search(refused, text, re.IGNORECASE) for refused in REFUSED)
