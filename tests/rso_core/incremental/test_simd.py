"""The vectors' functions against numpy's in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from rso_core.incremental.compiled import blocks, simd
from rso_core.incremental.compiled.simd import LANES


def _mapped(function: Any) -> Callable[[np.ndarray], np.ndarray]:
    @njit
    def loop(x: Any, y: Any) -> None:
        for at in range(0, len(x), LANES):
            simd.store(y, at, function(simd.load(x, at)))

    def mapped(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        loop(x, y)
        return y

    return mapped


def _numbers(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 1000 * LANES, dtype=np.float32)


def _relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.max(np.abs(found - exact) / exact))


def test_the_exponential_is_exact_to_a_rounding_or_two() -> None:
    x = _numbers(-87, 88)
    assert _relative_error(_mapped(simd.exponential)(x), np.exp(x.astype(np.float64))) < 2e-7


def test_the_exponential_of_what_is_far_below_nothing_is_nothing() -> None:
    x = np.full(LANES, -np.inf, dtype=np.float32)
    assert np.all(_mapped(simd.exponential)(x) < 1e-37)


def test_the_logarithm_is_exact_to_a_rounding_or_two_near_one_too() -> None:
    x = _numbers(1 + 1e-6, 100)
    assert _relative_error(_mapped(simd.logarithm)(x), np.log(x.astype(np.float64))) < 2e-7


@pytest.mark.parametrize(("low", "high"), [(-80, -10), (-10, 10), (10, 1000)])
def test_softplus_keeps_its_relative_precision_however_small_it_is(low: float, high: float) -> None:
    x = _numbers(low, high)
    assert _relative_error(_mapped(simd.softplus)(x), np.logaddexp(0, x.astype(np.float64))) < 4e-7


@pytest.mark.parametrize("function", [simd.exponential, simd.logarithm, simd.softplus])
def test_what_is_not_a_number_stays_so(function: Any) -> None:
    assert np.isnan(_mapped(function)(np.full(LANES, np.nan, dtype=np.float32))).all()


def test_transposing_exchanges_rows_and_columns() -> None:
    @njit
    def run(x: Any) -> None:
        blocks.transpose(x, 3)

    x = np.arange(3 + LANES * LANES, dtype=np.float32)
    expected = x[3:].reshape(LANES, LANES).T.copy()
    run(x)
    np.testing.assert_array_equal(x[3:].reshape(LANES, LANES), expected)
    np.testing.assert_array_equal(x[:3], [0, 1, 2])
