"""A table: a frame, how its columns are shown, and its Markdown, CSV, Parquet, LaTeX and HTML."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis import formats
from analysis.escaping import csv_text, markdown_text
from analysis.html_tables import html_table
from analysis.latex_tables import latex_table
from analysis.wording import MISSING, format_number, optimizer_label, setting_text

LONGEST = 72
"""Characters of a cell in Markdown and LaTeX, where a long one would break the table."""

Kind = Literal[
    "text",
    "optimizer",
    "setting",
    "number",
    "count",
    "seconds",
    "accuracy",
    "estimate",
    "figure",
    "difference",
    "p_value",
    "share",
    "percent",
    "budget",
    "used",
    "reached",
    "seeds",
]
_TEXTS: tuple[Kind, ...] = ("text", "optimizer", "setting", "budget", "used")
"""Kinds that stand at the left of their column and are sorted as words."""


@dataclass(frozen=True, slots=True)
class Column:
    """One shown column, made from one or more columns of the frame."""

    header: str
    kind: Kind
    """How its figures are shown, each rounded to what its interval supports:

    - text, optimizer (its usual name), setting (`momentum=0.9` for each field that is there);
    - number (up to 6 digits), count (thousands separators), seconds (s, min or h);
    - accuracy: a share's mean, deviation and number of seeds, as `91.5 ± 0.4` per cent, where the
      second figure is half of the 95 % interval (Student's t);
    - estimate: a share, its interval's ends and its seeds, as `91.5 ± 0.4` per cent, or as
      `91.5 [90.9, 91.8]` where the interval is lopsided; figure: the same of any other number;
    - difference: a share and its interval's ends, as `−1.6 [−5.1, +1.9]` points;
    - p_value, share (whole per cent: `93 %`), percent (up to 6 digits, without the sign), budget (a
      kind of budget and its amount: `3 cycles`), used (a kind of budget and amounts: `3 / 2`);
    - reached: two numbers, as `2 of 3`; seeds: numbers, shown once where they are the same.
    """
    fields: tuple[str, ...]
    mark: str | None = None
    """The column of the frame that marks its figures: "best", "tied" (not to be told apart from
    the best) or missing."""

    @property
    def is_text(self) -> bool:
        """Whether it holds words, which stand at the left of their column."""
        return self.kind in _TEXTS


Mark = Literal["best", "tied"]


@dataclass(frozen=True)
class Table:
    """A frame with a title, a caption and the columns to show."""

    name: str
    """Its file's name, without the ending."""
    title: str
    caption: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]

    def to_markdown(self, most_rows: int | None = None) -> str:
        """A GitHub table with aligned columns, between its title and its wrapped caption.

        The best figures are bold, those that cannot be told apart from them italic.

        Args:
            most_rows: rows that are shown of a longer table, which then says so.
        """
        part = self if most_rows is None else replace(self, frame=self.frame.head(most_rows))
        rows = [
            [_MARKED[mark].format(markdown_text(cell)) for cell, mark in zip(row, own, strict=True)]
            for row, own in zip(part.rows(longest=LONGEST), part.marks(), strict=True)
        ]
        headers = [markdown_text(column.header) for column in self.columns]
        widths = [
            max(3, *(len(row[place]) for row in [headers, *rows])) for place in range(len(headers))
        ]
        rules = [
            "-" * width if column.is_text else "-" * (width - 1) + ":"
            for width, column in zip(widths, self.columns, strict=True)
        ]
        lines = [self._markdown_line(row, widths) for row in [headers, rules, *rows]]
        body = "\n".join(lines) if rows else "No results yet."
        if len(rows) < len(self.frame):
            body += f"\n\nThe first {len(rows):,} of {len(self.frame):,} rows."
        # a long word stays whole: a break after a backslash would undo what it escapes
        caption = textwrap.fill(markdown_text(self.caption), 100, break_long_words=False)
        # nor does a mark that came to the beginning of a line begin a heading or a list
        caption = re.sub(r"^(?=[#>+=~-])", r"\\", caption, flags=re.MULTILINE)
        title = f"### {markdown_text(self.title)}"
        return "\n\n".join(part for part in (title, body, caption) if part) + "\n"

    def to_csv(self) -> str:
        """The whole frame, numbers as they are: accuracies are shares of 1, times seconds.

        Text that a spreadsheet would compute (`=1+1`) stands behind an apostrophe.
        """
        frame = self.frame.rename(columns=csv_text)
        for place, dtype in enumerate(frame.dtypes):
            if not (pd.api.types.is_numeric_dtype(dtype) or isinstance(dtype, pd.DatetimeTZDtype)):
                texts = frame.iloc[:, place].map(csv_text, na_action="ignore")
                frame.isetitem(place, texts.array)
        return str(frame.to_csv(index=False, lineterminator="\n"))

    def to_parquet(self) -> bytes:
        """The whole frame as `to_csv` has it, with its types."""
        file = io.BytesIO()
        self.frame.to_parquet(file, index=False)
        return file.getvalue()

    def to_latex(self) -> str:
        """A floating table for the packages booktabs and siunitx (`latex_table`)."""
        return latex_table(self)

    def to_html(self) -> str:
        """A `<table>` without title and caption; every cell is escaped (`html_table`)."""
        return html_table(self)

    def rows(self, longest: int | None = None) -> list[list[str]]:
        """The cells as they are shown; text above `longest` characters is shortened."""
        if longest is None:
            return self._cells
        return [[_shortened(cell, longest) for cell in row] for row in self._cells]

    def marks(self) -> list[list[Mark | None]]:
        """Which of the cells of `rows` are the best of what they are compared with, or tied."""
        return self._marks

    def sort_values(self) -> list[list[float | str | None]]:
        """What the cells of `rows` are sorted by: their first figure, or their text."""
        return [
            [
                _sort_value(column, record, cell)
                for column, cell in zip(self.columns, cells, strict=True)
            ]
            for record, cells in zip(self.records, self._cells, strict=True)
        ]

    @cached_property
    def records(self) -> list[dict[Hashable, Any]]:
        """The rows of the frame, by the names of its columns."""
        return self.frame.to_dict("records")

    @cached_property
    def _marks(self) -> list[list[Mark | None]]:
        return [
            [_mark(record.get(column.mark)) for column in self.columns] for record in self.records
        ]

    @cached_property
    def _cells(self) -> list[list[str]]:
        return [
            [" ".join(_cell(column, record).split()) for column in self.columns]
            for record in self.records
        ]

    def _markdown_line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = [
            cell.ljust(width) if column.is_text else cell.rjust(width)
            for cell, width, column in zip(cells, widths, self.columns, strict=True)
        ]
        return f"| {' | '.join(padded)} |"


