"""The table of every trial."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis.every_trial import every_trial_table
from analysis.frames import Frames


def table_of(builder):
    return every_trial_table(analysis.load(builder.write()))


def cells(table, *headers: str) -> list[tuple[str, ...]]:
    """Some of the cells of every row, as they are shown."""
    places = [[column.header for column in table.columns].index(header) for header in headers]
    return [tuple(row[place] for place in places) for row in table.rows()]


def test_the_best_trial_comes_first_with_what_it_was_and_what_it_cost(build):
    builder = build()
    for trial, (optimizer, options, validation) in enumerate(
        [
            ("rso", {"perturbation_std": 0.5}, 0.7),
            ("rso", {"perturbation_std": 2.0}, 0.8),
            ("sgd", {}, 0.75),
        ]
    ):
        for seed in (0, 1):
            builder.add_run(
                trial,
                seed,
                optimizer=optimizer,
                options=options,
                validation=[0.1, validation + 0.02 * seed],
                test=[0.1, validation - 0.1],
                training_s=3.0 + 2 * seed,
            )
    table = table_of(builder)
    assert cells(table, "Trial") == [("1",), ("2",), ("0",)]
    # the deviation is 0.0141; the quantile of Student's t for two values 12.7
    assert dict(zip([c.header for c in table.columns], table.rows()[0], strict=True)) == {
        "Trial": "1",
        "State": "finished",
        "Optimiser": "RSO",
        "Network": "one_conv",
        "Batch": "64",
        "Setting": "perturbation_std=2",
        "Validation %": "81 ± 13",
        "Test %": "70.00 ± 0.00",
        "Seeds": "2",
        "Cycles": "2",
        "Training": "8.00 s",
        "Images passed": f"{2 * 3 * 64 * 7890:,}",
    }
    # what was not varied is no part of a setting
    assert cells(table, "Setting")[1] == ("—",)


def test_the_smallest_loss_comes_first_where_a_loss_is_the_objective(build):
    builder = build()
    builder.specification["objective"] = {"metric": "validation_loss", "direction": "minimize"}
    for trial, accuracy in enumerate((0.5, 0.9, 0.7)):
        builder.add_run(trial, batch_size=2**trial, validation=[accuracy])
    table = table_of(builder)
    assert cells(table, "Trial") == [("1",), ("2",), ("0",)]
    loss = cells(table, "Validation loss (nats)")[0][0]
    assert float(loss.split()[0]) == pytest.approx(-math.log(0.9), abs=1e-4)


def test_several_objectives_have_a_column_each_and_none_stands_twice(trade_off):
    trade_off.specification["objective"].append({"metric": "n_visited", "direction": "minimize"})
    table = table_of(trade_off)
    headers = [column.header for column in table.columns]
    assert len(set(headers)) == len(headers)
    assert {"Validation %", "Weight visits", "Training"} <= set(headers)
    assert cells(table, "Trial", "State") == [
        ("0", "finished"),
        ("1", "finished"),
        ("2", "finished"),
        ("3", "failed"),
    ]


def test_trials_that_did_not_end_come_last_with_what_is_known_of_them(build):
    builder = build()
    builder.add_run(0, batch_size=1, state="failed", validation=[0.99])
    builder.add_run(1, 0, batch_size=2, state="finished", validation=[0.9])
    builder.add_run(1, 1, batch_size=2, state="pruned", validation=[0.1, 0.2])
    builder.add_run(2, batch_size=4, state=None, validation=[0.5])
    builder.add_run(3, batch_size=8, validation=[0.3])
    builder.add_run(4, batch_size=16, validation=[None])
    table = table_of(builder)
    assert cells(table, "Trial", "State", "Validation %", "Seeds", "Cycles") == [
        ("3", "finished", "30.00 (1 seed)", "1", "1"),
        ("4", "finished", "—", "1", "1"),
        ("2", "running", "—", "0", "1"),
        ("1", "pruned", "90.00 (1 seed)", "1", "1.5"),
        ("0", "failed", "—", "0", "1"),
    ]
    assert "come last" in table.caption


def test_a_run_that_was_never_begun_does_not_make_its_trial_cheaper(build):
    builder = build()
    builder.add_run(0, 0, state="pruned", validation=[0.1, 0.1], training_s=4.0)
    builder.add_run(0, 1, state="pruned", validation=())
    builder.run_rows[-1]["n_attempts"] = 0
    assert cells(table_of(builder), "Cycles", "Training") == [("2", "8.00 s")]


def test_a_sweep_without_trials_has_no_rows(build):
    table = table_of(build())
    assert table.rows() == []
    assert "No results yet." in table.to_markdown()


def test_each_sweep_goes_by_its_own_direction(build):
    first, second = build("a"), build("b")
    second.specification["objective"] = {"metric": "test_loss", "direction": "minimize"}
    for builder in (first, second):
        for trial, accuracy in enumerate((0.5, 0.9, 0.7)):
            builder.add_run(trial, batch_size=2**trial, validation=[accuracy])
    table = every_trial_table(analysis.load(first.write(), second.write()))
    shown = cells(table, "Sweep", "Trial")
    for name in ("a", "b"):
        assert [trial for sweep, trial in shown if sweep == name] == ["1", "2", "0"]
    assert "Test loss (nats)" in [column.header for column in table.columns]


def test_options_named_as_the_columns_do_not_hide_them(build):
    builder = build()
    names = ("validation_accuracy_mean", "cost", "rank", "test_loss_mean", "<script>")
    for trial in range(2):
        builder.add_run(
            trial, options=dict.fromkeys(names, f"<b>{trial}"), validation=[0.5 + trial / 10]
        )
    table = table_of(builder)
    assert cells(table, "Trial", "Validation %") == [
        ("1", "60.00 (1 seed)"),
        ("0", "50.00 (1 seed)"),
    ]
    assert "<b>" not in table.to_html().replace("&lt;b&gt;", "")
    assert "cost=<b>1" in cells(table, "Setting")[0][0]


@pytest.fixture(scope="module")
def whole(whole_sweep) -> Frames:
    """The frames of a finished sweep."""
    return analysis.load(whole_sweep)


@settings(deadline=None, max_examples=12)
@given(
    figures=st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["finished", "failed", "pruned", "running"]),
            st.sampled_from([0.1, 0.5, float("nan")]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_means_and_deviations_are_those_of_the_finished_runs(whole, figures):
    runs = whole.runs.head(len(figures)).assign(
        trial=pd.array([trial for trial, _, _ in figures], dtype="Int64"),
        state=pd.array([state for _, state, _ in figures], dtype="string"),
        test_accuracy=[accuracy for _, _, accuracy in figures],
    )
    trials = whole.trials[whole.trials["trial"].isin(runs["trial"])]
    frames = replace(whole, trials=trials, runs=runs)
    table = every_trial_table(frames).frame.set_index("trial")
    for trial in table.index:
        own = [
            accuracy
            for number, state, accuracy in figures
            if (number, state) == (trial, "finished")
        ]
        mean = pd.Series(own, dtype="float64").mean(skipna=False)
        std = pd.Series(own, dtype="float64").std(skipna=False)
        shown = table.loc[trial, ["test_accuracy_mean", "test_accuracy_std"]].astype("float64")
        assert list(shown) == pytest.approx([mean, std], nan_ok=True)
