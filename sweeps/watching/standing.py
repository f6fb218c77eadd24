"""How a sweep stands by its records: what is shown of it until the records change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis import Frames, Table
from analysis.columns import METRICS
from analysis.comparison_tables import best_table, main_table
from analysis.comparisons import is_not_begun
from analysis.findings import stop_reason
from analysis.pareto_tables import pareto_table


@dataclass(frozen=True, slots=True)
class Counts:
    """How many trials and runs there are of those that were asked for."""

    n_ended: int
    """Trials that have ended."""
    n_trials: int | None
    """Trials that were asked for; None where the sweep file does not say."""
    n_runs: int | None
    """Runs that there will be, with the seeds beyond those asked for that some trials have."""
    states: Mapping[str, int]
    """Runs by their state."""
    n_not_begun: int
    """Of the pruned ones: those that were not begun, since the seeds before them decided."""
    stopped: str | None
    """Why the sweep began no further trial, by its own rule; None if that has not ended it."""
    may_stop: bool
    """Whether its own rule may still end it."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be trained."""
        return self.stopped is not None or self.n_ended == self.n_trials


@dataclass(frozen=True, slots=True)
class Curve:
    """The figures of one run after each of its cycles."""

    optimizer: str
    trial: int
    seed: int
    metric: str
    values: tuple[float, ...]
    """NaN where one is missing; not empty."""


@dataclass(frozen=True)
class Standing:
    """A sweep by its records: what takes a moment to work out, so that drawing it does not."""

    frames: Frames
    """Of this sweep alone."""
    counts: Counts
    comparison: Table | None
    """The optimisers by network and batch size; None where no run has finished."""
    best: tuple[Table, ...]
    """The Pareto set, if there are several objectives, and the best of each optimiser; those that
    have a row."""
    curves: tuple[Curve, ...]
    """Of the best run of each optimiser that has one that finished, all of the same metric."""

    @property
    def n_cycles(self) -> int | None:
        """Cycles that the sweep file asks for; None where it does not say."""
        budget = self.frames.sweeps[0].specification.get("budget")
        return _whole(budget.get("cycles")) if isinstance(budget, dict) else None


def standing(frames: Frames) -> Standing:
    """How a sweep stands.

    Args:
        frames: of one sweep.
    """
    counts = _counts(frames)
    if not (frames.runs["state"] == "finished").any():
        return Standing(frames, counts, comparison=None, best=(), curves=())
    best = best_table(frames)
    several = len(frames.sweeps[0].objectives) > 1
    tables = [pareto_table(frames), best] if several else [best]
    return Standing(
        frames=frames,
        counts=counts,
        comparison=main_table(frames),
        best=tuple(table for table in tables if len(table.frame)),
        curves=tuple(_curves(frames, best.frame)),
    )


def _counts(frames: Frames) -> Counts:
    sweep, trials, runs = frames.sweeps[0], frames.trials, frames.runs
    n_trials = _whole(sweep.specification.get("trials"))
    n_seeds = 1 if sweep.n_seeds is None else sweep.n_seeds
    has_ended = trials["n_runs"].ge(n_seeds) & trials["state"].ne("running")
    n_ended = int(has_ended.sum())
    stopped = stop_reason(frames) if has_ended.all() else None
    n_extra = int((trials["n_runs"] - n_seeds).clip(lower=0).sum())
    if stopped is not None:
        n_runs: int | None = len(runs)
    else:
        n_runs = None if n_trials is None else n_trials * n_seeds + n_extra
    return Counts(
        n_ended=n_ended,
        n_trials=n_trials,
        n_runs=n_runs,
        states={str(state): int(n) for state, n in runs["state"].value_counts().items()},
        n_not_begun=int(is_not_begun(runs).sum()),
        stopped=stopped,
        may_stop=sweep.limits_itself and stopped is None and n_ended != n_trials,
    )


def _curves(frames: Frames, best: pd.DataFrame) -> list[Curve]:
    """Those of the best run of each of the best configurations."""
    objective = frames.sweeps[0].objectives[0]
    metric = objective.metric
    if metric not in METRICS:  # a cost, which only grows
        metric = _measured(frames.runs)
    runs, curves = frames.runs[frames.runs["state"] == "finished"], []
    ascending = objective.direction == "minimize"
    for trial in best["trial"]:
        own = runs[runs["trial"] == trial]
        first = own.sort_values("objective", ascending=ascending, kind="stable").iloc[:1]
        for run in first.to_dict("records"):
            cycles = frames.cycles[frames.cycles["run"] == run["run"]]
            values = tuple(float(value) for value in cycles[metric])
            if pd.Series(values, dtype="float64").notna().any() and pd.notna(run["seed"]):
                name = str(run["optimizer"])
                curves.append(Curve(name, int(run["trial"]), int(run["seed"]), metric, values))
    return curves


def _measured(runs: pd.DataFrame) -> str:
    """The accuracy that chooses, where it was measured."""
    known = runs["validation_accuracy"].notna().any()
    return "validation_accuracy" if known else "test_accuracy"


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
