"""Which runs count, what is chosen, what it cost: against numbers worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

import analysis
from analysis import comparisons
from analysis.comparing import compare
from analysis.comparisons import best_configurations, is_balanced, varied
from analysis.effects import effect_of
from analysis.page import render_page


def runs_of(builder):
    return analysis.load(builder.write()).runs


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
