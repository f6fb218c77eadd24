"""A chart with its words, and its picture as files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import vl_convert

from analysis.chart_parts import Chart

_PNG_PPI = 200
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
    svg: str

    @classmethod
    def of(cls, chart: NamedChart) -> Drawing:
        """Draws a chart; no browser takes part."""
        specification = chart.chart.to_dict()
        return cls(chart, specification, vl_convert.vegalite_to_svg(specification))

    def png(self) -> bytes:
        """The same picture as pixels, sharp enough to print."""
        return vl_convert.svg_to_png(self.svg, ppi=_PNG_PPI)

    def pdf(self) -> bytes:
        """The same picture as a page of its size, to be set in a paper."""
        return vl_convert.svg_to_pdf(self.svg)


def file_stem(text: str) -> str:
    """A text as the name of a file, without an ending: an option may have any name."""
    return re.sub("[^A-Za-z0-9_-]+", "-", text)[:_LONGEST_STEM]
