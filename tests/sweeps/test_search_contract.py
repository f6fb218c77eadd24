"""What holds of every sampler with every pruner, in one suite over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial

from sweeps.pruners import PRUNER_NAMES
from sweeps.runs import Run
from sweeps.samplers import SAMPLER_NAMES
from sweeps.spec import SweepSpec
from sweeps.sweep_file import parse_sweep

SWEEP = """
name: contract
data: {name: mnist, train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 2}
space:
  architecture: mlp()
  batch_size: [20, 25]
  optimizer: [sgd, adam]
  learning_rate: {low: 0.125, high: 0.75, step: 0.125}
  momentum: {low: 0.0, high: 0.75, step: 0.25, when: {batch_size: 25}}
constraints:
  - {when: {batch_size: 20}, require: {learning_rate: {at_most: 0.375}}}
seeds: 3
trials: 7
"""
OWN = """
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler


class Sampler(RandomSampler):
    pass


class Pruner(BasePruner):
    def prune(self, study, trial):
        return trial.last_step == 1 and trial.intermediate_values[1] < 0.05
"""
SAMPLERS = {name: name for name in SAMPLER_NAMES} | {
    "tpe": "{name: tpe, n_startup_trials: 3}",
    "gp": "{name: gp, n_startup_trials: 4}",
    "nsga2": "{name: nsga2, population_size: 3}",
    "nsga3": "{name: nsga3, population_size: 3}",
    "own": "own_search:Sampler",
}
PRUNERS = {name: name for name in PRUNER_NAMES} | {
    "median": "{name: median, n_startup_trials: 2, n_warmup_cycles: 0}",
    "percentile": "{name: percentile, n_startup_trials: 2, percentile: 50.0}",
    "hyperband": "{name: hyperband, reduction_factor: 2}",
    "threshold": "{name: threshold, lower: 0.05, n_warmup_cycles: 0}",
    "patient": "{name: patient, patience: 0, wrapped: 'own_search:Pruner'}",
    "wilcoxon": "{name: wilcoxon, p_threshold: 0.3}",
    "own": "own_search:Pruner",
}


def _pairs(shift: int) -> pytest.MarkDecorator:
    """Each sampler with a pruner, so that each pruner has one sampler at least."""
    pruners = list(PRUNERS)
    pairs = [
        (sampler, pruners[(index + shift) % len(pruners)]) for index, sampler in enumerate(SAMPLERS)
    ]
    return pytest.mark.parametrize(("sampler", "pruner"), pairs)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, pruner: str) -> SweepSpec:
    (tmp_path / "own_search.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    overrides = (f"sampler={SAMPLERS[sampler]}", f"pruner={PRUNERS[pruner]}")
    return parse_sweep(SWEEP, "sweep.yaml", overrides)


def _objectives(run: Run) -> list[float]:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    return [rate * cycle / 5 - run.seed / 100 for cycle in (1, 2)]


def _own(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if "breaks_constraints" not in trial.user_attrs]


def _check_whole(spec: SweepSpec, trials: list[FrozenTrial], runs: list[dict[str, Any]]) -> None:
    """Every trial has one result, every run one row, and no run breaks a constraint."""
    assert all(trial.state.is_finished() for trial in trials)
    assert len(_own(trials)) == spec.n_trials()
    assert sorted((row["trial"], row["seed"]) for row in runs) == [
        (trial.number, seed) for trial in _own(trials) for seed in spec.seeds
    ]
    by_number = {trial.number: trial for trial in trials}
    for row in runs:
        assert spec.space.has(row["parameters"])
        trial = by_number[row["trial"]]
        assert trial.params.items() <= row["parameters"].items()
        assert row["state"] == ("finished" if trial.state.name == "COMPLETE" else row["state"])
    for trial in _own(trials):
        states = {row["state"] for row in runs if row["trial"] == trial.number}
        assert ("pruned" in states) == (trial.state.name == "PRUNED")
    points = {tuple(sorted(row["parameters"].items(), key=str)) for row in runs}
    assert not spec.sampler.is_listing or len(points) == spec.n_trials()


@_pairs(shift=0)
def test_a_sweep_runs_to_its_end(
    tmp_path: Path, sweep: SweepSpec, drive: Any, scripted: Any, rows: Any, study: Any
) -> None:
    path = tmp_path / "out"
    progress = drive(sweep, path, scripted(_objectives, n_slots=3))

    trials = study(path).trials
    _check_whole(sweep, trials, rows(path, "runs"))
    _check_once(rows(path, "cycles"))
    assert progress.n_trials_ended == 7
    assert progress.n_trials_pruned == sum(t.state.name == "PRUNED" for t in _own(trials))


@_pairs(shift=4)
def test_a_sweep_that_was_killed_twice_is_gone_on_with_to_the_same_end(
    tmp_path: Path, sweep: SweepSpec, drive: Any, scripted: Any, rows: Any, study: Any
) -> None:
    path = tmp_path / "out"
    begun: dict[int, dict[str, Any]] = {}
    for kill_at in (2, 9):
        with pytest.raises(scripted.Killed):
            drive(sweep, path, scripted(_objectives, n_slots=3, kill_at=kill_at))
        begun |= {trial.number: trial.params for trial in study(path).trials}
    drive(sweep, path, scripted(_objectives, n_slots=3))

    trials = study(path).trials
    _check_whole(sweep, trials, rows(path, "runs"))
    _check_once(rows(path, "cycles"))
    assert len(begun) >= 3
    assert {number: trials[number].params for number in begun} == begun


def _check_once(cycles: list[dict[str, Any]]) -> None:
    found = [(row["run"], row["cycle"]) for row in cycles]
    assert len(found) == len(set(found))
