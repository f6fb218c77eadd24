"""The history of the search: every trial in its place, and the best so far."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis import Objective
from analysis.history_charts import history_chart, history_charts, search_history

TRIAL = st.tuples(
    st.sampled_from(["finished", "pruned", "failed", "running"]),
    st.sampled_from(["rso", "sgd"]),
    st.sampled_from([0.1, 0.5, 0.9, None, math.inf]),
)


@pytest.fixture(scope="module")
def frames(whole_sweep):
    return analysis.load(whole_sweep)


@given(st.lists(TRIAL, max_size=12), st.sampled_from(["maximize", "minimize"]))
@settings(deadline=None, max_examples=15)
def test_the_best_so_far_is_that_of_the_finished_trials_before(frames, trials, direction):
    made = replace(
        frames,
        trials=made_trials(frames.trials, trials),
        runs=made_trials(frames.runs, trials),
        sweeps=(replace(frames.sweeps[0], objectives=(Objective("test_loss", direction),)),),
    )
    history = search_history(made)
    choose = max if direction == "maximize" else min
    seen: dict[str, list[float]] = {"rso": [], "sgd": []}
    expected = []
    for number, (state, optimizer, value) in enumerate(trials):
        known = value is not None and math.isfinite(value)
        if state == "finished" and known:
            seen[optimizer].append(value)
        if state == "failed" or (state != "running" and known):
            best = choose(seen[optimizer]) if seen[optimizer] else None
            expected.append((number, None if state == "failed" else value, best))
    shown = history[["trial", "value", "best"]].astype("object")
    shown = shown.where(shown.notna(), None)
    assert list(shown.itertuples(index=False, name=None)) == expected


def made_trials(like: pd.DataFrame, trials: list[tuple]) -> pd.DataFrame:
    """A frame with one row for each trial, with the columns of another one."""
    rows = pd.concat([like.iloc[:0], like.iloc[[0] * len(trials)]]).reset_index(drop=True)
    states, optimizers, values = zip(*trials, strict=True) if trials else ((), (), ())
    objectives = pd.Series(values, dtype="float64")
    return rows.assign(
        trial=pd.array(range(len(trials)), dtype="Int64"),
        state=pd.array(states, dtype="string"),
        optimizer=pd.array(optimizers, dtype="string"),
        objective=objectives,
        objective_mean=objectives,
    )


def test_pruned_and_failed_trials_are_shown_as_such(build):
    builder = build()
    builder.specification["seeds"] = [0]
    for trial, (state, accuracy) in enumerate(
        [("finished", 0.5), ("pruned", 0.3), ("failed", 0.9), ("finished", 0.4), (None, 0.9)]
    ):
        builder.add_run(trial, validation=[accuracy], state=state)
    (chart,) = history_charts(analysis.load(builder.write()))
    specification = chart.chart.to_dict()
    rows = {row["state"]: row for row in specification["datasets"]["trials"]}
    assert {state: row["trial"] for state, row in rows.items()} == {
        "finished": [0, 3],
        "pruned": [1],
        "failed": [2],
    }
    assert rows["pruned"]["value"] == [0.3]
    assert [(row["trial"], row["value"]) for row in specification["datasets"]["best"]] == [
        (0, 0.5),
        (3, 0.5),
    ]
    assert "Hollow: pruned" in chart.caption
    assert "Ticks at the foot: failed" in chart.caption


def test_of_very_many_trials_a_sample_is_drawn_and_the_best_of_all(frames, monkeypatch):
    monkeypatch.setattr("analysis.history_charts.MOST_POINTS", 5)
    history = search_history(frames)
    specification = history_chart(frames.runs, history, Objective.of("test_loss")).to_dict()
    drawn = [trial for row in specification["datasets"]["trials"] for trial in row["trial"]]
    assert len(drawn) == 5
    best = {row["optimizer"]: row["value"] for row in specification["datasets"]["best"]}
    expected = history.groupby("optimizer")["best"].last()
    assert best == pytest.approx({"RSO": expected["rso"], "SGD": expected["sgd"]}, rel=1e-4)


def test_a_single_trial_has_no_history(build):
    builder = build()
    builder.add_run(0)
    assert history_charts(analysis.load(builder.write())) == ()
