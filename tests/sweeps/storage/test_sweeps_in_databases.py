"""Sweeps whose study is in a database: driven, killed and gone on with, as with a journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from rso_core.errors import InvalidInput
from sweeps.runs import Run
from sweeps.spec import SweepSpec
from sweeps.storage.studies import check_new_study, open_study_store
from sweeps.storage.study_storage import StudyUnreachable, open_study_storage


def _accuracies(run: Run) -> list[float]:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    return [rate / 10 + 0.01 * run.seed, rate / 5]


def _sweep(spec: Any, address: str, name: str, *overrides: str) -> SweepSpec:
    found: SweepSpec = spec(f"study.storage='{address}'", f"study.name={name}", *overrides)
    return found


def _trials(address: str, name: str) -> list[tuple[Any, ...]]:
    storage = open_study_storage(address)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return [(t.number, t.state, t.params, t.values, t.intermediate_values) for t in trials]


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_driver_killed_anywhere_and_resumed_gives_the_undisturbed_study(
    address: str, tmp_path: Path, spec: Any, drive: Any, scripted: Any, sampler: str
) -> None:
    overrides = () if sampler == "grid" else ("sampler=tpe", "trials=3", "seeds=1")

    def run(name: str, kill_at: int | None) -> None:
        executor = scripted(_accuracies, n_slots=1, kill_at=kill_at)
        drive(_sweep(spec, address, name, *overrides), tmp_path / name, executor)

    run("whole", None)
    whole = _trials(address, "whole")
    assert [state.name for _, state, *_ in whole] == ["COMPLETE"] * 3
    for kill_at in (1, 4, 8):
        name = f"killed-{kill_at}"
        with pytest.raises(scripted.Killed):
            run(name, kill_at)
        run(name, None)
        assert _trials(address, name) == whole
        rows = (tmp_path / name / "records" / "runs.jsonl").read_text().splitlines()
        assert (
            len({json.loads(row)["run"] for row in rows})
            == len(rows)
            == len(whole) * (2 if sampler == "grid" else 1)
        )


def test_no_journal_is_written(
    sqlite_address: str, tmp_path: Path, spec: Any, drive: Any, scripted: Any
) -> None:
    drive(_sweep(spec, sqlite_address, "x"), tmp_path / "out", scripted(_accuracies))
    assert not (tmp_path / "out" / "study.journal").exists()


def test_a_study_that_is_there_is_no_place_for_a_new_sweep(
    sqlite_address: str, tmp_path: Path, spec: Any, drive: Any, scripted: Any
) -> None:
    drive(_sweep(spec, sqlite_address, "taken"), tmp_path / "out", scripted(_accuracies))
    with pytest.raises(
        InvalidInput, match=r"^'study.name' must be new in its storage, got 'taken'"
    ):
        check_new_study(open_study_store(sqlite_address, "taken", None), sqlite_address)
    check_new_study(open_study_store(sqlite_address, "free", None), sqlite_address)


def test_a_database_that_goes_away_stops_the_sweep_which_is_gone_on_with_when_it_is_back(
    postgres: Any, tmp_path: Path, spec: Any, drive: Any, scripted: Any
) -> None:
    sweep = _sweep(spec, postgres.new_database(), "x")

    def script(run: Run) -> list[float]:
        if run.trial == 1 and run.seed == 0 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            postgres.stop()
        return _accuracies(run)

    with pytest.raises(StudyUnreachable, match=r"^the study's storage failed"):
        drive(sweep, tmp_path / "out", scripted(script))
    postgres.start()
    assert drive(sweep, tmp_path / "out", scripted(script)).n_trials_finished == 3
    assert len((tmp_path / "out" / "records" / "cycles.jsonl").read_text().splitlines()) == 12
