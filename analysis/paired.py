"""Comparisons of two or more sets of figures, pair by pair, and which of them are best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.objectives import Direction
from analysis.statistics import (
    Statistic,
    Test,
    Values,
    estimate,
    holm,
    paired_p_value,
    probability_of_superiority,
)

SIGNIFICANT = 0.05
"""Two figures can be told apart where their adjusted p value is below this."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much larger the first of two sets of figures is; NaN where that cannot be said."""

    value: float
    """The statistic of the differences of the pairs."""
    low: float
    high: float
    """The ends of its 95 % interval; NaN for a single pair."""
    n_pairs: int
    p_value: float
    """That the pairs do not differ; NaN for a single pair."""
    probability: float
    """That a figure of the first is better than one of the second; a tie counts half."""


def paired_difference(
    first: Values,
    second: Values,
    *,
    direction: Direction = "maximize",
    statistic: Statistic = "mean",
    test: Test = "t",
) -> Difference:
    """The difference of two sets of figures, pair by pair.

    Args:
        first: figures, finite.
        second: those to subtract: the partner of each, in the same order.
        direction: which of two figures is the better one.
        statistic: of the differences.
        test: of the differences.
    """
    differences = _without_rounding(first - second, float(np.abs([*first, *second, 0.0]).max()))
    result = estimate(differences, statistic)
    sign = 1.0 if direction == "maximize" else -1.0
    return Difference(
        value=result.value,
        low=result.low,
        high=result.high,
        n_pairs=result.n,
        p_value=paired_p_value(differences, test),
        probability=probability_of_superiority(sign * first, sign * second),
    )


def marks(
    groups: Sequence[Sequence[float]],
    p_value: Callable[[int, int, int], float],
    direction: Direction = "maximize",
) -> list[list[str | None]]:
    """Which figures are the best of their group, and which cannot be told apart from it.

    All tests together keep the rate of an error at 5 % (Holm).

    Args:
        groups: the figures that are compared with each other; NaN where there is none.
        p_value: of a group's number, and the places of its best and another figure, the p value
            that these are the same; NaN where nothing can be tested.
        direction: which figures are the better ones.

    Returns:
        "best", "tied" or None for each figure. None for a whole group in which nothing could be
        tested: a single figure, or a single pair.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    tests = []
    for number, group in enumerate(groups):
        if np.isnan(group).all():
            continue
        best = int(np.nanargmax(sign * np.asarray(group)))
        tests += [
            (number, best, place, p_value(number, best, place))
            for place, value in enumerate(group)
            if place != best and not np.isnan(value)
        ]
    adjusted = holm([found for *_, found in tests])
    marked: list[list[str | None]] = [[None] * len(group) for group in groups]
    for (number, best, place, _), probability in zip(tests, adjusted, strict=True):
        if np.isnan(probability):
            continue
        marked[number][best] = "best"
        if probability >= SIGNIFICANT:
            marked[number][place] = "tied"
    return marked


def _without_rounding(differences: Values, size: float) -> Values:
    """Differences of figures of that size, of which those that are the same are equal."""
    unit = 1e-12 * size
    return np.round(differences / unit) * unit if unit > 0 else differences
