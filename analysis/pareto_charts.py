"""The chart of the Pareto set: every trial, and the front beyond which no trial got."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import altair as alt
import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.chart_parts import (
    LOG_FROM,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    log_ticks,
    printable,
    records,
    styled,
)
from analysis.dominance import non_dominated
from analysis.frames import Frames
from analysis.objectives import COST_METRICS, Objective
from analysis.pareto import compared_objectives, described_trials
from analysis.wording import metric_label, optimizer_label, setting_text

MOST_DOMINATED = 1000
"""Dominated trials that are drawn: more make a page heavy and show nothing more."""
_TITLES = {
    "training_loss": "Training loss (nats)",
    "validation_loss": "Validation loss (nats)",
    "test_loss": "Test loss (nats)",
    "training_s": "Training time (s)",
    "n_images_passed": "Images passed forwards",
    "n_visited": "Weight visits",
}
_ALONE_WIDTH, _ALONE_HEIGHT = 460, 290


def pareto_chart(
    frames: Frames, objectives: Sequence[Objective] | None = None
) -> alt.ConcatChart | None:
    """The trials that ran to their end, those of the Pareto set filled, with the front as steps.

    Of two objectives there is one panel; an accuracy is on its vertical axis. Of more, there is a
    panel for the first against each of the others, with the front of its two.

    Args:
        frames: of one sweep.
        objectives: if not given those of the sweep; where it has one, that one against the
            training time.

    Returns:
        None where no trial has come to its end.
    """
    chosen = compared_objectives(frames.sweeps[0]) if objectives is None else tuple(objectives)
    trials = _drawn(frames.runs, chosen)
    if trials.empty:
        return None
    first, *others = chosen
    if len(others) == 1 and first.metric in COST_METRICS and others[0].metric not in COST_METRICS:
        first, others = others[0], [first]
    panels = [_panel(trials, other, first, chosen) for other in others]
    width, height = (
        (_ALONE_WIDTH, _ALONE_HEIGHT) if len(panels) == 1 else (PANEL_WIDTH, PANEL_HEIGHT)
    )
    sized = [panel.properties(width=width, height=height) for panel in panels]
    chart = styled(alt.concat(*sized, columns=min(2, len(sized))))
    assert isinstance(chart, alt.ConcatChart)
    return chart


def _drawn(runs: pd.DataFrame, objectives: Sequence[Objective]) -> pd.DataFrame:
    """The trials to draw, in words: every one of the Pareto set, and not too many of the rest."""
    trials = described_trials(runs, objectives)
    rest = np.flatnonzero(~trials["is_pareto"].astype(bool))
    if len(rest) > MOST_DOMINATED:
        kept = rest[np.linspace(0, len(rest) - 1, MOST_DOMINATED).round().astype(int)]
        trials = trials[trials["is_pareto"].astype(bool) | trials.index.isin(kept)]
    told = comparisons.varied(runs)
    settings = [setting_text(row, told) for row in trials.to_dict("records")]
    return printable(
        trials.assign(setting=settings, optimizer=trials["optimizer"].map(optimizer_label)),
        ["setting", "optimizer", "architecture"],
    )


def _panel(
    trials: pd.DataFrame, across: Objective, up: Objective, objectives: Sequence[Objective]
) -> alt.LayerChart:
    fields = [f"{objective.metric}_mean" for objective in objectives]
    described = ["trial", "optimizer", "architecture", "setting", "n_seeds", "is_pareto"]
    x_title, x_scale, x_axis = _axis(across, trials)
    y_title, y_scale, y_axis = _axis(up, trials)
    x = alt.X(f"{across.metric}_mean:Q", title=x_title, scale=x_scale, axis=x_axis)
    y = alt.Y(f"{up.metric}_mean:Q", title=y_title, scale=y_scale, axis=y_axis)
    points = alt.Chart(alt.InlineData(values=records(trials, [*described, *fields]))).encode(
        x=x,
        y=y,
        color=alt.Color(
            "optimizer:N",
            title=None,
            scale=alt.Scale(domain=list(dict.fromkeys(trials["optimizer"]))),
            legend=alt.Legend(symbolType="circle", symbolSize=90, symbolStrokeWidth=0),
        ),
        tooltip=[
            alt.Tooltip("trial:Q"),
            *(_tooltip(objective) for objective in objectives),
            alt.Tooltip("optimizer:N", title="optimiser"),
            alt.Tooltip("architecture:N", title="network"),
            alt.Tooltip("setting:N"),
            alt.Tooltip("n_seeds:Q", title="seeds"),
        ],
    )
    steps = _front(trials, across, up)
    # towards the worse values of the horizontal axis the best vertical one so far goes on
    interpolate: Literal["step-after", "step-before"] = (
        "step-after" if across.direction == "minimize" else "step-before"
    )
    line = alt.Chart(
        alt.InlineData(values=records(steps, [f"{across.metric}_mean", f"{up.metric}_mean"]))
    )
    layers = alt.layer(
        line.mark_line(interpolate=interpolate, strokeWidth=1.25).encode(x=x, y=y),
        points.transform_filter("!datum.is_pareto").mark_point(
            filled=True, size=34, style="faint", strokeWidth=0
        ),
        points.transform_filter("datum.is_pareto").mark_point(
            filled=True, size=95, opacity=1, style="chosen"
        ),
    )
    assert isinstance(layers, alt.LayerChart)
    return layers


def _front(trials: pd.DataFrame, across: Objective, up: Objective) -> pd.DataFrame:
    """The front of two objectives from left to right; it ends where the worst trial is."""
    columns = [f"{objective.metric}_mean" for objective in (across, up)]
    values = trials[columns].to_numpy("float64")
    signs = np.array([-1.0 if o.direction == "maximize" else 1.0 for o in (across, up)])
    front = np.unique(values[non_dominated(values * signs)], axis=0)
    best_up, worst_up = (signs[1] * f(signs[1] * values[:, 1]) for f in (np.min, np.max))
    best_across, worst_across = (signs[0] * f(signs[0] * values[:, 0]) for f in (np.min, np.max))
    ends = np.array([[best_across, worst_up], [worst_across, best_up]])
    ordered = np.vstack(
        [ends[:1], front, ends[1:]] if signs[0] > 0 else [ends[1:], front, ends[:1]]
    )
    return pd.DataFrame(ordered, columns=columns).drop_duplicates()


def _axis(objective: Objective, trials: pd.DataFrame) -> tuple[str, alt.Scale, alt.Axis]:
    """The title with its unit, the scale and the axis: logarithmic for costs of many sizes."""
    metric = objective.metric
    title = _TITLES.get(metric, metric_label(metric).capitalize())
    values = trials[f"{metric}_mean"]
    low, high = float(values.min()), float(values.max())
    if metric in COST_METRICS and low > 0 and high / low >= LOG_FROM:
        axis = alt.Axis(format="~s", values=log_ticks(low, high))
        return f"{title}, log scale", alt.Scale(type="log", nice=False, padding=10), axis
    number = "~%" if metric.endswith("_accuracy") else "~s" if metric in COST_METRICS else "~g"
    axis = alt.Axis(format=number, tickCount=5)
    return title, alt.Scale(zero=False, nice=False, padding=10), axis


def _tooltip(objective: Objective) -> alt.Tooltip:
    metric = objective.metric
    number = ".2%" if metric.endswith("_accuracy") else ".4~s" if metric in COST_METRICS else ".4f"
    title = _TITLES.get(metric, metric_label(metric)).lower()
    return alt.Tooltip(f"{metric}_mean:Q", title=title, format=number)
