"""The charts of the Pareto set: every trial, and the front beyond which no trial got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import altair as alt
import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.chart_axes import Axis, metric_axis
from analysis.chart_parts import (
    ALONE_HEIGHT,
    ALONE_WIDTH,
    FAINT,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    Records,
    n_columns,
    optimizer_colour,
    packed,
    printable,
    records,
    shown_optimizer,
    spread_out,
    styled,
)
from analysis.dominance import judged_trials, non_dominated
from analysis.drawings import NamedChart
from analysis.frames import Frames
from analysis.objectives import COST_METRICS, Objective
from analysis.pareto import compared_objectives, described_trials
from analysis.wording import listed, metric_label, setting_text

MOST_DOMINATED = 1000
"""Dominated trials that are drawn: more make a page heavy and show nothing more."""
_COSTS = {
    "training_s": ("pareto_by_seconds", "training time"),
    "n_images_passed": ("pareto_by_images", "images passed"),
}


def pareto_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """The Pareto set of several objectives; of a single one that with what it costs.

    None where no trial has come to its end, and for one objective where only one has.
    """
    sweep = frames.sweeps[0]
    if len(sweep.objectives) > 1:
        return _named(frames, sweep.objectives, "pareto_front", {})
    if sweep.metric in COST_METRICS:
        return _named(frames, compared_objectives(sweep), "pareto_front", {}, fewest=2)
    charts: list[NamedChart] = []
    for cost, (name, choice) in _COSTS.items():
        chosen = (*sweep.objectives, Objective.of(cost))
        charts += _named(frames, chosen, name, {"Cost": choice}, fewest=2)
    return tuple(charts)


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
    axes = {each.metric: _axis(each, trials) for each in chosen}
    drawn = trials.assign(
        **{metric: trials[f"{metric}_mean"] / axis.per for metric, axis in axes.items()}
    )
    described = ["optimizer", "architecture", "is_pareto"]
    data = {"trials": packed(drawn, _lists(axes), described)}
    panels = []
    for place, other in enumerate(others):
        data[f"front_{place}"] = _steps(trials, other, first, axes)
        layers = _panel(_points(frames.runs, trials, axes), f"front_{place}", other, first, axes)
        panels.append(layers)
    width, height = (ALONE_WIDTH, ALONE_HEIGHT) if len(panels) == 1 else (PANEL_WIDTH, PANEL_HEIGHT)
    sized = [panel.properties(width=width, height=height) for panel in panels]
    widest = ALONE_WIDTH if len(panels) == 1 else None
    chart = styled(alt.concat(*sized, columns=n_columns(len(sized))), data, widest=widest)
    assert isinstance(chart, alt.ConcatChart)
    return chart


def _named(
    frames: Frames,
    objectives: Sequence[Objective],
    name: str,
    choices: dict[str, str],
    fewest: int = 1,
) -> tuple[NamedChart, ...]:
    judged = judged_trials(frames.runs, objectives)
    chart = pareto_chart(frames, objectives) if len(judged) >= fewest else None
    if chart is None:
        return ()
    caption = (
        "Large: the Pareto set, the trials that no other one equals in all of "
        f"{listed([metric_label(each.metric) for each in objectives])} and betters in one. Small "
        "and faint: the other trials that ran to their end. Every point is a mean over the seeds. "
    )
    if len(objectives) == 2:
        caption += "The line is the front: no trial lies beyond it."
    else:
        caption += "Each line is the front of the two objectives of its panel alone."
    n_dominated = int((~judged["is_pareto"]).sum())
    if n_dominated > MOST_DOMINATED:
        caption += f" {MOST_DOMINATED:,} of the {n_dominated:,} other trials are drawn."
    aims = " against ".join(metric_label(each.metric) for each in objectives[:2])
    title = aims.capitalize() if len(objectives) == 2 else "The Pareto set"
    return (NamedChart(name, title, caption, chart, "pareto", choices),)


def _drawn(runs: pd.DataFrame, objectives: Sequence[Objective]) -> pd.DataFrame:
    """The trials to draw, in words: every one of the Pareto set, and not too many of the rest."""
    trials = described_trials(runs, objectives)
    is_pareto = trials["is_pareto"].to_numpy("bool")
    rest = np.flatnonzero(~is_pareto)
    kept = np.union1d(rest[spread_out(len(rest), MOST_DOMINATED)], np.flatnonzero(is_pareto))
    trials = trials.iloc[kept]
    told = [name for name in comparisons.varied(runs) if name != "architecture"]
    settings = [setting_text(row, told) for row in trials[told].to_dict("records")]
    return printable(
        trials.assign(
            setting=settings,
            optimizer=trials["optimizer"].map(shown_optimizer),
            is_pareto=trials["is_pareto"].astype(bool),
        ),
        ["setting", "optimizer", "architecture"],
    )


def _lists(axes: Mapping[str, Axis]) -> list[str]:
    return ["trial", *axes, "setting", "n_seeds"]


def _points(runs: pd.DataFrame, trials: pd.DataFrame, axes: Mapping[str, Axis]) -> alt.Chart:
    return (
        alt.Chart(alt.NamedData("trials"))
        .transform_flatten([*_lists(axes)])
        .encode(
            color=optimizer_colour(runs, list(trials["optimizer"].unique()), "circle"),
            tooltip=[
                alt.Tooltip("trial:Q"),
                *(axis.tooltip(metric) for metric, axis in axes.items()),
                alt.Tooltip("optimizer:N", title="optimiser"),
                alt.Tooltip("architecture:N", title="network"),
                alt.Tooltip("setting:N"),
                alt.Tooltip("n_seeds:Q", title="seeds"),
            ],
        )
    )


def _panel(
    points: alt.Chart, front: str, across: Objective, up: Objective, axes: Mapping[str, Axis]
) -> alt.LayerChart:
    x, y = axes[across.metric].x(across.metric), axes[up.metric].y(up.metric)
    # towards the worse values of the horizontal axis the best vertical one so far goes on
    interpolate: Literal["step-after", "step-before"] = (
        "step-after" if across.direction == "minimize" else "step-before"
    )
    line = alt.Chart(alt.NamedData(front)).mark_line(interpolate=interpolate, strokeWidth=1.25)
    placed = points.encode(x=x, y=y)
    layers = alt.layer(
        line.encode(x=x, y=y),
        placed.transform_filter("!datum.is_pareto")
        .mark_point(filled=True, size=34, opacity=1, strokeWidth=0)
        .encode(fillOpacity=alt.value(FAINT)),
        placed.transform_filter("datum.is_pareto").mark_point(
            filled=True, size=95, opacity=1, style="chosen"
        ),
    )
    assert isinstance(layers, alt.LayerChart)
    return layers


def _steps(
    trials: pd.DataFrame, across: Objective, up: Objective, axes: Mapping[str, Axis]
) -> Records:
    front = _front(trials, across, up)
    for metric in (across.metric, up.metric):
        front[metric] = front[f"{metric}_mean"] / axes[metric].per
    return records(front, [across.metric, up.metric])


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


def _axis(objective: Objective, trials: pd.DataFrame) -> Axis:
    return metric_axis(objective.metric, trials[f"{objective.metric}_mean"], padding=10)
