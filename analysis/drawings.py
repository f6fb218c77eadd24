"""A chart with its words, and its picture as files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from analysis.chart_parts import Chart
from analysis.picturing import Picture, begin_pictures, picture_of

_LONGEST_STEM = 80


@dataclass(frozen=True)
class NamedChart:
    """A chart with the words that stand beside it."""

    name: str
    """Its file's name, without the ending."""
    title: str
    caption: str
    chart: Chart
    family: str
    """Charts of one family are shown as one figure, of which the reader chooses."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """What tells it from the others of its family: `{"Against": "cycles"}`. No two are the same
    in all; none where it is a family of its own."""


@dataclass(frozen=True)
class Drawing:
    """A chart as it is written to files: its specification and its picture."""

    chart: NamedChart
    specification: dict[str, Any]
    picture: Picture

    @classmethod
    def of(cls, chart: NamedChart) -> Drawing:
        """Draws a chart."""
        specification = _specification(chart)
        return cls(chart, specification, picture_of(specification))


def begin_drawings(charts: Sequence[NamedChart]) -> Callable[[], list[Drawing]]:
    """Begins to draw charts, in a process of its own; what it returns waits for the drawings."""
    specifications = [_specification(chart) for chart in charts]
    pictures = begin_pictures(specifications)
    return lambda: [Drawing(*each) for each in zip(charts, specifications, pictures(), strict=True)]


def file_stem(text: str) -> str:
    """A text as the name of a file, without an ending: an option may have any name."""
    return re.sub("[^A-Za-z0-9_-]+", "-", text)[:_LONGEST_STEM]


def _specification(chart: NamedChart) -> dict[str, Any]:
    """The chart as Vega-Lite has it.

    To hold it against Vega-Lite's schema would take longer than to draw it: the tests do. And the
    rows that it draws are plain already: altair would go through them value by value.
    """
    rows = chart.chart.datasets
    bare = chart.chart.copy(deep=False)
    bare.datasets = alt.Undefined
    specification: dict[str, Any] = bare.to_dict(validate=False)
    return specification if rows is alt.Undefined else specification | {"datasets": rows}
