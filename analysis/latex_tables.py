r"""A table as LaTeX: rules by booktabs, figures aligned at the decimal point by siunitx."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import formats
from analysis.escaping import latex_cells, latex_text
from analysis.wording import MISSING

if TYPE_CHECKING:
    from analysis.tables import Column, Mark, Table

_PREAMBLE = r"% in the preamble: \usepackage{booktabs,siunitx}"
_SIUNITX = (
    # what the two major versions of siunitx both take
    r"\sisetup{detect-weight=true, detect-shape=true, mode=text, group-minimum-digits=4, "
    r"group-separator={,}, table-number-alignment=center, retain-explicit-plus=true}"
)
_MOST_AT_EASE = 8
"""Columns that a page holds in small letters."""
_MARKED = {"best": r"\bfseries ", "tied": r"\itshape ", None: ""}


def latex_table(table: Table) -> str:
    r"""A floating table to `\input`; it needs the packages booktabs and siunitx.

    The best figures are bold, those that cannot be told apart from them slanted. Seconds share
    one unit, which the header names.
    """
    columns = [_latex_column(table, place) for place in range(len(table.columns))]
    n_columns = sum(column.n for column in columns)
    if columns and len(table.frame):
        cells = zip(*(column.cells for column in columns), strict=True)
        rows = [" & ".join(cell for group in row for cell in group) for row in cells]
    else:
        rows = [rf"\multicolumn{{{n_columns}}}{{l}}{{No results yet.}}"]
    name = re.sub("[^A-Za-z0-9]+", "-", table.name)
    return "\n".join(
        [
            _PREAMBLE,
            r"\begin{table}[htbp]",
            r"  \centering",
            rf"  \caption{{{latex_text(table.title)}. {latex_text(table.caption)}}}",
            rf"  \label{{tab:{name}}}",
            r"  \vspace{4pt}",
            rf"  {_narrow(n_columns)} {_SIUNITX}",
            rf"  \begin{{tabular}}{{{''.join(column.alignment for column in columns)}}}",
            r"    \toprule",
            f"    {' & '.join(column.header for column in columns)} \\\\",
            r"    \midrule",
            *(f"    {row} \\\\" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


@dataclass(frozen=True, slots=True)
class _LatexColumn:
    """One column of the table as one or two of LaTeX."""

    alignment: str
    header: str
    cells: Sequence[Sequence[str]]
    """Row by row, one or two."""
    n: int = 1


def _narrow(n_columns: int) -> str:
    """The size of the letters and the gaps at which so many columns fit a page."""
    if n_columns <= _MOST_AT_EASE:
        return r"\small"
    return r"\footnotesize \setlength{\tabcolsep}{3pt}"


def _latex_column(table: Table, place: int) -> _LatexColumn:
    column = table.columns[place]
    records = table.records
    marks = [row[place] for row in table.marks()]
    header = rf"{{{latex_text(column.header)}}}"
    if column.kind in _PARTS:
        return _estimates(column, records, marks, header)
    if column.kind == "seconds":
        seconds = [record[column.fields[0]] for record in records]
        unit, size = _unit(seconds)
        texts = [_plain(value / size) if pd.notna(value) else MISSING for value in seconds]
        return _numbers(texts, marks, rf"{{{latex_text(column.header)} ({unit})}}")
    if column.kind in ("number", "count"):
        texts = [_number(record[column.fields[0]]) for record in records]
        if all(_is_number(text) or text == MISSING for text in texts):
            return _numbers(texts, marks, header)
    return _texts(table, place, marks, header)


def _texts(table: Table, place: int, marks: Sequence[Mark | None], header: str) -> _LatexColumn:
    column = table.columns[place]
    escape = latex_cells if place == 0 else lambda cells: [latex_text(cell) for cell in cells]
    cells = [escape([row[place]])[0] for row in table.rows(longest=_LONGEST)]
    shown = [[_MARKED[mark] + cell] for cell, mark in zip(cells, marks, strict=True)]
    (first,) = escape([column.header])
    return _LatexColumn("l" if column.is_text else "r", first if place == 0 else header, shown)


_LONGEST = 72


def _numbers(texts: Sequence[str], marks: Sequence[Mark | None], header: str) -> _LatexColumn:
    cells = [[_s_cell(text, mark)] for text, mark in zip(texts, marks, strict=True)]
    return _LatexColumn(_s_column(texts), header, cells)


def _estimates(
    column: Column,
    records: Sequence[Mapping[Hashable, Any]],
    marks: Sequence[Mark | None],
    header: str,
) -> _LatexColumn:
    """The figure in a column of numbers, and its interval in one of text beside it."""
    parts = [_PARTS[column.kind]([record[name] for name in column.fields]) for record in records]
    cells = [
        [_s_cell(figure, mark), (_MARKED[mark] if rest else "") + latex_text(rest)]
        for (figure, rest), mark in zip(parts, marks, strict=True)
    ]
    alignment = rf"{_s_column([figure for figure, _ in parts])}@{{\,}}l"
    return _LatexColumn(alignment, rf"\multicolumn{{2}}{{c}}{header}", cells, n=2)


def _accuracy_parts(values: list[Any]) -> tuple[str, str]:
    text = formats.format_accuracy(*values)
    figure, _, rest = text.partition(" ")
    return figure, rest


def _estimate_parts(values: list[Any], scale: float = 100) -> tuple[str, str]:
    text = formats.format_estimate(*values, scale=scale)
    figure, _, rest = text.partition(" ")
    return figure, rest


_PARTS: dict[str, Callable[[list[Any]], tuple[str, str]]] = {
    "accuracy": _accuracy_parts,
    "estimate": _estimate_parts,
    "figure": lambda values: _estimate_parts(values, 1),
    "difference": lambda values: formats.difference_parts(*values),
}


def _s_cell(text: str, mark: Mark | None) -> str:
    if text == MISSING:
        return "{---}"
    return _MARKED[mark] + text.replace("−", "-")


def _s_column(texts: Sequence[str]) -> str:
    """The column type of some numbers, with room for the longest on either side of the point."""
    numbers = [text.replace("−", "-") for text in texts if text != MISSING]
    sign = "+" if any(n.startswith("+") for n in numbers) else ""
    sign = sign or ("-" if any(n.startswith("-") for n in numbers) else "")
    parts = [number.lstrip("+-").partition(".") for number in numbers] or [("1", "", "")]
    whole, decimals = (max(len(part[place]) for part in parts) for place in (0, 2))
    return (
        rf"S[table-format={sign}{whole}.{decimals}]"
        if decimals
        else (rf"S[table-format={sign}{whole}]")
    )


def _number(value: Any) -> str:
    if pd.isna(value):
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return str(value) if isinstance(value, int) else _plain(value, digits=6)


def _plain(value: float, digits: int = 3) -> str:
    """A number without an exponent, with that many digits that mean something."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    # a setting such as 0.5 is shown as it was written
    return (text.rstrip("0").rstrip(".") if "." in text else text) if digits > 3 else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", text) is not None


def _unit(seconds: Sequence[Any]) -> tuple[str, float]:
    largest = max((value for value in seconds if pd.notna(value)), default=0.0)
    return ("s", 1.0) if largest < 7200 else ("min", 60.0) if largest < 432000 else ("h", 3600.0)
