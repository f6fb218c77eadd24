"""The report of a sweep: tables and charts as files, and one page that holds them all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from analysis.charts import Drawing, standard_charts
from analysis.frames import load
from analysis.page import render_page
from analysis.places import place_at
from analysis.standard_tables import standard_tables
from analysis.tables import Table

_PAGE = "report.html"
_TABLES_THAT_CAN_GO = ("chosen_settings", "failures", "interruptions", "pareto_set")
"""Tables that an earlier report of the same sweep may have had and a later one lacks."""


@dataclass(frozen=True)
class Report:
    """What was written, and the tables in it."""

    html: Path | str
    """The page; it needs no other file and no network. A path, or an address without its
    credentials."""
    paths: tuple[Path | str, ...]
    """Every file, the page first."""
    tables: tuple[Table, ...]
    """The tables, the main comparison first."""


def write_report(folder: Path | str, out: Path | str | None = None) -> Report:
    """Writes the report of a run folder, whether or not its sweep has ended.

    Args:
        folder: the run folder: a path, or an address that fsspec knows.
        out: where to write, a path or an address as well; `report` inside the run folder if not
            given. On a disk each file is written beside its place and then moved there, at an
            address it is put whole, so that a reader finds the old or the new one.

    Raises:
        UnreadableRunFolder: `folder` is not a run folder or cannot be reached, or one of its files
            is damaged.
        OSError: a file cannot be written; `strerror` says why in a line, without credentials.
    """
    frames = load(folder)
    place = place_at(folder, "report") if out is None else place_at(out)
    tables, charts = standard_tables(frames), standard_charts(frames)
    drawings = [Drawing.of(chart) for chart in charts]
    contents: dict[str, str | bytes] = {_PAGE: render_page(frames, tables, drawings)}
    for table in tables:
        for ending, text in (
            ("md", table.to_markdown()),
            ("csv", table.to_csv()),
            ("tex", table.to_latex()),
        ):
            contents[_table_file(table.name, ending)] = text
    for drawing in drawings:
        stem = f"charts/{drawing.chart.name}"
        contents[f"{stem}.svg"] = drawing.svg
        contents[f"{stem}.png"] = drawing.png()
    for name, content in contents.items():
        place.write(name, content.encode() if isinstance(content, str) else content)
    for table_name in _TABLES_THAT_CAN_GO:
        for ending in ("md", "csv", "tex"):
            if (name := _table_file(table_name, ending)) not in contents:
                place.remove(name)
    paths = tuple(place.shown(name) for name in contents)
    return Report(html=paths[0], paths=paths, tables=tables)


def _table_file(name: str, ending: str) -> str:
    # an option of a user's own optimiser may have any name
    return f"tables/{re.sub('[^A-Za-z0-9_.-]+', '-', name)}.{ending}"
