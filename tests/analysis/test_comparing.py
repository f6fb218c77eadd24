"""Comparisons of any columns, against numbers worked out by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import analysis
from analysis.budgets import Budget
from analysis.cells import Cell, Pairing
from analysis.comparing import compare
from analysis.paired import paired_difference
from analysis.statistics import probability_of_superiority


def runs_of(builder):
    return analysis.load(builder.write()).runs


def test_compare_averages_configurations_within_a_seed_and_then_seeds(build):
    builder = build()
    figures = {(64, 0): 0.5, (64, 1): 0.6, (256, 0): 0.7, (256, 1): 0.9}
    for (batch_size, seed), accuracy in figures.items():
        builder.add_run(batch_size, seed, batch_size=batch_size, validation=[accuracy])
    row = compare(runs_of(builder), rows=["architecture"]).iloc[0]
    # seeds: (0.5 + 0.7) / 2 = 0.6 and (0.6 + 0.9) / 2 = 0.75
    assert row["mean"] == pytest.approx(0.675)
    assert row["std"] == pytest.approx(0.15 / math.sqrt(2))
    assert (row["n_seeds"], row["n_configurations"]) == (2, 2)


def test_compare_lays_columns_side_by_side(build):
    builder = build()
    for trial, (optimizer, batch_size) in enumerate([("rso", 64), ("sgd", 64), ("rso", 256)]):
        builder.add_run(trial, optimizer=optimizer, batch_size=batch_size, validation=[0.5])
    table = compare(runs_of(builder), rows=["batch_size"], columns=["optimizer"])
    assert list(table["batch_size"]) == [64, 256]
    assert list(table["rso_mean"]) == [0.5, 0.5]
    assert pd.isna(table.loc[1, "sgd_mean"])
    assert list(table["sgd_n_seeds"]) == [1, 0]


def test_a_configuration_tried_twice_weighs_once(build):
    builder = build()
    for trial, (batch_size, accuracy) in enumerate([(64, 0.2), (64, 0.2), (256, 0.8)]):
        builder.add_run(trial, batch_size=batch_size, validation=[accuracy])
    row = compare(runs_of(builder), rows=["optimizer"]).iloc[0]
    assert row["mean"] == pytest.approx(0.5)
    assert row["n_configurations"] == 2


def test_one_seed_has_no_deviation(build):
    builder = build()
    builder.add_run(0, validation=[0.5])
    row = compare(runs_of(builder), rows=["optimizer"]).iloc[0]
    assert row["n_seeds"] == 1
    assert pd.isna(row["std"])


def test_only_finished_runs_count_and_what_was_tried_stays_in_sight(build):
    builder = build()
    builder.add_run(0, batch_size=64, validation=[0.5])
    builder.add_run(1, batch_size=256, validation=[0.9], state="pruned")
    builder.add_run(2, batch_size=1024, validation=[0.9], state="failed")
    builder.add_run(3, batch_size=2048, validation=[0.9], state=None)
    table = compare(runs_of(builder), rows=["batch_size"])
    assert list(table["batch_size"]) == [64, 256, 1024]
    assert list(table["n_seeds"]) == [1, 0, 0]
    assert list(table["mean"].isna()) == [False, True, True]


def test_a_configuration_that_diverged_for_one_seed_has_no_mean(build):
    builder = build()
    builder.add_run(0, 0, validation=[0.9])
    builder.add_run(0, 1, validation=[None], test=[0.1])
    row = compare(runs_of(builder), rows=["optimizer"]).iloc[0]
    assert pd.isna(row["mean"])
    assert row["n_seeds"] == 0


def test_a_setting_with_fewer_seeds_does_not_enter_an_average(build):
    builder = build()
    for seed in (0, 1):
        builder.add_run(0, seed, batch_size=64, validation=[0.5])
    builder.add_run(1, 0, batch_size=256, validation=[0.9])
    builder.add_run(1, 1, batch_size=256, validation=[0.9], state="failed")
    row = compare(runs_of(builder), rows=["optimizer"]).iloc[0]
    assert row["mean"] == pytest.approx(0.5)
    assert row["n_configurations"] == 1


def test_seeds_that_averaged_different_configurations_give_no_deviation(build):
    builder = build()
    builder.add_run(0, 0, batch_size=64, validation=[0.5])
    builder.add_run(1, 1, batch_size=256, validation=[0.9])
    row = compare(runs_of(builder), rows=["optimizer"]).iloc[0]
    assert row["mean"] == pytest.approx(0.7)
    assert row["n_seeds"] == 2
    assert pd.isna(row["std"])


def test_the_frame_that_was_given_is_not_changed(whole_sweep):
    runs = analysis.load(whole_sweep).runs
    before = runs.copy(deep=True)
    compare(runs, rows=["architecture"], columns=["optimizer"])
    compare(runs, rows=["batch_size", "optimizer"], within=["optimizer"])
    pd.testing.assert_frame_equal(runs, before)


@settings(deadline=None, max_examples=40)
@given(
    accuracies=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4),
    order=st.permutations(range(4)),
)
def test_the_order_of_the_rows_changes_nothing(accuracies, order):
    runs = pd.DataFrame(
        {
            "sweep": "s",
            "trial": pd.array([0, 0, 1, 1], dtype="Int64"),
            "seed": pd.array([0, 1, 0, 1], dtype="Int64"),
            "state": "finished",
            "architecture": "one_conv",
            "n_parameters": pd.array([7890] * 4, dtype="Int64"),
            "batch_size": pd.array([64, 64, 256, 256], dtype="Int64"),
            "optimizer": "rso",
            "cycles": 3,
            "validation_accuracy": accuracies,
        }
    )
    table = compare(runs, rows=["optimizer"])
    shuffled = compare(runs.iloc[list(order)], rows=["optimizer"])
    pd.testing.assert_frame_equal(table, shuffled)
    assert min(accuracies) - 1e-9 <= table.loc[0, "mean"] <= max(accuracies) + 1e-9


def paired_runs(build, *, shift=0.0):
    """Two optimisers, two batch sizes, four seeds; seeds move both alike."""
    builder = build()
    generator = np.random.default_rng(5)
    seeds = generator.normal(0, 0.02, 4)
    for trial, (optimizer, batch_size) in enumerate(
        (o, b) for o in ("rso", "sgd") for b in (64, 256)
    ):
        for seed in range(4):
            gain = shift * (optimizer == "rso") + 0.01 * (batch_size == 256)
            accuracy = 0.8 + gain + seeds[seed] + generator.normal(0, 0.003)
            builder.add_run(
                trial, seed, optimizer=optimizer, batch_size=batch_size, validation=[accuracy]
            )
    return runs_of(builder)


def test_differences_are_paired_by_seed_as_scipy_pairs_them(build):
    runs = paired_runs(build, shift=0.01)
    table = compare(runs, rows=["batch_size"], columns=["optimizer"])
    p_values = []
    for row in table.to_dict("records"):
        own = runs[runs["batch_size"] == row["batch_size"]]
        first, second = (
            own[own["optimizer"] == name].sort_values("seed")["validation_accuracy"].to_numpy()
            for name in ("rso", "sgd")
        )
        test = stats.ttest_rel(first, second)
        interval = test.confidence_interval(0.95)
        assert row["difference"] == pytest.approx((first - second).mean())
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(
            (interval.low, interval.high)
        )
        assert row["p_value"] == pytest.approx(test.pvalue)
        assert row["probability"] == probability_of_superiority(first, second)
        assert row["n_pairs"] == 4
        p_values.append(test.pvalue)
    low, high = sorted(p_values)
    expected = {low: 2 * low, high: max(2 * low, high)}
    assert list(table["p_holm"]) == pytest.approx([expected[p] for p in p_values])


def test_pairs_share_every_dimension_of_which_both_tried_the_same_values(build):
    builder = build()
    # SGD was never run at 1024, where RSO is at its best: there is no pair for it
    for trial, (optimizer, batch_size, accuracy) in enumerate(
        [("rso", 64, 0.70), ("rso", 1024, 0.95), ("sgd", 64, 0.80)]
    ):
        for seed in (0, 1):
            builder.add_run(
                trial,
                seed,
                optimizer=optimizer,
                batch_size=batch_size,
                validation=[accuracy + 0.01 * seed],
            )
    row = compare(runs_of(builder), rows=["architecture"], columns=["optimizer"]).iloc[0]
    assert row["rso_mean"] == pytest.approx((0.70 + 0.95) / 2 + 0.005)
    assert row["difference"] == pytest.approx(0.70 - 0.80)
    assert row["n_pairs"] == 2


def test_seeds_of_different_data_are_no_pairs(build):
    builders = [build(name) for name in ("first", "second")]
    for place, builder in enumerate(builders):
        builder.specification["data"] |= {"train_size": 1000 * (place + 1)}
        for seed in (0, 1):
            builder.add_run(0, seed, validation=[0.5 + 0.1 * place])
    frames = analysis.load(*(builder.write() for builder in builders))
    row = compare(frames.runs, rows=["architecture"], columns=["sweep"]).iloc[0]
    assert row["n_pairs"] == 0
    assert math.isnan(row["difference"])
    assert (row["first_mean"], row["second_mean"]) == (0.5, 0.6)


def test_the_same_data_in_two_sweeps_makes_pairs(build):
    builders = [build(name) for name in ("first", "second")]
    for place, builder in enumerate(builders):
        for seed in (0, 1):
            builder.add_run(0, seed, validation=[0.5 + 0.1 * place + 0.01 * seed])
    frames = analysis.load(*(builder.write() for builder in builders))
    row = compare(frames.runs, rows=["architecture"], columns=["sweep"]).iloc[0]
    assert row["n_pairs"] == 2
    assert row["difference"] == pytest.approx(-0.1)


def test_the_best_is_marked_and_what_cannot_be_told_apart_from_it(build):
    builder = build()
    figures = {64: (0.70, 0.71, 0.69, 0.70), 256: (0.90, 0.92, 0.91, 0.93)}
    figures[1024] = (0.91, 0.92, 0.90, 0.935)
    for trial, (batch_size, accuracies) in enumerate(figures.items()):
        for seed, accuracy in enumerate(accuracies):
            builder.add_run(trial, seed, batch_size=batch_size, validation=[accuracy])
    runs = runs_of(builder)
    table = compare(runs, rows=["batch_size"])
    assert list(table["mark"].fillna("")) == ["", "tied", "best"]
    losses = compare(runs, rows=["batch_size"], metric="validation_loss")
    assert list(losses["mark"].fillna("")) == ["", "tied", "best"]
    upside_down = compare(runs, rows=["batch_size"], direction="minimize")
    assert list(upside_down["mark"].fillna("")) == ["best", "", ""]


def test_a_single_seed_marks_nothing(build):
    builder = build()
    for trial, batch_size in enumerate((64, 256)):
        builder.add_run(trial, batch_size=batch_size, validation=[0.5 + 0.1 * trial])
    assert compare(runs_of(builder), rows=["batch_size"])["mark"].isna().all()


def test_what_differs_by_rounding_alone_does_not_differ():
    first, second = np.array([0.1 + 0.2, 0.7 + 0.1, 0.5]), np.array([0.3, 0.8, 0.5])
    assert (first != second).sum() == 2
    found = paired_difference(first, second)
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_rows_are_marked_within_what_they_share(build):
    runs = paired_runs(build, shift=0.2)
    table = compare(runs, rows=["batch_size", "optimizer"], within=["optimizer"])
    assert list(table["optimizer"]) == ["rso", "sgd", "rso", "sgd"]
    assert list(table["mark"].fillna("")) == ["", "", "best", "best"]


@pytest.mark.parametrize(
    ("statistic", "expected"), [("mean", 3.94 / 6), ("median", 0.6), ("iqm", 2.44 / 4)]
)
def test_a_statistic_is_taken_over_the_seeds(build, statistic, expected):
    builder = build()
    # of six the interquartile mean leaves out one at either end
    for seed, accuracy in enumerate((0.5, 0.6, 0.6, 0.6, 0.64, 1.0)):
        builder.add_run(0, seed, validation=[accuracy])
    row = compare(runs_of(builder), rows=["optimizer"], statistic=statistic).iloc[0]
    assert row[statistic] == pytest.approx(expected)
    assert row["low"] < row[statistic] < row["high"]


def test_runs_are_held_to_a_budget(build):
    builder = build()
    builder.add_run(0, validation=[0.5, 0.9])
    frames = analysis.load(builder.write())
    for cycles, expected in ((1, 0.5), (2, 0.9)):
        row = compare(frames, rows=["optimizer"], at=Budget("cycles", cycles)).iloc[0]
        assert row["mean"] == expected
    with pytest.raises(TypeError, match="'at' needs the frames"):
        compare(frames.runs, rows=["optimizer"], at=Budget("cycles", 1))


def test_an_empty_sweep_has_an_empty_table(build):
    runs = runs_of(build())
    for columns in ([], ["optimizer"]):
        table = compare(runs, rows=["architecture", "batch_size"], columns=columns)
        assert table.empty
        assert list(table.columns[:2]) == ["architecture", "batch_size"]


CELLS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(-1, 2), st.floats(0, 1, width=32)),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[:3],
)


@given(CELLS, CELLS)
@settings(deadline=None, max_examples=100)
def test_a_paired_difference_is_what_loops_over_the_pairs_find(first, second):
    def cell(rows):
        pairs, configurations, shared, values = (
            np.array(column) for column in zip(*rows, strict=True)
        )
        return Cell(values.astype(float), configurations, pairs, {"d": shared})

    is_shared = min(row[2] for row in first + second) >= 0 and {row[2] for row in first} & {
        row[2] for row in second
    }
    differences = []
    for pair in range(4):
        sums = []
        for mine, others in ((first, second), (second, first)):
            means = []
            for value in range(-1, 3) if is_shared else [None]:
                own, other = (
                    [r[3] for r in rows if r[0] == pair and value in (None, r[2])]
                    for rows in (mine, others)
                )
                if own and other:
                    means.append(sum(own) / len(own))
            sums.append(sum(means) / len(means) if means else None)
        if None not in sums:
            differences.append(sums[0] - sums[1])
    found = Pairing().difference(cell(first), cell(second))
    assert found.n_pairs == len(differences)
    if differences:
        assert found.value == pytest.approx(sum(differences) / len(differences), abs=1e-9)
