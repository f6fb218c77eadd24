"""Axes: round ticks, times in a unit that reads naturally, and logarithms where they are due."""

from __future__ import annotations

import itertools
import math
import re

import altair as alt
import pandas as pd
import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st

from analysis.chart_axes import (
    dimension_axis,
    dimension_title,
    linear_ticks,
    log_ticks,
    metric_axis,
    time_unit,
)

POSITIVE = st.floats(1e-9, 1e12)


@given(POSITIVE, st.floats(1.001, 1e9))
def test_logarithmic_ticks_are_few_round_and_within_the_axis(low, factor):
    high = low * factor
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= high for tick in ticks)
    if ticks != [low, high]:
        assert all(f"{tick:.0e}" == f"{float(f'{tick:.0e}'):.0e}" for tick in ticks)
        assert all(math.isclose(tick, float(f"{tick:.0e}")) for tick in ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_linear_ticks_are_evenly_spaced_and_within_the_axis(low, extent):
    high = low + extent
    ticks = linear_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-6 * extent <= tick <= high + 1e-6 * extent for tick in ticks)
    steps = [later - earlier for earlier, later in itertools.pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-6, abs=1e-6 * extent)


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [
        (0.05, 0.5, "s"),
        (5, 2999, "s"),
        (100, 7000, "min"),
        (3600, 90_000, "h"),
        (0.01, 9000, "s"),  # a hundredth of a second is no round part of a minute
    ],
)
def test_times_are_told_in_the_unit_that_suits_them(low, high, unit):
    assert time_unit(low, high)[1] == unit


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.05, 0.4, {"0.1", "0.2", "0.3", "0.4"}),
        (0.05, 500, {"0.1", "1", "10", "100"}),
        (50, 500, {"100", "200", "300", "400", "500"}),
    ],
)
def test_times_are_never_written_with_a_letter(low, high, labels):
    texts = drawn(metric_axis("training_s", pd.Series([low, high])))
    assert "Training time (s)" in texts.pop().removesuffix(", log scale")
    assert labels <= set(texts)
    assert not any(re.search("[a-zµ]", text) for text in texts)


def test_hours_are_drawn_as_hours():
    axis = metric_axis("training_s", pd.Series([7200.0, 36_000.0]))
    assert axis.per == 3600
    texts = drawn(axis)
    assert texts.pop() == "Training time (h)"
    assert {"2", "4", "10"} <= set(texts)


def test_counts_are_short_and_small_fractions_whole():
    images = drawn(metric_axis("n_images_passed", pd.Series([1e4, 2e6])))
    assert {"10k", "100k", "1M"} <= set(images)
    rates = drawn(dimension_axis("learning_rate", pd.Series([0.0005, 0.1])))
    assert {"0.001", "0.01", "0.1"} <= set(rates)


@pytest.mark.parametrize(
    ("metric", "values", "is_log"),
    [
        ("test_loss", [0.1, 2.0], True),
        ("test_loss", [0.3, 2.0], False),
        ("test_loss", [0.0, 2.0], False),
        ("test_accuracy", [0.01, 0.99], False),
        ("training_s", [1.0, 20.0], False),
        ("training_s", [1.0, 40.0], True),
        ("sigma", [0.01, 0.2], True),
        ("accepted_share", [0.0, 1.0], False),
    ],
)
def test_an_axis_is_logarithmic_where_its_figures_span_enough(metric, values, is_log):
    axis = metric_axis(metric, pd.Series(values))
    assert axis.is_log == is_log
    assert axis.title.endswith(", log scale") == is_log


@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss", "training_s", "n_visited"])
@pytest.mark.parametrize("value", [0.0, 0.5, 7000.0])
def test_a_single_value_has_an_axis_with_it_in_the_middle(metric, value):
    low, high = metric_axis(metric, pd.Series([value])).scale.to_dict()["domain"]
    axis = metric_axis(metric, pd.Series([value]))
    assert (low + high) / 2 == pytest.approx(value / axis.per)
    assert low < high


def test_cycles_have_whole_ticks():
    assert metric_axis("cycle", pd.Series([1, 4])).axis.to_dict()["values"] == [1, 2, 3, 4]


def test_an_option_is_titled_as_it_is_written():
    assert dimension_title("batch_size") == "Batch size"
    assert dimension_title("perturbation_std") == "perturbation_std"


def drawn(axis) -> list[str]:
    """The words of an axis as they are drawn, its title last."""
    values = [{"x": value} for value in axis.scale.to_dict()["domain"]]
    chart = alt.Chart(alt.InlineData(values=values)).mark_point().encode(x=axis.x("x"))
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)
