"""The documents: links lead somewhere, paths exist, and each command in them is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from rebuilder.cli import rebuilder

ROOT = Path(__file__).resolve().parents[2]
AT_ROOT = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
PAGES = [*(ROOT / name for name in AT_ROOT), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:rebuilder|consumers|tests|config|docs|systemd|packaging)/[\w./*-]*)`")
STAND_INS = {"IMAGE": "httpd:f42", "WAVE": "7", "ID": "7", "NVR": "openssl-3.2.2-1.fc42", "VERB": "status"}


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    path = request.param
    assert isinstance(path, Path)
    return path


def prose(text: str) -> str:
    return FENCE.sub("", text)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[tuple[str, bool]]:
    """Every command line that begins with `rebuilder`, and whether it is whole: in prose a verb may stand alone."""
    for _, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            typed = line.removeprefix("$ ")
            if re.match(r"rebuilder( |$)", typed):
                yield typed, True
    for line in re.findall(r"`(rebuilder [^`]+)`", prose(text).replace("\n", " ")):
        yield line, False


def parse(line: str, whole: bool = True) -> None:
    """Take a command line apart as the command does, without doing what it asks for. Raises click.UsageError."""
    words = [STAND_INS.get(word, word) for word in shlex.split(line, comments=True)[1:] if word not in ("...", "…")]
    words = words[: words.index("|")] if "|" in words else words
    command: click.Command = rebuilder
    context: click.Context | None = None
    while words and isinstance(command, click.Group):
        context = command.make_context(command.name, list(words), context)
        if not (words := [*context.protected_args, *context.args]):
            return
        _, found, words = command.resolve_command(context, words)
        assert found is not None  # else it is a usage error
        command = found
    try:
        command.make_context(command.name, list(words), context)
    except click.MissingParameter:
        if whole:
            raise
    except click.BadParameter as error:
        if error.param is None or not isinstance(error.param.type, click.File | click.Path):  # a file of the reader's
            raise


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size < 6000


def test_every_link_leads_to_a_page_and_a_heading_that_exist(page: Path) -> None:
    for link in LINK.findall(prose(page.read_text())):
        if re.match(r"\w+:", link):
            continue
        where, _, anchor = link.partition("#")
        target = (page.parent / where).resolve() if where else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_path_that_is_named_exists(page: Path) -> None:
    for path in PATH.findall(prose(page.read_text())):
        assert list(ROOT.glob(path)), path


def test_every_command_is_one_that_the_command_line_takes(page: Path) -> None:
    for line, whole in commands(page.read_text()):
        try:
            with suppress(click.exceptions.Exit):  # it asks for help, or for the version
                parse(line, whole)
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize("line", ["rebuilder reebuild x", "rebuilder status --jason", "rebuilder hold --until"])
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


def test_the_map_has_every_room_of_the_house() -> None:
    told = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = {f"rebuilder/{path.parent.name}/" for path in (ROOT / "rebuilder").glob("*/*.py")}
    modules = {f"rebuilder/{path.name}" for path in (ROOT / "rebuilder").glob("[a-z]*.py")}
    assert len(rooms) > 8
    assert not [room for room in rooms | modules if f"`{room}`" not in told]


def test_every_page_is_reached_from_the_readme() -> None:
    seen, new = set[Path](), [ROOT / "README.md"]
    while new:
        path = new.pop()
        seen.add(path)
        links = (link.partition("#")[0] for link in LINK.findall(prose(path.read_text())))
        found = {(path.parent / link).resolve() for link in links if link.endswith(".md")}
        new += [target for target in found - seen if target.exists()]
    assert seen >= set(PAGES)
