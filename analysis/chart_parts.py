"""What all charts share: their look, the colours of optimisers and the values that they draw."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis import comparisons
from analysis.escaping import printable_text
from analysis.wording import optimizer_label

Chart: TypeAlias = alt.FacetChart | alt.ConcatChart
Records = list[dict[str, Any]]

FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"
# Okabe and Ito's colours, which people with any common colour blindness tell apart; on a dark
# page the brighter half of them leads
_ON_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_ON_DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#FFFFFF")
PANEL_WIDTH, PANEL_HEIGHT = 300, 210
ALONE_WIDTH, ALONE_HEIGHT = 460, 290
"""Of the panel of a chart that has only one."""
FAINT = 0.4
"""Opacity of the fill or stroke of what is not the best, as a value of its encoding: as a part of
the mark it would be the legend's too, and that of whole marks takes long to draw as pixels."""
_DIGITS = 5
_EXACT_BELOW = 2**53
"""From here on a whole number is not written as one: a loss of 1e20 is, and no reader takes it."""


def theme(dark: bool) -> dict[str, Any]:
    """The look of every chart, as a Vega-Lite configuration."""
    ink, soft, rule = (
        ("#e6e4df", "#a9a69f", "#35373c") if dark else ("#222222", "#666666", "#e3e1dc")
    )
    axis = {
        "labelColor": soft,
        "titleColor": ink,
        "labelFont": FONT,
        "titleFont": FONT,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": rule,
        "domainColor": soft,
        "tickColor": soft,
        "tickSize": 4,
        "titlePadding": 8,
        "labelFlush": False,
    }
    words = {"labelColor": ink, "labelFont": FONT, "titleFont": FONT, "titleColor": ink}
    return {
        "background": "transparent" if dark else "#ffffff",
        "font": FONT,
        "axis": axis,
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False},
        "header": {**words, "labelFontSize": 12, "labelFontWeight": 600, "labelPadding": 6},
        "title": {"color": ink, "font": FONT, "fontSize": 12, "fontWeight": 600, "offset": 6},
        "legend": {
            **words,
            "labelFontSize": 12,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "orient": "top",
            "symbolType": "stroke",
            "symbolStrokeWidth": 3,
            "symbolSize": 220,
            "symbolOpacity": 1,
            "offset": 8,
        },
        "view": {"stroke": None},
        "rule": {"color": soft},
        "line": {"color": soft},  # those that belong to no optimiser and no layer
        "style": {
            "chosen": {"stroke": "#17181b" if dark else "#ffffff", "strokeWidth": 1},
            # the one of all, among marks that have a colour of their own
            "best": {"stroke": ink},
            "best_line": {"color": ink},
            "soft": {"color": soft},
            # words that stand over lines, twice: this is beneath them
            "halo": {"stroke": "#17181b" if dark else "#ffffff", "strokeWidth": 4},
            "words": {"color": ink, "font": FONT, "fontSize": 10},
            # on viridis, which is the same on any page
            "on_dark_cell": {"color": "#ffffff", "font": FONT, "fontSize": 11},
            "on_light_cell": {"color": "#17181b", "font": FONT, "fontSize": 11},
        },
        "range": {
            "category": list(_ON_DARK if dark else _ON_LIGHT),
            # ordered layers: the ends that vanish into the page are cut off
            "ordinal": {"scheme": "viridis", "extent": [0.25, 1.0] if dark else [0.0, 0.85]},
            "ramp": {"scheme": "viridis", "extent": [0.25, 1.0] if dark else [0.0, 0.85]},
            "heatmap": {"scheme": "viridis"},
        },
    }


def styled(
    chart: Chart,
    data: Mapping[str, Records],
    *,
    widest: int | None = None,
    narrowest: int | None = None,
) -> Chart:
    """The chart with its look on white paper, and with its data.

    Args:
        chart: its marks take their data by name (`alt.NamedData`), since altair copies a chart
            with all that is in it at every step.
        data: the rows for each name.
        widest: the most that a page should give its only panel, if that is more than usual.
        narrowest: the least, where a narrower one would be scrolled instead.
    """
    on_paper: Chart = chart.copy(deep=False)
    on_paper.config = _look_on_paper()
    on_paper.datasets = dict(data)
    asked = {"widest": widest, "narrowest": narrowest}
    if any(width is not None for width in asked.values()):
        on_paper.usermeta = {name: width for name, width in asked.items() if width is not None}
    return on_paper


