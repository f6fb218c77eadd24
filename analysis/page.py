"""The report as one page: its sections with their tables, figures and texts, made HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from analysis.chart_parts import theme
from analysis.drawings import Drawing
from analysis.findings import findings, is_unfinished, progress
from analysis.frames import Frames
from analysis.html_tables import FIRST_ROWS, MOST_WRITTEN_OUT
from analysis.javascript import chart_javascript
from analysis.page_facts import (
    asked,
    byline,
    facts_of,
    how_it_was_run,
    machine_facts,
    summary,
    the_space,
)
from analysis.page_scripts import (
    CHART_PROGRAM,
    PROGRAMS,
    asset,
    content_security_policy,
    data_block,
)
from analysis.page_sections import NumberedFigure, NumberedTable, Section, sections
from analysis.page_texts import Texts, best_configurations_as_yaml, reproduction, yaml_text
from analysis.report_files import chart_file, table_file
from analysis.tables import Table
from analysis.wording import listed, metric_label

_MOST_COPIED = 200
"""Rows of a table that can be copied; a longer one is taken from its file."""


def render_page(frames: Frames, tables: Sequence[Table], drawings: Sequence[Drawing]) -> str:
    """One self-contained HTML page; everything that came from the run folder is escaped.

    Args:
        frames: of one sweep.
        tables: `standard_tables(frames)`, and any more; within a section in this order.
        drawings: shown live, and as pictures to readers without JavaScript. Those of one family
            that come one after the other are one figure.
    """
    sweep = frames.sweeps[0]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    first_script, *scripts = (asset(name) for name in PROGRAMS if name != CHART_PROGRAM)
    if drawings:
        scripts += [chart_javascript(), asset(CHART_PROGRAM)]
    shown = _shown_sections(frames, tables, drawings)
    return environment.get_template("report.html.j2").render(
        name=sweep.name,
        policy=content_security_policy([first_script, *scripts]),
        stylesheet=Markup(asset("report.css")),
        first_script=Markup(first_script),
        scripts=[Markup(script) for script in scripts],
        themes=_themes() if drawings else "",
        contents=[
            ("findings", "What came out"),
            ("asked", "What was asked"),
            *((section.identifier, section.heading) for section in shown),
            ("run", "How it was run"),
        ],
        summary=summary(frames),
        byline=byline(frames),
        is_unfinished=is_unfinished(frames),
        progress=progress(frames),
        findings=findings(frames, tables),
        asked=asked(sweep),
        space=the_space(sweep),
        sections=shown,
        run=how_it_was_run(frames),
        versions=facts_of(sweep.provenance.get("versions")),
        machine=machine_facts(sweep.provenance.get("machine")),
        reproduction=reproduction(frames),
        sweep_file=yaml_text(sweep.specification),
    )


@dataclass(frozen=True)
class _ShownTable:
    """A table as the template reads it."""

    identifier: str
    label: str
    title: str
    caption: str
    html: Markup
    """Empty where the table has no rows."""
    note: str
    """Where the rest of a long table is."""
    n_written: int
    files: Markup
    """The table in other forms, as data for the script that copies them."""
    is_chart: bool = False


@dataclass(frozen=True)
class _ShownFigure:
    """A figure as the template reads it: its first chart, and all of them as data."""

    identifier: str
    label: str
    title: str
    caption: str
    picture: str
    height: str
    """In pixels, of the picture: room for the chart, so that nothing moves when it is drawn."""
    other_files: str
    data: Markup
    is_chart: bool = True


@dataclass(frozen=True)
class _ShownSection:
    identifier: str
    heading: str
    parts: tuple[_ShownTable | _ShownFigure, ...]
    texts_heading: str
    texts: Texts


def _shown_sections(
    frames: Frames, tables: Sequence[Table], drawings: Sequence[Drawing]
) -> list[_ShownSection]:
    """The sections that have something to show."""
    best = best_configurations_as_yaml(frames)
    sweep = frames.sweeps[0]
    several = len(sweep.objectives) > 1
    by_one = f", by {metric_label(sweep.metric)} alone" if several else ""
    shown = []
    for section in sections(tables, drawings):
        texts = best if section.identifier == "best" else []
        if section.parts or texts:
            parts = _shown_parts(section)
            heading = f"To copy{by_one}"
            shown.append(_ShownSection(section.identifier, section.heading, parts, heading, texts))
    return shown


def _shown_parts(section: Section) -> tuple[_ShownTable | _ShownFigure, ...]:
    return tuple(
        _shown_table(part) if isinstance(part, NumberedTable) else _shown_figure(part)
        for part in section.parts
    )


def _shown_table(part: NumberedTable) -> _ShownTable:
    table, n_rows = part.table, len(part.table.frame)
    note, files = "", Markup()
    if n_rows > _MOST_COPIED:
        note = (
            f"{n_rows:,} rows: the whole table is {table_file(table.name, 'csv')} in the report’s "
            "folder."
        )
    elif n_rows:
        texts = {
            "Markdown": table.to_markdown(),
            "LaTeX": table.to_latex(),
            "CSV": table.to_csv(),
        }
        files = data_block(texts, "files")
        note = f"{n_rows} rows." if n_rows > MOST_WRITTEN_OUT else ""
    return _ShownTable(
        identifier=f"table-{part.number}",
        label=f"Table {part.number}",
        title=table.title,
        caption=table.caption,
        html=Markup(table.to_html() if n_rows else ""),
        note=note,
        n_written=FIRST_ROWS,
        files=files,
    )


def _shown_figure(part: NumberedFigure) -> _ShownFigure:
    first, *others = part.drawings
    charts = [
        {
            "title": drawing.chart.title,
            "caption": drawing.chart.caption,
            "choices": dict(drawing.chart.choices),
            "specification": _without_look(drawing.specification),
        }
        for drawing in part.drawings
    ]
    return _ShownFigure(
        identifier=f"figure-{part.number}",
        label=f"Figure {part.number}",
        title=first.chart.title,
        caption=first.chart.caption,
        picture=_picture(first.picture.svg),
        height=_height(first.picture.svg),
        other_files=listed([chart_file(each.chart.name, "svg") for each in others]),
        data=data_block(charts, "charts"),
    )


def _themes() -> Markup:
    """The looks that the page gives its charts: light or dark."""
    light = {**theme(dark=False), "background": None}
    return data_block({"light": light, "dark": theme(dark=True)}, "themes")


def _without_look(specification: dict[str, Any]) -> dict[str, Any]:
    """The page gives a chart its look when it draws it: light or dark, wide or narrow."""
    look = ("$schema", "config")
    return {name: part for name, part in specification.items() if name not in look}


def _height(svg: str) -> str:
    found = re.search(r'<svg[^>]* height="([0-9]+)', svg)
    return found[1] if found else "300"


def _picture(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
