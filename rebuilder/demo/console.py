"""What the demonstration shows while it runs, and at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rebuilder.demo.report import Line
from rebuilder.domain.lifecycle import RebuildRecord

COLUMNS = ("image", "level", "before", "after", "took", "parents first", "verdict")
STYLES = {"building": "bold blue", "succeeded": "green", "failed": "bold red", "blocked": "yellow", "queued": "cyan"}


class Screen:
    """A terminal, or a file: then every step is a line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def step(self, what: str) -> None:
        """One thing is done."""
        text = Text.assemble((f"{time.monotonic() - self._began:5.1f}s ", "dim"), what)
        self._console.print(text, soft_wrap=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar for long work; call what it gives for each piece that is done."""
        columns = (TextColumn("       {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)
        self.step(f"{what}: {total} done")

    @contextmanager
    def watching(self) -> Iterator[Callable[[Sequence[RebuildRecord]], None]]:
        """A table that is drawn anew each time; without a terminal, a line for each new state."""
        if not self._console.is_terminal:
            yield self._lines()
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            yield lambda entries: live.update(_states(entries), refresh=True)

    def _lines(self) -> Callable[[Sequence[RebuildRecord]], None]:
        seen: dict[int, str] = {}

        def show(entries: Sequence[RebuildRecord]) -> None:
            for entry in entries:
                if seen.get(entry.id) != entry.state:
                    seen[entry.id] = entry.state
                    self.step(f"{'  ' * entry.level}{entry.image} {entry.state} {entry.reason}".rstrip())

        return show

    def verdict(self, lines: Sequence[Line]) -> None:
        """The closing table."""
        table = Table(*COLUMNS, box=None, padding=(0, 1, 0, 0))
        for line in lines:
            table.add_row(
                line.image, str(line.level), line.before, line.after,
                f"{line.seconds:.1f}s" if line.seconds is not None else "",
                {None: "", True: "yes", False: "NO"}[line.after_parents],
                Text(line.verdict, style="green" if line.good else "bold red"),
            )
        self._console.print(table)
        bad = sum(not line.good for line in lines)
        took = time.monotonic() - self._began
        self._console.print(f"{len(lines) - bad} of {len(lines)} images as they should be, in {took:.0f} s")


def _states(entries: Sequence[RebuildRecord]) -> Table:
    table = Table("image", "state", "", box=None)
    for entry in entries:
        state = str(entry.state)
        table.add_row("  " * entry.level + entry.image, Text(state, style=STYLES.get(state, "dim")), entry.reason)
    return table
