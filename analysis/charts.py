"""Charts of a sweep: accuracy against cycles, images and time, and accepted visits by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from analysis import comparisons
from analysis.chart_parts import (
    LOG_FROM,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    SHARE,
    log_ticks,
    printable,
    records,
    styled,
)
from analysis.curves import accepted_curves, accuracy_curves
from analysis.dominance import judged_trials
from analysis.frames import Frames
from analysis.pareto_charts import MOST_DOMINATED, pareto_chart
from analysis.wording import listed, metric_label, optimizer_label

_PNG_PPI = 200
_MOST_MARKED = 25


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
    sweep = frames.sweeps[0]
    several = len(sweep.objectives) > 1
    chosen_by = f"mean {metric_label(sweep.metric)}" if several else "mean objective"
    best = f"the best configuration by {chosen_by}"
    common = (
        f"Bold: {best} of each optimiser and network, its mean over the seeds"
        + (", with one standard deviation either side" if curves["low"].notna().any() else "")
        + ". Faint: every other configuration."
    )
    charts = [
        *(_pareto(frames) if several else ()),
        *(
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
        ),
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


def _pareto(frames: Frames) -> tuple[NamedChart, ...]:
    chart = pareto_chart(frames)
    if chart is None:
        return ()
    objectives = frames.sweeps[0].objectives
    caption = (
        "Large: the Pareto set, the trials that no other one equals in all of "
        f"{listed([metric_label(each.metric) for each in objectives])} and betters in one. Small "
        "and faint: the other trials that ran to their end. Every point is a mean over the seeds. "
    )
    if len(objectives) == 2:
        caption += "The line is the front: no trial lies beyond it."
    else:
        caption += "Each line is the front of the two objectives of its panel alone."
    n_dominated = int((~judged_trials(frames.runs, objectives)["is_pareto"]).sum())
    if n_dominated > MOST_DOMINATED:
        caption += f" {MOST_DOMINATED:,} of the {n_dominated:,} other trials are drawn."
    aims = " against ".join(metric_label(each.metric) for each in objectives[:2])
    title = aims.capitalize() if len(objectives) == 2 else "The Pareto set"
    return (NamedChart("pareto_front", title, caption, chart),)


def accuracy_chart(curves: pd.DataFrame, x: str, x_title: str) -> alt.FacetChart | alt.ConcatChart:
    """Test accuracy against a column of `accuracy_curves`; a panel for each network."""
    curves = printable(curves, ["architecture", "optimizer", "setting"])
    names = [optimizer_label(name) for name in comparisons.optimizers(curves)]
    curves = curves.assign(optimizer=curves["optimizer"].map(optimizer_label))
    position = _position(curves[x], x, x_title)
    height = alt.Y(
        "accuracy:Q", title="Test accuracy", scale=alt.Scale(zero=False, nice=6), axis=SHARE
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
    ).properties(width=PANEL_WIDTH, height=PANEL_HEIGHT)
    architectures = comparisons.architectures(curves)
    of_a_line = ["architecture", "optimizer", "setting", "is_best"]
    lines = records(curves.drop_duplicates("line"), ["line", *of_a_line])
    points = ["line", "cycle", "accuracy", "low", "high", "n_seeds", x]
    return styled(
        panel.facet(
            facet=alt.Facet("architecture:N", title=None, sort=architectures),
            columns=min(2, len(architectures)),
            data=alt.InlineData(values=records(curves, list(dict.fromkeys(points)))),
        ).transform_lookup(
            lookup="line",
            from_=alt.LookupData(alt.InlineData(values=lines), key="line", fields=of_a_line),
        )
    )


def accepted_chart(layers: pd.DataFrame) -> alt.FacetChart | alt.ConcatChart:
    """Accepted share of visits by layer over the cycles; a panel for each network."""
    layers = printable(layers, ["architecture", "layer"])
    panels = []
    for architecture in comparisons.architectures(layers):
        own = layers[layers["architecture"] == architecture]
        order = list(own.sort_values("layer_index")["layer"].unique())
        base = alt.Chart(
            alt.InlineData(values=records(own, ["layer", "cycle", "accepted_share", "sigma"])),
            title=architecture,
        ).encode(
            x=_position(own["cycle"], "cycle", "Cycle"),
            y=alt.Y("accepted_share:Q", title="Accepted visits", axis=SHARE),
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
                width=PANEL_WIDTH, height=PANEL_HEIGHT
            )
        )
    # the layers of one network are not those of another: each panel names its own
    return styled(
        alt.concat(*panels, columns=min(2, len(panels))).resolve_scale(color="independent")
    )


def _points(base: alt.Chart, curves: pd.DataFrame) -> list[alt.Chart]:
    """A point for each cycle, where there are few enough to be told apart."""
    if curves["cycle"].nunique() > _MOST_MARKED:
        return []
    return [base.mark_point(size=28, filled=True, opacity=1)]


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
    if low > 0 and (name == "images" or high / low >= LOG_FROM):
        scale = alt.Scale(type="log", nice=False, padding=6)
        axis = alt.Axis(format="~s", values=log_ticks(low, high))
        return alt.X(f"{name}:Q", title=f"{title}, log scale", scale=scale, axis=axis)
    scale = alt.Scale(zero=False, padding=6)
    return alt.X(f"{name}:Q", title=title, scale=scale, axis=alt.Axis(format="~s", tickCount=5))
