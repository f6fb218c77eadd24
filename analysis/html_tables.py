"""A table as HTML: cells that carry their order, marks with a legend, long tables as data."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.page_scripts import data_block

if TYPE_CHECKING:
    from analysis.tables import Mark, Table

MOST_WRITTEN_OUT = 100
"""Rows of a table that stands in the page whole; a longer one is shown in pages."""
FIRST_ROWS = 50
"""Rows of a longer table that are written out: its first page, and all without JavaScript."""
_LONGEST = 72
"""Characters of a cell that stays on one line."""
_MARKS: dict[Mark, tuple[str, str]] = {
    "best": ("b", "The best of those that are compared"),
    "tied": ("i", "Not to be told apart from the best"),
}


def html_table(table: Table) -> str:
    """A `<table>`, then what its marks mean unless the caption does, then the data of a long one.

    Every cell is escaped. The cells of a head are buttons, for a script to enable: without one
    they are plain words. A cell says with `data-rank` where its value stands among those of its
    column; one that shows no value has no rank and comes last, whichever way the rows are sorted.
    """
    rows, marks = table.rows(), table.marks()
    values = table.sort_values()
    n_columns = len(table.columns)
    ranks = [column_ranks([row[place] for row in values]) for place in range(n_columns)]
    numeric = [not column.is_text for column in table.columns]
    is_long = len(rows) > MOST_WRITTEN_OUT
    head = "".join(
        f'<th scope="col"{_html_class("", number)}>'
        f'<button type="button" disabled>{html.escape(column.header)}</button></th>'
        for column, number in zip(table.columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            _cell(cell, number, ranks[place][index], marks[index][place])
            for place, (cell, number) in enumerate(zip(row, numeric, strict=True))
        )
        + "</tr>\n"
        for index, row in enumerate(rows[:FIRST_ROWS] if is_long else rows)
    )
    return "".join(
        [
            f"<table>\n<caption>{html.escape(table.title)}</caption>\n",
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>",
            # a caption may say it itself
            "" if "bold" in table.caption.casefold() else _legend(marks),
            f"\n{data_block(table_data(rows, ranks, marks), 'rows')}" if is_long else "",
        ]
    )


def column_ranks(values: Sequence[float | str | None]) -> list[int | None]:
    """Where each value stands among the distinct ones, from 0; None for one that is missing.

    Numbers come before texts. Texts are compared without regard to case, and the numbers within
    them as numbers: `conv2` before `conv10`.
    """
    keys = [_key(value) for value in values]
    places = {key: place for place, key in enumerate(sorted({k for k in keys if k is not None}))}
    return [None if key is None else places[key] for key in keys]


def table_data(
    rows: Sequence[Sequence[str]],
    ranks: Sequence[Sequence[int | None]],
    marks: Sequence[Sequence[Mark | None]],
) -> dict[str, Any]:
    """The rows of a table by column, as the page's script reads them.

    Returns:
        `n_rows`; `columns`, each with its different `texts`, the `ranks` of these and, where a
        text comes twice, `cells`, which has for each row the place of its text; `marks`, which has
        for "best" and "tied" the places (row, column) of such cells.
    """
    columns = []
    for place, own in enumerate(ranks):
        pairs = [(row[place], rank) for row, rank in zip(rows, own, strict=True)]
        distinct = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
        column: dict[str, Any] = {
            "texts": [text for text, _ in distinct],
            "ranks": [rank for _, rank in distinct],
        }
        if len(distinct) < len(pairs):
            column["cells"] = [distinct[pair] for pair in pairs]
        columns.append(column)
    marked: dict[Mark, list[tuple[int, int]]] = {mark: [] for mark in _MARKS}
    for index, row in enumerate(marks):
        for place, mark in enumerate(row):
            if mark is not None:
                marked[mark].append((index, place))
    return {"n_rows": len(rows), "columns": columns, "marks": marked}


def _key(value: float | str | None) -> tuple[Any, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        # digits stay text, since no number is too long for one: more of them is more
        parts = re.split("([0-9]+)", value.casefold())
        return (
            1,
            *((len(p.lstrip("0")), p.lstrip("0")) if p.isdigit() else (-1, p) for p in parts),
        )
    return None if math.isnan(value) else (0, value)


def _cell(text: str, numeric: bool, rank: int | None, mark: Mark | None) -> str:
    shown = html.escape(text)
    if mark is not None:
        tag, title = _MARKS[mark]
        shown = f'<{tag} title="{title}">{shown}</{tag}>'
    order = "" if rank is None else f' data-rank="{rank}"'
    return f"<td{_html_class(text, numeric)}{order}>{shown}</td>"


def _html_class(cell: str, numeric: bool) -> str:
    if numeric:
        return ' class="number"'
    return ' class="long"' if len(cell) > _LONGEST else ""


def _legend(marks: Sequence[Sequence[Mark | None]]) -> str:
    """A line that says what the marks mean, where there are any."""
    present = {mark for row in marks for mark in row if mark is not None}
    names: dict[Mark, str] = {"best": "<b>Bold</b>", "tied": "<i>Italic</i>"}
    told = [
        f"{names[mark]}: {title[0].lower()}{title[1:]}."
        for mark, (_, title) in _MARKS.items()
        if mark in present
    ]
    return f'\n<p class="legend">{" ".join(told)}</p>' if told else ""
