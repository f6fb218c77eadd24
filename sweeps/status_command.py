"""What `rso-sweep status` says about a run folder."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from analysis import SweepMetadata, UnreadableRunFolder, load
from analysis.comparisons import is_not_begun
from analysis.dominance import judged_trials
from analysis.findings import stop_reason
from analysis.formats import format_metric
from analysis.objectives import Objective
from analysis.wording import metric_label
from sweeps.durations import duration
from sweeps.storage.holder import read_holder
from sweeps.storage.places import StorageFailed, open_place
from sweeps.storage.redaction import redacted


def status_lines(folder: str) -> list[str]:
    """The lines to print.

    Raises:
        analysis.UnreadableRunFolder: it is not a run folder.
    """
    frames = load(folder)
    sweep = frames.sweeps[0]
    trials, runs = frames.trials, frames.runs
    n_trials = sweep.specification.get("trials")
    n_seeds = 1 if sweep.n_seeds is None else sweep.n_seeds
    has_ended = trials["n_runs"].ge(n_seeds) & trials["state"].ne("running")
    n_ended = int(has_ended.sum())
    stopped = stop_reason(frames) if has_ended.all() else None
    may_stop = sweep.limits_itself and stopped is None and n_ended != n_trials
    # a pruned seed that was never begun has a row, a seed beyond those asked for is one more
    n_extra = int((trials["n_runs"] - n_seeds).clip(lower=0).sum())
    return [
        f"{sweep.name}  ({folder})",
        f"trials  {_trials(n_ended, n_trials, stopped, may_stop)}",
        f"runs    {_states(runs)}{_of_runs(n_trials, n_seeds, n_extra, stopped, may_stop)}",
        *_best(trials, runs, sweep),
        f"last    {_age(folder)}",
        f"driver  {_driver(folder, n_ended == n_trials or stopped is not None, may_stop)}",
    ]


def _trials(n_ended: int, n_trials: object, stopped: str | None, may_stop: bool) -> str:
    if stopped is not None:
        return f"{n_ended} ended, of at most {n_trials}; no further one is begun: {stopped}"
    return f"{n_ended} of {'at most ' if may_stop else ''}{n_trials} ended"


def _of_runs(
    n_trials: object, n_seeds: int, n_extra: int, stopped: str | None, may_stop: bool
) -> str:
    """How many runs there will be; those of a sweep that has stopped are all there."""
    added = f"{n_extra} of them beyond the first {n_seeds} of their trials"
    if stopped is not None:
        return f", {added}" if n_extra else ""
    n_runs = n_trials * n_seeds + n_extra if isinstance(n_trials, int) else "?"
    expected = f", of {'at most ' if may_stop else ''}{n_runs}"
    return f"{expected}, {added}" if n_extra else expected


def _driver(folder: str, is_over: bool, may_stop: bool) -> str:
    try:
        record = read_holder(open_place(folder))
    except StorageFailed as error:
        return str(error)
    if record is not None and not record.holder.has_died_on(platform.node()):
        return f"process {record.holder.pid} on {record.holder.host}"
    if is_over:
        return "none: the sweep is over"
    unless = ", unless 'stop' ends it" if may_stop else ""
    return f"none: `rso-sweep resume {redacted(folder)}` goes on{unless}"


def _states(runs: pd.DataFrame) -> str:
    counts = runs["state"].value_counts()
    not_begun = int(is_not_begun(runs).sum())
    shown = [
        f"{counts[state]} {state}"
        + (f" ({not_begun} not begun)" if state == "pruned" and not_begun else "")
        for state in ("finished", "running", "pruned", "failed")
        if state in counts
    ]
    return ", ".join(shown) or "none yet"


def _best(trials: pd.DataFrame, runs: pd.DataFrame, sweep: SweepMetadata) -> list[str]:
    """The best trial, or of several objectives the Pareto set and its best in each of them."""
    if len(sweep.objectives) == 1:
        finished = trials[trials["state"] == "finished"].dropna(subset=["objective_mean"])
        if finished.empty:
            return ["best    none yet"]
        ascending = sweep.direction == "minimize"
        row = finished.sort_values("objective_mean", ascending=ascending).iloc[0].to_dict()
        (objective,) = sweep.objectives
        return [f"best    {_trial(row, {objective: row['objective_mean']})}"]
    judged = judged_trials(runs, sweep.objectives)
    chosen = judged[judged["is_pareto"].astype(bool)].merge(
        trials[["trial", "optimizer", "architecture", "batch_size"]], on="trial"
    )
    if chosen.empty:
        return ["pareto  none yet"]
    means = {each: f"{each.metric}_mean" for each in sweep.objectives}
    best: dict[int, str] = {}
    for each, column in means.items():
        ordered = chosen.sort_values(column, ascending=each.direction == "minimize", kind="stable")
        row = ordered.iloc[0].to_dict()
        best.setdefault(row["trial"], _trial(row, {o: row[name] for o, name in means.items()}))
    n_judged = f"{len(judged)} trials that ran to their end" if len(judged) > 1 else "1 trial"
    return [
        f"pareto  {len(chosen)} of {n_judged}; its ends:",
        *(f"        {line}" for line in best.values()),
    ]


def _trial(row: Mapping[Any, Any], values: Mapping[Objective, float]) -> str:
    figures = ", ".join(
        f"{metric_label(each.metric)} {_figure(each.metric, value)}"
        for each, value in values.items()
    )
    return (
        f"trial {row['trial']}: {figures}  "
        f"({row['optimizer']}, {row['architecture']}, batch {row['batch_size']})"
    )


def _figure(metric: str, value: float) -> str:
    return f"{value:.2%}" if metric.endswith("accuracy") else format_metric(metric, value)


def _age(folder: str) -> str:
    try:
        place = open_place(folder)
        moments = [place.modified_at(f"records/{name}") for name in place.names("records")]
    except StorageFailed as error:
        raise UnreadableRunFolder(str(error)) from error
    times = [moment for moment in moments if moment is not None]
    if not times:
        return "no record yet"
    age_s = (datetime.now(UTC) - max(times)).total_seconds()
    return f"record written {duration(age_s)} ago"
