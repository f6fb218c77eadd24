"""Sweeps whose driver dies at any point, and files that are cut at any byte."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

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
    "tpe with several slots": (
        *(RATES, "space.momentum={low: 0.0, high: 0.9}"),
        *("sampler={name: tpe, n_startup_trials: 3}", "trials=8"),
    ),
    "tpe": (RATES, "sampler={name: tpe, n_startup_trials: 3}", "trials=8", "seeds=1"),
}


def _objectives(run: Run) -> list[float]:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    cycles = range(1, run.configuration.cycles + 1)
    return [_objective(rate, cycle, run.seed) for cycle in cycles]


def _objective(rate: float, cycle: int, seed: int) -> float:
    return round(rate * cycle / 10 + 0.01 * seed, 6)


@pytest.fixture
def killed_drive(scripted: Any, drive: Any) -> Callable[..., SweepProgress]:
    """Drives a sweep in a folder, new or not, until it ends or is killed at the n-th poll."""

    def run(spec: SweepSpec, path: Path, kill_at: int | None = None) -> SweepProgress:
        # one slot where what is asked depends on what was told before
        n_slots = 3 if len(spec.seeds) > 1 and spec.pruner.name == "none" else 1
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


@pytest.mark.parametrize(
    "overrides",
    [SWEEPS[name] for name in ("grid", "random", "grid with pruning", "tpe")],
    ids=["grid", "random", "grid with pruning", "tpe"],
)
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


@pytest.mark.parametrize("name", SWEEPS)
@given(data=st.data())
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_files_cut_at_any_byte_are_gone_on_with_and_nothing_complete_is_lost(
    name: str, data: st.DataObject, tmp_path: Path, spec: Any, scripted: Any, killed_drive: Any
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
    n_drives = data.draw(st.integers(0, 2), label="killed drivers")
    for _ in range(n_drives):
        try:
            killed_drive(sweep, path, data.draw(st.integers(1, 8), label="killed at"))
        except scripted.Killed:
            continue
    killed_drive(sweep, path)
    _check_kept(path, complete, is_repeatable=name in ("grid", "random"))
    if name in ("grid", "random"):
        assert _results(path) == _results(whole)
    _check_whole(path, sweep)


@pytest.mark.parametrize("n_rows", [0, 4])
@pytest.mark.parametrize("at", [n / 20 for n in range(1, 16)])
def test_no_cycle_of_a_configuration_that_is_lost_becomes_another_s(
    tmp_path: Path, spec: Any, scripted: Any, killed_drive: Any, n_rows: int, at: float
) -> None:
    # another seed stands for a sampler that goes by other results than before, and chooses others
    earlier, sweep = (spec(*SWEEPS["tpe with several slots"], f"seed={seed}") for seed in (1, 0))
    path = tmp_path / "out"
    killed_drive(earlier, path)
    before = _study(path)
    # the study and the ends of runs are lost from somewhere on, and the cycles are all there
    for file, n_lines in (("study.journal", None), ("records/runs.jsonl", n_rows)):
        lines = (path / file).read_bytes().splitlines(keepends=True)
        kept = lines[: round(at * len(lines)) if n_lines is None else n_lines]
        (path / file).write_bytes(b"".join(kept))
    with pytest.raises(scripted.Killed):
        killed_drive(sweep, path, kill_at=6)
    killed_drive(sweep, path)
    _check_whole(path, sweep)
    assert _study(path)[-1] != before[-1]


def _check_whole(path: Path, sweep: SweepSpec) -> None:
    """Every trial has one result, and study, runs and cycles tell of the same configurations."""
    trials, cycles, runs = _results(path)
    n_trials, n_seeds = sweep.n_trials(), len(sweep.seeds)
    assert [number for number, *_ in trials] == list(range(n_trials))
    assert all(state.is_finished() for _, _, state, *_ in trials)
    assert len(runs) == n_trials * n_seeds
    for number, params, state, values, _ in trials:
        # what the study says of a trial is what its runs were
        of_trial = [row for row in runs if row["trial"] == number]
        assert all(params.items() <= row["parameters"].items() for row in of_trial)
        if state == TrialState.COMPLETE:
            last = [_accuracies(cycles, row["run"])[-1] for row in of_trial]
            assert values == [pytest.approx(statistics.fmean(last))]
    for row in runs:
        # and every cycle is of the run's own configuration
        rate, n_cycles = row["parameters"]["learning_rate"], row["cycles"]
        expected = [_objective(rate, cycle, row["seed"]) for cycle in range(1, n_cycles + 1)]
        accuracies = _accuracies(cycles, row["run"])
        assert accuracies == expected[: len(accuracies)]
        assert row["state"] == "pruned" or len(accuracies) == n_cycles


def _accuracies(cycles: list[dict[str, Any]], run: str) -> list[float]:
    return [row["validation_accuracy"] for row in cycles if row["run"] == run]


def _check_kept(path: Path, complete: dict[str, list[bytes]], is_repeatable: bool) -> None:
    """All that was whole is still there, and first; but see `Driver._forget`."""
    for file, lines in complete.items():
        now = (path / file).read_bytes().splitlines()
        if file == "records/cycles.jsonl" and not is_repeatable:
            kept = set((path / "records" / "runs.jsonl").read_bytes().splitlines())
            ended = {
                json.loads(row)["run"]
                for row in complete.get("records/runs.jsonl", kept)
                if row in kept
            }
            assert {line for line in lines if json.loads(line)["run"] in ended} <= set(now)
        else:
            assert now[: len(lines)] == lines
