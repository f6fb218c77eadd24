"""Runs whose workers die, hang or are to stop: what the driver does and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rso_core.errors import InvalidInput
from sweeps.attempts import n_in_vain
from sweeps.run_folder import RunFolder
from sweeps.runs import Run, RunEvent, RunInterrupted
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.storage.places import open_place

GONE = "its machine is gone"


def _rows(path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "records" / name).read_text().splitlines()]


def _lost(events: Any, run: Run, resumed_from: tuple[int, int] = (0, 0)) -> list[RunEvent]:
    return [events.began(run, resumed_from), RunInterrupted(run.name, GONE)]


def test_a_run_whose_machine_is_gone_is_begun_again_and_all_is_written_down(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, watched: Any, events: Any
) -> None:
    executor = scripted(
        lambda run: (
            _lost(events, run) if run.trial == 1 and executor.n_attempts(run) < 3 else [0.1, 0.2]
        ),
    )
    progress = drive(spec("seeds=1"), tmp_path / "out", executor, watched)
    assert progress.n_trials_finished == 3
    attempts = _rows(tmp_path / "out", "attempts.jsonl")
    assert [(row["run"], row["attempt"], row["reason"], row["host"]) for row in attempts] == [
        ("trial-1-seed-0", 1, GONE, "host"),
        ("trial-1-seed-0", 2, GONE, "host"),
    ]
    runs = _rows(tmp_path / "out", "runs.jsonl")
    assert {row["run"]: row["n_attempts"] for row in runs} == {
        "trial-0-seed-0": 1, "trial-1-seed-0": 3, "trial-2-seed-0": 1,
    }  # fmt: skip
    assert watched.notices == [f"trial-1-seed-0: {GONE}; it goes on elsewhere"] * 2


def test_a_configuration_that_kills_every_worker_fails_alone_with_its_reason(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, events: Any
) -> None:
    executor = scripted(lambda run: _lost(events, run) if run.trial == 1 else [0.1, 0.2])
    progress = drive(spec("seeds=1", "limits.attempts=4"), tmp_path / "out", executor)
    assert (progress.n_trials_finished, progress.n_trials_failed) == (2, 1)
    (failed,) = [r for r in _rows(tmp_path / "out", "runs.jsonl") if r["state"] == "failed"]
    assert failed["run"] == "trial-1-seed-0"
    assert failed["reason"] == f"{GONE}, 4 times in a row without getting further"
    assert failed["n_attempts"] == 4
    assert len(_rows(tmp_path / "out", "attempts.jsonl")) == 4


def test_the_limit_holds_over_the_deaths_of_drivers(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, events: Any
) -> None:
    sweep = spec("seeds=1", "limits.attempts=5", "space.learning_rate=0.1")
    with pytest.raises(scripted.Killed):
        drive(sweep, tmp_path / "out", scripted(lambda run: _lost(events, run), kill_at=4))
    assert len(_rows(tmp_path / "out", "attempts.jsonl")) == 1
    progress = drive(sweep, tmp_path / "out", scripted(lambda run: _lost(events, run)))
    assert progress.n_trials_failed == 1
    attempts = _rows(tmp_path / "out", "attempts.jsonl")
    assert [row["attempt"] for row in attempts] == [1, 2, 3, 4, 5]


def test_attempts_that_get_further_do_not_count(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, events: Any
) -> None:
    executor = scripted(
        lambda run: (
            _lost(events, run, (0, 10 * executor.n_attempts(run)))
            if executor.n_attempts(run) < 20
            else [0.1, 0.2]
        ),
    )
    sweep = spec("seeds=1", "limits.attempts=2", "space.learning_rate=0.1")
    assert drive(sweep, tmp_path / "out", executor).n_trials_finished == 1
    assert _rows(tmp_path / "out", "runs.jsonl")[0]["n_attempts"] == 20


def test_a_last_attempt_that_has_left_a_later_checkpoint_is_not_the_last(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, events: Any
) -> None:
    checkpoints = CheckpointFolder(open_place(str(tmp_path / "out")), 1.0)

    def script(run: Run) -> Any:
        if executor.n_attempts(run) == 2:
            checkpoints.write(run.name, {"records": [], "optimizer": {"n_done": 7}})
        return _lost(events, run) if executor.n_attempts(run) < 3 else [0.1, 0.2]

    executor = scripted(script)
    sweep = spec("seeds=1", "limits.attempts=2", "space.learning_rate=0.1")
    assert drive(sweep, tmp_path / "out", executor).n_trials_finished == 1
    assert list((tmp_path / "out" / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("resumed_from", "expected"),
    [
        ([], 0),
        ([(0, 0)], 1),
        ([(0, 0), (0, 0), (0, 0)], 3),
        ([(0, 0), (0, 0), (0, 5)], 1),
        ([(0, 9), (1, 0), (1, 0)], 2),
        ([(1, 0), (0, 0), (0, 3)], 3),
    ],
)
def test_attempts_in_vain_are_those_since_the_furthest_was_first_reached(
    resumed_from: list[tuple[int, int]], expected: int
) -> None:
    assert n_in_vain(resumed_from) == expected


def test_a_run_that_hangs_fails_at_its_time_limit_and_the_sweep_goes_on(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, events: Any
) -> None:
    executor = scripted(lambda run: [events.began(run)] if run.trial == 0 else [0.1, 0.2])
    progress = drive(spec("seeds=1", "limits.run_s=0.3"), tmp_path / "out", executor)
    assert (progress.n_trials_finished, progress.n_trials_failed) == (2, 1)
    assert executor.abandoned == ["trial-0-seed-0"]
    (failed,) = [r for r in _rows(tmp_path / "out", "runs.jsonl") if r["state"] == "failed"]
    assert failed["reason"] == "it took longer than 'limits.run_s' allows, 0.3 s"


def test_a_sweep_waits_while_there_is_no_machine_at_all(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any
) -> None:
    class Coming(scripted):  # type: ignore[misc]
        @property
        def n_free(self) -> int:
            return 0 if self.n_polls < 3 or 10 < self.n_polls < 15 else super().n_free

    executor = Coming(lambda run: [0.1, 0.2])
    assert drive(spec(), tmp_path / "out", executor).n_trials_finished == 3
    assert executor.n_polls > 15


def test_a_sweep_that_is_to_stop_suspends_its_runs_and_is_gone_on_with(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, watched: Any
) -> None:
    executor = scripted(lambda run: [0.1, 0.2])
    asked = iter([False] * 3)
    progress = drive(
        spec(), tmp_path / "out", executor, watched, is_to_stop=lambda: next(asked, True)
    )
    assert progress.is_interrupted
    assert watched.n_suspending == 2
    assert not progress.running
    assert not drive(spec(), tmp_path / "out", scripted(lambda run: [0.1, 0.2])).is_interrupted
    assert len(_rows(tmp_path / "out", "cycles.jsonl")) == 12


def test_a_sweep_that_is_asked_to_stop_when_all_is_done_is_not_interrupted(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any
) -> None:
    drive(spec(), tmp_path / "out", scripted(lambda run: [0.1, 0.2]))
    again = drive(spec(), tmp_path / "out", scripted(lambda run: [0.1]), is_to_stop=lambda: True)
    assert not again.is_interrupted


def test_ended_runs_leave_no_checkpoint(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any
) -> None:
    def script(run: Run) -> list[float]:
        CheckpointFolder(open_place(str(tmp_path / "out")), 1.0).write(
            run.name, {"weights": torch.zeros(1)}
        )
        return [0.1, 0.2]

    drive(spec(), tmp_path / "out", scripted(script))
    assert list((tmp_path / "out" / "checkpoints").iterdir()) == []


def test_a_second_driver_is_refused(tmp_path: Path, spec: Any, drive: Any, scripted: Any) -> None:
    refused: list[str] = []

    def script(run: Run) -> list[float]:
        with pytest.raises(InvalidInput) as caught:
            RunFolder.hold(str(tmp_path / "out"))
        refused.append(str(caught.value))
        return [0.1, 0.2]

    drive(spec("seeds=1"), tmp_path / "out", scripted(script))
    assert len(refused) == 3
    assert all("is driven by process" in text for text in refused)