def faceted(
    layers: Sequence[alt.Chart],
    by: str,
    panels: Sequence[str],
    values: Records,
    *,
    lists: Sequence[str] = (),
    height: int = PANEL_HEIGHT,
) -> Chart:
    """A panel of layers for each value of a field, with the same axes, in its look.

    Args:
        layers: without data of their own.
        by: the field, a text.
        panels: its values, in the order of the panels.
        values: the rows of all panels.
        lists: fields of `packed` values that hold lists.
        height: of a panel.
    """
    # put in afterwards, so that altair does not copy every layer four times: half of its time
    panel = alt.LayerChart(layer=[], width=PANEL_WIDTH, height=height)
    chart = alt.FacetChart(
        data=alt.NamedData("rows"),
        facet=alt.Facet(f"{by}:N", title=None, sort=list(panels)),
        spec=panel,
        columns=n_columns(len(panels)),
        transform=[alt.FlattenTransform(flatten=[*lists])] if lists else alt.Undefined,
    )
    panel.layer = list(layers)
    chart.spec = panel
    return styled(chart, {"rows": values})


def optimizer_colour(
    runs: pd.DataFrame, shown: Sequence[str], symbol: Literal["stroke", "circle"] = "stroke"
) -> alt.Color:
    """Colour by `optimizer`: an optimiser has the same one in all charts of its sweep.

    Args:
        runs: `Frames.runs`, all of them.
        shown: the labels of the optimisers that the chart shows; with one there is no legend.
        symbol: what the legend shows it as.
    """
    domain = list(dict.fromkeys(shown_optimizer(name) for name in comparisons.optimizers(runs)))
    legend = alt.Legend(values=[name for name in domain if name in set(shown)])
    if symbol == "circle":
        legend.symbolType, legend.symbolSize, legend.symbolStrokeWidth = "circle", 90, 0
    return alt.Color(
        "optimizer:N",
        title=None,
        scale=alt.Scale(domain=domain),
        legend=legend if len(domain) > 1 else None,
    )


def shown_optimizer(name: str) -> str:
    """An optimiser as a picture shows it."""
    return printable_text(optimizer_label(name))


def n_columns(n_panels: int) -> int:
    """How many panels a row has: rows that are full, as far as that goes."""
    return 2 if n_panels in (2, 4) else min(n_panels, 3)


def printable(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with the texts of those columns as a picture can hold them."""
    return frame.assign(**{name: frame[name].map(printable_text) for name in columns})


def records(frame: pd.DataFrame, columns: Sequence[str]) -> Records:
    """Plain values without what is missing; figures have 5 digits to keep the page small."""
    return [
        {str(name): value for name, each in record.items() if (value := _plain(each)) is not None}
        for record in frame[list(columns)].to_dict("records")
    ]


def packed(frame: pd.DataFrame, columns: Sequence[str], by: Sequence[str]) -> Records:
    """Rows with some values in common as one record, the other values as lists.

    `transform_flatten(columns)` makes rows of them again. A name that is written once and not
    for every point keeps the page of a large sweep small.
    """
    groups = frame.groupby(list(by), sort=False, dropna=False).indices.values()
    lists = {name: frame[name].tolist() for name in columns}
    heads = frame[list(by)].to_dict("records")
    return [
        {
            **{str(name): _plain(value) for name, value in heads[own[0]].items()},
            **{name: [_plain(lists[name][place]) for place in own] for name in columns},
        }
        for own in groups
    ]


def spread_out(n: int, most: int) -> npt.NDArray[np.intp]:
    """The positions of at most so many of n rows, evenly spaced, the first and last among them."""
    if n <= most:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.intp))


@functools.cache
def _look_on_paper() -> alt.Config:
    return alt.Config(**theme(dark=False))


def _plain(value: Any) -> Any:
    if value is None or pd.isna(value):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        if value.is_integer() and abs(value) < _EXACT_BELOW:
            return int(value)
        return float(f"{value:.{_DIGITS}g}")
    return value
