"""A sweep's figures beside the published ones of the same configuration."""

from __future__ import annotations

import pandas as pd
import pytest

import analysis
from analysis.curve_charts import learning_charts
from analysis.published import published_curves
from analysis.published_settings import published_settings
from analysis.reproduced import reproduced, reproduced_table
from analysis.standard_tables import standard_tables
from analysis.statistics import prediction_margin

DATA = ("n_training_images", "standardise")


class Notebook:
    """Runs as the notebook made them, of so many rounds, unless something is said."""

    def __init__(self, builder, cycles=10):
        builder.specification["budget"]["cycles"] = cycles
        builder.specification["data"] = {"name": "mnist", "standardise": False}
        self.builder = builder

    def add_run(self, trial, seed=0, *, options=None, n_training_images=60_000, **run):
        names = (run.get("optimizer", "rso"), run.get("architecture", "one_conv"))
        settings = published_settings("STMOZOO, table", *names)
        own = {name: value for name, value in settings.items() if name not in DATA}
        self.builder.add_run(trial, seed, options=own | (options or {}), **run)
        self.builder.run_rows[-1]["n_training_images"] = n_training_images

    def write(self):
        return self.builder.write()


def frames_of(builder):
    return analysis.load(builder.write())


def test_only_the_same_configuration_counts(build):
    builder = Notebook(build())
    for trial, (architecture, batch_size) in enumerate(
        [("one_conv", 64), ("one_conv", 65), ("two_conv", 64), ("two_conv", 512)]
    ):
        builder.add_run(trial, architecture=architecture, batch_size=batch_size)
    found = reproduced(frames_of(builder))
    assert found[["architecture", "batch_size"]].values.tolist() == [
        ["one_conv", 64],
        ["two_conv", 512],
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"options": {"annealing": "paper"}},
        {"options": {"double_softmax": True}},
        {"options": {"weight_decay": 0.0001}},
        {"optimizer": "sgd", "options": {"learning_rate": 0.1}},
        {"n_training_images": 20_000},
    ],
)
def test_other_settings_are_another_configuration(build, other):
    builder = Notebook(build())
    usual = {name: value for name, value in other.items() if name == "optimizer"}
    builder.add_run(0, batch_size=32, **usual)
    builder.add_run(1, batch_size=32, validation=[0.9], **other)
    assert reproduced(frames_of(builder))["trial"].tolist() == [0]


def test_standardised_inputs_are_other_data(build):
    builder = Notebook(build())
    builder.builder.specification["data"]["standardise"] = True
    builder.add_run(0, batch_size=32)
    assert reproduced(frames_of(builder)).empty


def test_of_the_paper_only_the_data_is_sure(build):
    builder = build()
    builder.specification["budget"]["cycles"] = 5
    builder.specification["data"] = {"name": "mnist"}
    builder.add_run(0, architecture="paper_mnist", batch_size=5000, validation=[0.5, 0.98])
    builder.run_rows[-1]["n_training_images"] = 60_000
    [row] = reproduced(frames_of(builder)).to_dict("records")
    assert (row["publication"], row["difference"]) == ("Tripathi & Singh", 0)


def test_other_cycles_are_another_configuration(build):
    builder = Notebook(build(), cycles=3)
    builder.add_run(0)
    assert reproduced(frames_of(builder)).empty
    assert reproduced_table(frames_of(builder)) is None


def test_a_curve_is_known_at_each_cycle_and_a_table_goes_before_it(build):
    builder = Notebook(build(), cycles=3)
    builder.add_run(0, batch_size=32)
    [at_three] = reproduced(frames_of(builder)).to_dict("records")
    assert (at_three["published_test_accuracy"], at_three["publication"]) == (
        0.763,
        "STMOZOO, figure",
    )
    builder = Notebook(build("other"))
    builder.add_run(0, batch_size=32)
    builder.add_run(1, batch_size=32, optimizer="sgd")
    found = reproduced(frames_of(builder))
    assert found["publication"].tolist() == ["STMOZOO, table", "STMOZOO, figure"]
    assert found["published_test_accuracy"].tolist() == [0.8075, 0.961]


