"""Equal budgets: what every run had reached by the time that it had used a given amount of work.

A budget is a number of cycles (SGD: epochs), of images passed forwards, of seconds of training, or
of updates of each weight. Records are made at the end of cycles, so that a run stands at its last
cycle that is within the budget; nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from analysis.columns import COSTS, METRICS
from analysis.frames import Frames

BudgetKind = Literal["cycles", "images", "seconds", "updates"]
BUDGET_KINDS: tuple[BudgetKind, ...] = ("cycles", "images", "seconds", "updates")
USED = {
    "cycles": "n_cycles",
    "images": "n_images_passed",
    "seconds": "training_s",
    "updates": "updates_per_weight",
}
"""The column of `cumulative_cycles` that says how much of a kind of budget was used."""


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount of work that every run may use."""

    kind: BudgetKind
    """cycles (SGD: epochs), images passed forwards, seconds of training, or updates of a weight:
    visits to it for RSO, batches for a gradient method, each of which moves all weights."""
    amount: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """A budget as it is written: `images=1e6`.

        Raises:
            ValueError: it is not; the message is a line.
        """
        kind, _, amount = text.partition("=")
        for known in BUDGET_KINDS:
            if kind.strip() == known and (number := _positive(amount)) is not None:
                return cls(known, number)
        raise ValueError(
            f"'at' must be a budget and an amount above 0, such as {BUDGET_KINDS[0]}=5 or "
            f"images=1e6 (one of {', '.join(BUDGET_KINDS)}), got {text!r}"
        )


def runs_within(
    frames: Frames, budget: Budget | None, cycles: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The runs as they stood at their last cycle within a budget.

    A run that had not used the budget up when it was pruned, failed or was looked at keeps its
    state; all others count as finished, whatever became of them afterwards. One that finished
    within the budget stands where it finished, and one whose first cycle already needs more has
    no figures.

    Args:
        frames: of one or more sweeps.
        budget: None for all that every run did.
        cycles: `cumulative_cycles(frames)`, where there it is at hand.

    Returns:
        `Frames.runs` with the metrics, the costs, `n_cycles` and `objective` of that cycle.
    """
    runs = frames.runs
    if budget is None:
        return runs
    cycles = cumulative_cycles(frames) if cycles is None else cycles
    used = USED[budget.kind]
    figures = _last(cycles[cycles[used] <= budget.amount]).reindex(runs.index)
    is_used_up = _last(cycles)[used].reindex(runs.index) >= budget.amount
    stood = runs.assign(
        **{name: figures[name].astype("float64") for name in METRICS},
        **{name: figures[name].fillna(0).astype(runs[name].dtype) for name in (*COSTS, "n_cycles")},
        state=runs["state"].mask(is_used_up.fillna(False).astype(bool), "finished"),
    )
    for sweep in frames.sweeps:
        here = runs["sweep"] == sweep.name
        stood.loc[here, "objective"] = figures.loc[here, sweep.metric].astype("float64")
    return stood


def used_within(cycles: pd.DataFrame, budget: Budget) -> pd.Series:
    """What each run had used of a budget at its last cycle within it.

    Args:
        cycles: of `cumulative_cycles`.
        budget: the budget.

    Returns:
        By the label of the run in the index of `Frames.runs`; without those that had no cycle.
    """
    used = USED[budget.kind]
    return _last(cycles[cycles[used] <= budget.amount])[used].astype("float64")


def cumulative_cycles(frames: Frames) -> pd.DataFrame:
    """Every cycle of the runs, with what its run had cost by its end.

    Returns:
        In their order: `row` (the run's label in the index of `Frames.runs`), the metrics, the
        costs from the first cycle on, `n_cycles` and `updates_per_weight`.
    """
    keys, known = ["sweep", "run"], ["optimizer", "batch_size", "n_parameters"]
    of_a_run = frames.runs.rename_axis("row").reset_index()[[*keys, "row", *known]]
    names = ["cycle", *METRICS, *COSTS]
    table = frames.cycles[[*keys, *names]].merge(of_a_run, on=keys, how="inner")
    visited, images, batch_size, size = (
        table[name].astype("float64")
        for name in ("n_visited", "n_images_passed", "batch_size", "n_parameters")
    )
    batches = np.ceil(images / batch_size)
    table["updates_per_weight"] = np.where(visited > 0, visited / size, batches)
    costs = [*COSTS, "updates_per_weight"]
    table[costs] = table.groupby("row")[costs].cumsum()
    return table.rename(columns={"cycle": "n_cycles"})[["row", "n_cycles", *METRICS, *costs]]


def common_budget(
    cycles: pd.DataFrame, kind: BudgetKind, groups: Sequence[Sequence[int]]
) -> Budget | None:
    """The largest budget that every group of runs used up, if all have a figure within it.

    Where the first cycle of one needs more than all that another did, it is the smallest budget
    with which all have a figure: the other one finished within it.

    Args:
        cycles: of `cumulative_cycles`.
        kind: the kind of budget.
        groups: the runs to compare, by their labels in the index of `Frames.runs`.

    Returns:
        None where a group has no cycle.
    """
    used = cycles.set_index("row")[USED[kind]].astype("float64")
    ends, beginnings = [], []
    for group in groups:
        own = used[used.index.isin(group)].dropna().groupby(level=0)
        if not own.ngroups:
            return None
        ends.append(own.max().min())
        beginnings.append(own.min().max())
    return Budget(kind, float(max(min(ends), max(beginnings)))) if ends else None


def _last(cycles: pd.DataFrame) -> pd.DataFrame:
    return cycles.groupby("row").tail(1).set_index("row")


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < np.inf else None
