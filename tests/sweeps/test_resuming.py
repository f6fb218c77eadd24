"""Sweeps whose driver dies at any point, and files that are cut at any byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeps.progress import SweepProgress
from sweeps.runs import Run
from sweeps.spec import SweepSpec

RATES = "space.learning_rate={low: 0.001, high: 1.0, log: true}"
SWEEPS = {
    "grid": (),
    "random": (RATES, "sampler=random", "trials=5"),
    "grid with pruning": (
        "budget.cycles=3",
        "space.learning_rate=[0.3, 0.2, 0.1, 0.25]",
        "pruner={name: median, n_startup_trials: 1, n_warmup_cycles: 0}",
    ),
    "tpe": (RATES, "sampler={name: tpe, n_startup_trials: 3}", "trials=8", "seeds=1"),
}


def _objectives(run: Run) -> list[float]:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    return [
        round(rate * cycle / 10 + 0.01 * run.seed, 6)
        for cycle in range(1, run.configuration.cycles + 1)
    ]


@pytest.fixture
def killed_drive(scripted: Any, drive: Any) -> Callable[..., SweepProgress]:
    """Drives a sweep in a folder, new or not, until it ends or is killed at the n-th poll."""

    def run(spec: SweepSpec, path: Path, kill_at: int | None = None) -> SweepProgress:
        # one slot where what is asked depends on what was told before
        n_slots = 1 if spec.sampler.name == "tpe" or spec.pruner.name != "none" else 3
        progress: SweepProgress = drive(spec, path, scripted(_objectives, n_slots, kill_at))
        return progress

    return run


def _study(path: Path) -> list[Any]:
    storage = JournalStorage(JournalFileBackend(str(path / "study.journal")))
    trials = optuna.load_study(study_name=None, storage=storage).trials
    return [(t.number, t.params, t.state, t.values, t.intermediate_values) for t in trials]


def _rows(path: Path, name: str) -> list[dict[str, Any]]:
    """The rows, of two of one identity the later, without what depends on clock and machine."""
    found = {}
    for line in (path / "records" / name).read_text().splitlines():
        row = json.loads(line)
        for key in ("started_at", "ended_at", "host", "training_s", "evaluation_s", "n_attempts"):
            row.pop(key, None)
        found[row["run"], row.get("cycle")] = row
    return sorted(found.values(), key=lambda row: (row["run"], row.get("cycle", 0)))


def _results(path: Path) -> tuple[Any, ...]:
    return _study(path), _rows(path, "cycles.jsonl"), _rows(path, "runs.jsonl")


@pytest.mark.parametrize("overrides", SWEEPS.values(), ids=SWEEPS)
def test_a_driver_killed_anywhere_and_resumed_gives_the_undisturbed_sweep(
    tmp_path: Path, spec: Any, scripted: Any, killed_drive: Any, overrides: tuple[str, ...]
) -> None:
    sweep = spec(*overrides)
    killed_drive(sweep, tmp_path / "whole")
    whole = _results(tmp_path / "whole")
    for kill_at in range(1, 40):
        path = tmp_path / f"killed-{kill_at}"
        try:
            killed_drive(sweep, path, kill_at)
        except scripted.Killed:
            killed_drive(sweep, path)
        else:
            break
        assert _results(path) == whole
        n_rows = len((path / "records" / "cycles.jsonl").read_text().splitlines())
        assert n_rows == len(whole[1])  # no row twice
    else:
        raise AssertionError("the sweep is longer than the kills reach")


def test_a_driver_killed_again_and_again_gets_there(
    tmp_path: Path, spec: Any, scripted: Any, killed_drive: Any
) -> None:
    sweep = spec("space.learning_rate=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]", "seeds=3")
    killed_drive(sweep, tmp_path / "whole")
    for n_drivers in range(1, 100):
        try:
            killed_drive(sweep, tmp_path / "killed", kill_at=3 + n_drivers % 4)
        except scripted.Killed:
            continue
        break
    assert n_drivers > 5
    assert _results(tmp_path / "killed") == _results(tmp_path / "whole")
    drivers = (tmp_path / "killed" / "records" / "drivers.jsonl").read_text().splitlines()
    assert len(drivers) == n_drivers


def test_a_finished_sweep_has_no_work_and_stays_as_it_is(
    tmp_path: Path, spec: Any, killed_drive: Any
) -> None:
    sweep = spec()
    first = killed_drive(sweep, tmp_path / "out")
    before = (tmp_path / "out" / "study.journal").read_bytes(), _results(tmp_path / "out")
    again = killed_drive(sweep, tmp_path / "out", kill_at=1)  # it does not even poll
    assert before == ((tmp_path / "out" / "study.journal").read_bytes(), _results(tmp_path / "out"))
    assert again.n_trials_finished == first.n_trials_finished == 3
    assert again.best.trial == first.best.trial


FILES = ("study.journal", "records/cycles.jsonl", "records/runs.jsonl")


@pytest.mark.parametrize("name", ["grid", "random", "tpe", "grid with pruning"])
@given(data=st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_files_cut_at_any_byte_are_gone_on_with_and_nothing_complete_is_lost(
    name: str, data: st.DataObject, tmp_path: Path, spec: Any, killed_drive: Any
) -> None:
    sweep = spec(*SWEEPS[name])
    whole = tmp_path / "whole"
    if not whole.exists():
        killed_drive(sweep, whole)
    path = tmp_path / "cut"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    complete = {}
    for file in data.draw(st.sets(st.sampled_from(FILES), min_size=1), label="files"):
        content = (path / file).read_bytes()
        at = data.draw(st.integers(0, len(content)), label=file)
        (path / file).write_bytes(content[:at])
        complete[file] = content[:at].rpartition(b"\n")[0].splitlines()
    killed_drive(sweep, path)
    for file, lines in complete.items():
        assert (path / file).read_bytes().splitlines()[: len(lines)] == lines
    trials, cycles, runs = _results(path)
    n_trials, n_seeds = sweep.n_trials(), len(sweep.seeds)
    assert [number for number, *_ in trials] == list(range(n_trials))
    assert all(state.is_finished() for _, _, state, *_ in trials)
    assert len(runs) == n_trials * n_seeds
    if name in ("grid", "random"):
        assert (trials, cycles, runs) == _results(whole)
    for number, params, *_ in trials:
        # what the study says a trial is, is what its runs were
        of_trial = [row for row in runs if row["trial"] == number]
        assert all(params.items() <= row["parameters"].items() for row in of_trial)
    for row in runs:
        if row["state"] == "finished":
            of_run = [cycle["cycle"] for cycle in cycles if cycle["run"] == row["run"]]
            assert of_run == list(range(1, row["cycles"] + 1))
