"""Learning curves: accuracies and losses against cycles, images passed and training time."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from analysis import comparisons
from analysis.chart_axes import DECADE, Axis, metric_axis
from analysis.chart_parts import (
    FAINT,
    Chart,
    faceted,
    optimizer_colour,
    packed,
    printable,
    shown_optimizer,
)
from analysis.curves import CURVE_METRICS, MOST_FAINT, learning_curves
from analysis.drawings import NamedChart
from analysis.frames import Frames
from analysis.published import published_curves
from analysis.wording import listed, metric_label

_MOST_MARKED = 25
"""Cycles of a line up to which each has a point."""
_AGAINST = {
    "cycle": ("cycle", "cycles", ""),
    "n_images_passed": (
        "images",
        "images passed",
        " Backward passes of gradient methods are not counted.",
    ),
    "training_s": ("seconds", "training time", " Training time is that without evaluation."),
}
_MARGIN = 0.25
_TALLEST = 10
"""Losses of this many times the highest of the bold lines are beyond a chart: of runs that
explode, one that reaches 1e20 would flatten all the others."""
_CUT = f" What is more than {_TALLEST} times as high as the bold lines is left out."
_FILES = {"test_accuracy": "accuracy"}


def learning_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """A chart for each figure that was measured, against each cost; none without finished runs."""
    curves = learning_curves(frames)
    common = _caption(frames, curves)
    every_published = published_curves(frames)
    charts = []
    for metric in CURVE_METRICS:
        measured = curves.dropna(subset=[metric])
        if measured.empty:
            continue
        is_within = _is_within_reach(measured, metric)
        cut = "" if is_within.all() else _CUT
        measured = measured[is_within]
        label = metric_label(metric)
        for cost, (file, against, extra) in _AGAINST.items():
            is_published = (metric, cost) == ("test_accuracy", "cycle")
            published = every_published if is_published else every_published.head(0)
            charts.append(
                NamedChart(
                    f"{_FILES.get(metric, metric)}_by_{file}",
                    f"{label.capitalize()} against {against}",
                    common + cut + extra + _of_published(published),
                    learning_chart(frames.runs, measured, metric, cost, published),
                    "learning_curves",
                    {"Figure": label.capitalize(), "Against": against},
                )
            )
    return tuple(charts)


def learning_chart(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    metric: str,
    cost: str,
    published: pd.DataFrame | None = None,
) -> Chart:
    """A metric against a cost, a panel for each network.

    Args:
        runs: `Frames.runs`.
        curves: of `learning_curves`, with the metric in every row.
        metric: one of `CURVE_METRICS`.
        cost: `cycle`, `n_images_passed` or `training_s`.
        published: of `published_curves`, to be drawn beside test accuracies against cycles.
    """
    others = _published_lines(published)
    own = curves.assign(value=curves[metric])
    own["low"], own["high"] = _band(own, metric)
    heights = pd.concat([own["value"], own["low"].dropna(), own["high"].dropna(), others["value"]])
    across = pd.concat([own[cost], others["cycle"]])
    x, y = metric_axis(cost, across, padding=6), metric_axis(metric, heights)
    own = printable(own, ["architecture", "optimizer", "setting"])
    own = own.assign(optimizer=own["optimizer"].map(shown_optimizer), across=own[cost] / x.per)
    architectures = comparisons.architectures(own)
    of_a_line = ["line", "trial", "architecture", "optimizer", "setting", "n_seeds", "is_best"]
    points = ["across", "cycle", "value", "low", "high"]
    is_best = own["is_best"].astype(bool)
    line = [
        optimizer_colour(runs, list(own["optimizer"].unique())),
        alt.Detail("line:N"),
        [
            alt.Tooltip("trial:Q"),
            alt.Tooltip("optimizer:N", title="optimiser"),
            alt.Tooltip("setting:N"),
            alt.Tooltip("n_seeds:Q", title="seeds"),
        ],
    ]
    at = [x.x("across"), y.y("value")]
    best, rest = (
        alt.Chart().transform_filter(f"{sign}datum.is_best && !datum.source") for sign in ("", "!")
    )
    # the encoding comes last: altair copies what a chart has at every step
    layers = [
        rest.mark_line(strokeWidth=1).encode(*at, *line, alt.StrokeOpacityValue(FAINT)),
        best.transform_filter("isValid(datum.low)")
        .mark_area(fillOpacity=0.18, line=False)
        .encode(at[0], y.y("low"), alt.Y2("high:Q"), *line),
        best.mark_line(strokeWidth=2.5).encode(*at, *line),
    ]
    if own["cycle"].nunique() <= _MOST_MARKED:
        points_of_best = best.mark_point(size=28, filled=True, opacity=1)
        layers.append(points_of_best.encode(*at, *line[:2], _of_a_point(x, y)))
    if len(others):
        alike = alt.Chart().transform_filter("isValid(datum.source)")
        layers += [
            alike.mark_line(strokeWidth=1.5, strokeDash=[5, 4]).encode(*at, *line[:2]),
            alike.mark_point(size=22, filled=False, strokeWidth=1.2).encode(
                *at, *line[:2], _of_the_published(y)
            ),
            alike.transform_filter(f"datum.cycle == {others['cycle'].max():g}")
            .mark_text(align="right", dy=-9, style="words")
            .encode(*at, alt.Detail("line:N"), text=alt.value("published")),
        ]
    values = [
        # beneath: the lines that are drawn first
        *packed(own[~is_best], ["across", "value"], of_a_line),
        *packed(own[is_best], points, of_a_line),
        *packed(
            others.assign(across=others["cycle"] / x.per),
            ["across", "cycle", "value"],
            ["line", "architecture", "optimizer", "source"],
        ),
    ]
    for record in values:
        # a list for each: what is missing is filled up
        record |= {name: record.get(name, []) for name in points}
    return faceted(layers, "architecture", architectures, values, lists=points)


def _published_lines(published: pd.DataFrame | None) -> pd.DataFrame:
    """The points of published curves, by the names of the fields of a chart."""
    names = ["architecture", "optimizer", "batch_size", "publication"]
    if published is None or published.empty:
        return pd.DataFrame(columns=["line", "cycle", "value", "source", *names])
    lines = published.groupby(names, sort=False).ngroup()
    return published.assign(
        line=[f"published {number}" for number in lines],
        optimizer=published["optimizer"].map(shown_optimizer),
        cycle=published["cycles"].astype("float64"),
        value=published["test_accuracy"],
        source=_sources(published),
    )


def _sources(published: pd.DataFrame) -> list[str]:
    """Where each point is from, and with which batch size."""
    pairs = zip(published["publication"], published["batch_size"], strict=True)
    return [f"{publication}, batch {batch}" for publication, batch in pairs]


def _of_the_published(y: Axis) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("source:N", title="published"),
        alt.Tooltip("optimizer:N", title="optimiser"),
        alt.Tooltip("cycle:Q"),
        y.tooltip("value"),
    ]


def _of_published(published: pd.DataFrame) -> str:
    """What the caption says of published curves; nothing where there are none."""
    if published.empty:
        return ""
    told = dict.fromkeys(_sources(published))
    notes = dict.fromkeys(part for note in published["note"] for part in note.split("; "))
    return f" Dashed: as published ({listed([*told])}; {'; '.join(notes)})."


def _of_a_point(x: Axis, y: Axis) -> list[alt.Tooltip]:
    cost = [] if x.tooltip_title == "cycle" else [x.tooltip("across")]
    return [
        alt.Tooltip("trial:Q"),
        alt.Tooltip("optimizer:N", title="optimiser"),
        alt.Tooltip("setting:N"),
        alt.Tooltip("cycle:Q"),
        *cost,
        y.tooltip("value"),
        alt.Tooltip("low:Q", title="from", format=y.tooltip_format),
        alt.Tooltip("high:Q", title="to", format=y.tooltip_format),
        alt.Tooltip("n_seeds:Q", title="seeds"),
    ]


def _is_within_reach(curves: pd.DataFrame, metric: str) -> pd.Series:
    """Which points a chart shows: all that are not far above the bold lines."""
    bold = curves.loc[curves["is_best"].astype(bool), metric]
    return curves[metric] <= (math.inf if bold.empty else _TALLEST * float(bold.max()))


def _band(curves: pd.DataFrame, metric: str) -> tuple[pd.Series, pd.Series]:
    """The interval of the best lines, as far as the panel goes: a wide one must not flatten all."""
    values = curves[metric]
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low >= DECADE and not metric.endswith("_accuracy"):
        margin = (high / low) ** _MARGIN
        low, high = low / margin, high * margin
    else:
        margin = _MARGIN * (high - low)
        low, high = low - margin, high + margin
    is_best = curves["is_best"].astype(bool)
    lows, highs = (curves[f"{metric}_{end}"].where(is_best) for end in ("low", "high"))
    return lows.clip(lower=low), highs.clip(upper=high)


def _caption(frames: Frames, curves: pd.DataFrame) -> str:
    sweep = frames.sweeps[0]
    several = len(sweep.objectives) > 1
    chosen_by = f"mean {metric_label(sweep.metric)}" if several else "mean objective"
    caption = (
        f"Bold: the best configuration by {chosen_by} of each optimiser and network, its mean over "
        "the seeds"
    )
    bands = [f"{metric}_low" for metric in CURVE_METRICS]
    if curves.loc[curves["is_best"].astype(bool), bands].notna().any(axis=None):
        caption += (
            "; the band is the 95 % interval of that mean (Student’s t), drawn no further than a "
            "quarter beyond the lines"
        )
    n_faint = curves.loc[~curves["is_best"].astype(bool), "line"].nunique()
    n_others = (
        comparisons.finished(frames.runs)["configuration"].nunique()
        - curves.loc[curves["is_best"].astype(bool), "line"].nunique()
    )
    if not n_faint:
        return f"{caption}."
    if n_others <= MOST_FAINT:
        return f"{caption}. Faint: every other configuration."
    return (
        f"{caption}. Faint: {n_faint} of the {n_others:,} other configurations, spread over all "
        "objectives."
    )
