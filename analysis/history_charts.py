"""The history of the search: the objective of every trial in their order, and the best so far."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.chart_axes import metric_axis, trial_axis
from analysis.chart_parts import (
    Chart,
    optimizer_colour,
    packed,
    printable,
    records,
    shown_optimizer,
    spread_out,
    styled,
)
from analysis.drawings import NamedChart
from analysis.frames import Frames
from analysis.objectives import Objective
from analysis.wording import metric_label, setting_text

MOST_POINTS = 1000
_FEW = 200
_WIDTH, _HEIGHT, _WIDEST = 640, 260, 860


def history_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """One chart; none where fewer than two trials ran to their end."""
    sweep = frames.sweeps[0]
    history = search_history(frames)
    is_finished = history["state"] == "finished"
    if is_finished.sum() < 2:
        return ()
    metric = metric_label(sweep.metric)
    caption = (
        f"A point is a trial, its mean {metric} over the seeds, in the order in which the trials "
        "began. The line is the best so far"
        + (" of each optimiser." if history["optimizer"].nunique() > 1 else ".")
    )
    for state, words in (
        ("pruned", " Hollow: pruned, where it then stood."),
        ("failed", " Ticks at the foot: failed."),
    ):
        if (history["state"] == state).any():
            caption += words
    if len(history) > MOST_POINTS:
        caption += f" {MOST_POINTS:,} of the {len(history):,} trials are drawn; the line has all."
    chart = history_chart(frames.runs, history, sweep.objectives[0])
    return (NamedChart("history", "The course of the search", caption, chart, "history"),)


def search_history(frames: Frames) -> pd.DataFrame:
    """The trials of the first sweep that ended, in their order.

    Returns:
        `trial`, `state` (finished, pruned or failed), `optimizer`, `architecture`, the dimensions
        that were varied, `n_seeds`, `value`: the mean objective over the seeds, of a pruned trial
        over the runs as far as they came; missing for a failed one. And `best`: the best of its
        optimiser up to that trial, of those that ran to their end.
    """
    sweep, varied = frames.sweeps[0], comparisons.varied(frames.runs)
    trials = frames.trials[frames.trials["sweep"] == sweep.name].sort_values("trial")
    runs = frames.runs[frames.runs["sweep"] == sweep.name]
    objectives = runs["objective"].astype("float64")
    reached = objectives.where(objectives.abs() < np.inf).groupby(runs["trial"]).mean()
    finished = trials["objective_mean"].astype("float64")
    described = list(dict.fromkeys(["trial", "state", "optimizer", "architecture", *varied]))
    history = trials[[*described, "n_seeds"]].assign(
        value=finished.where(finished.abs() < np.inf).where(trials["state"] == "finished")
    )
    is_pruned = history["state"] == "pruned"
    history["value"] = history["value"].mask(is_pruned, history["trial"].map(reached))
    is_drawn = history["value"].notna() & history["state"].isin(["finished", "pruned"])
    history = history[is_drawn | (history["state"] == "failed")].reset_index(drop=True)
    judged = history["value"].where(history["state"] == "finished")
    groups = judged.groupby(history["optimizer"])
    best = groups.cummax() if sweep.direction == "maximize" else groups.cummin()
    return history.assign(best=best.groupby(history["optimizer"]).ffill())


def history_chart(runs: pd.DataFrame, history: pd.DataFrame, objective: Objective) -> Chart:
    """The rows of `search_history`, at least one of them with an objective."""
    y = metric_axis(objective.metric, history["value"].dropna(), padding=12)
    x = trial_axis(int(history["trial"].min()), int(history["trial"].max()))
    drawn = history.iloc[spread_out(len(history), MOST_POINTS)]
    told = [name for name in comparisons.varied(runs) if name != "architecture"]
    settings = [setting_text(each, told) for each in drawn[told].to_dict("records")]
    own = printable(
        drawn.assign(
            setting=settings,
            value=drawn["value"] / y.per,
            optimizer=drawn["optimizer"].map(shown_optimizer),
        ),
        ["setting", "optimizer", "architecture"],
    )
    lists = ["trial", "value", "n_seeds", "setting"]
    steps = _steps(history).assign(value=lambda table: table["best"] / y.per)
    steps = printable(
        steps.assign(optimizer=steps["optimizer"].map(shown_optimizer)), ["optimizer"]
    )
    colour = optimizer_colour(runs, list(own["optimizer"].unique()))
    data = {
        "trials": packed(own, lists, ["state", "optimizer", "architecture"]),
        "best": records(steps, ["trial", "value", "optimizer"]),
    }
    points = (
        alt.Chart(alt.NamedData("trials"))
        .transform_flatten([*lists])
        .encode(
            x=x.x("trial"),
            color=colour,
            tooltip=[
                alt.Tooltip("trial:Q"),
                alt.Tooltip("state:N"),
                y.tooltip("value"),
                alt.Tooltip("optimizer:N", title="optimiser"),
                alt.Tooltip("architecture:N", title="network"),
                alt.Tooltip("setting:N"),
                alt.Tooltip("n_seeds:Q", title="seeds"),
            ],
        )
    )
    at, size = y.y("value"), 45 if len(own) <= _FEW else 26
    panel = alt.layer(
        points.transform_filter("datum.state === 'failed'")
        .mark_tick(orient="vertical", thickness=1.5, size=9, opacity=1)
        .encode(y=alt.value(_HEIGHT - 5)),
        points.transform_filter("datum.state === 'pruned'")
        .mark_point(filled=False, size=size - 4, strokeWidth=1, opacity=1, strokeOpacity=0.7)
        .encode(y=at),
        points.transform_filter("datum.state === 'finished'")
        .mark_point(filled=True, size=size, opacity=1, fillOpacity=0.6)
        .encode(y=at),
        alt.Chart(alt.NamedData("best"))
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(x=x.x("trial"), y=at, color=colour),
    ).properties(width=_WIDTH, height=_HEIGHT)
    return styled(alt.concat(panel, columns=1), data, widest=_WIDEST)


def _steps(history: pd.DataFrame) -> pd.DataFrame:
    """The trials at which the best changed, and the last one, to which it holds."""
    known = history.dropna(subset=["best"])
    groups = known.groupby("optimizer")["best"]
    changed = known[groups.shift().ne(known["best"])]
    ends = known.groupby("optimizer").tail(1).assign(trial=history["trial"].max())
    return pd.concat([changed, ends])[["trial", "optimizer", "best"]].drop_duplicates()
