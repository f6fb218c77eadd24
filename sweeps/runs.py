"""A run, and the events by which a worker tells what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from rso_core.configuration import Configuration
from rso_core.records import CycleRecord, Progress

RunState = Literal["finished", "failed", "pruned"]

Position = tuple[int, int]
"""How far a run is: cycles that are over, then visits or batches of the next one. In order."""

START: Position = (0, 0)


@dataclass(frozen=True, slots=True)
class Run:
    """One training of a trial's configuration with one seed."""

    trial: int
    """The number of the Optuna trial, from 0."""
    seed: int
    configuration: Configuration

    @property
    def name(self) -> str:
        """Unique within a sweep."""
        return run_name(self.trial, self.seed)


def run_name(trial: int, seed: int) -> str:
    """The name of the run of a trial with a seed."""
    return f"trial-{trial}-seed-{seed}"


@dataclass(frozen=True, slots=True)
class RunBegan:
    """A worker has taken the run up: an attempt at it begins."""

    run: str
    resumed_from: Position
    """Of its checkpoint; `START` without one."""
    host: str
    n_threads: int
    started_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class RunProgressed:
    """The run is somewhere within a cycle."""

    run: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class CycleEnded:
    """The run has finished a cycle; of one that was resumed, its earlier cycles come again."""

    run: str
    record: CycleRecord


@dataclass(frozen=True, slots=True)
class RunNoticed:
    """Something about the run that does not end it, such as a checkpoint that is not written."""

    run: str
    notice: str
    """One line."""


@dataclass(frozen=True, slots=True)
class RunSuspended:
    """The run has left off because the sweep is to stop; its worker is free."""

    run: str


@dataclass(frozen=True, slots=True)
class RunInterrupted:
    """The worker is gone, and with it all since the run's last checkpoint."""

    run: str
    reason: str
    """In one line."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is over; its worker is free."""

    run: str
    state: RunState
    reason: str | None
    """Why it failed, in one line; None otherwise."""
    host: str
    n_threads: int
    started_at: str
    """ISO 8601, UTC; so `ended_at`. The beginning is that of its last attempt."""
    ended_at: str


RunEvent = (
    RunBegan | RunProgressed | CycleEnded | RunNoticed | RunSuspended | RunInterrupted | RunEnded
)
LAST_EVENTS = (RunEnded, RunInterrupted, RunSuspended)
"""After one of these nothing more comes of an attempt."""


def now() -> str:
    """The moment, as events state it: ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
