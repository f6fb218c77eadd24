"""The effect of a dimension, with the rest averaged and with the rest held."""

from __future__ import annotations

import math

import pytest

import analysis
from analysis.effects import effect_of


def runs_of(builder):
    return analysis.load(builder.write()).runs


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


def test_with_the_rest_held_only_the_dimension_changes(build):
    builder = build()
    figures = {(64, 0.5): 0.60, (64, 1.0): 0.70, (256, 0.5): 0.90, (256, 1.0): 0.80}
    for trial, ((batch_size, value), accuracy) in enumerate(figures.items()):
        for seed in (0, 1):
            builder.add_run(
                trial,
                seed,
                batch_size=batch_size,
                options={"perturbation_std": value},
                validation=[accuracy + 0.01 * seed],
            )
    effect = effect_of(runs_of(builder), "batch_size").set_index("batch_size")
    assert list(effect["test_accuracy_mean"]) == pytest.approx([0.655, 0.855])
    # the best configuration is (256, 0.5): at 0.5 the batch sizes are compared
    assert list(effect["held_mean"]) == pytest.approx([0.605, 0.905])
    assert list(effect["held_n_seeds"]) == [2, 2]


def test_values_are_marked_within_their_optimizer(whole_sweep):
    effect = effect_of(analysis.load(whole_sweep).runs, "batch_size")
    for _, own in effect.groupby("optimizer"):
        assert (own["validation_accuracy_mark"] == "best").sum() == 1
        best = own.loc[own["validation_accuracy_mean"].idxmax()]
        assert best["validation_accuracy_mark"] == "best"


def test_an_effect_of_nothing_is_empty(build):
    assert effect_of(runs_of(build()), "batch_size").empty
