"""Sweeps that change one thing at a time: each change against the baseline."""

from __future__ import annotations

import pytest

import analysis
from analysis.ablation_charts import ablation_charts
from analysis.ablations import ablation_table, ablations

BASELINE = {"annealing": "linear", "rso.weight_decay": 0.0}


def sweep(build, runs, **constraint):
    """A sweep with that baseline, and two seeds of runs given by their options and accuracy."""
    builder = build()
    builder.specification["constraints"] = [
        {"require": BASELINE, "exceptions": 1} | constraint,
    ]
    for trial, (options, accuracy) in enumerate(runs):
        network = options.pop("architecture", "one_conv")
        for seed in (0, 1, 2):
            value = accuracy + 0.01 * seed
            builder.add_run(trial, seed, architecture=network, options=options, validation=[value])
    return analysis.load(builder.write())


def test_each_change_stands_against_the_baseline_of_its_network(build):
    runs = [
        ({}, 0.80),
        ({"annealing": "none"}, 0.70),
        ({"weight_decay": 0.5}, 0.85),
        ({"architecture": "two_conv"}, 0.90),
        ({"architecture": "two_conv", "annealing": "none"}, 0.95),
    ]
    found = ablations(sweep(build, runs))
    assert found[["architecture", "changed", "value"]].fillna("").values.tolist() == [
        ["one_conv", "", ""],
        ["one_conv", "annealing", "none"],
        ["one_conv", "weight_decay", "0.5"],
        ["two_conv", "", ""],
        ["two_conv", "annealing", "none"],
    ]
    assert found["difference"].tolist() == pytest.approx(
        [float("nan"), -0.1, 0.05, float("nan"), 0.05], nan_ok=True
    )
    # the seeds move both alike, so that the differences are the same
    assert found["difference_low"].tolist()[1] == pytest.approx(-0.1)
    assert found["p_holm"].notna().sum() == 3
    assert found["n_seeds"].tolist() == [3] * 5


def test_the_table_names_the_baseline_and_the_changes(build):
    table = ablation_table(sweep(build, [({}, 0.8), ({"annealing": "none"}, 0.7)]))
    headers = [column.header for column in table.columns]
    changed = [row[headers.index("Changed")] for row in table.rows()]
    assert changed == ["nothing: the baseline", "annealing = none"]
    assert "annealing linear and weight_decay 0" in table.caption
    assert "Batch" not in headers


def test_what_differs_in_two_things_or_has_no_baseline_is_left_out(build):
    runs = [
        ({"annealing": "none", "weight_decay": 0.5}, 0.7),
        ({"weight_decay": 0.5}, 0.7),
        ({"architecture": "two_conv"}, 0.9),
        ({"architecture": "two_conv", "annealing": "none", "weight_decay": 0.5}, 0.9),
    ]
    found = ablations(sweep(build, runs))
    assert found["architecture"].tolist() == ["two_conv"]


@pytest.mark.parametrize("constraint", [{"exceptions": 0}, {"exceptions": 2}, {"require": []}])
def test_other_constraints_have_no_baseline(build, constraint):
    frames = sweep(build, [({}, 0.8), ({"annealing": "none"}, 0.7)], **constraint)
    assert ablation_table(frames) is None


def test_a_sweep_without_constraints_has_no_such_table(build):
    builder = build()
    builder.add_run(0)
    assert ablation_table(analysis.load(builder.write())) is None


def test_the_changes_are_drawn_with_their_intervals(build):
    runs = [
        ({}, 0.80),
        ({"annealing": "none"}, 0.70),
        ({"architecture": "two_conv"}, 0.90),
        ({"architecture": "two_conv", "annealing": "none"}, 0.95),
    ]
    frames = sweep(build, runs)
    [chart] = ablation_charts(frames)
    assert chart.chart.to_dict()  # against the schema of Vega-Lite
    rows = chart.chart.datasets["rows"]
    assert [(row["panel"], row["change"], row["mean"]) for row in rows] == [
        ("one_conv", "annealing = none", -10),
        ("two_conv", "annealing = none", 5),
    ]


def test_one_seed_has_no_interval_to_draw(build):
    builder = build()
    builder.specification["constraints"] = [{"require": BASELINE, "exceptions": 1}]
    builder.add_run(0)
    builder.add_run(1, options={"annealing": "none"})
    frames = analysis.load(builder.write())
    assert ablation_charts(frames) == ()
    assert ablation_table(frames) is not None
