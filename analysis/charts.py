"""Charts of a sweep: accuracy against cycles, images and time, and accepted visits by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from analysis import comparisons
from analysis.curves import accepted_curves, accuracy_curves
from analysis.escaping import printable_text
from analysis.frames import Frames
from analysis.wording import optimizer_label

Records = list[dict[str, Any]]

FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"
# Okabe and Ito's colours, which people with any common colour blindness tell apart; on a dark
# page the brighter half of them leads
_ON_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_ON_DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#FFFFFF")
_PNG_PPI = 200
_PANEL_WIDTH, _PANEL_HEIGHT = 300, 210
_MOST_MARKED = 25
_SHARE = alt.Axis(format="~%", tickCount=6)
_LOG_FROM = 30
"""An axis is logarithmic where its largest value is this many times its smallest."""


@dataclass(frozen=True)
class NamedChart:
    """A chart with the words that stand beside it."""

    name: str
    """Its file's name, without the ending."""
    title: str
    caption: str
    chart: alt.FacetChart | alt.ConcatChart


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


def standard_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """The charts that the records of one sweep support; none where no run has finished."""
    curves = accuracy_curves(frames)
    if curves.empty:
        return ()
    best = "the best configuration by mean objective"
    common = (
        f"Bold: {best} of each optimiser and network, its mean over the seeds"
        + (", with one standard deviation either side" if curves["low"].notna().any() else "")
        + ". Faint: every other configuration."
    )
    charts = [
        NamedChart(
            f"accuracy_by_{name}",
            f"Test accuracy against {against}",
            common if name == "cycle" else "The same runs." + extra,
            accuracy_chart(curves, name, axis),
        )
        for name, against, axis, extra in (
            ("cycle", "cycles", "Cycle (SGD: epoch)", ""),
            (
                "images",
                "images passed",
                "Images passed forwards",
                " Backward passes of gradient methods are not counted.",
            ),
            ("seconds", "training time", "Training time (s)", " Without evaluation."),
        )
    ]
    layers = accepted_curves(frames)
    if not layers.empty:
        charts.append(
            NamedChart(
                "accepted_by_layer",
                "How often RSO moved a weight",
                f"Share of visits that moved the weight, for each parameter tensor of {best} of "
                "each network; mean over the seeds.",
                accepted_chart(layers),
            )
        )
    return tuple(charts)


def accuracy_chart(curves: pd.DataFrame, x: str, x_title: str) -> alt.FacetChart | alt.ConcatChart:
    """Test accuracy against a column of `accuracy_curves`; a panel for each network."""
    curves = _printable(curves, ["architecture", "optimizer", "setting"])
    names = [optimizer_label(name) for name in comparisons.optimizers(curves)]
    curves = curves.assign(optimizer=curves["optimizer"].map(optimizer_label))
    position = _position(curves[x], x, x_title)
    height = alt.Y(
        "accuracy:Q", title="Test accuracy", scale=alt.Scale(zero=False, nice=6), axis=_SHARE
    )
    colour = alt.Color("optimizer:N", title=None, scale=alt.Scale(domain=names))
    tooltip = [
        alt.Tooltip("optimizer:N", title="optimiser"),
        alt.Tooltip("setting:N"),
        alt.Tooltip("cycle:Q"),
        alt.Tooltip("accuracy:Q", title="test accuracy", format=".2%"),
        alt.Tooltip("n_seeds:Q", title="seeds"),
    ]
    base = alt.Chart().encode(x=position, y=height, color=colour, detail="line:N")
    best, rest = base.transform_filter("datum.is_best"), base.transform_filter("!datum.is_best")
    panel = alt.layer(
        rest.mark_line(strokeWidth=1, style="faint").encode(tooltip=tooltip[:2]),
        best.mark_area(opacity=0.18, line=False).encode(y=alt.Y("low:Q"), y2="high:Q"),
        best.mark_line(strokeWidth=2.5).encode(tooltip=tooltip[:2]),
        *_points(best.encode(tooltip=tooltip), curves),
    ).properties(width=_PANEL_WIDTH, height=_PANEL_HEIGHT)
    architectures = comparisons.architectures(curves)
    of_a_line = ["architecture", "optimizer", "setting", "is_best"]
    lines = _records(curves.drop_duplicates("line"), ["line", *of_a_line])
    points = ["line", "cycle", "accuracy", "low", "high", "n_seeds", x]
    return _styled(
        panel.facet(
            facet=alt.Facet("architecture:N", title=None, sort=architectures),
            columns=min(2, len(architectures)),
            data=alt.InlineData(values=_records(curves, list(dict.fromkeys(points)))),
        ).transform_lookup(
            lookup="line",
            from_=alt.LookupData(alt.InlineData(values=lines), key="line", fields=of_a_line),
        )
    )


