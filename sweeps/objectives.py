"""The objectives of a run, from the records of its cycles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.spec import COSTS, Objective

Values = tuple[float | None, ...]
"""One for each objective of the sweep; None where a figure is not a finite number."""


def values_after_cycle(
    objectives: Sequence[Objective], figures: Mapping[str, Any], before: Values | None
) -> Values:
    """What the objectives of a run are after a cycle.

    Args:
        objectives: of the sweep.
        figures: of the cycle, by the names of `CycleRecord`.
        before: what they were after the cycle before; None after the first one.
    """
    return tuple(
        _value(objective, figures, None if before is None else (before[index],))
        for index, objective in enumerate(objectives)
    )


def mean_values(values: Sequence[Values]) -> tuple[float, ...]:
    """The mean of several runs in each objective; NaN where one of them has none."""
    means = []
    for column in zip(*values, strict=True):
        numbers = [value for value in column if value is not None]
        means.append(statistics.fmean(numbers) if len(numbers) == len(column) else math.nan)
    return tuple(means)


def _value(
    objective: Objective, figures: Mapping[str, Any], before: tuple[float | None] | None
) -> float | None:
    value = figures.get(objective.metric)
    if objective.metric in COSTS and before is not None:
        # they add up over the cycles; what is not known stays so
        return None if value is None or before[0] is None else before[0] + value
    return None if value is None else float(value)
