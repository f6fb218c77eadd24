"""What all charts share: their look, the plain values that they draw, and logarithmic ticks."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import pandas as pd

from analysis.escaping import printable_text

Records = list[dict[str, Any]]

FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"
# Okabe and Ito's colours, which people with any common colour blindness tell apart; on a dark
# page the brighter half of them leads
_ON_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_ON_DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#FFFFFF")
PANEL_WIDTH, PANEL_HEIGHT = 300, 210
SHARE = alt.Axis(format="~%", tickCount=6)
LOG_FROM = 30
"""An axis is logarithmic where its largest value is this many times its smallest."""


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
            "orient": "top",
            "symbolType": "stroke",
            "symbolStrokeWidth": 3,
            "symbolSize": 220,
            "symbolOpacity": 1,
            "offset": 8,
        },
        "view": {"stroke": None},
        "line": {"color": soft},  # those that belong to no optimiser and no layer
        "style": {
            "faint": {"opacity": 0.5 if dark else 0.35},
            "chosen": {"stroke": "#17181b" if dark else "#ffffff", "strokeWidth": 1},
        },
        "range": {
            "category": list(_ON_DARK if dark else _ON_LIGHT),
            # ordered layers: the ends that vanish into the page are cut off
            "ordinal": {"scheme": "viridis", "extent": [0.25, 1.0] if dark else [0.0, 0.85]},
        },
    }


def styled(chart: alt.FacetChart | alt.ConcatChart) -> alt.FacetChart | alt.ConcatChart:
    """The chart with its look on white paper."""
    on_paper: alt.FacetChart | alt.ConcatChart = chart.configure(**theme(dark=False))
    return on_paper


def printable(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The frame with the texts of those columns as a picture can hold them."""
    return frame.assign(**{name: frame[name].map(printable_text) for name in columns})


def records(frame: pd.DataFrame, columns: list[str]) -> Records:
    """Plain values without what is missing; figures have 6 digits to keep the page small."""
    return [
        {str(name): _plain(value) for name, value in record.items() if pd.notna(value)}
        for record in frame[columns].to_dict("records")
    ]


def _plain(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; three and one times each where that would leave too few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**power for power in decades if low <= 10.0**power <= high]
    if len(tens) >= 3:
        return tens
    between = [factor * 10.0**power for power in decades for factor in (1, 3)]
    return [tick for tick in between if low <= tick <= high] or [low, high]
