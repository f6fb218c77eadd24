"""The lines of the charts: means over seeds, their intervals, and which of them are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.curve_charts import learning_charts
from analysis.curves import MOST_FAINT, layer_curves, learning_curves


def test_a_line_is_the_mean_over_seeds_with_its_interval_by_student(build):
    builder = build()
    accuracies = {0: (0.5, 0.6), 1: (0.7, 0.6), 2: (0.65, 0.6)}
    for seed, own in accuracies.items():
        builder.add_run(0, seed, validation=own)
    curves = learning_curves(analysis.load(builder.write()))
    first = [own[0] for own in accuracies.values()]
    low, high = stats.t.interval(0.95, 2, np.mean(first), stats.sem(first))
    assert curves["test_accuracy"].tolist() == pytest.approx([np.mean(first), 0.6])
    assert curves["test_accuracy_low"].tolist() == pytest.approx([low, 0.6])
    assert curves["test_accuracy_high"].tolist() == pytest.approx([high, 0.6])
    assert list(curves["n_seeds"]) == [3, 3]


def test_an_interval_is_clipped_to_what_is_possible(build):
    builder = build()
    for seed, accuracy in enumerate([0.05, 0.99]):
        builder.add_run(0, seed, validation=[accuracy])
    (curve,) = learning_curves(analysis.load(builder.write())).to_dict("records")
    assert (curve["test_accuracy_low"], curve["test_accuracy_high"]) == (0, 1)
    assert curve["test_loss_low"] == 0
    assert curve["test_loss_high"] > 1


def test_a_single_seed_has_no_interval(build, monkeypatch):
    monkeypatch.setattr("analysis.curve_charts.CURVE_METRICS", ("test_accuracy",))
    builder = build()
    builder.add_run(0, validation=[0.5])
    (curve,) = learning_curves(analysis.load(builder.write())).to_dict("records")
    assert math.isnan(curve["test_accuracy_low"])
    assert "interval" not in learning_charts(analysis.load(builder.write()))[0].caption


def test_a_mean_ends_where_a_seed_has_no_record_or_no_figure(build):
    builder = build()
    builder.add_run(0, 0, validation=(0.5, 0.6, 0.7))
    builder.add_run(0, 1, validation=(0.5, 0.6))
    builder.add_run(1, 0, batch_size=256, validation=(0.5, 0.6), test=(0.5, None))
    builder.add_run(1, 1, batch_size=256, validation=(0.5, 0.6))
    curves = learning_curves(analysis.load(builder.write()))
    assert list(curves.loc[curves["trial"] == 0, "cycle"]) == [1, 2]
    other = curves[curves["trial"] == 1]
    assert other["validation_accuracy"].tolist() == pytest.approx([0.5, 0.6])
    assert list(other["test_accuracy"].isna()) == [False, True]


def test_a_loss_that_is_not_finite_is_missing(build):
    builder = build()
    builder.add_run(0, validation=(0.5, 0.6))
    builder.cycle_rows[1]["test_loss"] = math.inf
    curves = learning_curves(analysis.load(builder.write()))
    assert list(curves["test_loss"].isna()) == [False, True]


def test_the_bold_line_is_chosen_on_validation(build):
    builder = build()
    builder.add_run(0, batch_size=64, validation=[0.9], test=[0.1])
    builder.add_run(1, batch_size=256, validation=[0.8], test=[0.9])
    curves = learning_curves(analysis.load(builder.write()))
    assert curves[curves["is_best"]]["test_accuracy"].tolist() == [0.1]


def test_every_network_and_optimizer_has_one_bold_line(whole_sweep):
    curves = learning_curves(analysis.load(whole_sweep))
    best = curves[curves["is_best"]]
    assert best.groupby(["architecture", "optimizer"])["line"].nunique().tolist() == [1] * 4
    assert curves["line"].nunique() == 16


def test_of_many_configurations_a_sample_is_drawn_with_the_best_and_that_is_said(
    build, monkeypatch
):
    monkeypatch.setattr("analysis.curve_charts.CURVE_METRICS", ("test_accuracy",))
    builder = build()
    n_others = MOST_FAINT + 40
    for trial in range(n_others + 1):
        accuracy = 0.1 + 0.8 * ((trial * 37) % (n_others + 1)) / n_others
        builder.add_run(trial, batch_size=trial + 1, validation=[accuracy], optimizer="sgd")
    frames = analysis.load(builder.write())
    curves = learning_curves(frames)
    assert (curves["is_best"]).sum() == 1
    assert len(curves) == MOST_FAINT + 1
    assert curves["test_accuracy"].max() == pytest.approx(0.9)
    assert curves["test_accuracy"].min() == pytest.approx(0.1)
    assert "Faint: 80 of the 120 other configurations" in learning_charts(frames)[0].caption


def test_a_long_run_keeps_its_ends_and_not_every_cycle(build):
    builder = build()
    builder.add_run(0, validation=[0.5] * 500)
    curves = learning_curves(analysis.load(builder.write()))
    assert (curves["cycle"].min(), curves["cycle"].max()) == (1, 500)
    assert len(curves) <= 60


def test_a_line_of_few_cycles_beside_a_long_one_keeps_its_end(build):
    builder = build()
    builder.add_run(0, validation=[0.5] * 500)
    builder.add_run(1, validation=[0.5] * 13, batch_size=256)
    curves = learning_curves(analysis.load(builder.write()))
    assert curves.groupby("trial")["cycle"].max().to_dict() == {0: 500, 1: 13}


def test_layers_are_those_of_the_best_configuration(build):
    builder = build()
    builder.add_run(0, batch_size=64, validation=[0.9], layer_names=["best.weight"])
    builder.add_run(1, batch_size=256, validation=[0.8], layer_names=["other.weight"])
    layers = layer_curves(analysis.load(builder.write()))
    assert list(layers["layer"]) == ["best.weight"]
    assert layers["accepted_share"].tolist() == pytest.approx([0.4], abs=1e-3)
    assert layers["sigma"].tolist() == pytest.approx([0.1])


@pytest.mark.parametrize(
    ("order", "visited"),
    [
        ("last_to_first", ["out.weight", "out.bias", "in.weight", "in.bias"]),
        ("first_to_last", ["in.weight", "in.bias", "out.weight", "out.bias"]),
        (None, ["out.weight", "out.bias", "in.weight", "in.bias"]),
    ],
)
def test_depth_grows_from_the_input_to_the_output(build, order, visited):
    builder = build()
    options = {} if order is None else {"layer_order": order}
    builder.add_run(0, validation=[0.9], layer_names=visited, options=options)
    layers = layer_curves(analysis.load(builder.write())).sort_values("depth")
    assert list(layers["layer"]) == ["in.weight", "in.bias", "out.weight", "out.bias"]
