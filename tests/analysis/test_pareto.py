"""The Pareto set: which trials are in it, and how tables, charts and sentences tell of it."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis import Objective
from analysis.charts import Drawing, standard_charts
from analysis.dominance import judged_trials, non_dominated
from analysis.findings import findings
from analysis.page import render_page
from analysis.pareto_charts import MOST_DOMINATED, pareto_charts
from analysis.standard_tables import standard_tables

ACCURACY = Objective("validation_accuracy", "maximize")
SECONDS = Objective("training_s", "minimize")
VISITS = Objective("n_visited", "minimize")


def by_definition(costs: np.ndarray) -> list[bool]:
    """A point stays unless another one is as small everywhere and smaller somewhere."""
    return [not any((q <= p).all() and (q < p).any() for q in costs) for p in costs]


@given(st.data(), st.integers(1, 4))
@settings(deadline=None, max_examples=200)
def test_the_result_is_that_of_the_definition(data, n_objectives):
    # few values, so that there are ties in every way
    value = st.sampled_from([-1.5, -0.0, 0.0, 0.1, 0.1 + 1e-17, 0.3, 1e300, np.inf, -np.inf])
    points = data.draw(st.lists(st.lists(value, min_size=n_objectives, max_size=n_objectives)))
    costs = np.array(points, dtype=float).reshape(-1, n_objectives)
    assert non_dominated(costs).tolist() == by_definition(costs)


@pytest.mark.parametrize("n_objectives", [2, 3, 5])
def test_many_points_are_judged_as_by_the_definition_across_all_blocks(n_objectives):
    costs = np.random.default_rng(0).integers(0, 30, (700, n_objectives)).astype(float)
    assert non_dominated(costs).tolist() == by_definition(costs)


@pytest.mark.parametrize("n_objectives", [2, 3, 5])
def test_ten_thousand_trials_none_of_which_is_better_take_less_than_a_second(n_objectives):
    directions = np.random.default_rng(0).random((10_000, n_objectives))
    costs = -directions / np.linalg.norm(directions, axis=1)[:, None]
    started = time.perf_counter()
    result = non_dominated(costs)
    assert time.perf_counter() - started < 1
    assert result.all()


def rows_of(chart, panel, layer):
    """The rows of data that a layer of a panel draws, one after the other."""
    drawn = chart["concat"][panel]["layer"][layer]
    rows = chart["datasets"][drawn["data"]["name"]]
    lists = [name for each in drawn.get("transform", ()) for name in each.get("flatten", ())]
    if not lists:
        return rows
    return [
        {**row, **dict(zip(lists, values, strict=True))}
        for row in rows
        for values in zip(*(row[name] for name in lists), strict=True)
    ]


def sweep_of(build, *objectives, seeds=(0,), name="a-sweep"):
    """A builder of a sweep with several objectives."""
    builder = build(name)
    builder.specification |= {
        "objective": [{"metric": o.metric, "direction": o.direction} for o in objectives],
        "seeds": list(seeds),
    }
    return builder


def test_the_set_is_sorted_by_the_first_objective_and_has_means_over_seeds(trade_off):
    runs = analysis.load(trade_off.write()).runs
    chosen = analysis.pareto_set(runs, (ACCURACY, SECONDS))
    assert list(chosen["trial"]) == [0, 1]
    assert chosen["validation_accuracy_mean"].tolist() == pytest.approx([0.905, 0.805])
    assert chosen["validation_accuracy_std"].tolist() == pytest.approx([0.01 / 2**0.5] * 2)
    assert chosen["training_s_mean"].tolist() == [100.0, 10.0]
    assert list(chosen["n_seeds"]) == [2, 2]
    assert list(chosen["batch_size"]) == [64, 256]
    turned = analysis.pareto_set(runs, (SECONDS, ACCURACY))
    assert list(turned["trial"]) == [1, 0]


def test_trials_with_equal_figures_stay_together(build):
    builder = sweep_of(build, ACCURACY, SECONDS)
    for trial, accuracy in enumerate([0.5, 0.9, 0.9]):
        builder.add_run(trial, validation=[accuracy])
    assert list(analysis.load(builder.write()).trials["is_pareto"]) == [False, True, True]


@pytest.mark.parametrize("state", ["failed", "pruned", None])
def test_a_trial_with_a_run_that_did_not_finish_is_not_judged(build, state):
    builder = sweep_of(build, ACCURACY, SECONDS, seeds=(0, 1))
    for seed in (0, 1):
        builder.add_run(0, seed, validation=[0.5])
        builder.add_run(1, seed, validation=[0.9], state=state if seed else "finished")
    frames = analysis.load(builder.write())
    assert list(judged_trials(frames.runs, (ACCURACY, SECONDS))["trial"]) == [0]
    assert list(frames.trials["is_pareto"]) == [True, False]


def test_a_trial_that_lacks_a_seed_or_a_figure_is_not_judged(build):
    builder = sweep_of(build, ACCURACY, SECONDS, seeds=(0, 1))
    for seed in (0, 1, 2):
        builder.add_run(0, seed, validation=[0.5])
    builder.add_run(1, 0, validation=[0.9])  # its other seed has not begun
    for seed, accuracy in enumerate([0.9, None]):
        builder.add_run(2, seed, validation=[accuracy], test=[0.9])
    judged = judged_trials(analysis.load(builder.write()).runs, (ACCURACY, SECONDS))
    assert list(judged["trial"]) == [0]
    assert list(judged["n_seeds"]) == [3]


def test_sweeps_that_are_loaded_together_have_a_set_each(build):
    folders = []
    for name, accuracy in (("a", 0.5), ("b", 0.9)):
        builder = sweep_of(build, ACCURACY, SECONDS, name=name)
        builder.add_run(0, validation=[accuracy])
        folders.append(builder.write())
    frames = analysis.load(*folders)
    assert list(frames.trials["is_pareto"]) == [True, True]
    table = analysis.pareto_table(frames)
    assert [row[0] for row in table.rows()] == ["a", "b"]


def test_with_one_objective_the_set_is_the_best(build):
    builder = sweep_of(build, SECONDS)
    for trial, seconds in enumerate([3.0, 1.0, 2.0]):
        builder.add_run(trial, training_s=seconds)
    assert list(analysis.load(builder.write()).trials["is_pareto"]) == [False, True, False]


def test_a_cost_is_an_objective_in_total_and_missing_before_the_first_cycle(build):
    builder = sweep_of(build, VISITS, ACCURACY)
    builder.add_run(0, validation=(0.5, 0.6))
    builder.add_run(1, validation=(), state="failed")
    runs = analysis.load(builder.write()).runs
    assert runs.loc[0, "objective"] == 2 * 7890
    assert pd.isna(runs.loc[1, "objective"])


def test_several_objectives_have_a_table_after_the_main_comparison(trade_off):
    tables = standard_tables(analysis.load(trade_off.write()))
    assert [table.name for table in tables[:2]] == [
        "optimizers_by_architecture_and_batch_size",
        "pareto_set",
    ]
    table = tables[1]
    assert [column.header for column in table.columns[:4]] == [
        "Trial",
        "Validation accuracy %",
        "Training time",
        "Seeds",
    ]
    assert table.rows()[0][:4] == ["0", "90 ± 6", "100.0 s", "2"]
    assert "Of 3 trials that ran to their end" in table.caption
    titles = {each.name: each.title for each in tables}
    assert titles["best_configurations"].endswith("by validation accuracy alone")


def test_one_objective_is_set_against_the_time_that_it_takes(whole_sweep):
    frames = analysis.load(whole_sweep)
    names = [table.name for table in standard_tables(frames)]
    assert names.index("pareto_set") > names.index("best_configurations")
    table = analysis.pareto_table(frames)
    assert table.title == "The Pareto set: highest validation accuracy and lowest training time"
    assert list(table.frame["training_s_mean"]) == sorted(table.frame["training_s_mean"])[::-1]


def test_the_units_of_the_other_objectives_are_told(build):
    objectives = [Objective.of("test_loss"), VISITS, Objective.of("n_images_passed")]
    builder = sweep_of(build, *objectives)
    builder.add_run(0, validation=[0.5])
    table = analysis.pareto_table(analysis.load(builder.write()))
    shown = [column.header for column in table.columns[1:4]]
    assert shown == ["Test loss (nats)", "Weight visits", "Images passed"]
    assert table.rows()[0][1:4] == ["0.693147", "7,890", "1,514,880"]


def test_two_objectives_are_drawn_with_steps_that_no_trial_lies_beyond(trade_off):
    charts = standard_charts(analysis.load(trade_off.write()))
    assert charts[0].name == "pareto_front"
    chart = charts[0].chart.to_dict()
    (panel,) = chart["concat"]
    line, _, chosen = panel["layer"]
    assert line["mark"]["interpolate"] == "step-after"
    steps = [tuple(row.values()) for row in rows_of(chart, 0, 0)]
    # from the quickest trial upwards, and on to the slowest one
    assert steps == [(10.0, 0.705), (10.0, 0.805), (100.0, 0.905)]
    assert sorted(row["trial"] for row in rows_of(chart, 0, 2) if row["is_pareto"]) == [0, 1]
    assert [row["trial"] for row in rows_of(chart, 0, 1) if not row["is_pareto"]] == [2]
    assert chosen["encoding"]["x"]["title"] == "Training time (s)"
    assert chosen["encoding"]["y"]["title"] == "Validation accuracy"
    assert Drawing.of(charts[0]).picture.png.startswith(b"\x89PNG")


def test_an_accuracy_stands_upright_even_where_a_cost_comes_first(trade_off):
    frames = analysis.load(trade_off.write())
    chart = analysis.pareto_chart(frames, (SECONDS, ACCURACY)).to_dict()
    assert chart["concat"][0]["layer"][1]["encoding"]["y"]["title"] == "Validation accuracy"


def test_steps_towards_large_values_come_before_their_points(trade_off):
    frames = analysis.load(trade_off.write())
    larger = Objective("training_s", "maximize")
    chart = analysis.pareto_chart(frames, (ACCURACY, larger)).to_dict()
    assert chart["concat"][0]["layer"][0]["mark"]["interpolate"] == "step-before"
    assert [tuple(row.values()) for row in rows_of(chart, 0, 0)] == [
        (10.0, 0.905),
        (100.0, 0.905),
        (100.0, 0.705),
    ]


def test_three_objectives_have_a_panel_for_the_first_against_each_other(build):
    builder = sweep_of(build, ACCURACY, SECONDS, VISITS)
    builder.add_run(0, validation=[0.9])
    builder.add_run(1, validation=[0.8], optimizer="sgd")
    (chart,) = pareto_charts(analysis.load(builder.write()))
    titles = [
        [panel["layer"][1]["encoding"][axis]["title"] for axis in "xy"]
        for panel in chart.chart.to_dict()["concat"]
    ]
    assert titles == [
        ["Training time (s)", "Validation accuracy"],
        ["Weight visits", "Validation accuracy"],
    ]
    assert "of its panel alone" in chart.caption


def test_of_very_many_trials_not_all_dominated_ones_are_drawn_and_that_is_said(build):
    builder = sweep_of(build, ACCURACY, SECONDS)
    for trial in range(MOST_DOMINATED + 300):
        builder.add_run(trial, validation=[0.5], optimizer="sgd", training_s=2.0 + trial)
    builder.add_run(5000, validation=[0.9], optimizer="sgd", training_s=5000.0)
    frames = analysis.load(builder.write())
    drawn = rows_of(analysis.pareto_chart(frames).to_dict(), 0, 1)
    assert len(drawn) == MOST_DOMINATED + 2
    assert {0, 5000} <= {row["trial"] for row in drawn}
    caption = pareto_charts(frames)[0].caption
    assert "1,000 of the 1,299 other trials are drawn." in caption


def test_a_single_objective_is_drawn_against_what_it_costs(whole_sweep):
    charts = pareto_charts(analysis.load(whole_sweep))
    assert [chart.choices for chart in charts] == [
        {"Cost": "training time"},
        {"Cost": "images passed"},
    ]
    titles = [
        chart.chart.to_dict()["concat"][0]["layer"][1]["encoding"]["x"]["title"] for chart in charts
    ]
    assert titles == ["Training time (s), log scale", "Images passed forwards, log scale"]


def test_long_times_are_drawn_in_hours_and_so_is_the_front(build):
    builder = sweep_of(build, ACCURACY, SECONDS)
    builder.add_run(0, validation=[0.9], training_s=72_000.0)
    builder.add_run(1, validation=[0.8], training_s=36_000.0)
    chart = analysis.pareto_chart(analysis.load(builder.write())).to_dict()
    assert chart["concat"][0]["layer"][1]["encoding"]["x"]["title"] == "Training time (h)"
    assert {row["training_s"] for row in rows_of(chart, 0, 1)} == {10, 20}
    assert {row["training_s"] for row in rows_of(chart, 0, 0)} == {10, 20}


def test_a_sweep_none_of_whose_trials_is_over_has_no_such_chart(build):
    builder = sweep_of(build, ACCURACY, SECONDS, seeds=(0, 1))
    builder.add_run(0, 0)
    frames = analysis.load(builder.write())
    assert analysis.pareto_chart(frames) is None
    assert pareto_charts(frames) == ()
    assert "Pareto" not in " ".join(findings(frames))


def test_the_sentences_tell_the_set_and_its_ends(trade_off):
    text = " ".join(findings(analysis.load(trade_off.write())))
    assert "2 of the 3 trials that ran to their end are in the Pareto set of highest" in text
    assert (
        "The highest mean validation accuracy, 90.50 %, is that of trial 0, with training time "
        "100.0 s." in text
    )
    assert "The lowest mean training time, 10.0 s, is that of trial 1" in text
    assert "With the best setting of each" not in text


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ([0.9], "Only trial 0 ran to its end: there is nothing to weigh"),
        ([0.9, 0.5], "Trial 0 had the highest validation accuracy and lowest training time of all"),
        ([0.9, 0.9, 0.5], "Trials 0 and 1 had the highest"),
        ([0.9] * 5, "Trials 0, 1, 2 and 2 more had the highest"),
    ],
)
def test_a_set_in_which_nothing_is_traded_is_told_as_that(build, accuracies, said):
    builder = sweep_of(build, ACCURACY, SECONDS)
    for trial, accuracy in enumerate(accuracies):
        builder.add_run(trial, validation=[accuracy])
    assert findings(analysis.load(builder.write()))[0].startswith(said)


def test_the_page_speaks_of_objectives_and_of_no_single_best(trade_off):
    frames = analysis.load(trade_off.write())
    text = render_page(frames, standard_tables(frames), ())
    assert (
        "<dt>Objectives</dt><dd>highest validation accuracy and lowest training time</dd>" in text
    )
    assert "The best configuration of each optimiser by validation accuracy alone" in text
