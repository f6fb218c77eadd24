"""The report of a sweep: tables and charts as files, and one page that holds them all."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from analysis.charts import Drawing, standard_charts
from analysis.frames import load
from analysis.page import render_page
from analysis.standard_tables import standard_tables
from analysis.tables import Table

_TABLES_THAT_CAN_GO = ("chosen_settings", "failures")
"""Tables that an earlier report of the same sweep may have had and a later one lacks."""


@dataclass(frozen=True)
class Report:
    """What was written, and the tables in it."""

    html: Path
    """The page; it needs no other file and no network."""
    paths: tuple[Path, ...]
    """Every file, the page first."""
    tables: tuple[Table, ...]
    """The tables, the main comparison first."""


def write_report(folder: Path | str, out: Path | str | None = None) -> Report:
    """Writes the report of a run folder, whether or not its sweep has ended.

    Args:
        folder: the run folder.
        out: where to write; `report` inside the run folder if not given. Each file is written
            beside its place and then moved there, so that a reader finds the old or the new one.

    Raises:
        UnreadableRunFolder: `folder` is not a run folder, or one of its files is damaged.
    """
    frames = load(folder)
    tables, charts = standard_tables(frames), standard_charts(frames)
    out = Path(folder) / "report" if out is None else Path(out)
    page = out / "report.html"
    drawings = [Drawing.of(chart) for chart in charts]
    contents: dict[Path, str | bytes] = {page: render_page(frames, tables, drawings)}
    for table in tables:
        for ending, text in (
            ("md", table.to_markdown()),
            ("csv", table.to_csv()),
            ("tex", table.to_latex()),
        ):
            contents[_table_path(out, table.name, ending)] = text
    for drawing in drawings:
        stem = out / "charts" / drawing.chart.name
        contents[stem.with_suffix(".svg")] = drawing.svg
        contents[stem.with_suffix(".png")] = drawing.png()
    for path, content in contents.items():
        _write(path, content)
    for name in _TABLES_THAT_CAN_GO:
        for ending in ("md", "csv", "tex"):
            if (path := _table_path(out, name, ending)) not in contents:
                path.unlink(missing_ok=True)
    return Report(html=page, paths=tuple(contents), tables=tables)


def _table_path(out: Path, name: str, ending: str) -> Path:
    # an option of a user's own optimiser may have any name
    return out / "tables" / f"{re.sub('[^A-Za-z0-9_.-]+', '-', name)}.{ending}"


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
