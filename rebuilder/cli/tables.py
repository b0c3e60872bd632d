"""Tables that fit the terminal: on a narrow one the longest text wraps; on one that is too narrow, rows are blocks."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

INDENT = (0, 0, 0, 2)  # of what stands below the name: top, right, bottom, left
READABLE = 24  # columns that wrapped text needs to be read
KEYS = ("image", "name")  # columns whose cells head a block; else the first one does


class FittingTable(Struct, frozen=True):
    """A table whose names are never cut; one that is longer than a line goes on in the next.

    Only the widest column that has more than single words may wrap.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Text]]
    title: Text | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [max([len(head), *(row[at].cell_len for row in self.rows)]) for at, head in enumerate(self.columns)]
        wraps = self._widest_prose(widths)
        least = sum(min(width, READABLE) if at == wraps else width for at, width in enumerate(widths))
        if least + len(widths) - 1 <= options.max_width:
            yield self._table(wraps)
            return
        if self.title:
            yield self.title
        for row in self.rows:
            yield from self._block(row, wraps)

    def _widest_prose(self, widths: Sequence[int]) -> int | None:
        """The column that can be folded between words; the widest where there are more of them."""
        prose = [at for at in range(len(widths)) if any(" " in row[at].plain for row in self.rows)]
        return max(prose, key=lambda at: widths[at], default=None)

    def _table(self, wraps: int | None) -> Table:
        table = Table(title=self.title, title_justify="left", header_style="bold", box=None, pad_edge=False)
        for at, head in enumerate(self.columns):
            table.add_column(head, no_wrap=at != wraps, overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def _block(self, row: Sequence[Text], wraps: int | None) -> RenderResult:
        """The name; below it what is short, on one line where that is enough, and then the text."""
        key = next((self.columns.index(name) for name in KEYS if name in self.columns), 0)
        yield Text(row[key].plain, style=row[key].style or "bold", overflow="fold")
        cells = {at: self._cell(row, at) for at, cell in enumerate(row) if at != key and cell.plain.strip()}
        prose = cells.pop(wraps, None) if wraps is not None else None
        if cells:
            yield Padding(Text("  ", overflow="fold").join(cells.values()), INDENT)
        if prose:
            yield Padding(prose, INDENT)

    def _cell(self, row: Sequence[Text], at: int) -> Text:
        return Text.assemble((f"{self.columns[at]}: ", "dim"), row[at], overflow="fold")
