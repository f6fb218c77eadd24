"""Which trials no other is better than: Pareto dominance (Pareto, 1896), by the mean over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.objectives import Objective

_BLOCK = 256
"""Points that are held at once against those found before them: the comparisons stay in cache."""


def judged_trials(runs: pd.DataFrame, objectives: Sequence[Objective]) -> pd.DataFrame:
    """The trials that ran to their end, with their objectives and whether one of them is better.

    Left out is a trial with a run that failed, was pruned or has not ended, with fewer seeds than
    its sweep asks for, or without a finite figure for one of its seeds: the rest alone would
    flatter it.

    Args:
        runs: `Frames.runs`; trials are compared with those of their own sweep.
        objectives: at least one.

    Returns:
        `sweep` and `trial`, in their order; `n_seeds`; for each objective's metric its `_mean`
        and `_std` (ddof 1; missing for one seed); `is_pareto`.
    """
    metrics = [objective.metric for objective in objectives]
    trial = [runs["sweep"], runs["trial"]]
    figures = runs[metrics].astype("float64")
    counts = (runs["state"] == "finished") & figures.abs().lt(np.inf).all(axis="columns")
    whole = counts.groupby(trial).transform("all")
    n_runs = counts.groupby(trial).transform("size")
    if "n_seeds_asked" in runs:  # a frame that somebody made may lack it
        whole &= n_runs >= runs["n_seeds_asked"].fillna(0)
    of_a_trial = figures[whole].groupby(trial)
    means, deviations = of_a_trial.mean(), of_a_trial.std()
    table = pd.DataFrame({"n_seeds": of_a_trial.size().astype("Int64")})
    for metric in metrics:
        table[f"{metric}_mean"], table[f"{metric}_std"] = means[metric], deviations[metric]
    table = table.reset_index()
    signs = [-1.0 if objective.direction == "maximize" else 1.0 for objective in objectives]
    costs = table[[f"{metric}_mean" for metric in metrics]].to_numpy("float64") * signs
    is_pareto = np.zeros(len(table), dtype=bool)
    for own in table.groupby("sweep").indices.values():
        is_pareto[own] = non_dominated(costs[own])
    return table.assign(is_pareto=pd.array(is_pareto, dtype="boolean"))


def non_dominated(costs: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points no other one dominates: is as small everywhere, and smaller somewhere.

    Equal points do not dominate each other: they stay or go together. Exact; in O(n log n) for one
    or two columns, else in O(n · size of the result).

    Args:
        costs: a row for each point, a column for each objective, to be small; no NaN.
    """
    n_points, n_objectives = costs.shape
    if n_points == 0:
        return np.zeros(0, dtype=bool)
    # in this order a point is dominated, if at all, by one before it
    order = np.lexsort(costs.T[::-1])
    ordered = costs[order]
    is_new = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]
    distinct = ordered[is_new]
    if n_objectives == 1:
        kept = np.arange(len(distinct)) == 0
    elif n_objectives == 2:
        smallest_before = np.minimum.accumulate(np.r_[np.inf, distinct[:-1, 1]])
        kept = distinct[:, 1] < smallest_before
        kept[0] = True  # even where it is infinite
    else:
        kept = _kept_of_many(distinct[:, 1:])
    result = np.empty(n_points, dtype=bool)
    result[order] = kept[np.cumsum(is_new) - 1]
    return result


def _kept_of_many(rest: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Of distinct points in order, by all columns but the first, in which the order is theirs."""
    kept = np.zeros(len(rest), dtype=bool)
    columns = rest.T.copy()
    for start in range(0, len(rest), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(rest)))
        found = np.flatnonzero(kept[:start])
        candidates = block[~_is_covered(columns[:, found], columns[:, block]).any(axis=0)]
        own = columns[:, candidates]
        # only an earlier point of the block may cover a later one
        covered = np.triu(_is_covered(own, own), k=1).any(axis=0)
        kept[candidates[~covered]] = True
    return kept


def _is_covered(
    points: npt.NDArray[np.float64], others: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether a point (row) is at most as large as another one (column) everywhere."""
    covered = np.ones((points.shape[1], others.shape[1]), dtype=bool)
    for mine, theirs in zip(points, others, strict=True):
        covered &= mine[:, None] <= theirs[None, :]
    return covered