@pytest.mark.parametrize(("accuracies", "is_within"), [((0.82, 0.86), True), ((0.5, 0.52), False)])
def test_a_published_run_is_held_against_the_spread_of_single_runs(build, accuracies, is_within):
    builder = Notebook(build())
    for seed, accuracy in enumerate(accuracies):
        builder.add_run(0, seed, validation=[0.1, accuracy], training_s=3.0)
    [row] = reproduced(frames_of(builder)).to_dict("records")
    assert row["published_test_accuracy"] == 0.8353
    mean = sum(accuracies) / 2
    assert row["difference"] == pytest.approx(mean - 0.8353)
    # Student's t of two values is 12.706; one more run differs by sqrt(1 + 1 / 2) deviations
    deviation = abs(accuracies[0] - accuracies[1]) / 2**0.5
    margin = 12.7062 * deviation * 1.5**0.5
    assert row["difference_high"] - row["difference"] == pytest.approx(margin, rel=1e-4)
    assert prediction_margin(deviation, 2) == pytest.approx(margin, rel=1e-4)
    assert row["is_within_spread"] is is_within
    assert row["training_s_mean"] == 6.0
    assert row["speedup"] == pytest.approx(345 / 6)


def test_one_seed_says_nothing_of_the_spread(build):
    builder = Notebook(build())
    builder.add_run(0)
    [row] = reproduced(frames_of(builder)).to_dict("records")
    assert pd.isna(row["is_within_spread"])
    assert pd.isna(row["difference_low"])
    assert row["difference"] == pytest.approx(0.7 - 0.8353)


def test_a_time_alone_is_a_figure_too(build):
    builder = Notebook(build(), cycles=1)
    builder.add_run(0, architecture="original", batch_size=256, validation=[0.5], training_s=10.0)
    table = reproduced_table(frames_of(builder))
    headers = [column.header for column in table.columns]
    cells = dict(zip(headers, table.rows()[0], strict=True))
    assert cells["Times faster"] == "524"
    assert cells["Difference"] == "—"
    assert "Test loss" not in headers


def test_the_table_tells_what_is_outside_of_the_spread(build):
    builder = Notebook(build())
    for seed in (0, 1):
        builder.add_run(0, seed, validation=[0.5 + 0.01 * seed])
    table = reproduced_table(frames_of(builder))
    headers = [column.header for column in table.columns]
    cells = dict(zip(headers, table.rows()[0], strict=True))
    assert cells["Spread"] == "outside"
    assert cells["Test %"] == "50 ± 6"
    assert "STMOZOO, table" in table.caption


def test_a_report_has_the_table_also_where_no_option_was_varied(build):
    builder = Notebook(build())
    builder.add_run(0)
    builder.add_run(1, batch_size=256)
    names = [table.name for table in standard_tables(frames_of(builder))]
    assert names.index("reproduced_figures") + 1 == names.index("published_figures")


def test_published_curves_are_drawn_beside_a_sweep_s_own(build):
    builder = build()
    builder.add_run(0, batch_size=32)
    builder.add_run(1, batch_size=32, optimizer="sgd")
    frames = frames_of(builder)
    assert len(published_curves(frames)) == 20
    charts = {chart.name: chart for chart in learning_charts(frames)}
    drawn = charts["accuracy_by_cycle"]
    assert "Dashed: as published (STMOZOO, figure, batch 32" in drawn.caption
    rows = drawn.chart.to_dict()["datasets"]["rows"]
    published = [row for row in rows if row.get("source")]
    assert [row["optimizer"] for row in published] == ["RSO", "SGD"]
    assert published[0]["value"][:2] == [0.435, 0.708]
    assert published[0]["across"] == list(range(1, 11))
    others = [chart for name, chart in charts.items() if name != "accuracy_by_cycle"]
    assert not any("Dashed" in chart.caption for chart in others)


def test_no_published_curve_stands_beside_another_batch_size_or_network(build):
    builder = build()
    builder.add_run(0, batch_size=64)
    builder.add_run(1, batch_size=32, architecture="two_conv")
    assert published_curves(frames_of(builder)).empty
