"""Optimisers against each other, to their end, at equal budgets and to a target, by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis.budgets import Budget
from analysis.head_to_head import (
    optimizers_at_equal_budget,
    optimizers_by_architecture_and_batch_size,
    optimizers_to_target,
)


def runs_of(builder):
    return analysis.load(builder.write()).runs


def test_optimizers_are_set_side_by_side_at_their_best(build):
    builder = build()
    figures = {
        (0, "rso", 0.5): (0.70, 0.72),
        (1, "rso", 1.0): (0.60, 0.62),
        (2, "sgd", 0.1): (0.80, 0.84),
    }
    for (trial, optimizer, value), accuracies in figures.items():
        name = "perturbation_std" if optimizer == "rso" else "learning_rate"
        for seed, accuracy in enumerate(accuracies):
            builder.add_run(
                trial,
                seed,
                optimizer=optimizer,
                options={name: value},
                validation=[accuracy],
                test=[accuracy - 0.1],
            )
    row = optimizers_by_architecture_and_batch_size(runs_of(builder)).iloc[0]
    assert row["rso_trial"] == 0
    assert row["rso_validation_accuracy_mean"] == pytest.approx(0.71)
    assert row["sgd_test_accuracy_mean"] == pytest.approx(0.72)
    assert (row["rso_n_candidates"], row["sgd_n_candidates"]) == (2, 1)
    assert row["difference"] == pytest.approx(-0.11)
    paired = stats.ttest_rel([0.60, 0.62], [0.70, 0.74])
    interval = paired.confidence_interval(0.95)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(
        (interval.low, interval.high)
    )
    assert row["p_value"] == row["p_holm"] == pytest.approx(paired.pvalue)
    assert row["probability"] == 0.0
    assert (row["sgd_test_accuracy_mark"], row["rso_test_accuracy_mark"]) == ("best", "tied")


def test_one_seed_gives_a_difference_without_an_interval(build):
    builder = build()
    builder.add_run(0, optimizer="rso", validation=[0.5])
    builder.add_run(1, optimizer="sgd", validation=[0.6])
    row = optimizers_by_architecture_and_batch_size(runs_of(builder)).iloc[0]
    assert row["difference"] == pytest.approx(-0.1)
    assert pd.isna(row["difference_low"])


def test_a_pair_that_only_one_optimizer_finished_has_no_difference(build):
    builder = build()
    builder.add_run(0, optimizer="rso")
    builder.add_run(1, optimizer="sgd", state="failed")
    row = optimizers_by_architecture_and_batch_size(runs_of(builder)).iloc[0]
    assert pd.isna(row["difference"])
    assert row["sgd_n_seeds"] == 0


def test_of_three_optimizers_the_first_two_are_subtracted_and_all_are_marked(build):
    builder = build()
    for trial, (optimizer, accuracy) in enumerate((("rso", 0.7), ("sgd", 0.8), ("adam", 0.9))):
        for seed in (0, 1, 2):
            builder.add_run(trial, seed, optimizer=optimizer, validation=[accuracy + 0.01 * seed])
    row = optimizers_by_architecture_and_batch_size(runs_of(builder)).iloc[0]
    assert row["difference"] == pytest.approx(-0.1)
    assert row["adam_test_accuracy_mark"] == "best"


@pytest.fixture
def race(build):
    """RSO slow and better in the end, SGD quick; two seeds, four cycles, one network."""
    builder = build()
    for seed in (0, 1):
        builder.add_run(
            0, seed, validation=[0.5, 0.7, 0.8, 0.95 - 0.01 * seed], training_s=10.0, batch_size=64
        )
        builder.add_run(1, seed, validation=[0.6, 0.65, 0.7, 0.75], training_s=5.0, batch_size=256)
        builder.add_run(
            2,
            seed,
            optimizer="sgd",
            validation=[0.85, 0.88 + 0.01 * seed, 0.9, 0.9],
            training_s=1.0,
        )
    return analysis.load(builder.write())


def test_every_kind_of_budget_has_a_row_and_its_own_best_setting(race):
    table = optimizers_at_equal_budget(race).set_index("budget")
    assert list(table.index) == ["cycles", "images", "seconds", "updates"]
    # SGD trains for 4 s in all; the first cycle of the best RSO setting takes 10 s
    assert table.loc["seconds", "amount"] == 10.0
    assert table.loc["seconds", "rso_trial"] == 1
    assert table.loc["seconds", "rso_test_accuracy_mean"] == pytest.approx(0.65)
    assert table.loc["seconds", "rso_used"] == 10.0
    assert table.loc["seconds", "sgd_used"] == 4.0
    assert table.loc["cycles", "rso_trial"] == 0
    assert table.loc["cycles", "rso_test_accuracy_mean"] == pytest.approx(0.945)
    assert table.loc["cycles", "difference"] == pytest.approx(0.945 - 0.9)
    # an epoch of SGD has 313 batches: by its first record RSO has had its four visits
    assert table.loc["updates", "amount"] == 313
    assert table.loc["updates", "sgd_used"] == 313
    assert table.loc["updates", "rso_used"] == 4


def test_a_reader_may_choose_the_budget(race):
    table = optimizers_at_equal_budget(race, [Budget("cycles", 2), Budget("cycles", 1)])
    assert list(table["amount"]) == [2, 1]
    assert list(table["rso_trial"]) == [0, 1]
    assert list(table["sgd_test_accuracy_mean"]) == pytest.approx([0.885, 0.85])


def test_a_budget_below_the_first_record_of_one_compares_nothing(race):
    assert optimizers_at_equal_budget(race, [Budget("seconds", 2)]).empty
    assert list(optimizers_at_equal_budget(race, [])) == [
        "sweep",
        "architecture",
        "budget",
        "amount",
    ]


def test_the_p_values_of_all_budgets_are_corrected_together(race):
    table = optimizers_at_equal_budget(race)
    known = table["p_value"].dropna()
    assert len(known) > 1
    assert table["p_holm"].min() == pytest.approx(min(1, known.min() * len(known)))


def test_what_is_needed_for_a_target_is_told_with_those_that_missed_it(race):
    table = optimizers_to_target(race, 0.945).set_index("optimizer")
    assert (table.loc["rso", "n_reached"], table.loc["rso", "n_runs"]) == (1, 2)
    assert table.loc["rso", "cycles"] == 4
    assert (table.loc["sgd", "n_reached"], table.loc["sgd", "n_runs"]) == (0, 2)
    assert math.isnan(table.loc["sgd", "seconds"])


def test_without_a_target_it_is_what_all_reached_in_the_end(race):
    table = optimizers_to_target(race)
    assert list(table["target"]) == pytest.approx([0.9, 0.9])
    row = table.set_index("optimizer").loc["rso"]
    assert (row["cycles"], row["seconds"], row["images"]) == (4, 40.0, 4 * 3 * 64 * 7890)


def test_a_pruned_run_of_the_setting_counts_as_one_that_missed_the_target(build):
    builder = build()
    builder.add_run(0, 0, validation=[0.5, 0.9])
    builder.add_run(0, 1, validation=[0.5], state="failed")
    builder.add_run(1, 0, optimizer="sgd", validation=[0.9])
    row = optimizers_to_target(analysis.load(builder.write()), 0.9).iloc[0]
    assert (row["optimizer"], row["n_reached"], row["n_runs"]) == ("rso", 1, 2)


def test_one_optimizer_is_held_to_nothing(build):
    builder = build()
    builder.add_run(0)
    frames = analysis.load(builder.write())
    assert optimizers_at_equal_budget(frames).empty
    assert optimizers_to_target(frames).empty
    empty = analysis.load(build("nothing").write())
    assert optimizers_at_equal_budget(empty).empty
    assert optimizers_to_target(empty).empty


def test_the_frames_that_were_given_are_not_changed(race):
    before = race.runs.copy(deep=True)
    optimizers_at_equal_budget(race)
    optimizers_to_target(race)
    optimizers_by_architecture_and_batch_size(race.runs)
    pd.testing.assert_frame_equal(race.runs, before)
