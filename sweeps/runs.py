"""A run, and the events by which a worker tells what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from rso_core.configuration import Configuration
from rso_core.records import CycleRecord, Progress

RunState = Literal["finished", "failed", "pruned"]


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
        return f"trial-{self.trial}-seed-{self.seed}"


@dataclass(frozen=True, slots=True)
class RunProgressed:
    """The run is somewhere within a cycle."""

    run: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class CycleEnded:
    """The run has finished a cycle."""

    run: str
    record: CycleRecord


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
    """ISO 8601, UTC; so `ended_at`."""
    ended_at: str


RunEvent = RunProgressed | CycleEnded | RunEnded


def now() -> str:
    """The moment, as events state it: ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
