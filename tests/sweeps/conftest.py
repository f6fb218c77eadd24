"""Small sweeps, and an executor whose trainings are written down in advance."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from rso_core.datasets import Dataset
from rso_core.records import CycleRecord
from sweeps.cli import main
from sweeps.driver import Driver
from sweeps.progress import SweepProgress
from sweeps.run_folder import RunFolder
from sweeps.runs import (
    LAST_EVENTS,
    START,
    CycleEnded,
    Position,
    Run,
    RunBegan,
    RunEnded,
    RunEvent,
    RunState,
    RunSuspended,
)
from sweeps.search import Search
from sweeps.spec import SweepSpec
from sweeps.storage.studies import open_study_store
from sweeps.sweep_file import parse_sweep
from sweeps.work import WorkCounter

# a cluster of the tests asks for a token, as a user's should; Ray reads this when it is imported
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

SWEEP = """
name: small
data: {name: mnist, train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 2}
space:
  architecture: mlp()
  batch_size: 25
  optimizer: sgd
  learning_rate: [0.1, 0.2, 0.3]
seeds: 2
"""


@pytest.fixture
def spec() -> Callable[..., SweepSpec]:
    """Makes a sweep of three SGD trials with two seeds; takes overrides."""
    return lambda *overrides: parse_sweep(SWEEP, "sweep.yaml", overrides)


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    """The same sweep as a file."""
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    """Noise in the shape of MNIST: 100 training, 50 validation and 50 test images; not changed."""
    generator = torch.Generator().manual_seed(0)

    def part(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(n, 1, 28, 28, generator=generator), torch.arange(n) % 10

    (train, train_t), (validation, validation_t), (test, test_t) = part(100), part(50), part(50)
    return Dataset(
        name="tiny",
        train_inputs=train,
        train_targets=train_t,
        validation_inputs=validation,
        validation_targets=validation_t,
        test_inputs=test,
        test_targets=test_t,
        n_classes=10,
    )


Script = list[float] | str | list[RunEvent]


class Killed(BaseException):
    """The driver is gone."""


class ScriptedExecutor:
    """Trains nothing: a function says what becomes of each attempt at a run.

    That is the accuracies after its cycles, the reason why it fails, or its events one by one; of
    events that have no end the run hangs. Each poll gives the next event of every run, so that
    runs advance side by side. At the poll `kill_at`, from 1, it kills its driver.
    """

    Killed = Killed

    def __init__(
        self, script: Callable[[Run], Script], n_slots: int = 2, kill_at: int | None = None
    ) -> None:
        self._script = script
        self._kill_at = kill_at
        self.n_slots = n_slots
        self.n_polls = 0
        self.expected: list[tuple[int, int]] = []
        self.started: list[Run] = []
        self.stopped: list[str] = []
        self.abandoned: list[str] = []
        self._running: dict[str, list[RunEvent]] = {}

    @property
    def n_free(self) -> int:
        return self.n_slots - len(self._running)

    def startable(self, waiting: Sequence[Run]) -> list[Run]:
        return list(waiting)[: self.n_free]

    def expect(self, waiting: Sequence[Run], n_more: int) -> None:
        self.expected.append((len(waiting), n_more))

    def n_attempts(self, run: Run) -> int:
        return sum(started.name == run.name for started in self.started)

    def start(self, run: Run) -> None:
        assert self.n_free > 0
        self.started.append(run)
        self._running[run.name] = self._events(run)

    def _events(self, run: Run) -> list[RunEvent]:
        script = self._script(run)
        if isinstance(script, str):
            return [began(run), ended(run, "failed", script)]
        if all(isinstance(event, RunEvent) for event in script):
            return list(script)  # type: ignore[arg-type]
        cycles = [cycle_ended(run, c, value) for c, value in enumerate(script, 1)]  # type: ignore[arg-type]
        return [began(run), *cycles, ended(run, "finished")]

    def stop(self, run: str) -> None:
        self.stopped.append(run)
        if run in self._running:
            running = next(r for r in self.started if r.name == run)
            self._running[run] = [ended(running, "pruned")]

    def abandon(self, run: str) -> None:
        self.abandoned.append(run)
        self._running.pop(run)

    def suspend(self) -> None:
        self._running = {name: [RunSuspended(name)] for name in self._running}

    def poll(self, timeout_s: float) -> list[RunEvent]:
        self.n_polls += 1
        if self.n_polls == self._kill_at:
            raise Killed
        events = [waiting.pop(0) for waiting in self._running.values() if waiting]
        over = {event.run for event in events if isinstance(event, LAST_EVENTS)}
        self._running = {name: left for name, left in self._running.items() if name not in over}
        return events

    def close(self) -> None:
        pass


class Watched:
    """A display that keeps what it was told."""

    def __init__(self) -> None:
        self.began: list[tuple[str, str]] = []
        self.ended: list[str] = []
        self.notices: list[str] = []
        self.n_suspending: int | None = None

    def run_began(self, run: Run, began: RunBegan) -> None:
        self.began.append((run.name, began.host))

    def run_ended(self, run: Run, ended: RunEnded, last: CycleRecord | None) -> None:
        self.ended.append(run.name)

    def run_noticed(self, run: Run, notice: str) -> None:
        self.notices.append(f"{run.name}: {notice}")

    def trial_refused(self, number: int, reason: str) -> None:
        self.ended.append(reason)

    def suspending(self, n_runs: int) -> None:
        self.n_suspending = n_runs

    def refresh(self, progress: SweepProgress) -> None:
        assert len(progress.running) <= progress.n_runs

    def close(self) -> None:
        pass


Drive = Callable[..., SweepProgress]


@pytest.fixture
def drive(tiny_data: Dataset) -> Drive:
    """Drives a sweep with an executor in a folder, a new one or one that a driver has left."""

    def run(
        spec: SweepSpec,
        path: Path,
        executor: Any,
        display: Any = None,
        is_to_stop: Callable[[], bool] = lambda: False,
    ) -> SweepProgress:
        is_new = not (path / "sweep.yaml").exists()
        folder = (
            RunFolder.create(str(path), spec, ["run"], {}) if is_new else RunFolder.hold(str(path))
        )
        with closing(folder):
            if not is_new:
                folder.tidy()
                folder.note_driver(["resume"])
            study = spec.study
            store = open_study_store(study.storage, study.name or spec.name, folder.journal)
            search = Search(spec, store)
            driver = Driver(spec, folder, search, WorkCounter(tiny_data))
            return driver.run(executor, display or Watched(), is_to_stop)

    return run


def record(cycle: int, accuracy: float) -> CycleRecord:
    """A cycle with that validation accuracy."""
    return CycleRecord(
        cycle=cycle,
        training_loss=1 - accuracy,
        n_visited=0,
        n_accepted=0,
        n_images_passed=100,
        training_s=0.1,
        validation_loss=1 - accuracy,
        validation_accuracy=accuracy,
        test_loss=1 - accuracy,
        test_accuracy=accuracy,
        evaluation_s=0.01,
    )


def cycle_ended(run: Run, cycle: int, accuracy: float) -> CycleEnded:
    """The end of a cycle with that validation accuracy."""
    return CycleEnded(run.name, record(cycle, accuracy))


def began(run: Run, resumed_from: Position = START) -> RunBegan:
    """The beginning of an attempt."""
    return RunBegan(run.name, resumed_from, "host", 1, "2026-01-01T00:00:00.000+00:00")


def ended(run: Run, state: RunState, reason: str | None = None) -> RunEnded:
    """The run's end."""
    moment = "2026-01-01T00:00:00.000+00:00"
    return RunEnded(run.name, state, reason, "host", 1, moment, moment)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Calls the command line in this process, in an empty folder: status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["rso-sweep", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, captured.out, captured.err

    return run


@pytest.fixture
def assert_refused(
    call: Callable[..., tuple[int, str, str]],
) -> Callable[[Sequence[str], Sequence[str]], None]:
    """Calls the command line, which must have a line for each of these faults, and nothing else."""

    def run(arguments: Sequence[str], messages: Sequence[str]) -> None:
        status, out, err = call(*arguments)
        assert (status, out) == (2, "")
        lines = err.splitlines()
        assert len(lines) == len(messages)
        for line, message in zip(lines, messages, strict=True):
            assert line.startswith(f"rso-sweep: {message}")

    return run


@pytest.fixture
def watched() -> Watched:
    """A display to look at afterwards."""
    return Watched()


@pytest.fixture
def events() -> SimpleNamespace:
    """Makes the events of a run."""
    return SimpleNamespace(began=began, cycle_ended=cycle_ended, ended=ended)


@pytest.fixture
def scripted() -> type[ScriptedExecutor]:
    """The executor's class."""
    return ScriptedExecutor


Until = Callable[[Any, Callable[[list[RunEvent]], bool]], list[RunEvent]]


@pytest.fixture(scope="session")
def until() -> Until:
    """Polls an executor until a function of all its events says that it is enough."""

    def polled(executor: Any, is_enough: Callable[[list[RunEvent]], bool]) -> list[RunEvent]:
        events: list[RunEvent] = []
        # on a machine that has no compiled kernels yet, a first run takes a minute or two
        deadline = time.monotonic() + 200
        while not is_enough(events):
            assert time.monotonic() < deadline, events
            events += executor.poll(0.2)
        return events

    return polled


Rows = list[dict[str, Any]]


@pytest.fixture
def rows() -> Callable[[Path, str], Rows]:
    """Reads the rows of a run folder's log, by its name."""
    return lambda path, name: [
        json.loads(line) for line in (path / "records" / f"{name}.jsonl").read_text().splitlines()
    ]


@pytest.fixture
def study() -> Callable[[Path], optuna.Study]:
    """Opens the study of a run folder."""

    def opened(path: Path) -> optuna.Study:
        storage = JournalStorage(JournalFileBackend(str(path / "study.journal")))
        return optuna.load_study(study_name=None, storage=storage)

    return opened


@pytest.fixture
def killed_anywhere(
    tmp_path: Path, drive: Drive, scripted: type[ScriptedExecutor]
) -> Callable[..., Iterator[Path]]:
    """Drives a sweep again and again, each time killed at another poll and then resumed.

    It begins with the sweep that nobody kills, and ends when a kill comes too late.
    """

    def folders(
        spec: SweepSpec, script: Callable[[Run], Script], n_slots: int = 1, every: int = 1
    ) -> Iterator[Path]:
        drive(spec, tmp_path / "whole", scripted(script, n_slots))
        yield tmp_path / "whole"
        for kill_at in itertools.count(1, every):
            path = tmp_path / f"killed-{kill_at}"
            try:
                drive(spec, path, scripted(script, n_slots, kill_at))
            except Killed:
                drive(spec, path, scripted(script, n_slots))
                yield path
            else:
                return

    return folders
