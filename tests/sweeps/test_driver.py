"""The driver with a scripted executor: what it asks, writes, reports, prunes and tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from sweeps.progress import SweepProgress
from sweeps.runs import Run
from sweeps.space import Space
from sweeps.spec import SweepSpec

Sweep = Callable[..., tuple[SweepProgress, Path]]


@pytest.fixture
def sweep(tmp_path: Path, drive: Any) -> Sweep:
    def run(spec: SweepSpec, executor: Any) -> tuple[SweepProgress, Path]:
        path = tmp_path / "out"
        return drive(spec, path, executor), path

    return run


def _study(path: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path / "study.journal")))
    return optuna.load_study(study_name=None, storage=storage)


def _rows(path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "records" / name).read_text().splitlines()]


def _by_rate(run: Run) -> float:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    return rate


def test_every_trial_is_told_the_mean_of_its_seeds(sweep: Sweep, spec: Any, scripted: Any) -> None:
    progress, path = sweep(
        spec(), scripted(lambda run: [0.1, _by_rate(run) + 0.02 * run.seed], n_slots=3)
    )
    trials = _study(path).trials
    assert [trial.value for trial in trials] == pytest.approx([0.11, 0.21, 0.31])
    assert [trial.params["learning_rate"] for trial in trials] == [0.1, 0.2, 0.3]
    assert trials[0].intermediate_values == pytest.approx({1: 0.1, 2: 0.11})
    assert progress.n_trials_finished == 3
    assert progress.best is not None
    assert progress.best.trial == 2


def test_every_cycle_and_every_run_has_one_row(sweep: Sweep, spec: Any, scripted: Any) -> None:
    _, path = sweep(spec(), scripted(lambda run: [0.1, 0.2]))
    cycles = _rows(path, "cycles.jsonl")
    assert sorted((r["trial"], r["seed"], r["cycle"]) for r in cycles) == [
        (trial, seed, cycle) for trial in range(3) for seed in range(2) for cycle in (1, 2)
    ]
    runs = _rows(path, "runs.jsonl")
    assert sorted(row["run"] for row in runs) == [
        f"trial-{trial}-seed-{seed}" for trial in range(3) for seed in range(2)
    ]
    assert {row["state"] for row in runs} == {"finished"}
    assert runs[0]["n_parameters"] == 7850
    assert runs[0]["parameters"]["batch_size"] == 25


def test_the_seeds_of_a_trial_run_side_by_side(sweep: Sweep, spec: Any, scripted: Any) -> None:
    executor = scripted(lambda run: [0.1, 0.2], n_slots=2)
    sweep(spec(), executor)
    assert [(run.trial, run.seed) for run in executor.started[:2]] == [(0, 0), (0, 1)]


def test_a_failed_run_fails_its_trial_and_the_sweep_goes_on(
    sweep: Sweep, spec: Any, scripted: Any
) -> None:
    def script(run: Run) -> list[float] | str:
        return "RuntimeError: boom" if (run.trial, run.seed) == (1, 0) else [0.1, 0.2]

    progress, path = sweep(spec(), scripted(script))
    assert [trial.state for trial in _study(path).trials] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.COMPLETE,
    ]
    failed = [row for row in _rows(path, "runs.jsonl") if row["state"] == "failed"]
    assert [(row["run"], row["reason"]) for row in failed] == [
        ("trial-1-seed-0", "RuntimeError: boom")
    ]
    assert progress.n_trials_failed == 1


def test_an_objective_that_is_no_number_fails_the_trial(
    sweep: Sweep, spec: Any, scripted: Any
) -> None:
    progress, path = sweep(spec(), scripted(lambda run: [0.1, float("nan")]))
    assert {trial.state for trial in _study(path).trials} == {TrialState.FAIL}
    assert progress.best is None
    assert _rows(path, "cycles.jsonl")[-1]["validation_accuracy"] is None


def test_a_trial_is_pruned_on_the_mean_of_what_all_its_seeds_have_reported(
    sweep: Sweep, spec: Any, scripted: Any
) -> None:
    def script(run: Run) -> list[float]:
        # the third trial is worse on the mean, though its second seed alone is better
        return [[0.5, 0.6, 0.7], [0.5, 0.6, 0.7], [[0.1, 0.1, 0.1], [0.6, 0.6, 0.6]][run.seed]][
            run.trial
        ]

    executor = scripted(script)
    progress, path = sweep(
        spec(
            "budget.cycles=3",
            "pruner={name: median, n_startup_trials: 2, n_warmup_cycles: 0}",
        ),
        executor,
    )
    trials = _study(path).trials
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
    ]
    assert trials[2].intermediate_values == pytest.approx({1: 0.35})
    assert sorted(executor.stopped) == ["trial-2-seed-0", "trial-2-seed-1"]
    assert progress.n_trials_pruned == 1
    pruned = [row for row in _rows(path, "runs.jsonl") if row["state"] == "pruned"]
    assert len(pruned) == 2


def test_a_loss_is_minimised(sweep: Sweep, spec: Any, scripted: Any) -> None:
    progress, path = sweep(
        spec("objective.metric=validation_loss"), scripted(lambda run: [0.1, _by_rate(run)])
    )
    assert _study(path).direction == optuna.study.StudyDirection.MINIMIZE
    assert progress.best is not None
    assert progress.best.trial == 2


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_sampler_gives_as_many_trials_as_asked_for(
    sweep: Sweep, spec: Any, scripted: Any, sampler: str
) -> None:
    rates = "space.learning_rate={low: 0.001, high: 1.0, log: true}"
    progress, path = sweep(
        spec(rates, f"sampler={sampler}", "trials=15"),
        scripted(lambda run: [0.1, _by_rate(run) / 2]),
    )
    drawn = [trial.params["learning_rate"] for trial in _study(path).trials]
    assert len(set(drawn)) == 15
    assert all(0.001 <= rate <= 1.0 for rate in drawn)
    assert progress.n_trials_finished == 15


def test_the_same_seed_suggests_the_same_random_configurations(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any
) -> None:
    def drawn(folder: str, seed: int) -> list[float]:
        sweep_spec = spec(
            "space.learning_rate={low: 0.001, high: 1.0}",
            "sampler=random",
            "trials=4",
            f"seed={seed}",
        )
        executor = scripted(lambda run: [0.1, 0.2])
        drive(sweep_spec, tmp_path / folder, executor)
        return [_by_rate(run) for run in executor.started]

    assert drawn("a", 1) == drawn("b", 1) != drawn("c", 2)


def test_a_trial_whose_options_do_not_go_together_fails_alone(
    sweep: Sweep, spec: Any, scripted: Any
) -> None:
    sound = spec("sampler=random", "trials=20")
    # a sweep file's check finds this; of a large space it sees only a part
    space = Space.from_mapping(
        sound.space.to_mapping() | {"nesterov": (False, True), "momentum": (0.0, 0.9)}
    )
    progress, path = sweep(
        sound.model_copy(update={"space": space}), scripted(lambda run: [0.1, 0.2])
    )
    refused = [t for t in _study(path).trials if t.state == TrialState.FAIL]
    assert refused
    assert all(t.params["nesterov"] and t.params["momentum"] == 0 for t in refused)
    assert progress.n_trials_failed == len(refused)
    assert progress.n_trials_ended == 20
    rows = [row for row in _rows(path, "runs.jsonl") if row["state"] == "failed"]
    assert {(row["trial"], row["seed"]) for row in rows} == {
        (trial.number, seed) for trial in refused for seed in (0, 1)
    }
    assert all("momentum" in row["reason"] for row in rows)
    assert rows[0]["parameters"]["nesterov"] is True
