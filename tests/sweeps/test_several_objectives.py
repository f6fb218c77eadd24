"""Sweeps with more than one objective."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from optuna.study import StudyDirection

from sweeps.objectives import mean_values, values_after_cycle
from sweeps.runs import Run
from sweeps.spec import Objective

TWO = "objective=[{metric: validation_accuracy}, {metric: training_s}]"
SAMPLERS = {
    "grid": (),
    "random": ("sampler=random", "trials=5"),
    "nsga2": ("sampler={name: nsga2, population_size: 3}", "trials=7"),
    "tpe": ("sampler={name: tpe, n_startup_trials: 3}", "trials=7"),
}


def _rate(run: Run) -> float:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    return rate


def _script(run: Run) -> list[float]:
    return [0.9, _rate(run) + 0.02 * run.seed]


def _told(study: Any) -> list[Any]:
    return [(t.params, t.state, t.values, t.intermediate_values) for t in study.trials]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_trial_is_told_the_means_of_all_objectives_and_reports_nothing(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, study: Any, sampler: str
) -> None:
    path = tmp_path / "out"
    progress = drive(spec(TWO, *SAMPLERS[sampler]), path, scripted(_script))

    found = study(path)
    assert found.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    for trial in found.trials:
        # a tenth of a second for each of the two cycles
        assert trial.values == pytest.approx([trial.params["learning_rate"] + 0.01, 0.2])
        assert trial.intermediate_values == {}
    # all take as long, so that only the most accurate are beaten by none
    best = max(trial.values[0] for trial in found.trials)
    assert {one.values[0] for one in progress.pareto} == {best}
    assert progress.best is None


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_driver_killed_anywhere_tells_the_same(
    spec: Any, killed_anywhere: Any, study: Any, sampler: str
) -> None:
    paths = killed_anywhere(spec(TWO, "seeds=1", *SAMPLERS[sampler]), _script, every=8)
    results = [_told(study(path)) for path in paths]

    assert len(results) > 1
    assert all(result == results[0] for result in results)


def test_costs_add_up_over_the_cycles_of_a_run_that_was_killed_between_them(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, study: Any, rows: Any
) -> None:
    sweep = spec(
        *("budget.cycles=4", "trials=1"),
        "objective=[{metric: n_images_passed}, {metric: test_accuracy}]",
    )
    path, accuracies = tmp_path / "out", [0.1, 0.2, 0.3, 0.4]
    with pytest.raises(scripted.Killed):
        drive(sweep, path, scripted(lambda run: accuracies, kill_at=4))
    assert len(rows(path, "cycles")) == 4
    drive(sweep, path, scripted(lambda run: accuracies))

    assert study(path).trials[0].values == pytest.approx([400, 0.4])
    assert study(path).directions == [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]


@pytest.mark.parametrize(
    "of_failed", ["RuntimeError: boom", [0.9, float("nan")]], ids=["fails", "is no number"]
)
def test_a_trial_one_of_whose_seeds_has_no_objective_fails(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, study: Any, of_failed: Any
) -> None:
    def script(run: Run) -> Any:
        return of_failed if (run.trial, run.seed) == (1, 0) else _script(run)

    progress = drive(spec(TWO), tmp_path / "out", scripted(script))

    states = [trial.state.name for trial in study(tmp_path / "out").trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE"]
    assert progress.n_trials_failed == 1
    assert {one.trial for one in progress.pareto} == {2}


def test_a_cost_that_is_unknown_in_one_cycle_is_unknown_from_then_on() -> None:
    objectives = (Objective(metric="training_s"), Objective(metric="test_loss"))
    cycles = [
        {"training_s": 1.5, "test_loss": 3.0},
        {"training_s": 2.0, "test_loss": None},
        {"training_s": None, "test_loss": 1.0},
        {"training_s": 1.0, "test_loss": 0.5},
    ]
    values, found = None, []
    for figures in cycles:
        values = values_after_cycle(objectives, figures, values)
        found.append(values)

    assert found == [(1.5, 3.0), (3.5, None), (None, 1.0), (None, 0.5)]


def test_a_mean_over_seeds_is_no_number_where_one_of_them_has_none() -> None:
    first, second = mean_values([(1.0, 2.0), (2.0, None)])

    assert first == statistics.fmean([1.0, 2.0])
    assert second != second
