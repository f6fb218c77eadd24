"""Published figures, and those of a sweep beside them."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

import analysis
from analysis.published import published_figures, published_table


def table_of(builder):
    return published_table(analysis.load(builder.write()))


def cells(table, *headers: str) -> list[tuple[str, ...]]:
    """Some of the cells of every row, as they are shown."""
    places = [[column.header for column in table.columns].index(header) for header in headers]
    return [tuple(row[place] for place in places) for row in table.rows()]


def figure(**wanted) -> pd.Series:
    """The only published figure that is so."""
    figures = published_figures()
    for name, value in wanted.items():
        figures = figures[(figures[name] == value).fillna(False).astype(bool)]
    assert len(figures) == 1
    return figures.iloc[0]


def test_the_figures_of_the_paper_are_those_of_its_abstract():
    rso = figure(architecture="paper_mnist", optimizer="rso", cycles=5)
    assert (rso["test_accuracy"], rso["n_parameters"], rso["batch_size"]) == (0.98, 12016, 5000)
    assert rso["source"] == "arXiv:2005.05955 abstract"
    assert figure(architecture="paper_mnist", optimizer="rso", cycles=50)["test_accuracy"] == 0.9912
    assert figure(architecture="paper_mnist", optimizer="sgd", cycles=50)["test_accuracy"] == 0.9927
    assert figure(dataset="cifar10")["test_accuracy"] == 0.818


def test_the_figures_of_the_notebook_have_their_loss_and_their_time():
    row = figure(architecture="one_conv", batch_size=512, is_curve=False)
    assert (row["test_accuracy"], row["test_loss"], row["training_s"]) == (0.9152, 0.29727805, 2834)
    assert row["source"].startswith("github.com/HeesooSong/STMOZOO")
    assert "hardware and seeds not stated" in row["note"]
    slow = figure(architecture="original", batch_size=1000)
    assert slow["training_s"] == 73042
    assert pd.isna(slow["test_accuracy"])
    assert "softmax" in slow["note"]


def test_the_curves_of_the_notebook_say_that_they_were_read_by_eye():
    figures = published_figures()
    curves = figures[figures["is_curve"].astype(bool)]
    assert list(curves.groupby("optimizer").size()) == [10, 10]
    assert set(curves["cycles"]) == set(range(1, 11))
    assert curves["note"].str.contains("by eye").all()
    assert figure(is_curve=True, optimizer="sgd", cycles=10)["test_accuracy"] == 0.961
    assert figure(is_curve=True, optimizer="rso", cycles=10)["test_accuracy"] == 0.820


def test_methods_that_are_not_built_here_keep_their_own_names():
    tuned = figure(optimizer="wann_tuned_shared_weight")
    assert (tuned["network"], tuned["test_accuracy"]) == ("wann", 0.919)
    assert pd.isna(tuned["architecture"])
    other = figure(optimizer="rso", network="not stated")
    assert other["test_accuracy"] == 0.924
    assert "23.6 minutes a cycle" in other["note"]


def test_every_figure_is_an_accuracy_or_a_time_and_says_where_it_is_from():
    figures = published_figures()
    assert (
        figures[["dataset", "network", "optimizer", "publication", "source"]].notna().all(axis=None)
    )
    assert figures["note"].str.len().min() > 10
    assert figures["test_accuracy"].dropna().between(0, 1).all()
    assert (figures["test_accuracy"].notna() | figures["training_s"].notna()).all()


def test_a_sweep_stands_beside_what_is_published_of_the_same_network(build):
    builder = build()
    for trial, (optimizer, accuracies) in enumerate(
        {"rso": (0.80, 0.82), "sgd": (0.95, 0.97)}.items()
    ):
        for seed, accuracy in enumerate(accuracies):
            builder.add_run(trial, seed, optimizer=optimizer, batch_size=512, validation=[accuracy])
    table = table_of(builder)
    shown = cells(table, "Network", "Optimiser", "Batch", "From", "Test %", "±", "Seeds")
    of_rso = [row for row in shown if row[:3] == ("one_conv", "RSO", "512")]
    # 0.0141 / sqrt(2) times 12.7, the quantile of Student's t for two values
    assert of_rso == [
        ("one_conv", "RSO", "512", "this sweep", "81", "13", "2"),
        ("one_conv", "RSO", "512", "published: STMOZOO, table", "91.52", "—", "—"),
    ]
    assert ("one_conv", "SGD", "512", "this sweep", "96", "13", "2") in shown
    # the builder's runs have three cycles
    assert (
        cells(table, "Optimiser", "From", "Cycles", "Test %").count(
            ("SGD", "published: STMOZOO, figure", "3", "93.1")
        )
        == 1
    )
    assert {row[0] for row in shown} == {"one_conv", "paper_mnist"}
    assert [row[0] for row in shown[-3:]] == ["paper_mnist"] * 3
    assert cells(table, "From")[-1] == ("published: Tripathi & Singh",)
    assert "20,000 images" in table.caption
    assert "arXiv:2005.05955" in table.caption


def test_the_end_of_a_curve_is_left_out_where_the_table_has_it(build):
    builder = build()
    builder.add_run(0, batch_size=32)
    builder.add_run(1, batch_size=32, optimizer="sgd")
    rows = cells(table_of(builder), "Network", "Optimiser", "From", "Cycles")
    curve = [row for row in rows if "figure" in row[2]]
    assert curve == [
        ("one_conv", "RSO", "published: STMOZOO, figure", "3"),
        ("one_conv", "SGD", "published: STMOZOO, figure", "3"),
        ("one_conv", "SGD", "published: STMOZOO, figure", "10"),
    ]


def test_one_seed_has_no_interval(build):
    builder = build()
    builder.add_run(0, batch_size=64, validation=[0.8123])
    rows = cells(table_of(builder), "From", "Test %", "±", "Seeds")
    assert ("this sweep", "81.23", "—", "1") in rows


def test_on_mnist_the_paper_s_figures_stand_beside_any_network(build):
    builder = build()
    for batch_size in (64, 256):
        builder.add_run(batch_size, batch_size=batch_size, architecture="a_net")
    table = table_of(builder)
    # a network of which nothing is published has one row for each optimiser
    assert cells(table, "Network", "Batch") == [
        ("a_net", "64"),
        *[("paper_mnist", "5000")] * 2,
        ("paper_mnist", "—"),
    ]


@pytest.mark.parametrize("data", [{"name": "fashion_mnist"}, {"name": "cifar10"}, {}, "mnist"])
def test_of_other_data_nothing_is_published(build, data):
    builder = build()
    builder.specification["data"] = data
    builder.add_run(0)
    assert table_of(builder) is None


def test_the_paper_s_own_network_finds_its_figures_on_cifar(build):
    builder = build()
    builder.specification["data"] = {"name": "cifar10"}
    builder.add_run(0, architecture="paper_cifar10", batch_size=5000)
    assert cells(table_of(builder), "From", "Batch") == [
        ("this sweep", "5000"),
        ("published: Tripathi & Singh", "—"),
    ]


def test_a_sweep_without_a_finished_run_has_no_such_table(build):
    assert table_of(build("empty")) is None
    builder = build()
    builder.add_run(0, state="failed", reason="out of memory")
    builder.add_run(1, state=None)
    assert table_of(builder) is None


def test_of_many_batch_sizes_those_stay_that_are_published(build):
    builder = build()
    sizes = [*range(100, 113), 64]
    for trial, (size, optimizer) in enumerate(itertools.product(sizes, ("rso", "sgd"))):
        accuracy = 0.9 if size == 105 else 0.5
        builder.add_run(trial, batch_size=size, optimizer=optimizer, validation=[accuracy])
    own = [
        row[1:]
        for row in cells(table_of(builder), "From", "Optimiser", "Batch")
        if row[0] == "this sweep"
    ]
    assert own == [("RSO", "64"), ("RSO", "105"), ("SGD", "64"), ("SGD", "105")]


def test_options_named_as_the_columns_do_not_get_into_the_table(build):
    builder = build()
    names = ("source", "network", "test_accuracy_percent", "origin", "is_best", "margin")
    builder.add_run(0, batch_size=64, options=dict.fromkeys(names, "<b>evil</b>"))
    table = table_of(builder)
    assert "evil" not in table.to_csv()
    assert "evil" not in table.to_html()


def test_each_sweep_has_its_published_figures(build):
    builders = [build("a"), build("b")]
    for builder in builders:
        builder.add_run(0, batch_size=64)
    table = published_table(analysis.load(*(builder.write() for builder in builders)))
    assert table.columns[0].header == "Sweep"
    one, other = (
        own.drop(columns="sweep").reset_index(drop=True) for _, own in table.frame.groupby("sweep")
    )
    pd.testing.assert_frame_equal(one, other)


def test_the_table_fits_a_terminal_and_can_be_written_in_every_form(whole_sweep):
    table = published_table(analysis.load(whole_sweep))
    assert max(len(line) for line in table.to_markdown().splitlines()) <= 120
    assert table.frame["n_seeds"].dropna().eq(2).all()
    for text in (table.to_csv(), table.to_latex(), table.to_html()):
        assert "STMOZOO" in text