_MARKED = {"best": "**{}**", "tied": "_{}_", None: "{}"}


def _mark(value: Any) -> Mark | None:
    return value if value in ("best", "tied") else None


def _sort_value(column: Column, record: Mapping[Hashable, Any], cell: str) -> float | str | None:
    if cell == MISSING:
        return None
    value = record[column.fields[0]]
    is_number = isinstance(value, int | float | np.number)
    return float(value) if is_number and not column.is_text else cell


def _cell(column: Column, record: Mapping[Hashable, Any]) -> str:
    if column.kind == "setting":
        return setting_text(record, column.fields) or MISSING
    return _FORMATS[column.kind]([record[name] for name in column.fields])


def _format_text(values: list[Any]) -> str:
    return MISSING if pd.isna(values[0]) else " ".join(str(values[0]).split())


def _format_optimizer(values: list[Any]) -> str:
    return MISSING if pd.isna(values[0]) else optimizer_label(str(values[0]))


def _format_count(values: list[Any]) -> str:
    return MISSING if pd.isna(values[0]) else f"{round(values[0]):,}"


def _format_seeds(values: list[Any]) -> str:
    counts = [str(value) for value in values]
    return counts[0] if len(set(counts)) == 1 else " / ".join(counts)


_FORMATS: dict[str, Callable[[list[Any]], str]] = {
    "text": _format_text,
    "optimizer": _format_optimizer,
    "number": lambda values: format_number(values[0]),
    "count": _format_count,
    "seconds": lambda values: formats.format_seconds(values[0]),
    "accuracy": lambda values: formats.format_accuracy(*values),
    "estimate": lambda values: formats.format_estimate(*values),
    "figure": lambda values: formats.format_estimate(*values, scale=1),
    "difference": lambda values: formats.format_difference(*values),
    "p_value": lambda values: formats.format_p_value(values[0]),
    "percent": lambda values: format_number(100 * values[0]),
    "share": lambda values: formats.format_share(values[0]),
    "budget": lambda values: formats.format_budget(*values),
    "used": lambda values: formats.format_used(*values),
    "reached": lambda values: f"{values[0]:,} of {values[1]:,}",
    "seeds": _format_seeds,
}


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
