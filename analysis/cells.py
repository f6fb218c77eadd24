"""The cells of a comparison: the figures behind each, as arrays, and how two are paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.objectives import Direction
from analysis.paired import Difference, marks, paired_difference
from analysis.statistics import Statistic, Test, Values, estimate

Codes = npt.NDArray[np.integer[Any]]

_IDENTITY = ("configuration", "data", "seed", "value", "sweep")


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell averages: a figure for each configuration and seed."""

    values: Values
    configurations: Codes
    pairs: Codes
    """A number for the data and the seed of each, the same in all cells of a table."""
    dimensions: Mapping[str, Codes] = field(default_factory=dict)
    """A number for the value of each other dimension, the same in all cells; -1: missing."""

    @staticmethod
    @cache
    def empty() -> Cell:
        """A cell without figures."""
        none = np.zeros(0, dtype=np.int64)
        return Cell(np.zeros(0), none, none)

    def statistics(self, statistic: Statistic) -> dict[str, float]:
        """The statistic under its name, `low`, `high`, `std`, `n_seeds`, `n_configurations`."""
        by_seed = _means(self.values, self.pairs)[1]
        by_configuration = _means(self.values, self.configurations)[1]
        n_seeds, n_configurations = by_seed.size, by_configuration.size
        result = estimate(by_seed, statistic)
        is_balanced = self.values.size == n_seeds * n_configurations
        # a mean weighs every configuration alike, also where some lack a seed
        is_mean = statistic == "mean" and n_configurations > 0
        return {
            statistic: float(by_configuration.mean()) if is_mean else result.value,
            "low": result.low if is_balanced else np.nan,
            "high": result.high if is_balanced else np.nan,
            "std": float(by_seed.std(ddof=1)) if is_balanced and n_seeds > 1 else np.nan,
            "n_seeds": n_seeds,
            "n_configurations": n_configurations,
        }


@dataclass(frozen=True, slots=True)
class Pairing:
    """How cells are compared: what is better, of which statistic, by which test."""

    direction: Direction = "maximize"
    statistic: Statistic = "mean"
    test: Test = "t"

    def difference(self, first: Cell, second: Cell) -> Difference:
        """How much larger the first cell is, pair by pair, averaged within each seed."""
        shared = _shared_dimensions(first, second)
        own, other = _common(_by_pair(first, shared), _by_pair(second, shared))
        return paired_difference(
            own, other, direction=self.direction, statistic=self.statistic, test=self.test
        )

    def marks(
        self, figures: Sequence[Sequence[float]], cells: Sequence[Sequence[Cell]]
    ) -> list[list[str | None]]:
        """`paired.marks` of groups of cells, from the figures that are shown of them."""
        return marks(
            figures,
            lambda group, best, place: (
                self.difference(cells[group][best], cells[group][place]).p_value
            ),
            self.direction,
        )


def cells_of(values: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[object, ...], Cell]:
    """The cells of a table by the values of their keys.

    Args:
        values: of `comparisons.seed_values`.
        keys: the columns of it that tell the cells apart.
    """
    if values.empty:
        return {}
    pairs = values.groupby(["data", "seed"], sort=False).ngroup().to_numpy("int64")
    configurations = values["configuration"].to_numpy("int64")
    figures = values["value"].to_numpy("float64")
    others = [name for name in values.columns if name not in (*_IDENTITY, *keys)]
    dimensions = {name: pd.factorize(values[name])[0].astype(np.int64) for name in others}
    return {
        (key if isinstance(key, tuple) else (key,)): Cell(
            figures[rows],
            configurations[rows],
            pairs[rows],
            {name: codes[rows] for name, codes in dimensions.items()},
        )
        for key, rows in values.groupby(list(keys), sort=False).indices.items()
    }


def _shared_dimensions(first: Cell, second: Cell) -> list[str]:
    """The dimensions of which both cells tried some of the same values."""
    shared = []
    for name in first.dimensions.keys() & second.dimensions.keys():
        own, other = first.dimensions[name], second.dimensions[name]
        if own.min() >= 0 and other.min() >= 0 and np.isin(own, other).any():
            shared.append(name)
    return sorted(shared)


def _by_pair(cell: Cell, shared: Sequence[str]) -> tuple[Codes, Values]:
    """A mean for each pair and value of the shared dimensions; the pair comes first."""
    keys = np.column_stack([cell.pairs, *(cell.dimensions[name] for name in shared)])
    return _means(cell.values, keys)


def _common(first: tuple[Codes, Values], second: tuple[Codes, Values]) -> tuple[Values, Values]:
    """The means of both by pair, over the keys that both have."""
    own = {tuple(key): place for place, key in enumerate(first[0].tolist())}
    other = {tuple(key): place for place, key in enumerate(second[0].tolist())}
    both = [key for key in own if key in other]
    pairs = np.array([key[0] for key in both], dtype=np.int64)
    means = [
        _means(part[1][[places[key] for key in both]], pairs)[1]
        for part, places in ((first, own), (second, other))
    ]
    return means[0], means[1]


def _means(values: Values, keys: Codes) -> tuple[Codes, Values]:
    """The distinct keys (rows, where they are a matrix) in their order, and the means of each."""
    if not values.size:
        return keys, values
    distinct, places = np.unique(keys, axis=0, return_inverse=True)
    places = places.reshape(-1)
    return distinct, np.bincount(places, weights=values) / np.bincount(places)
