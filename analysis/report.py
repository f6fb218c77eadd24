"""The report of a sweep: tables and charts as files, and one page that holds them all."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from analysis.budgets import Budget
from analysis.charts import standard_charts
from analysis.drawings import NamedChart, begin_drawings
from analysis.errors import NoSuchFile
from analysis.every_trial import every_trial_table
from analysis.frames import Frames, load
from analysis.page import render_page
from analysis.places import Place, place_at
from analysis.report_files import chart_file, table_file
from analysis.standard_tables import standard_tables
from analysis.tables import Table

_PAGE = "report.html"
_LIST = "files.json"
"""The names of the files of the report, by which a later one knows what to remove."""
_WRITTEN = re.compile(r"(tables|charts)/[A-Za-z0-9_.-]+\.(csv|parquet|md|tex|svg|png|pdf)")
_PICTURES = ("svg", "png", "pdf")
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
    charts, tables = standard_charts(frames), _tables(frames, budgets, target)
    if only:
        _check_wanted(only, charts, tables)
        charts = tuple(each for each in charts if _is_wanted(_PAGE, only) or _is_drawn(each, only))
    drawn = begin_drawings(charts)
    written = {
        table_file(table.name, ending): content
        for table in tables
        for ending, content in _forms(table).items()
    }
    drawings = drawn()
    contents = written
    if _is_wanted(_PAGE, only):
        contents = {_PAGE: render_page(frames, tables, drawings).encode(), **written}
    for drawing in drawings:
        picture, name = drawing.picture, drawing.chart.name
        contents[chart_file(name, "svg")] = picture.svg.encode()
        contents[chart_file(name, "png")] = picture.png
        contents[chart_file(name, "pdf")] = picture.pdf
    contents = {name: content for name, content in contents.items() if _is_wanted(name, only)}
    for name, content in contents.items():
        place.write(name, content)
    if not only:
        _forget_others(place, contents)
    paths = tuple(place.shown(name) for name in contents)
    return Report(html=paths[0] if _PAGE in contents else None, paths=paths, tables=tables)


def _tables(frames: Frames, budgets: Sequence[Budget], target: float | None) -> tuple[Table, ...]:
    return (*standard_tables(frames, budgets, target), every_trial_table(frames))


def _is_wanted(name: str, only: Sequence[str]) -> bool:
    base = name.rpartition("/")[2]
    return not only or any(fnmatchcase(base, pattern) for pattern in only)


def _is_drawn(chart: NamedChart, only: Sequence[str]) -> bool:
    return any(_is_wanted(chart_file(chart.name, ending), only) for ending in _PICTURES)


def _check_wanted(
    only: Sequence[str], charts: Sequence[NamedChart], tables: Sequence[Table]
) -> None:
    files = [
        _PAGE,
        *(table_file(table.name, form) for table in tables for form in _forms(table)),
        *(chart_file(chart.name, ending) for chart in charts for ending in _PICTURES),
    ]
    bases = [name.rpartition("/")[2] for name in files]
    for pattern in only:
        if not any(fnmatchcase(base, pattern) for base in bases):
            close = difflib.get_close_matches(pattern, bases, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(bases[:4])}, ..."
            raise NoSuchFile(f"no file of this report is named '{pattern}'; {hint}")


def _forms(table: Table) -> dict[str, bytes]:
    """The table in all forms; one that is too long to be read has only those for programs."""
    forms = {"csv": table.to_csv().encode(), "parquet": table.to_parquet()}
    if len(table.frame) <= _MOST_TO_READ:
        forms |= {"md": table.to_markdown().encode(), "tex": table.to_latex().encode()}
    return forms


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
