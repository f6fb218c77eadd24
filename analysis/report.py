"""The report of a sweep: tables and charts as files, and one page that holds them all."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from analysis.budgets import Budget
from analysis.charts import standard_charts
from analysis.drawings import NamedChart, begin_drawings
from analysis.errors import NoSuchFile
from analysis.every_trial import every_trial_table
from analysis.frames import load
from analysis.page import render_page
from analysis.places import Place, place_at
from analysis.report_files import chart_file, table_file
from analysis.standard_tables import standard_tables
from analysis.tables import Table

_PAGE = "report.html"
_LIST = "files.json"
"""The names of the files of the report, by which a later one knows what to remove."""
_WRITTEN = re.compile(r"(tables|charts)/[A-Za-z0-9_.-]+\.(csv|parquet|md|tex|svg|png|pdf)")
_MOST_TO_READ = 1000
"""Rows of a table that is written as Markdown and LaTeX too."""


@dataclass(frozen=True)
class Report:
    """What was written, and the tables in it."""

    html: Path | str | None
    """The page; it needs no other file and no network. A path, or an address without its
    credentials. None if it was not wanted."""
    paths: tuple[Path | str, ...]
    """Every file that was written, the page first."""
    tables: tuple[Table, ...]
    """The tables, the main comparison first, that of every trial last."""


def write_report(
    folder: Path | str,
    out: Path | str | None = None,
    *,
    budgets: Sequence[Budget] = (),
    target: float | None = None,
    only: Sequence[str] = (),
) -> Report:
    """Writes the report of a run folder, whether or not its sweep has ended.

    Args:
        folder: the run folder: a path, or an address that fsspec knows.
        out: where to write, a path or an address as well; `report` inside the run folder if not
            given. On a disk each file is written beside its place and then moved there, at an
            address it is put whole, so that a reader finds the old or the new one.
        budgets: to hold the optimisers to; those that all of them can meet if none is given.
        target: the test accuracy to tell the way to; one that all reached if not given.
        only: names of the files to write, without their folders, or patterns of names such as
            `accuracy_*.svg`; no other file is touched. All files if none is given.

    Raises:
        NoSuchFile: a name or pattern of `only` that no file of this report has.
        UnreadableRunFolder: `folder` is not a run folder or cannot be reached, or one of its files
            is damaged.
        OSError: a file cannot be written; `strerror` says why in a line, without credentials.
    """
    frames = load(folder)
    place = place_at(folder, "report") if out is None else place_at(out)
    charts = standard_charts(frames)
    tables = (*standard_tables(frames, budgets, target), every_trial_table(frames))
    wanted = _wanted(only, charts, tables)
    has_page = _PAGE in wanted
    drawn = begin_drawings(
        [each for each in charts if has_page or not wanted.isdisjoint(_chart_files(each.name))]
    )
    contents = {
        name: make(table)
        for table in tables
        for name, make in _table_files(table).items()
        if name in wanted
    }
    drawings = drawn()
    if has_page:
        contents = {_PAGE: render_page(frames, tables, drawings).encode(), **contents}
    for drawing in drawings:
        picture = drawing.picture
        pictures = (picture.svg.encode(), picture.png, picture.pdf)
        contents |= dict(zip(_chart_files(drawing.chart.name), pictures, strict=True))
    contents = {name: content for name, content in contents.items() if name in wanted}
    for name, content in contents.items():
        place.write(name, content)
    if not only:
        _forget_others(place, contents)
    paths = tuple(place.shown(name) for name in contents)
    return Report(html=paths[0] if has_page else None, paths=paths, tables=tables)


def _wanted(only: Sequence[str], charts: Sequence[NamedChart], tables: Sequence[Table]) -> set[str]:
    """The files to write, of all that the report has."""
    of_tables = (name for table in tables for name in _table_files(table))
    of_charts = (name for chart in charts for name in _chart_files(chart.name))
    files = {name: name.rpartition("/")[2] for name in (_PAGE, *of_tables, *of_charts)}
    for pattern in only:
        if not any(fnmatchcase(base, pattern) for base in files.values()):
            known = list(files.values())
            close = difflib.get_close_matches(pattern, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(known[:4])}, ..."
            raise NoSuchFile(f"no file of this report is named '{pattern}'; {hint}")
    return {
        name
        for name, base in files.items()
        if not only or any(fnmatchcase(base, pattern) for pattern in only)
    }


def _table_files(table: Table) -> dict[str, Callable[[Table], bytes]]:
    """The files of a table and how each is made; one too long to be read is for programs only."""
    is_readable = len(table.frame) <= _MOST_TO_READ
    return {
        table_file(table.name, ending): make
        for ending, make in _FORMS.items()
        if is_readable or ending not in _TO_READ
    }


_FORMS: dict[str, Callable[[Table], bytes]] = {
    "csv": lambda table: table.to_csv().encode(),
    "parquet": Table.to_parquet,
    "md": lambda table: table.to_markdown().encode(),
    "tex": lambda table: table.to_latex().encode(),
}
_TO_READ = ("md", "tex")


def _chart_files(name: str) -> list[str]:
    """The files of a chart, in the order of the forms of a picture: SVG, PNG and PDF."""
    return [chart_file(name, ending) for ending in ("svg", "png", "pdf")]


def _forget_others(place: Place, contents: Iterable[str]) -> None:
    """Removes what an earlier report wrote and this one did not, and lists what it did."""
    written = sorted(contents)
    try:
        earlier = json.loads(place.read(_LIST) or b"[]")
    except ValueError:
        earlier = []
    for name in earlier if isinstance(earlier, list) else ():
        if isinstance(name, str) and _WRITTEN.fullmatch(name) and name not in written:
            place.remove(name)
    place.write(_LIST, json.dumps(written, indent=0).encode())
