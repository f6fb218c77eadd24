"""A table: a frame, how its columns are shown, and its Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.escaping import csv_text, latex_cells, latex_text, markdown_text
from analysis.wording import MISSING, format_number, optimizer_label, setting_text

_LONGEST = 72
"""Characters of a cell in Markdown and LaTeX, where a long one would break the table."""

Kind = Literal[
    "text", "optimizer", "setting", "number", "count", "seconds", "accuracy", "difference", "seeds"
]


_TEXTS: tuple[Kind, ...] = ("text", "optimizer", "setting")
"""Kinds that stand at the left of their column and are sorted as words."""


@dataclass(frozen=True, slots=True)
class Column:
    """One shown column, made from one or more columns of the frame."""

    header: str
    kind: Kind
    """How its figures are shown:

    - text, optimizer (its usual name), setting (`momentum=0.9` for each field that is there);
    - number (up to 6 digits), count (thousands separators), seconds (s, min or h);
    - accuracy: a share's mean, deviation and number of seeds, as `91.52 ± 0.31` per cent;
    - difference: a share and its interval's ends, as `-1.62 [-5.10, +1.86]` points;
    - seeds: numbers, shown once where they are the same.
    """
    fields: tuple[str, ...]
    mark: str | None = None
    """The column of the frame that marks its figures: "best", "tied" (not to be told apart from
    the best) or missing."""


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

    def to_markdown(self) -> str:
        """A GitHub table with aligned columns, between its title and its wrapped caption."""
        rows = [[markdown_text(cell) for cell in row] for row in self.rows(longest=_LONGEST)]
        headers = [markdown_text(column.header) for column in self.columns]
        widths = [
            max(3, *(len(row[place]) for row in [headers, *rows])) for place in range(len(headers))
        ]
        rules = [
            "-" * width if left else "-" * (width - 1) + ":"
            for width, left in zip(widths, self._left(), strict=True)
        ]
        lines = [self._markdown_line(row, widths) for row in [headers, rules, *rows]]
        body = "\n".join(lines) if rows else "No results yet."
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

    def to_latex(self) -> str:
        """A floating table that needs the package booktabs and nothing else."""
        alignment = "".join("l" if left else "r" for left in self._left())
        headers = latex_cells([column.header for column in self.columns])
        rows = [latex_cells(row) for row in self.rows(longest=_LONGEST)]
        if not rows:
            rows = [[f"\\multicolumn{{{len(headers)}}}{{l}}{{No results yet.}}"]]
        return "\n".join(
            [
                r"\begin{table}[htbp]",
                r"  \centering",
                rf"  \caption{{{latex_text(self.title)}. {latex_text(self.caption)}}}",
                rf"  \label{{tab:{re.sub('[^A-Za-z0-9]+', '-', self.name)}}}",
                rf"  \begin{{tabular}}{{{alignment}}}",
                r"    \toprule",
                f"    {' & '.join(headers)} \\\\",
                r"    \midrule",
                *(f"    {' & '.join(row)} \\\\" for row in rows),
                r"    \bottomrule",
                r"  \end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def to_html(self) -> str:
        """A `<table>` without title and caption; every cell is escaped."""
        lefts = self._left()
        head = "".join(
            f'<th scope="col"{_html_class("", left)}>{html.escape(column.header)}</th>'
            for column, left in zip(self.columns, lefts, strict=True)
        )
        body = "".join(
            "<tr>"
            + "".join(
                f"<td{_html_class(cell, left)}>{html.escape(cell)}</td>"
                for cell, left in zip(row, lefts, strict=True)
            )
            + "</tr>\n"
            for row in self.rows()
        )
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"

    def rows(self, longest: int | None = None) -> list[list[str]]:
        """The cells as they are shown; text above `longest` characters is shortened."""
        return [
            [_shortened(_cell(column, record), longest) for column in self.columns]
            for record in self.frame.to_dict("records")
        ]

    def marks(self) -> list[list[Mark | None]]:
        """Which of the cells of `rows` are the best of what they are compared with, or tied."""
        return [
            [_mark(record.get(column.mark)) for column in self.columns]
            for record in self.frame.to_dict("records")
        ]

    def sort_values(self) -> list[list[float | str | None]]:
        """What the cells of `rows` are sorted by: their first figure, or their text."""
        return [
            [
                _sort_value(column, record, cell)
                for column, cell in zip(self.columns, cells, strict=True)
            ]
            for record, cells in zip(self.frame.to_dict("records"), self.rows(), strict=True)
        ]

    def _left(self) -> list[bool]:
        return [column.kind in _TEXTS for column in self.columns]

    def _markdown_line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = [
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(cells, widths, self._left(), strict=True)
        ]
        return f"| {' | '.join(padded)} |"


def format_accuracy(mean: float, std: float, n_seeds: int) -> str:
    """A share as per cent with its deviation; without one it says what it rests on."""
    if pd.isna(mean):
        return MISSING
    if pd.notna(std):
        return f"{100 * mean:.2f} ± {100 * std:.2f}"
    return f"{100 * mean:.2f} ({n_seeds} {'seed' if n_seeds == 1 else 'seeds'})"


def format_metric(metric: str, value: float) -> str:
    """A figure of a run with its unit: `91.52 %`, `12.5 min`, `0.3120 nats`; a count has none."""
    if pd.isna(value):
        return MISSING
    if metric.endswith("_accuracy"):
        return f"{100 * value:.2f} %"
    if metric == "training_s":
        return format_seconds(value)
    return f"{value:.4f} nats" if metric.endswith("_loss") else f"{round(value):,}"


def format_seconds(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if pd.isna(seconds):
        return MISSING
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h"


def _mark(value: Any) -> Mark | None:
    return value if value in ("best", "tied") else None


def _sort_value(column: Column, record: Mapping[Hashable, Any], cell: str) -> float | str | None:
    if cell == MISSING:
        return None
    value = record[column.fields[0]]
    is_number = isinstance(value, int | float | np.number)
    return float(value) if is_number and column.kind not in _TEXTS else cell


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


def _format_difference(values: list[Any]) -> str:
    difference, low, high = (
        MISSING if pd.isna(value) else f"{100 * value:+.2f}".replace("-", "−") for value in values
    )
    return difference if pd.isna(values[1]) else f"{difference} [{low}, {high}]"


def _format_seeds(values: list[Any]) -> str:
    counts = [str(value) for value in values]
    return counts[0] if len(set(counts)) == 1 else " / ".join(counts)


_FORMATS: dict[str, Callable[[list[Any]], str]] = {
    "text": _format_text,
    "optimizer": _format_optimizer,
    "number": lambda values: format_number(values[0]),
    "count": _format_count,
    "accuracy": lambda values: format_accuracy(values[0], values[1], values[2]),
    "difference": _format_difference,
    "seconds": lambda values: format_seconds(values[0]),
    "seeds": _format_seeds,
}


def _shortened(text: str, longest: int | None) -> str:
    text = " ".join(text.split())
    return text if longest is None or len(text) <= longest else text[: longest - 1] + "…"


def _html_class(cell: str, left: bool) -> str:
    if not left:
        return ' class="number"'
    return ' class="long"' if len(cell) > _LONGEST else ""
