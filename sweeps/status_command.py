"""What `rso-sweep status` says about a run folder."""

from __future__ import annotations

import platform
from datetime import UTC, datetime

import pandas as pd

from analysis import UnreadableRunFolder, load
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
    n_seeds = _n_seeds(sweep.specification.get("seeds", [0]))
    n_runs = n_trials * n_seeds if isinstance(n_trials, int) else "?"
    n_trials_ended = int((trials["n_runs"].eq(n_seeds) & trials["state"].ne("running")).sum())
    return [
        f"{sweep.name}  ({folder})",
        f"trials  {n_trials_ended} of {n_trials} ended",
        f"runs    {_states(runs)}, of {n_runs}",
        f"best    {_best(trials, sweep.metric, sweep.direction)}",
        f"last    {_age(folder)}",
        f"driver  {_driver(folder, is_over=n_trials_ended == n_trials)}",
    ]


def _driver(folder: str, is_over: bool) -> str:
    try:
        record = read_holder(open_place(folder))
    except StorageFailed as error:
        return str(error)
    if record is not None and not record.holder.has_died_on(platform.node()):
        return f"process {record.holder.pid} on {record.holder.host}"
    if is_over:
        return "none: the sweep is over"
    return f"none: `rso-sweep resume {redacted(folder)}` goes on"


def _n_seeds(seeds: object) -> int:
    """Of a list or of a number, as whoever edits a sweep file may write it."""
    if isinstance(seeds, list):
        return len(seeds)
    return seeds if isinstance(seeds, int) else 1


def _states(runs: pd.DataFrame) -> str:
    counts = runs["state"].value_counts()
    shown = [
        f"{counts[state]} {state}"
        for state in ("finished", "running", "pruned", "failed")
        if state in counts
    ]
    return ", ".join(shown) or "none yet"


def _best(trials: pd.DataFrame, metric: str, direction: str) -> str:
    finished = trials[trials["state"] == "finished"].dropna(subset=["objective_mean"])
    if finished.empty:
        return "none yet"
    ordered = finished.sort_values("objective_mean", ascending=direction == "minimize")
    row = ordered.iloc[0]
    value = row["objective_mean"]
    shown = f"{value:.2%}" if metric.endswith("accuracy") else f"{value:.4f}"
    return (
        f"trial {row['trial']}: {metric.replace('_', ' ')} {shown}  "
        f"({row['optimizer']}, {row['architecture']}, batch {row['batch_size']})"
    )


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