def accepted_chart(layers: pd.DataFrame) -> alt.FacetChart | alt.ConcatChart:
    """Accepted share of visits by layer over the cycles; a panel for each network."""
    layers = _printable(layers, ["architecture", "layer"])
    panels = []
    for architecture in comparisons.architectures(layers):
        own = layers[layers["architecture"] == architecture]
        order = list(own.sort_values("layer_index")["layer"].unique())
        base = alt.Chart(
            alt.InlineData(values=_records(own, ["layer", "cycle", "accepted_share", "sigma"])),
            title=architecture,
        ).encode(
            x=_position(own["cycle"], "cycle", "Cycle"),
            y=alt.Y("accepted_share:Q", title="Accepted visits", axis=_SHARE),
            color=alt.Color(
                "layer:O", title=None, sort=order, legend=alt.Legend(columns=2, orient="bottom")
            ),
            tooltip=[
                alt.Tooltip("layer:O"),
                alt.Tooltip("cycle:Q"),
                alt.Tooltip("accepted_share:Q", title="accepted", format=".1%"),
                alt.Tooltip("sigma:Q", format=".3~g"),
            ],
        )
        panels.append(
            alt.layer(base.mark_line(strokeWidth=2), *_points(base, own)).properties(
                width=_PANEL_WIDTH, height=_PANEL_HEIGHT
            )
        )
    # the layers of one network are not those of another: each panel names its own
    return _styled(
        alt.concat(*panels, columns=min(2, len(panels))).resolve_scale(color="independent")
    )


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
        "style": {"faint": {"opacity": 0.5 if dark else 0.35}},
        "range": {
            "category": list(_ON_DARK if dark else _ON_LIGHT),
            # ordered layers: the ends that vanish into the page are cut off
            "ordinal": {"scheme": "viridis", "extent": [0.25, 1.0] if dark else [0.0, 0.85]},
        },
    }


def _printable(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].map(printable_text) for name in columns})


def _points(base: alt.Chart, curves: pd.DataFrame) -> list[alt.Chart]:
    """A point for each cycle, where there are few enough to be told apart."""
    if curves["cycle"].nunique() > _MOST_MARKED:
        return []
    return [base.mark_point(size=28, filled=True, opacity=1)]


def _styled(chart: alt.FacetChart | alt.ConcatChart) -> alt.FacetChart | alt.ConcatChart:
    styled: alt.FacetChart | alt.ConcatChart = chart.configure(**theme(dark=False))
    return styled


def _records(frame: pd.DataFrame, columns: list[str]) -> Records:
    """Plain values without what is missing; figures have 6 digits to keep the page small."""
    return [
        {str(name): _plain(value) for name, value in record.items() if pd.notna(value)}
        for record in frame[columns].to_dict("records")
    ]


def _plain(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _position(values: pd.Series, name: str, title: str) -> alt.X:
    """The horizontal axis: whole cycles, and a logarithm where costs span orders of magnitude."""
    low, high = float(values.min()), float(values.max())
    if name == "cycle":
        axis = alt.Axis(format="d")
        if high - low < 12:
            # Vega would put some between the cycles and print them rounded
            axis.values = list(range(int(low), int(high) + 1))
        scale = alt.Scale(domain=[low, high], nice=False, padding=6)
        return alt.X(f"{name}:Q", title=title, scale=scale, axis=axis)
    if low > 0 and (name == "images" or high / low >= _LOG_FROM):
        scale = alt.Scale(type="log", nice=False, padding=6)
        axis = alt.Axis(format="~s", values=_log_ticks(low, high))
        return alt.X(f"{name}:Q", title=f"{title}, log scale", scale=scale, axis=axis)
    scale = alt.Scale(zero=False, padding=6)
    return alt.X(f"{name}:Q", title=title, scale=scale, axis=alt.Axis(format="~s", tickCount=5))


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; three and one times each where that would leave too few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**power for power in decades if low <= 10.0**power <= high]
    if len(tens) >= 3:
        return tens
    between = [factor * 10.0**power for power in decades for factor in (1, 3)]
    return [tick for tick in between if low <= tick <= high] or [low, high]
