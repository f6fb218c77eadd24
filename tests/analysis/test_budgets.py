"""Equal budgets and targets, against numbers worked by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis.budgets import (
    BUDGET_KINDS,
    USED,
    Budget,
    common_budget,
    cumulative_cycles,
    runs_within,
    used_within,
)
from analysis.targets import common_target, median_needed, needed_for

RSO_IMAGES = 3 * 64 * 7890  # a cycle of one_conv at batch size 64


@pytest.fixture
def frames(build):
    """Two seeds of RSO and one of SGD; an SGD epoch passes 20,000 images in 313 batches of 64."""
    builder = build()
    builder.add_run(0, 0, validation=[0.5, 0.6, 0.7], training_s=2.0)
    builder.add_run(0, 1, validation=[0.4, 0.5, 0.9], training_s=3.0)
    builder.add_run(1, 0, optimizer="sgd", validation=[0.8, 0.85, 0.9], training_s=1.0)
    return analysis.load(builder.write())


def accuracies(runs):
    return [None if math.isnan(value) else value for value in runs["test_accuracy"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cycles=2", [0.6, 0.5, 0.85]),
        ("images=1515000", [0.5, 0.4, 0.9]),  # one cycle of RSO; SGD had ended long before
        ("seconds=4", [0.6, 0.4, 0.9]),
        ("updates=2", [0.6, 0.5, None]),  # SGD's first epoch has 313 updates already
        ("updates=400", [0.7, 0.9, 0.8]),
        ("seconds=0.5", [None, None, None]),
    ],
)
def test_a_run_stands_at_its_last_cycle_within_the_budget(frames, text, expected):
    runs = runs_within(frames, Budget.parse(text))
    assert accuracies(runs) == expected
    assert list(runs["objective"].fillna(-1)) == [-1 if e is None else e for e in expected]


def test_costs_are_those_up_to_that_cycle(frames):
    runs = runs_within(frames, Budget("cycles", 2))
    assert list(runs["n_cycles"]) == [2, 2, 2]
    assert list(runs["training_s"]) == [4.0, 6.0, 2.0]
    assert list(runs["n_images_passed"]) == [2 * RSO_IMAGES, 2 * RSO_IMAGES, 40_000]
    assert list(runs["evaluation_s"]) == [1.0] * 3


def test_without_a_budget_runs_are_as_they_are(frames):
    pd.testing.assert_frame_equal(runs_within(frames, None), frames.runs)


def test_updates_are_visits_for_rso_and_batches_for_a_gradient_method(frames):
    last = cumulative_cycles(frames).groupby("row")["updates_per_weight"].last()
    assert list(last) == [3.0, 3.0, 3 * 313]
    within = used_within(cumulative_cycles(frames), Budget("updates", 400))
    assert list(within) == [3.0, 3.0, 313.0]


def test_a_run_that_was_stopped_after_the_budget_counts_and_one_before_does_not(build):
    builder = build()
    builder.add_run(0, validation=[0.5, 0.6], state="pruned")
    builder.add_run(1, validation=[0.7], state="failed", batch_size=256)
    builder.add_run(2, validation=[0.8, 0.9], state=None, batch_size=1024)
    frames = analysis.load(builder.write())
    assert list(runs_within(frames, Budget("cycles", 2))["state"]) == [
        "finished",
        "failed",
        "finished",
    ]
    assert list(runs_within(frames, Budget("cycles", 1))["state"]) == ["finished"] * 3


@pytest.mark.parametrize(
    "text", ["cycles", "cycles=0", "cycles=-1", "cycles=inf", "images=many", "epochs=3", ""]
)
def test_a_budget_that_is_none_is_refused_in_a_line(text):
    with pytest.raises(ValueError, match="'at' must be a budget and an amount above 0") as refused:
        Budget.parse(text)
    assert repr(text) in str(refused.value)


def test_the_common_budget_is_what_all_used_up(frames):
    cycles = cumulative_cycles(frames)
    groups = [[0, 1], [2]]
    assert common_budget(cycles, "cycles", groups) == Budget("cycles", 3.0)
    assert common_budget(cycles, "seconds", groups) == Budget("seconds", 3.0)
    # SGD passed fewer images in all than RSO in its first cycle: this is the budget then
    assert common_budget(cycles, "images", groups) == Budget("images", RSO_IMAGES)
    assert common_budget(cycles, "cycles", [[0], [99]]) is None


@given(amount=st.floats(0.1, 1000), kind=st.sampled_from(BUDGET_KINDS))
@settings(deadline=None, max_examples=25)
def test_a_budget_is_what_a_search_through_the_cycles_finds(shared_frames, amount, kind):
    frames, cycles = shared_frames
    scaled = amount * (1e5 if kind == "images" else 1)
    found = runs_within(frames, Budget(kind, scaled), cycles)
    for row, run in enumerate(frames.runs["run"]):
        own = frames.cycles[frames.cycles["run"] == run]
        spent, expected = 0.0, math.nan
        for record in own.to_dict("records"):
            spent += {
                "cycles": 1,
                "images": record["n_images_passed"],
                "seconds": record["training_s"],
                "updates": record["n_visited"] / frames.runs.loc[row, "n_parameters"]
                or math.ceil(record["n_images_passed"] / frames.runs.loc[row, "batch_size"]),
            }[kind]
            if spent <= scaled:
                expected = record["test_accuracy"]
        assert found.loc[row, "test_accuracy"] == pytest.approx(expected, nan_ok=True)


@pytest.fixture(scope="module")
def shared_frames(run_folder_builder, tmp_path_factory):
    builder = run_folder_builder(tmp_path_factory.mktemp("budgets") / "sweep")
    for trial, (optimizer, batch_size) in enumerate((("rso", 64), ("sgd", 64), ("sgd", 256))):
        values = [0.5 + 0.1 * trial, 0.6 + 0.1 * trial, 0.65 + 0.1 * trial]
        builder.add_run(
            trial, optimizer=optimizer, batch_size=batch_size, validation=values, training_s=3.5
        )
    frames = analysis.load(builder.write())
    return frames, cumulative_cycles(frames)


def test_what_a_run_needs_is_counted_to_its_first_cycle_at_the_target(frames):
    needed = needed_for(frames, 0.6, kind="seconds")
    assert list(needed["needed"]) == [4.0, 9.0, 1.0]
    assert list(needed["is_reached"]) == [True, True, True]
    missed = needed_for(frames, 0.8, kind="cycles")
    assert list(missed["needed"]) == [3.0, 3.0, 1.0]
    assert list(missed["is_reached"]) == [False, True, True]


def test_a_loss_is_reached_from_above(frames):
    needed = needed_for(frames, -math.log(0.6), metric="test_loss")
    assert list(needed["needed"]) == [2.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("amounts", "reached", "median"),
    [
        # all reached it: the second of three
        ((1, 2, 3), (True, True, True), 2),
        # one gave up at 2: of those left at 3 one of one got there, and half had not before
        ((1, 2, 3), (True, False, True), 3),
        # S falls to 3/4 at 1, and the rest gave up
        ((1, 2, 3, 4), (True, False, False, False), math.nan),
        # S: 4/5, 3/5, then 3/5 x 1/2
        ((1, 2, 3, 3, 4), (True, True, False, True, True), 3),
        ((5,), (False,), math.nan),
        ((), (), math.nan),
    ],
)
def test_a_median_counts_those_that_gave_up_as_worked_by_hand(amounts, reached, median):
    found = median_needed(pd.Series(amounts, dtype="float64"), pd.Series(reached, dtype="boolean"))
    assert found == pytest.approx(median, nan_ok=True)


def test_to_leave_out_those_that_gave_up_would_flatter():
    amounts, reached = pd.Series([1.0, 2, 9, 9, 9]), pd.Series([True, True, False, False, False])
    assert math.isnan(median_needed(amounts, reached))
    assert median_needed(amounts[reached], reached[reached]) == 1.0


def test_the_common_target_is_a_half_point_that_all_reached():
    assert common_target([pd.Series([0.913, 0.915]), pd.Series([0.99])]) == pytest.approx(0.91)
    assert common_target([pd.Series([0.905])]) == pytest.approx(0.905)
    assert common_target([pd.Series([0.31])], "test_loss") == pytest.approx(0.35)
    assert common_target([pd.Series([], dtype="float64")]) is None


def test_every_kind_of_budget_has_a_column():
    assert set(USED) == set(BUDGET_KINDS)
