"""Comparisons, against numbers worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import analysis
from analysis import comparisons
from analysis.comparisons import (
    best_configurations,
    compare,
    effect_of,
    is_balanced,
    optimizers_by_architecture_and_batch_size,
    varied,
)
from analysis.page import render_page


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


def test_the_best_setting_is_chosen_on_validation_and_not_on_test(build):
    builder = build()
    builder.add_run(0, options={"perturbation_std": 0.5}, validation=[0.8], test=[0.70])
    builder.add_run(1, options={"perturbation_std": 1.0}, validation=[0.7], test=[0.95])
    best = best_configurations(runs_of(builder))
    assert list(best["trial"]) == [0]
    assert best.loc[0, "test_accuracy_mean"] == 0.70
    assert best.loc[0, "n_candidates"] == 2


def test_a_loss_is_minimised(build):
    builder = build()
    builder.specification["objective"] = {"metric": "validation_loss", "direction": "minimize"}
    builder.add_run(0, batch_size=64, validation=[0.5])
    builder.add_run(1, batch_size=256, validation=[0.9])
    runs = runs_of(builder)
    assert list(best_configurations(runs, direction="minimize")["trial"]) == [1]
    assert runs.loc[1, "objective"] == pytest.approx(-math.log(0.9))


def test_equal_objectives_go_to_the_earlier_trial(build):
    builder = build()
    for trial, batch_size in ((3, 64), (1, 256), (2, 1024)):
        builder.add_run(trial, batch_size=batch_size, validation=[0.5])
    assert list(best_configurations(runs_of(builder))["trial"]) == [1]


def test_one_lucky_seed_does_not_win_over_all_seeds(build):
    builder = build()
    for seed in (0, 1):
        builder.add_run(0, seed, batch_size=64, validation=[0.5])
    builder.add_run(1, 0, batch_size=256, validation=[0.9])
    builder.add_run(1, 1, batch_size=256, state="failed")
    assert list(best_configurations(runs_of(builder))["trial"]) == [0]


def test_without_validation_nothing_is_chosen_unless_there_is_one_candidate(build):
    builder = build()
    for trial, batch_size in enumerate((64, 256)):
        builder.add_run(trial, batch_size=batch_size, validation=[None], test=[0.5])
    builder.add_run(2, optimizer="sgd", validation=[None], test=[0.5])
    best = best_configurations(runs_of(builder))
    assert list(best["optimizer"]) == ["sgd"]
    assert pd.isna(best.loc[0, "validation_accuracy_mean"])


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
    welch = stats.ttest_ind([0.60, 0.62], [0.70, 0.74], equal_var=False).confidence_interval(0.95)
    assert row["difference_low"] == pytest.approx(welch.low)
    assert row["difference_high"] == pytest.approx(welch.high)


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


def test_the_effect_of_an_option_leaves_out_optimizers_without_it(whole_sweep):
    effect = effect_of(analysis.load(whole_sweep).runs, "perturbation_std")
    assert list(effect["optimizer"]) == ["rso", "rso"]
    assert list(effect["n_configurations"]) == [4, 4]
    # the sweep was made with 0.015 less for the second setting, all grown by the same curve
    grown = 1 - 0.45 * math.exp(-0.9 * 4)
    difference = effect["validation_accuracy_mean"].diff().iloc[1]
    assert difference == pytest.approx(-0.015 * grown)


def test_the_effect_of_the_architecture_goes_from_small_to_large(build):
    builder = build()
    for trial, architecture in enumerate(("two_conv", "one_conv")):
        builder.add_run(trial, architecture=architecture)
    effect = effect_of(runs_of(builder), "architecture")
    assert list(effect["architecture"]) == ["one_conv", "two_conv"]
    assert list(effect["n_parameters"]) == [7890, 10330]


def test_the_dimensions_that_were_varied_are_found(whole_sweep):
    runs = analysis.load(whole_sweep).runs
    assert varied(runs) == ["architecture", "batch_size", "perturbation_std", "learning_rate"]


def test_a_grid_is_balanced_and_a_grid_with_a_hole_is_not(whole_sweep):
    runs = analysis.load(whole_sweep).runs
    assert is_balanced(runs, "batch_size")
    assert not is_balanced(runs[runs["trial"] != 5], "batch_size")


def test_costs_are_those_of_one_run(build):
    builder = build()
    builder.add_run(0, 0, batch_size=10, training_s=1.0)
    builder.add_run(0, 1, batch_size=10, training_s=3.0)
    builder.add_run(1, 0, batch_size=20, training_s=90.0, state="failed")
    row = comparisons.cost(runs_of(builder)).iloc[0]
    assert (row["n_runs"], row["training_s"], row["n_visited"]) == (2, 6.0, 3 * 7890)
    assert row["n_images_passed"] == 3 * 3 * 10 * 7890


def test_failures_are_listed_with_their_reasons(build):
    builder = build()
    builder.add_run(0)
    builder.add_run(1, state="pruned", reason="below the median")
    builder.add_run(2, state="failed", reason="out of memory")
    lost = comparisons.failures(runs_of(builder))
    assert list(zip(lost["state"], lost["reason"], strict=True)) == [
        ("failed", "out of memory"),
        ("pruned", "below the median"),
    ]


def test_rso_comes_first_then_sgd_then_the_others(build):
    builder = build()
    for trial, name in enumerate(("adam", "sgd", "rso", "a.b:C")):
        builder.add_run(trial, optimizer=name)
    assert comparisons.optimizers(runs_of(builder)) == ["rso", "sgd", "a.b:C", "adam"]


def test_several_sweeps_are_not_mixed(build):
    first, second = build("a"), build("b")
    first.add_run(0, validation=[0.5])
    second.add_run(0, validation=[0.9])
    runs = analysis.load(first.write(), second.write()).runs
    assert list(best_configurations(runs)["sweep"]) == ["a", "b"]
    assert list(effect_of(runs, "batch_size")["validation_accuracy_mean"]) == [0.5, 0.9]


def test_the_frame_that_was_given_is_not_changed(whole_sweep):
    runs = analysis.load(whole_sweep).runs
    before = runs.copy(deep=True)
    compare(runs, rows=["architecture"], columns=["optimizer"])
    effect_of(runs, "architecture")
    optimizers_by_architecture_and_batch_size(runs)
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


def with_more_seeds(build, *, last="finished"):
    """Two seeds are asked for; the second trial, which is worse, was given a third one."""
    builder = build()
    for trial, accuracies in enumerate([(0.9, 0.9), (0.7, 0.8, 0.9)]):
        for seed, accuracy in enumerate(accuracies):
            state = last if seed == 2 else "finished"
            builder.add_run(
                trial, seed, batch_size=64 * (1 + trial), validation=[accuracy], state=state
            )
    return runs_of(builder)


def test_a_seed_more_than_asked_for_is_no_reason_to_be_chosen(build):
    best = best_configurations(with_more_seeds(build)).iloc[0]
    assert (best["trial"], best["n_seeds"], best["n_candidates"]) == (0, 2, 2)
    row = compare(with_more_seeds(build), rows=["optimizer"]).iloc[0]
    assert row["mean"] == pytest.approx((0.9 + 0.8) / 2)
    assert row["n_configurations"] == 2


def test_a_trial_whose_further_seed_failed_is_not_compared(build):
    runs = with_more_seeds(build, last="failed")
    assert compare(runs, rows=["optimizer"]).iloc[0]["mean"] == pytest.approx(0.9)


def test_a_pruned_run_that_was_never_begun_says_so_and_ran_nowhere(build):
    builder = build()
    builder.add_run(0, 0, state="finished")
    builder.add_run(0, 1, state="pruned", validation=())
    builder.run_rows[-1] |= {"n_attempts": 0, "host": "", "n_threads": 0}
    frames = analysis.load(builder.write())
    failures = comparisons.failures(frames.runs)
    page = render_page(frames, (), ())
    assert "<dt>Trained on</dt><dd>node-1, 1 thread a run</dd>" in page
    assert "<dt>Seeds run</dt><dd>0</dd>" in page
    assert list(failures["reason"]) == ["not begun: the seeds before it decided"]
    assert list(failures["n_cycles"]) == [0]
