"""Pairs of seeds, slices and parallel coordinates: what is drawn of the configurations."""

from __future__ import annotations

import pytest

import analysis
from analysis import Objective
from analysis.chart_dimensions import judged_configurations, ordered_values
from analysis.paired_charts import paired_charts, paired_runs
from analysis.parallel_charts import MOST_LINES, parallel_charts, parallel_lines
from analysis.slice_charts import slice_charts


def test_a_pair_has_the_same_network_batch_size_and_seed(build):
    builder = build()
    for seed in (0, 1):
        builder.add_run(0, seed, validation=[0.5])
        builder.add_run(1, seed, validation=[0.8], test=[0.6 + 0.1 * seed], options={"x": 1})
        builder.add_run(2, seed, optimizer="sgd", validation=[0.9], test=[0.9 - 0.2 * seed])
        builder.add_run(3, seed, optimizer="sgd", validation=[0.9], batch_size=256)
    pairs = paired_runs(analysis.load(builder.write()))
    assert set(pairs["batch_size"]) == {64}
    assert set(pairs["trial"]) == {1, 2}
    figures = pairs.set_index(["optimizer", "seed"])["test_accuracy"].to_dict()
    assert figures == pytest.approx(
        {("rso", 0): 0.6, ("rso", 1): 0.7, ("sgd", 0): 0.9, ("sgd", 1): 0.7}
    )
    assert pairs.groupby("optimizer")["mean"].first().to_dict() == pytest.approx(
        {"rso": 0.65, "sgd": 0.8}
    )
    (chart,) = paired_charts(analysis.load(builder.write()))
    rows = chart.chart.to_dict()["datasets"]["rows"]
    assert [row["difference"] for row in rows if "difference" in row] == ["−15.00"]


@pytest.mark.parametrize("names", [("rso",), ("rso", "rso"), ("adam", "mine")])
def test_the_first_two_optimisers_are_paired_whatever_they_are(build, names):
    builder = build()
    for trial, name in enumerate(names):
        builder.add_run(trial, optimizer=name, options={"x": trial})
    charts = paired_charts(analysis.load(builder.write()))
    assert [chart.title for chart in charts] == (
        ["Adam against mine, seed by seed"] if names[0] == "adam" else []
    )


def test_a_setting_without_a_test_accuracy_has_no_pair(build):
    builder = build()
    builder.add_run(0, test=[0.5, 0.5, None])
    builder.add_run(1, optimizer="sgd")
    assert paired_charts(analysis.load(builder.write())) == ()


def test_every_varied_dimension_has_a_slice_with_the_best_of_each_optimiser(whole_sweep):
    charts = slice_charts(analysis.load(whole_sweep))
    dimensions = [chart.choices["Dimension"] for chart in charts]
    assert dimensions == ["network", "batch size", "perturbation_std", "learning_rate"]
    rows = charts[1].chart.to_dict()["datasets"]["rows"]
    assert sum(len(row["trial"]) for row in rows) == 16
    assert sum(sum(row["is_best"]) for row in rows) == 4
    only = charts[2].chart.to_dict()["datasets"]["rows"]
    assert {row["optimizer"] for row in only} == {"RSO"}
    assert {value for row in only for value in row["across"]} == {"0.5", "1"}


def test_points_of_one_value_stand_apart_and_the_optimisers_side_by_side(whole_sweep):
    chart = slice_charts(analysis.load(whole_sweep))[1].chart.to_dict()
    sides = {}
    for row in chart["datasets"]["rows"]:
        assert len(set(zip(row["across"], row["spread"], strict=True))) == len(row["spread"])
        sides.setdefault(row["optimizer"], set()).update(row["spread"])
    assert -1 < min(sides["RSO"]) <= max(sides["RSO"]) < 0
    assert 0 < min(sides["SGD"]) <= max(sides["SGD"]) < 1


def test_numbers_of_a_continuum_have_a_true_axis_and_a_sample_is_told(build, monkeypatch):
    monkeypatch.setattr("analysis.slice_charts.MOST_POINTS", 10)
    builder = build()
    for trial in range(30):
        options = {"learning_rate": 0.001 * 1.3**trial}
        builder.add_run(trial, optimizer="sgd", options=options, validation=[0.5 + 0.01 * trial])
    (chart,) = slice_charts(analysis.load(builder.write()))
    specification = chart.chart.to_dict()
    assert specification["spec"]["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"
    (row,) = specification["datasets"]["rows"]
    assert 29 in row["trial"]
    assert len(row["trial"]) == 11
    assert "11 of the 30 configurations are drawn" in chart.caption


def test_optimisers_with_other_options_have_parallel_coordinates_of_their_own(whole_sweep):
    charts = parallel_charts(analysis.load(whole_sweep))
    assert [chart.choices for chart in charts] == [{"Optimiser": "RSO"}, {"Optimiser": "SGD"}]
    data = charts[0].chart.to_dict()["datasets"]
    heads = [row["text"] for row in data["heads"]]
    assert heads == ["Network", "Batch size", "perturbation_std", "Validation accuracy"]
    assert {row["text"] for row in data["ticks"] if row["axis"] == 1} == {"256", "1024"}
    assert len(data["lines"]) == 8
    assert [row["is_best"] for row in data["lines"]] == [False] * 7 + [True]


def test_optimisers_with_the_same_dimensions_share_parallel_coordinates(build):
    builder = build()
    for trial in range(8):
        builder.add_run(
            trial,
            optimizer=("rso", "sgd")[trial % 2],
            batch_size=(64, 256)[trial // 2 % 2],
            architecture=("one_conv", "two_conv")[trial // 4],
        )
    (chart,) = parallel_charts(analysis.load(builder.write()))
    assert chart.choices == {}
    heads = [row["text"] for row in chart.chart.to_dict()["datasets"]["heads"]]
    assert heads == ["Optimiser", "Network", "Batch size", "Validation accuracy"]


@pytest.mark.parametrize(("metric", "best"), [("validation_accuracy", 0.9), ("test_loss", 0.1)])
def test_of_many_lines_a_sample_is_drawn_with_the_best_last(whole_sweep, metric, best):
    one = judged_configurations(analysis.load(whole_sweep).runs).head(1)
    many = one.loc[one.index.repeat(MOST_LINES + 100)].reset_index(drop=True)
    many["objective_mean"] = [0.1 + 0.8 * i / (len(many) - 1) for i in range(len(many))]
    lines = parallel_lines(many, ["batch_size"], Objective.of(metric))
    assert len(lines) == MOST_LINES
    assert lines["objective_mean"].iloc[-1] == pytest.approx(best)
    assert list(lines["is_best"]) == [False] * (MOST_LINES - 1) + [True]


def test_values_are_in_the_order_of_the_other_tables(whole_sweep):
    runs = analysis.load(whole_sweep).runs
    assert ordered_values(runs, "architecture") == ["one_conv", "two_conv"]
    assert ordered_values(runs, "optimizer") == ["rso", "sgd"]
    assert ordered_values(runs, "perturbation_std") == [0.5, 1.0]
