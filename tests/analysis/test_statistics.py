"""Statistics, against scipy, against numbers worked by hand, and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import (
    FEWEST_FOR_BCA,
    estimate,
    holm,
    interquartile_mean,
    paired_p_value,
    probability_of_superiority,
    t_margin,
)

ACCURACIES = st.floats(0, 1, width=32)
FIVE = (0.912, 0.905, 0.921, 0.917, 0.899)


def test_a_mean_of_few_values_has_student_s_interval():
    found = estimate(FIVE)
    expected = stats.ttest_1samp(FIVE, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.value, found.n, found.method) == (pytest.approx(np.mean(FIVE)), 5, "t")
    assert found.high - found.value == pytest.approx(t_margin(np.std(FIVE, ddof=1), 5))


def test_student_s_interval_of_two_values_as_worked_by_hand():
    # mean 0.85, deviation 0.0707, over the root of 2: 0.05; t with 1 degree of freedom: 12.706
    found = estimate([0.8, 0.9])
    assert found.low == pytest.approx(0.85 - 0.05 * 12.7062, abs=1e-5)


@pytest.mark.parametrize("statistic", ["mean", "median", "iqm"])
def test_many_values_have_scipy_s_bootstrap_at_a_raised_level(statistic):
    values = np.sort(np.random.default_rng(1).gamma(2, size=20))
    function = {"mean": np.mean, "median": np.median, "iqm": interquartile_mean}[statistic]
    # the level at which normal quantiles are those of Student's t, times the root of n / (n - 1)
    level = 1 - 2 * stats.norm.cdf(-math.sqrt(20 / 19) * stats.t.ppf(0.975, 19))
    expected = stats.bootstrap(
        (values,), function, confidence_level=level, n_resamples=9999, rng=np.random.default_rng(0)
    ).confidence_interval
    found = estimate(values, statistic)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.method == "BCa"
    assert level > 0.95


def test_the_same_values_in_any_order_have_the_same_interval():
    values = np.random.default_rng(2).normal(size=30)
    assert estimate(values) == estimate(values[::-1])


def test_the_interquartile_mean_as_worked_by_hand():
    assert interquartile_mean([1, 2, 3, 4, 5, 6, 7, 100]) == pytest.approx((3 + 4 + 5 + 6) / 4)
    assert interquartile_mean([1, 2, 30]) == pytest.approx(11)


@pytest.mark.parametrize("statistic", ["mean", "median", "iqm"])
def test_what_few_values_cannot_carry_is_not_said(statistic):
    assert math.isnan(estimate([0.5], statistic).low)
    assert math.isnan(estimate([], statistic).value)
    few = estimate(FIVE, statistic)
    assert few.method == ("t" if statistic == "mean" else "none")
    assert math.isnan(few.low) == (statistic != "mean")


def test_values_that_are_all_the_same_have_an_interval_without_width():
    for values in ([0.9, 0.9], [0.9] * 20):
        found = estimate(values)
        assert found.value == pytest.approx(0.9)
        assert found.high - found.low == pytest.approx(0, abs=1e-12)


def test_values_that_differ_in_one_have_an_interval_within_their_range():
    found = estimate([1.0] * 9 + [2.0], "median")
    assert 1.0 == found.low == found.value
    assert found.high <= 2.0


def test_a_level_is_a_share():
    with pytest.raises(ValueError, match="'level' must be above 0 and below 1, got 95"):
        estimate([1, 2], level=95)


@given(st.lists(ACCURACIES, min_size=2, max_size=14))
@settings(deadline=None, max_examples=60)
def test_an_interval_holds_its_mean(values):
    found = estimate(values)
    assert found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high


@pytest.mark.parametrize("test", ["t", "wilcoxon"])
def test_paired_tests_are_scipy_s(test):
    first, second = np.array(FIVE + FIVE[::-1]), np.linspace(0.88, 0.93, 10)
    expected = stats.ttest_rel(first, second) if test == "t" else stats.wilcoxon(first - second)
    assert paired_p_value(first - second, test) == pytest.approx(expected.pvalue)


def test_differences_that_are_all_the_same_are_judged_by_their_signs():
    assert paired_p_value([0.01] * 3) == 0.25
    assert paired_p_value([0.0] * 3) == 1.0
    # 0.09 less 0.08, and 0.1 less 0.09, differ by rounding alone
    assert paired_p_value([0.09 - 0.08, 0.1 - 0.09]) == 0.5
    assert math.isnan(paired_p_value([0.01]))


def test_holm_s_correction_as_worked_by_hand():
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.2 x 1; the third is below the second, which it keeps
    assert list(holm([0.02, 0.2, 0.01, 0.03])) == pytest.approx([0.06, 0.2, 0.04, 0.06])
    assert list(holm([0.9, 0.8])) == [1.0, 1.0]
    with_missing = holm([0.02, math.nan, 0.01])
    assert with_missing[[0, 2]] == pytest.approx([0.02, 0.02])
    assert math.isnan(with_missing[1])


@given(st.lists(ACCURACIES, min_size=2, max_size=9), st.sampled_from(["t", "wilcoxon"]))
@settings(deadline=None)
def test_a_p_value_is_a_probability_whatever_the_differences(values, test):
    assert 0 <= paired_p_value(np.diff(values) if len(values) > 2 else values, test) <= 1


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_what_its_definition_says(p_values):
    adjusted = holm(p_values)
    for place, found in enumerate(adjusted):
        before = [
            p * (len(p_values) - rank)
            for rank, p in enumerate(sorted(p_values))
            if p <= p_values[place]
        ]
        assert found == pytest.approx(min(1.0, max(before)))


@given(st.lists(ACCURACIES, min_size=1, max_size=8), st.lists(ACCURACIES, min_size=1, max_size=8))
@settings(deadline=None)
def test_the_probability_of_superiority_is_mann_and_whitney_s_u(first, second):
    u = stats.mannwhitneyu(first, second).statistic if first or second else 0
    expected = u / (len(first) * len(second))
    assert probability_of_superiority(first, second) == pytest.approx(expected)


def test_the_probability_of_superiority_counts_ties_half():
    assert probability_of_superiority([1, 2], [1, 0]) == (0.5 + 1 + 1 + 1) / 4
    assert math.isnan(probability_of_superiority([], [1]))


def test_the_numbers_from_which_on_there_is_a_bootstrap_are_those_documented():
    assert FEWEST_FOR_BCA == {"mean": 15, "median": 6, "iqm": 6}
