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
    r"\bit settles|changes settle;": "pending: waiting for further updates",
    r"nothing that came by the bus": "no update",
    r"the waves tell": "more in Waves",
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
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")


def _texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """The texts, docstrings and comments of a module, each with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, CODE.sub("", node.value)
    with path.open("rb") as file:
        comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    yield from ((token.start[0], CODE.sub("", token.string)) for token in comments)


def sentences() -> Iterator[tuple[str, str]]:
    """Each text that a person reads, with its place."""
    for folder in ("rebuilder", "consumers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "versions" not in path.parts:
                yield from ((f"{path.relative_to(ROOT)}:{line}", text) for line, text in _texts_of(path))
    templates, guides = (ROOT / "rebuilder/web/templates").iterdir(), (ROOT / "docs").glob("*.md")
    pages = [*sorted(templates), *sorted(guides), *(ROOT / name for name in DOCUMENTS)]
    for path in pages:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield f"{path.relative_to(ROOT)}:{number}", QUOTED_KEY.sub("", line)


def test_no_sentence_that_a_person_reads_has_a_refused_phrase() -> None:
    found = [
        f"{place}: {match[0]!r}: write {better!r}"
        for place, text in sentences()
        if text not in KEPT
        for refused, better in REFUSED.items()
        for match in re.finditer(refused, text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ["--watch goes not with --json", "Nobody could read that.", "no trouble"])
def test_the_list_knows_the_phrases(text: str) -> None:
    assert any(re.search(refused, text, re.IGNORECASE) for refused in REFUSED)
