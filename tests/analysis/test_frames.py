"""Run folders as frames."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date

import pandas as pd
import pytest

import analysis
from analysis.columns import COLUMNS, check_frame
from analysis.frames import option_columns

HOLDS_ITSELF = {"name": "a"}
HOLDS_ITSELF["itself"] = HOLDS_ITSELF


def test_every_frame_has_the_documented_columns_first_and_in_their_order(
    whole_sweep, cut_short, trade_off, build
):
    unended = build("unended")
    unended.add_run(0, state=None)
    rso = {"perturbation_std", "annealing", "weight_decay"}
    every = rso | {"learning_rate", "momentum"}
    for folders, options in (
        ([], set()),
        ([build().write()], set()),
        ([unended.write()], set()),
        ([whole_sweep], every),
        ([cut_short.write(), trade_off.write()], every),
    ):
        frames = analysis.load(*folders)
        for name, columns in COLUMNS.items():
            frame = getattr(frames, name)
            check_frame(frame, name)
            assert list(frame.columns[: len(columns)]) == list(columns)
            further = options if name in ("trials", "runs") else set()
            assert set(frame.columns[len(columns) :]) == further


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("cycles", {"cycle": None}, "the cycles must have a column 'cycle' (Int64)"),
        (
            "layers",
            {"sigma": "Float64"},
            "the column 'sigma' of the layers must be float64, got Float64",
        ),
        (
            "runs",
            {"ended_at": "object"},
            "the column 'ended_at' of the runs must be datetime64[us, UTC], got object",
        ),
        (
            "trials",
            {"momentum": "int64"},
            "the option 'momentum' of the trials must be one of boolean, Int64, float64, string, "
            "got int64",
        ),
        ("epochs", {}, "a frame must be one of trials, runs, cycles, layers, attempts, drivers"),
    ],
)
def test_a_frame_that_is_not_as_documented_is_told_in_one_line(build, name, change, message):
    builder = build()
    builder.add_run(0)
    frame = getattr(analysis.load(builder.write()), name, pd.DataFrame())
    frame = frame.assign(momentum=1.0) if name == "trials" else frame
    for column, dtype in change.items():
        frame = frame.drop(columns=column) if dtype is None else frame.astype({column: dtype})
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        check_frame(frame, name)
    assert "\n" not in str(caught.value)


def test_a_frame_may_have_its_columns_in_any_order_and_more_of_them(whole_sweep):
    frames = analysis.load(whole_sweep)
    check_frame(frames.cycles[frames.cycles.columns[::-1]], "cycles")
    check_frame(frames.cycles.assign(line=1), "cycles")
    check_frame(frames.runs.assign(nesterov=pd.array([None] * len(frames.runs), "boolean")), "runs")


def test_every_column_is_explained():
    for columns in COLUMNS.values():
        assert all(meaning for _, meaning in columns.values())


def test_a_run_has_the_figures_of_its_last_cycle_and_its_totals(build):
    builder = build()
    builder.add_run(0, batch_size=10, validation=(0.5, 0.6), test=(0.4, 0.55), training_s=3.0)
    run = analysis.load(builder.write()).runs.iloc[0]
    assert (run.validation_accuracy, run.test_accuracy, run.objective) == (0.6, 0.55, 0.6)
    assert (run.n_cycles, run.training_s, run.evaluation_s) == (2, 6.0, 1.0)
    assert run.n_visited == 2 * 7890
    assert run.n_accepted == int(0.4 * 7890) + int(0.2 * 7890)
    assert run.n_images_passed == 2 * 3 * 10 * 7890
    assert (run.ended_at - run.started_at).total_seconds() == 600.5


def test_a_missing_last_figure_is_not_taken_from_an_earlier_cycle(build):
    builder = build()
    builder.add_run(0, validation=(0.5, None), test=(0.5, 0.5))
    run = analysis.load(builder.write()).runs.iloc[0]
    assert pd.isna(run.validation_accuracy)
    assert pd.isna(run.objective)


def test_costs_accumulate_within_a_run_and_not_across_runs(build):
    builder = build()
    builder.add_run(0, 0, training_s=2.0, optimizer="sgd")
    builder.add_run(0, 1, training_s=5.0, optimizer="sgd")
    cycles = analysis.load(builder.write()).cycles
    assert list(cycles["cumulative_training_s"]) == [2, 4, 6, 5, 10, 15]
    assert list(cycles["cumulative_images_passed"]) == [20_000, 40_000, 60_000] * 2


def test_an_option_is_missing_for_an_optimizer_without_it(build):
    builder = build()
    builder.add_run(0, optimizer="rso", options={"greedy": True, "visits": 3})
    builder.add_run(1, optimizer="sgd")
    runs = analysis.load(builder.write()).runs
    assert list(runs["perturbation_std"].isna()) == [False, True]
    assert list(runs["learning_rate"].isna()) == [True, False]
    assert {c: str(runs[c].dtype) for c in ("greedy", "visits", "annealing")} == {
        "greedy": "boolean",
        "visits": "Int64",
        "annealing": "string",
    }


def test_an_option_named_like_a_column_does_not_hide_it(build):
    builder = build()
    builder.add_run(0, seed=4, options={"seed": 9})
    runs = analysis.load(builder.write()).runs
    assert (runs.loc[0, "seed"], runs.loc[0, "options.seed"]) == (4, 9)
    assert "options.seed" in option_columns(runs)


def test_an_option_too_large_for_a_number_is_a_text(build):
    builder = build()
    builder.add_run(0, options={"memory": 2**70, "weight_decay": 10**400})
    builder.add_run(1, options={"memory": 1})
    frames = analysis.load(builder.write())
    check_frame(frames.runs, "runs")
    assert list(frames.runs["memory"]) == [str(2**70), "1"]
    assert list(frames.trials["memory"]) == [str(2**70), "1"]


def test_a_run_tells_its_data_set_and_all_that_was_asked_of_the_data(build):
    builder = build()
    builder.specification["data"] = {"split_seed": 0, "name": "mnist", "train_size": 100}
    builder.add_run(0)
    builder.add_run(1, state=None)
    frames = analysis.load(builder.write())
    for frame in (frames.runs, frames.trials):
        assert list(frame["dataset"]) == ["mnist"] * 2
        assert list(frame["data"]) == ['{"name": "mnist", "split_seed": 0, "train_size": 100}'] * 2
        assert not {"dataset", "data"} & set(option_columns(frame))


def test_options_named_as_the_data_do_not_hide_it(build):
    builder = build()
    builder.add_run(0, options={"data": "mine", "dataset": 3})
    runs = analysis.load(builder.write()).runs
    assert (runs.loc[0, "dataset"], runs.loc[0, "options.dataset"]) == ("mnist", 3)
    assert runs.loc[0, "options.data"] == "mine"


@pytest.mark.parametrize(
    ("data", "dataset", "text"),
    [
        (None, None, None),
        ("mnist", None, None),
        ([1], None, None),
        ({}, None, "{}"),
        ({"name": 3}, None, '{"name": 3}'),
        (
            {"name": "a", 1: None, "of": {"é": [True, 1.5]}},
            "a",
            '{"1": null, "name": "a", "of": {"\\u00e9": [true, 1.5]}}',
        ),
        (
            {"name": "a", "of": {"y", "x"}, "since": date(2026, 1, 2)},
            "a",
            '{"name": "a", "of": ["x", "y"], "since": "2026-01-02"}',
        ),
        (HOLDS_ITSELF, "a", None),
        (
            {"name": "m:f", "root": "s3://u:secret@b/c", "url": "https://a/?token=abc"},
            "m:f",
            '{"name": "m:f", "root": "s3://u:***@b/c", "url": "https://a/?token=***"}',
        ),
    ],
)
def test_whatever_the_sweep_file_says_of_the_data_can_be_read(build, data, dataset, text):
    builder = build()
    builder.specification["data"] = data
    builder.add_run(0)
    run = analysis.load(builder.write()).runs.iloc[0]
    found = [None if pd.isna(value) else value for value in (run.dataset, run.data)]
    assert found == [dataset, text]


def test_a_run_that_has_not_ended_is_running_with_its_trials_configuration(build):
    builder = build()
    builder.add_run(0, 0, batch_size=256)
    builder.add_run(0, 1, batch_size=256, state=None)
    builder.add_run(1, 0, state=None)
    runs = analysis.load(builder.write()).runs
    assert list(runs["state"]) == ["finished", "running", "running"]
    assert runs.loc[1, "batch_size"] == 256
    assert pd.isna(runs.loc[2, "batch_size"])


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("finished", "finished"), "finished"),
        (("finished", None), "running"),
        (("pruned", None), "pruned"),
        (("pruned", "failed"), "failed"),
    ],
)
def test_a_trial_is_as_its_worst_run(build, states, expected):
    builder = build()
    for seed, state in enumerate(states):
        builder.add_run(0, seed, state=state)
    trial = analysis.load(builder.write()).trials.iloc[0]
    assert trial.state == expected
    assert (trial.n_runs, trial.n_seeds) == (2, states.count("finished"))


def test_a_trial_has_mean_and_deviation_over_its_seeds(build):
    builder = build()
    for seed, accuracy in enumerate((0.5, 0.7)):
        builder.add_run(0, seed, validation=[accuracy], test=[accuracy - 0.1])
    builder.add_run(1, 0, validation=[0.9])
    trials = analysis.load(builder.write()).trials
    assert trials["objective_mean"].tolist() == pytest.approx([0.6, 0.9])
    assert trials.loc[0, "objective_std"] == pytest.approx(0.02**0.5)
    assert trials.loc[0, "test_accuracy_mean"] == pytest.approx(0.5)
    assert pd.isna(trials.loc[1, "objective_std"])


def test_a_run_without_a_cycle_has_no_figures_and_no_costs(build):
    builder = build()
    builder.add_run(0, validation=(), state="failed", reason="out of memory")
    run = analysis.load(builder.write()).runs.iloc[0]
    assert (run.n_cycles, run.n_visited, run.training_s) == (0, 0, 0.0)
    assert pd.isna(run.test_accuracy)
    assert run.reason == "out of memory"


def test_layers_have_a_row_a_tensor_and_cycle(build):
    builder = build()
    builder.add_run(0, validation=(0.5, 0.6), layer_names=("b.weight", "a.weight"))
    layers = analysis.load(builder.write()).layers
    assert list(layers["layer"]) == ["b.weight", "a.weight"] * 2
    assert list(layers["layer_index"]) == [0, 1, 0, 1]
    assert layers.loc[0, "accepted_share"] == pytest.approx(0.4, abs=1e-3)


def test_sweeps_of_the_same_name_stay_apart(build, tmp_path):
    first, second = build("a"), build("b")
    for builder in (first, second):
        builder.specification["name"] = "same"
        builder.add_run(0)
    frames = analysis.load(first.write(), second.write())
    assert list(frames.runs["sweep"]) == ["same", "same (2)"]
    assert [sweep.name for sweep in frames.sweeps] == ["same", "same (2)"]
    assert list(frames.runs["n_cycles"]) == [3, 3]


def test_a_name_that_tells_two_sweeps_apart_is_not_that_of_a_third(build):
    folders = []
    for number, name in enumerate(("same", "same", "same (2)")):
        builder = build(f"folder-{number}")
        builder.specification["name"] = name
        builder.add_run(0)
        folders.append(builder.write())
    frames = analysis.load(*folders)
    assert [sweep.name for sweep in frames.sweeps] == ["same", "same (2)", "same (2) (2)"]
    assert list(frames.runs["n_cycles"]) == [3, 3, 3]


@pytest.mark.parametrize("state", ["asleep", None])
def test_a_trial_whose_runs_are_in_no_known_state_has_none(build, state):
    builder = build()
    builder.add_run(0)
    builder.run_rows[0]["state"] = state
    frames = analysis.load(builder.write())
    check_frame(frames.trials, "trials")
    assert frames.trials["state"].isna().all()


def test_attempts_have_a_row_for_each_that_was_cut_short(cut_short):
    attempts = analysis.load(cut_short.write()).attempts
    assert list(attempts["run"]) == ["trial-0-seed-0"] * 3 + ["trial-2-seed-0"]
    assert list(attempts["attempt"]) == [1, 2, 3, 1]
    assert attempts["resumed_from_cycle"].fillna(-1).tolist() == [-1, 1, -1, -1]
    assert (attempts["ended_at"] - attempts["started_at"]).dt.total_seconds().tolist() == [300] * 4
    assert attempts["host"].fillna("").tolist() == ["node-2", "node-2", "node-3", ""]


def test_a_run_tells_its_attempts_and_one_of_old_does_not(build, cut_short):
    assert list(analysis.load(cut_short.write()).runs["n_attempts"]) == [4, 1, 1, 1]
    builder = build("old")
    builder.add_run(0)
    assert analysis.load(builder.write()).runs["n_attempts"].isna().all()


def test_drivers_are_in_the_order_in_which_they_began(cut_short):
    drivers = analysis.load(cut_short.write()).drivers
    assert list(drivers["pid"]) == [4000, 4001, 4002]
    assert drivers.loc[0, "command"] == "rso-sweep run sweep.yaml"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ended_at", "yesterday", "'ended_at' of the attempts must be times"),
        ("seed", "x", "'seed' of the attempts must be whole numbers"),
    ],
)
def test_a_field_that_is_not_what_it_should_be_is_named(cut_short, field, value, message):
    cut_short.attempt_rows[0][field] = value
    with pytest.raises(analysis.UnreadableRunFolder, match=message):
        analysis.load(cut_short.write())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import analysis", {"pandas", "altair", "fsspec"}),
        ("from analysis import load; load('FOLDER')", {"altair", "fsspec"}),
    ],
)
def test_nothing_is_imported_before_it_is_needed(build, statement, absent):
    statement = statement.replace("FOLDER", str(build().write()))
    code = f"import sys; {statement}; sys.exit(bool({absent} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there():
    assert all(getattr(analysis, name) is not None for name in analysis.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        analysis.nothing  # noqa: B018  (the access is what is tested)
