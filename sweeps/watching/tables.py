"""Tables for a terminal: as wide as it is, the least needed columns left out where it is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from analysis import Table
from analysis.escaping import printable_text

_LEAST_NEEDED = ("n_candidates", "n_seeds", "probability", "p_holm", "validation_accuracy_mean")
"""The columns that may be left out, by what they show first or end in; this one before the next."""
_NARROWEST_TEXT = 8
_STYLES = {"best": "bold", "tied": "italic", None: ""}


@dataclass(frozen=True, slots=True)
class TerminalColumn:
    """A column of a table for a terminal."""

    header: str
    cells: tuple[Text, ...]
    is_text: bool = False
    """Whether it holds words: at the left, and shortened where there is no room."""
    rank: int = 0
    """The larger, the sooner it is left out; 0 for one that is needed."""

    @property
    def width(self) -> int:
        """In characters of a terminal."""
        return max(cell_len(self.header), *(cell.cell_len for cell in self.cells), 1)


def line_of(text: str = "", style: str = "") -> Text:
    """A line of this program's own words, cut where the terminal ends."""
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def plain(text: str, style: str = "") -> Text:
    """Anybody's words as a line: neither markup nor anything that a terminal would obey."""
    return line_of(printable_text(text), style)


def columns_of(table: Table) -> list[TerminalColumn]:
    """The columns of a table of the analysis; the best cells bold, those tied with it italic."""
    rows = [
        [plain(cell, _STYLES[mark]) for cell, mark in zip(row, own, strict=True)]
        for row, own in zip(table.rows(), table.marks(), strict=True)
    ]
    return [
        TerminalColumn(
            printable_text(column.header),
            tuple(row[place] for row in rows),
            column.is_text,
            _rank(column.fields[0]),
        )
        for place, column in enumerate(table.columns)
    ]


def terminal_table(columns: Sequence[TerminalColumn], width: int, n_lines: int) -> RenderableType:
    """A table of at most that many lines, its header included; the last one tells what is left out.

    Args:
        columns: with equally many cells, at least one.
        width: of the terminal.
        n_lines: at least 2.
    """
    n_rows = len(columns[0].cells)
    n_shown = n_rows if n_rows < n_lines else max(0, n_lines - 2)
    shown = [replace(column, cells=column.cells[:n_shown]) for column in columns]
    shown, gap = _fitted(shown, width)
    table = RichTable(
        box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim", expand=False
    )
    for column in shown:
        table.add_column(
            Text(column.header), justify="left" if column.is_text else "right", no_wrap=True
        )
    for place in range(n_shown):
        table.add_row(*(column.cells[place] for column in shown))
    if n_shown < n_rows:
        return Group(table, Text(f"and {n_rows - n_shown:,} more", "dim"))
    return table


def _fitted(columns: list[TerminalColumn], width: int) -> tuple[list[TerminalColumn], int]:
    """The columns that fit, with shortened texts if need be, and the space between two."""
    for gap in (2, 1):
        if _total(columns, gap) <= width:
            return columns, gap
    kept = list(columns)
    while _total(kept, 1) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    for place in sorted(range(len(kept)), key=lambda place: -kept[place].width):
        excess = _total(kept, 1) - width
        if excess > 0 and kept[place].is_text:
            kept[place] = _shortened(kept[place], max(_NARROWEST_TEXT, kept[place].width - excess))
    while _total(kept, 1) > width and len(kept) > 1:
        kept.pop()
    return kept, 1


def _total(columns: Sequence[TerminalColumn], gap: int) -> int:
    return sum(column.width for column in columns) + gap * (len(columns) - 1)


def _shortened(column: TerminalColumn, width: int) -> TerminalColumn:
    cells = tuple(cell.copy() for cell in column.cells)
    for cell in cells:
        cell.truncate(width, overflow="ellipsis")
    header = column.header
    if cell_len(header) > width:
        header = set_cell_size(header, width)
    return replace(column, header=header, cells=cells)


def _rank(field: str) -> int:
    for place, name in enumerate(_LEAST_NEEDED):
        if field == name or field.endswith(f"_{name}"):
            return len(_LEAST_NEEDED) - place
    return 0
