"""Adaptive repetitions: which trials need one more seed for their mean to be known well enough.

The idea is racing, as in ROAR and SMAC (Hutter, Hoos, Leyton-Brown, 2011): only what may still be
the best is run again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence

from sweeps.spec import Direction, Repetitions


def needs_seed(
    values: Sequence[float], best: float | None, repetitions: Repetitions, direction: Direction
) -> bool:
    """Whether a trial is to be run with another seed.

    Args:
        values: its objective with each of its seeds.
        best: the mean of the best other trial; None while there is none.
        repetitions: what is asked for.
        direction: of the objective.

    Returns:
        True as long as it has not as many seeds as it may have, its interval is wider than asked,
        and the interval reaches the best mean.
    """
    if len(values) >= repetitions.most_seeds:
        return False
    half_width = interval_half_width(values, repetitions.confidence)
    if half_width <= repetitions.half_width:
        return False
    if best is None:
        return True
    mean = statistics.fmean(values)
    return mean + half_width >= best if direction == "maximize" else mean - half_width <= best


def interval_half_width(values: Sequence[float], confidence: float) -> float:
    """Half the width of the interval of a mean by Student's t distribution; infinite for one."""
    n = len(values)
    if n < 2:
        return math.inf
    # its import takes a quarter of a second, and most sweeps repeat nothing
    from scipy.special import stdtrit

    quantile = float(stdtrit(n - 1, (1 + confidence) / 2))
    return quantile * statistics.stdev(values) / math.sqrt(n)


def next_seed(seeds: Collection[int]) -> int:
    """The seed that follows: one more than the largest, so that a trial's come in one order."""
    return max(seeds) + 1
