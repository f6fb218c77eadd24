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
    runs: pd.DataFrame, dimension: str, *, direction: Direction = "maximize"
) -> pd.DataFrame:
    """Validation and test accuracy for each value of a dimension and each optimiser.

    The other dimensions are averaged as `compare` does; `comparisons.varied` names them. Beside
    that stands the test accuracy with the others held: as the best configuration of the optimiser
    has them, and only the dimension itself changed.

    Args:
        runs: `Frames.runs`.
        dimension: a column of it.
        direction: the objective's, by which that best configuration is chosen.

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
    held = _held(runs, dimension, direction)
    for prefix, part, metric in (*((m, runs, m) for m in METRICS), ("held", held, METRICS[-1])):
        found = _by_optimizer(part, dimension, metric)
        names = {name: f"{prefix}_{name}" for name in STATISTICS}
        counted = ["n_configurations"] if (prefix, metric) == (METRICS[-1],) * 2 else []
        found = found[[*keys, *STATISTICS, *counted]].rename(columns=names)
        table = table.merge(found, on=keys, how="left")
    counts = [*(f"{name}_n_seeds" for name in (*METRICS, "held")), "n_configurations"]
    table[counts] = table[counts].fillna(0).astype("Int64")
    return table


def held_at(
    runs: pd.DataFrame, dimension: str, *, direction: Direction = "maximize"
) -> Sequence[Mapping[Hashable, Any]]:
    """The best configuration of each optimiser, without the dimension: where the rest is held."""
    best = comparisons.best_configurations(runs, direction=direction)
    rest = [name for name in comparisons.varied(runs) if name != dimension]
    return best[["sweep", "optimizer", *rest]].to_dict("records")


def _by_optimizer(runs: pd.DataFrame, dimension: str, metric: str) -> pd.DataFrame:
    """`compare` by the dimension, marked within each sweep and optimiser."""
    keys = ["sweep", dimension, "optimizer"]
    parts = [
        compare(own, rows=keys, metric=metric)
        for _, own in runs.dropna(subset=keys).groupby(["sweep", "optimizer"])
    ]
    return pd.concat(parts or [compare(runs, rows=keys, metric=metric)], ignore_index=True)


def _held(runs: pd.DataFrame, dimension: str, direction: Direction) -> pd.DataFrame:
    """The runs that differ from their optimiser's best configuration in the dimension alone."""
    kept = pd.Series(False, runs.index)
    for best in held_at(runs, dimension, direction=direction):
        own = pd.Series(True, runs.index)
        for name, value in best.items():
            same = runs[name].isna() if pd.isna(value) else runs[name] == value
            own &= same.fillna(False).astype(bool)
        kept |= own
    return runs[kept]
