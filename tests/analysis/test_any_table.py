"""Tables of any metric by any columns."""

from __future__ import annotations

import pytest

import analysis
from analysis.any_table import UnknownColumn, comparison_table
from analysis.budgets import Budget


@pytest.fixture(scope="module")
def frames(whole_sweep):
    return analysis.load(whole_sweep)


def test_columns_stand_side_by_side_with_their_difference(frames):
    table = comparison_table(frames, rows=["architecture"], columns=["optimizer"])
    assert table.title == "Test accuracy (%) by network and optimiser"
    headers = [column.header for column in table.columns]
    assert headers == ["Network", "RSO", "SGD", "Difference", "p", "Seeds"]
    assert [row[0] for row in table.rows()] == ["one_conv", "two_conv"]
    assert "averaged over batch size, perturbation_std and learning_rate" in table.caption


def test_rows_alone_are_marked(frames):
    table = comparison_table(frames, rows=["optimizer", "batch_size"], metric="test_loss")
    assert [column.header for column in table.columns] == [
        "Optimiser",
        "Batch size",
        "Test loss (nats)",
        "Seeds",
        "Configurations",
    ]
    assert any(mark == "best" for row in table.marks() for mark in row)


def test_headings_say_what_their_values_are_of(frames):
    table = comparison_table(frames, rows=["optimizer"], columns=["batch_size", "architecture"])
    assert [column.header for column in table.columns][1] == "batch size 256, one_conv"


def test_runs_are_held_to_a_budget_and_the_title_says_so(frames):
    table = comparison_table(frames, rows=["optimizer"], at=Budget("cycles", 2))
    assert table.title.endswith("within 2 cycles")
    whole = comparison_table(frames, rows=["optimizer"])
    assert (table.frame["mean"] < whole.frame["mean"]).all()


def test_only_runs_with_given_values_count(frames):
    where = {"optimizer": "rso", "perturbation_std": "0.5", "batch_size": "256"}
    table = comparison_table(frames, rows=["architecture"], where=where)
    assert list(table.frame["n_configurations"]) == [1, 1]


def test_the_objective_is_told_by_its_metric(frames):
    table = comparison_table(frames, rows=["optimizer"], metric="objective")
    assert table.title == "Validation accuracy (%) by optimiser"


def test_several_sweeps_have_a_row_each(build):
    builders = [build(name) for name in ("first", "second")]
    for builder in builders:
        builder.add_run(0)
    frames = analysis.load(*(builder.write() for builder in builders))
    assert [row[0] for row in comparison_table(frames, rows=["optimizer"]).rows()] == [
        "first",
        "second",
    ]
    beside = comparison_table(frames, rows=["optimizer"], columns=["sweep"])
    assert [column.header for column in beside.columns][1:3] == ["first", "second"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": ["architectur"]}, r"'rows' must be .* did you mean 'architecture'\?"),
        ({"rows": ["optimizer"], "columns": ["colour"]}, "'columns' must be a column of the runs"),
        ({"rows": ["optimizer"], "columns": ["optimizer"]}, "each column once, got 'optimizer'"),
        ({"rows": []}, "'rows' must name at least one column"),
        ({"rows": ["optimizer"], "metric": "accuracy"}, r"'metric' must be a figure of a run"),
        ({"rows": ["optimizer"], "where": {"nothing": "1"}}, "'where' must be a column"),
        (
            {"rows": ["optimizer"], "where": {"batch_size": "65"}},
            r"'where' must be a value of 'batch_size' \(256, 1024\), got '65'",
        ),
    ],
)
def test_a_name_that_is_none_is_refused_in_a_line(frames, arguments, message):
    with pytest.raises(UnknownColumn, match=message) as refused:
        comparison_table(frames, **arguments)
    assert "\n" not in str(refused.value)


def test_an_empty_sweep_has_an_empty_table(build):
    frames = analysis.load(build().write())
    for columns in ([], ["optimizer"]):
        table = comparison_table(frames, rows=["architecture"], columns=columns)
        assert "No results yet." in table.to_markdown()
