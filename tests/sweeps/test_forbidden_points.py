"""Samplers that learn where constraints forbid points: what is rejected, and what becomes of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sweeps.driver import Driver
from sweeps.run_folder import RunFolder
from sweeps.runs import Run
from sweeps.search import Search
from sweeps.storage.studies import open_study_store
from sweeps.study_trials import WarmTrial
from sweeps.sweep_file import parse_sweep
from sweeps.work import WorkCounter

SWEEP = """
name: forbidden
data: {name: mnist, train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 1}
space:
  architecture: mlp()
  batch_size: [20, 25]
  optimizer: sgd
  learning_rate: {low: 0.001, high: 1.0}
  momentum: {low: 0.0, high: 0.9, when: {batch_size: 25}}
constraints:
  - {when: {batch_size: 20}, require: {learning_rate: {at_most: 0.3}}}
  - {require: {momentum: {at_least: 0.2}}}
trials: 12
"""
SAMPLERS = {
    "tpe": "{name: tpe, n_startup_trials: 4}",
    "gp": "{name: gp, n_startup_trials: 11}",
    "cmaes": "cmaes",
    "nsga2": "{name: nsga2, population_size: 4}",
    "qmc": "qmc",
}


def _script(run: Run) -> list[float]:
    # the better, the nearer it is to what is forbidden
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    return [rate + (1 - run.configuration.batch_size / 100)]


def _is_rejected(trial: Any) -> bool:
    return "breaks_constraints" in trial.user_attrs


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_forbidden_points_are_told_and_not_run_and_do_not_count(
    tmp_path: Path, drive: Any, scripted: Any, study: Any, rows: Any, sampler: str
) -> None:
    sweep = parse_sweep(SWEEP, "x", [f"sampler={SAMPLERS[sampler]}"])
    path = tmp_path / "out"
    progress = drive(sweep, path, scripted(_script))

    trials = study(path).trials
    rejected = [trial for trial in trials if _is_rejected(trial)]
    assert rejected
    assert {trial.state.name for trial in rejected} == {"PRUNED"}
    for trial in trials:
        point = sweep.space.suggest(trial)  # as it was
        assert sweep.space.is_allowed(point) != _is_rejected(trial)
    runs = rows(path, "runs")
    assert [row["trial"] for row in sorted(runs, key=lambda row: row["trial"])] == [
        trial.number for trial in trials if not _is_rejected(trial)
    ]
    assert len(runs) == progress.n_trials_finished == progress.n_trials == 12
    assert progress.n_trials_pruned == 0


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_driver_killed_anywhere_rejects_the_same_points(
    killed_anywhere: Any, study: Any, sampler: str
) -> None:
    sweep = parse_sweep(SWEEP, "x", [f"sampler={SAMPLERS[sampler]}"])
    results = [
        [(t.number, t.params, t.state, t.values, t.user_attrs) for t in study(path).trials]
        for path in killed_anywhere(sweep, _script, every=9)
    ]

    assert len(results) > 3
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("part", [n / 12 for n in range(12)])
def test_a_study_cut_at_any_line_is_gone_on_with(
    tmp_path: Path, drive: Any, scripted: Any, study: Any, rows: Any, part: float
) -> None:
    sweep = parse_sweep(SWEEP, "x", [f"sampler={SAMPLERS['tpe']}"])
    path = tmp_path / "out"
    drive(sweep, path, scripted(_script, n_slots=1))
    journal = path / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    # also right after a point was marked as forbidden, before that was told
    marks = [n for n, line in enumerate(lines, 1) if b"breaks_constraints" in line]
    cut = marks[round(part * len(marks)) // 2] if part < 0.5 else round(part * len(lines))
    journal.write_bytes(b"".join(lines[:cut]))
    drive(sweep, path, scripted(_script, n_slots=1))

    trials = study(path).trials
    assert all(trial.state.is_finished() for trial in trials)
    own = {trial.number: trial for trial in trials if not _is_rejected(trial)}
    assert len(own) == 12
    runs = {row["trial"]: row for row in rows(path, "runs")}
    assert own.keys() <= runs.keys()
    for number, trial in own.items():
        assert trial.params.items() <= runs[number]["parameters"].items()


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
def test_results_of_other_sweeps_go_with_constraints(
    tmp_path: Path, tiny_data: Any, scripted: Any, watched: Any, study: Any, sampler: str
) -> None:
    override = SAMPLERS[sampler].replace("11", "3")
    sweep = parse_sweep(SWEEP, "x", [f"sampler={override}", "trials=2"])
    main = {"architecture": "mlp()", "optimizer": "sgd"}
    warm = [
        WarmTrial("other", {**main, "batch_size": 20, "learning_rate": rate}, (rate,))
        for rate in (0.1, 0.2, 0.25)
    ]
    folder = RunFolder.create(str(tmp_path / "out"), sweep, ["run"], {}, warm)
    with closing(folder):
        store = open_study_store(None, sweep.name, folder.journal)
        search = Search(sweep, store, warm=warm)
        progress = Driver(sweep, folder, search, WorkCounter(tiny_data)).run(
            scripted(_script, n_slots=1), watched
        )

    trials = study(tmp_path / "out").trials
    assert progress.n_trials_finished == 2
    assert [t.user_attrs.get("warm_start") for t in trials[:4]] == ["other"] * 3 + [None]
    assert all(set(t.constraints.values()) == {0.0} for t in trials[:3])
