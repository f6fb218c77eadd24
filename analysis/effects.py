"""The effect of one dimension, with the rest averaged, and with the rest held."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis import comparisons
from analysis.comparing import compare
from analysis.comparisons import METRICS
from analysis.objectives import Direction

STATISTICS = ("mean", "low", "high", "n_seeds", "mark")


def effect_of(
    runs: pd.DataFrame,
    dimension: str,
    *,
    direction: Direction = "maximize",
    best: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Validation and test accuracy for each value of a dimension and each optimiser.

    The other dimensions are averaged as `compare` does; `comparisons.varied` names them. Beside
    that stands the test accuracy with the others held: as the best configuration of the optimiser
    has them, and only the dimension itself changed.

    Args:
        runs: `Frames.runs`.
        dimension: a column of it.
        direction: the objective's, by which that best configuration is chosen.
        best: the best configurations, of `comparisons.best_configurations`, where at hand.

    Returns:
        `sweep`, the dimension, `optimizer`, `n_parameters` (for the architecture), then for each
        metric its `_mean`, `_low` and `_high` (95 % interval), `_n_seeds` and `_mark` (within the
        optimiser); `n_configurations`; `held_mean`, `held_low`, `held_high`, `held_n_seeds` and
        `held_mark`, the same of the test accuracy with the rest held.
    """
    keys = ["sweep", dimension, "optimizer"]
    table = comparisons.in_order(runs[keys].dropna().drop_duplicates(), runs)
    if dimension == "architecture":
        table = comparisons.with_size(table, runs)
    if best is None:
        best = comparisons.best_configurations(runs, direction=direction)
    held = _held(runs, dimension, best)
    for prefix, part, metric in (*((m, runs, m) for m in METRICS), ("held", held, METRICS[-1])):
        found = compare(part, rows=keys, metric=metric, within=["sweep", "optimizer"])
        names = {name: f"{prefix}_{name}" for name in STATISTICS}
        counted = ["n_configurations"] if (prefix, metric) == (METRICS[-1],) * 2 else []
        found = found[[*keys, *STATISTICS, *counted]].rename(columns=names)
        table = table.merge(found, on=keys, how="left")
    counts = [*(f"{name}_n_seeds" for name in (*METRICS, "held")), "n_configurations"]
    table[counts] = table[counts].fillna(0).astype("Int64")
    return table


def held_at(
    runs: pd.DataFrame, dimension: str, best: pd.DataFrame
) -> Sequence[Mapping[Hashable, Any]]:
    """Where the rest is held: the best configuration of each optimiser, without the dimension.

    Args:
        runs: `Frames.runs`.
        dimension: a column of it.
        best: of `comparisons.best_configurations`.
    """
    rest = [name for name in comparisons.varied(runs) if name != dimension]
    return best[["sweep", "optimizer", *rest]].to_dict("records")


def _held(runs: pd.DataFrame, dimension: str, best: pd.DataFrame) -> pd.DataFrame:
    """The runs that differ from their optimiser's best configuration in the dimension alone."""
    kept = pd.Series(False, runs.index)
    for held in held_at(runs, dimension, best):
        own = pd.Series(True, runs.index)
        for name, value in held.items():
            same = runs[name].isna() if pd.isna(value) else runs[name] == value
            own &= same.fillna(False).astype(bool)
        kept |= own
    return runs[kept]
