"""Tables for people, JSON for scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from rebuilder.cli.tables import FittingTable
from rebuilder.cli.terminal import CONTROL, printable, shortened
from rebuilder.domain.labels import label_of
from rebuilder.queries.answer import Answer

json_option = click.option("--json", "json_", is_flag=True, help="Print JSON.")


def as_json(value: Any) -> None:
    """Print a value, with the answers in it, as JSON, without control characters that a terminal would act on."""
    written = msgspec.json.format(msgspec.json.encode(value, enc_hook=_as_plain), indent=2).decode()
    click.echo(CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", written))


def _as_plain(value: Any) -> Any:
    if isinstance(value, Answer):
        return value.model_dump(mode="json")
    raise NotImplementedError(f"{type(value)} cannot be written as JSON")


def sanitize(value: object) -> Text:
    """The value as text for a terminal, without control characters, coloured where it is a state.

    What is such a text already stays as it is.
    """
    if isinstance(value, Text):
        return value
    word = shortened(printable(str(value)))
    return Text(word, style=label_of(word).style)


def bold(value: object) -> Text:
    """A name that the eye should find, as an image's."""
    return Text(sanitize(value).plain, style="bold")


def styled(words: str, state: str) -> Text:
    """Words in the colour of a state, or of a verdict of the plan."""
    return Text(sanitize(words).plain, style=label_of(state).style)


def line(*parts: object) -> Text:
    """One text of these parts."""
    return Text.assemble(*map(sanitize, parts))


def joined(between: str, parts: Iterable[object]) -> Text:
    """One text of these parts, with the same between any two."""
    return Text(between).join(map(sanitize, parts))


def print_line(*parts: object) -> None:
    """Print a line of these parts as it stands: only the terminal folds it."""
    console().print(line(*parts), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table as wide as the terminal, or as wide as its content where there is none."""
    console().print(make_table(columns, rows, title))


def make_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> FittingTable:
    """A table, to be printed."""
    return FittingTable(columns, [[sanitize(cell) for cell in row] for row in rows], sanitize(title) if title else None)


class _Output(Console):
    """Standard output, which a reader may close early: the command ends as it does where click prints."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """Standard output; wide where it is no terminal, so that scripts see whole lines."""
    plain = _Output()
    return plain if plain.is_terminal else _Output(width=max(plain.width, 200))


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error for long work, where that is a terminal; call what it gives with (done, total)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
