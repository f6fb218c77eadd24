"""Estimates over seeds: an interval for a mean, median or interquartile mean, and paired tests.

Which interval is used depends on what few values can carry; each was measured to cover the true
value at about its nominal rate, on normal and on skewed values:

- of a mean, below 15 values Student's t: with five values no bootstrap can cover at 95 %, since
  none of its intervals leaves the range of the values;
- else the bias-corrected and accelerated bootstrap (Efron 1987; scipy), its level raised for few
  values as by Hesterberg (2015, "What Teachers Should Know About the Bootstrap", section 3.2);
- of a median or an interquartile mean there is none below 6 values, and of one value never.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtr, stdtr, stdtrit

Statistic = Literal["mean", "median", "iqm"]
Method = Literal["t", "BCa", "none"]
Test = Literal["t", "wilcoxon"]
Values = npt.NDArray[np.float64]

FEWEST_FOR_BCA: dict[Statistic, int] = {"mean": 15, "median": 6, "iqm": 6}
_N_RESAMPLES = 9999
_ROUNDING = 1e-12
"""Differences that are the same but for so much of their size are the same."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of some values with its interval; NaN where there is none."""

    value: float
    low: float
    high: float
    n: int
    method: Method
    """What the interval is by."""


def estimate(
    values: Sequence[float] | Values, statistic: Statistic = "mean", *, level: float = 0.95
) -> Estimate:
    """A statistic with its confidence interval.

    The same values give the same interval: the bootstrap draws from a generator of its own.

    Args:
        values: finite, in any order; one for each seed.
        statistic: mean, median, or the mean of the middle half (`interquartile_mean`).
        level: of the interval, above 0 and below 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"'level' must be above 0 and below 1, got {level}")
    own = np.sort(np.asarray(values, dtype=np.float64))
    if own.size == 0:
        return Estimate(np.nan, np.nan, np.nan, 0, "none")
    value, n = float(_STATISTICS[statistic](own)), own.size
    if n >= FEWEST_FOR_BCA[statistic]:
        low, high = _bca(own, statistic, level)
        return Estimate(value, low, high, n, "BCa")
    if statistic == "mean" and n > 1:
        margin = float(t_margin(own.std(ddof=1), n, level))
        return Estimate(value, value - margin, value + margin, n, "t")
    return Estimate(value, np.nan, np.nan, n, "none")


def interquartile_mean(values: Any, axis: int = -1) -> Any:
    """The mean without the lowest and the highest quarter, each rounded down to whole values.

    Of fewer than four values it is the mean (`scipy.stats.trim_mean`).
    """
    return stats.trim_mean(values, 0.25, axis=axis)


def t_margin(std: Any, n: Any, level: float = 0.95) -> Any:
    """Half of Student's interval of a mean from its deviation (ddof 1) and number of values."""
    return stdtrit(n - 1, 0.5 + level / 2) * std / np.sqrt(n)


def prediction_margin(std: Any, n: Any, level: float = 0.95) -> Any:
    """Half of Student's interval of one more value, round the mean of n values."""
    return t_margin(std, n, level) * np.sqrt(n + 1)


def paired_p_value(differences: Sequence[float] | Values, test: Test = "t") -> float:
    """The p value of differences that would be 0 on average; two-sided.

    Where all differences are the same, which says nothing about their spread, it is that of the
    signs alone. A single difference has none (NaN).

    Args:
        differences: finite.
        test: Student's paired test, or Wilcoxon's signed ranks, which cannot get below 0.05 with
            fewer than six.
    """
    own = np.asarray(differences, dtype=np.float64)
    if own.size < 2:
        return float("nan")
    if np.ptp(own) <= _ROUNDING * np.abs(own).max():
        return 1.0 if own[0] == 0 else float(2.0 ** (1 - own.size))
    if test == "wilcoxon":
        return float(stats.wilcoxon(own, zero_method="pratt").pvalue)
    t = own.mean() * np.sqrt(own.size) / own.std(ddof=1)
    return float(2 * stdtr(own.size - 1, -abs(t)))


def holm(p_values: Sequence[float] | Values) -> Values:
    """The p values of several tests, adjusted so that one error among all keeps its rate.

    Holm (1979): the smallest times their number, the next times one less and so on, never
    falling. What is missing stays missing and is not counted.
    """
    own = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(own.shape, np.nan)
    known = np.flatnonzero(~np.isnan(own))
    order = known[np.argsort(own[known], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(own[order] * factors), 1.0)
    return adjusted


def probability_of_superiority(
    first: Sequence[float] | Values, second: Sequence[float] | Values
) -> float:
    """The share of all pairs of one value of each in which the first is the larger one.

    A tie counts half (Vargha and Delaney 2000). NaN where one of them is empty.
    """
    own, other = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if not own.size or not other.size:
        return float("nan")
    larger, equal = own[:, None] > other, own[:, None] == other
    return float((larger + 0.5 * equal).mean())


def _median(values: Any, axis: int = -1) -> Any:
    return np.median(values, axis=axis)


def _mean(values: Any, axis: int = -1) -> Any:
    return np.mean(values, axis=axis)


_STATISTICS: dict[Statistic, Callable[..., Any]] = {
    "mean": _mean,
    "median": _median,
    "iqm": interquartile_mean,
}


def _bca(values: Values, statistic: Statistic, level: float) -> tuple[float, float]:
    if np.ptp(values) <= _ROUNDING * np.abs(values).max():
        return float(values[0]), float(values[-1])
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            (values,),
            _STATISTICS[statistic],
            method="BCa",
            n_resamples=_N_RESAMPLES,
            confidence_level=_raised(level, values.size),
            rng=np.random.default_rng(0),
        ).confidence_interval
    low, high = float(result.low), float(result.high)
    if np.isnan(low) or np.isnan(high):
        # to leave any one value out changes nothing, as of a median of nearly equal ones: what
        # the bootstrap then cannot tell is at most their range
        return float(values[0]), float(values[-1])
    return low, high


def _raised(level: float, n: int) -> float:
    """The level at which percentiles of the bootstrap are as far apart as Student's t asks."""
    quantile = np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.5 + level / 2)
    return float(1 - 2 * ndtr(-quantile))
