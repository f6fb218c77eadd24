"""Small sweeps, and an executor whose trainings are written down in advance."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rso_core.datasets import Dataset
from rso_core.records import CycleRecord
from sweeps.runs import (
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
from sweeps.spec import SweepSpec
from sweeps.sweep_file import parse_sweep

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


@pytest.fixture
def tiny_data() -> Dataset:
    """Noise in the shape of MNIST: 100 training, 50 validation and 50 test images."""
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


class ScriptedExecutor:
    """Trains nothing: a function says what accuracy a run has after each cycle, or that it fails.

    Each poll gives the next event of every run, so that runs advance side by side.
    """

    def __init__(self, accuracies: Callable[[Run], list[float] | str], n_slots: int = 2) -> None:
        self._accuracies = accuracies
        self.n_slots = n_slots
        self.started: list[Run] = []
        self.stopped: list[str] = []
        self.abandoned: list[str] = []
        self._running: dict[str, list[RunEvent]] = {}

    @property
    def n_free(self) -> int:
        return self.n_slots - len(self._running)

    def start(self, run: Run) -> None:
        assert self.n_free > 0
        self.started.append(run)
        script = self._accuracies(run)
        if isinstance(script, str):
            self._running[run.name] = [began(run), ended(run, "failed", script)]
            return
        self._running[run.name] = [
            began(run),
            *(CycleEnded(run.name, record(c, value)) for c, value in enumerate(script, 1)),
            ended(run, "finished"),
        ]

    def stop(self, run: str) -> None:
        self.stopped.append(run)
        running = next(r for r in self.started if r.name == run)
        self._running[run] = [ended(running, "pruned")]

    def abandon(self, run: str) -> None:
        self.abandoned.append(run)
        self._running.pop(run, None)

    def suspend(self) -> None:
        self._running = {name: [RunSuspended(name)] for name in self._running}

    def poll(self, timeout_s: float) -> list[RunEvent]:
        events = [waiting.pop(0) for waiting in self._running.values()]
        self._running = {name: waiting for name, waiting in self._running.items() if waiting}
        return events

    def close(self) -> None:
        pass


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


def began(run: Run, resumed_from: Position = START) -> RunBegan:
    """The beginning of an attempt."""
    return RunBegan(run.name, resumed_from, "host", 1, "2026-01-01T00:00:00.000+00:00")


def ended(run: Run, state: RunState, reason: str | None = None) -> RunEnded:
    """The run's end."""
    moment = "2026-01-01T00:00:00.000+00:00"
    return RunEnded(run.name, state, reason, "host", 1, moment, moment)


@pytest.fixture
def scripted() -> type[ScriptedExecutor]:
    """The executor's class."""
    return ScriptedExecutor
