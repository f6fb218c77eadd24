"""Figures are written with the digits that their interval supports."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import formats

NONE = math.nan


@given(
    st.lists(st.integers(0, 10_000), min_size=2, max_size=20),
    st.randoms(use_true_random=False),
)
def test_figures_look_the_same_however_their_mean_was_added_up(correct, random):
    shares = [each / 10_000 for each in correct]
    mean, exact = sum(shares) / len(shares), math.fsum(shares) / len(shares)
    random.shuffle(shares)
    others = (exact, sum(shares) / len(shares), 1 - sum(1 - each for each in shares) / len(shares))
    shown = formats.format_estimate(mean, mean - 0.01, mean + 0.01, 5)
    for other in others:
        assert formats.format_estimate(other, other - 0.01, other + 0.01, 5) == shown
        assert formats.format_difference(other, other - 0.02, other) == formats.format_difference(
            mean, mean - 0.02, mean
        )


def test_a_half_goes_one_way():
    means = (0.8595, math.nextafter(0.8595, 0), math.nextafter(0.8595, 1))
    assert len({formats.format_estimate(each, 0.85, 0.87, 5) for each in means}) == 1


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        # two seeds: 0.31 / sqrt(2) x 12.706 = 2.79; five: 0.31 / sqrt(5) x 2.776 = 0.385
        ((0.91523, 0.0031, 2), "91.5 ± 2.8"),
        ((0.91523, 0.0031, 5), "91.5 ± 0.4"),
        ((0.5, NONE, 1), "50.00 (1 seed)"),
        ((0.5, NONE, 2), "50.00 (2 seeds)"),
        ((NONE, NONE, 0), "—"),
    ],
)
def test_an_accuracy_tells_what_it_rests_on(cell, shown):
    assert formats.format_accuracy(*cell) == shown


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ((0.9152, 0.9112, 0.9192, 3), "91.5 ± 0.4"),
        ((0.9152, 0.909, 0.918, 20), "91.5 [90.9, 91.8]"),
        ((0.9152, 0.9152, 0.9152, 3), "91.52 ± 0.00"),
        ((0.82, 0.7, 0.94, 2), "82 ± 12"),
        ((0.9, NONE, NONE, 1), "90.00 (1 seed)"),
    ],
)
def test_an_estimate_shows_its_interval(cell, shown):
    assert formats.format_estimate(*cell) == shown


def test_a_figure_that_is_no_share_has_its_own_digits():
    assert formats.format_estimate(0.31234, 0.30934, 0.31534, 3, scale=1) == "0.3123 ± 0.0030"
    assert formats.format_estimate(53020800, 52020800, 54020800, 3, scale=1) == "53020800 ± 1000000"


@pytest.mark.parametrize(
    ("margin", "decimals"),
    [(11.3, 0), (3.54, 1), (3.56, 0), (0.354, 2), (0.42, 1), (0.036, 2), (0.001, 2), (0, 2)],
)
def test_an_error_keeps_two_digits_below_36_and_else_one(margin, decimals):
    assert formats.supported_decimals(margin) == decimals


@given(st.floats(1e-6, 1e6))
def test_rounding_moves_no_figure_by_more_than_a_part_of_its_error(margin):
    decimals = formats.supported_decimals(margin, most=10)
    assert 0.5 * 10.0**-decimals <= 0.15 * margin or decimals == 0
    assert 10.0**-decimals >= margin / 36 or decimals == 0


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ((-0.016, -0.051, 0.019), "−1.6 [−5.1, +1.9]"),
        ((0.08, -0.01, 0.17), "+8 [−1, +17]"),
        ((-0.00001, NONE, NONE), "+0.00"),
        ((NONE, NONE, NONE), "—"),
    ],
)
def test_a_difference_has_signs(ends, shown):
    assert formats.format_difference(*ends) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.123, "0.12 s"),
        (45.26, "45.3 s"),
        (750, "12.5 min"),
        (86400, "24.0 h"),
        (NONE, "—"),
    ],
)
def test_seconds_have_the_unit_that_suits_them(seconds, shown):
    assert formats.format_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("kind", "amount", "shown"),
    [
        ("cycles", 1, "1 cycle"),
        ("cycles", 3.0, "3 cycles"),
        ("images", 30_000, "30,000 images"),
        ("images", 12_119_040, "12.1 million images"),
        ("images", 2.5e9, "2.5 billion images"),
        ("seconds", 75, "75.0 s"),
        ("updates", 157, "157 updates a weight"),
        ("updates", 1, "1 update a weight"),
        ("updates", NONE, "—"),
    ],
)
def test_budgets_are_told_in_words(kind, amount, shown):
    assert formats.format_budget(kind, amount) == shown


def test_what_was_used_stands_side_by_side():
    assert formats.format_used("images", 12_119_040, 30_000) == "12.1 million / 30,000"
    assert formats.format_used("seconds", 9.65, NONE) == "9.65 s / —"


def test_probabilities_have_two_digits():
    texts = [formats.format_p_value(p) for p in (0.0004, 0.0123, 0.25, 1.0, NONE)]
    assert texts == ["<0.001", "0.012", "0.25", "1.00", "—"]
    assert [formats.format_share(share) for share in (0.5, 1, NONE)] == ["50 %", "100 %", "—"]
