"""What the records of a sweep say about each of its runs: the rows, written and read back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from rso_core.configuration import Scalar, configured_cycles
from rso_core.records import CycleRecord, LayerRecord
from sweeps.objectives import Values, values_after_cycle
from sweeps.runs import START, Position, Run, RunEnded, RunState, now, run_name
from sweeps.space import MAIN_DIMENSIONS
from sweeps.spec import Objective
from sweeps.storage.redaction import redacted
from sweeps.work import Work

Row = dict[str, Any]


@dataclass(slots=True)
class RecordedRun:
    """What is on the disk of one run."""

    values: list[Values] = field(default_factory=list)
    """The sweep's objectives after each cycle."""
    state: RunState | None = None
    """How it ended; None if it has not."""
    attempts: list[Position] = field(default_factory=list)
    """Of each attempt that was cut short: from where it went on."""

    @property
    def n_cycles(self) -> int:
        """Cycles that are on the disk."""
        return len(self.values)

    def add_cycle(self, objectives: Sequence[Objective], figures: Mapping[str, Any]) -> None:
        """The next cycle is on the disk; its figures are those of a `CycleRecord`."""
        before = self.values[-1] if self.values else None
        self.values.append(values_after_cycle(objectives, figures, before))


@dataclass(slots=True)
class Records:
    """All runs of a sweep that have left a row, by name, and the trials of the ended ones.

    Args:
        objectives: of the sweep.
        n_cycles: of every run whose trial has none of its own.
    """

    objectives: Sequence[Objective]
    n_cycles: int
    runs: dict[str, RecordedRun] = field(default_factory=dict)
    parameters: dict[int, dict[str, Scalar]] = field(default_factory=dict)
    """By trial: the values of the space's dimensions."""
    n_images_passed: int = 0
    """In all cycles of all runs."""
    seeds: dict[int, list[int]] = field(default_factory=dict)
    """By trial: the seeds of which anything is known."""

    @classmethod
    def of_rows(
        cls,
        cycles: Iterable[Row],
        runs: Iterable[Row],
        attempts: Iterable[Row],
        objectives: Sequence[Objective],
        n_cycles: int,
    ) -> Records:
        """Reads rows as the functions below make them.

        Args:
            cycles: rows of cycles.
            runs: rows of ended runs.
            attempts: rows of attempts that were cut short.
            objectives: of the sweep.
            n_cycles: of every run whose trial has none of its own; one that finished with fewer
                is not over.

        Raises:
            KeyError, TypeError, ValueError: a row is none of theirs.
        """
        records = cls(objectives, n_cycles)
        for row in cycles:
            _check(row, run=str, cycle=int)
            run = records._of_row(row)
            if row["cycle"] == run.n_cycles + 1:
                run.add_cycle(objectives, row)
                records.n_images_passed += row.get("n_images_passed", 0)
        for row in attempts:
            _check(row, run=str)
            resumed_from = row.get("resumed_from")
            position = (
                (resumed_from["cycle"] - 1, resumed_from["n_done"]) if resumed_from else START
            )
            records._of_row(row).attempts.append(position)
        for row in runs:
            _check(row, run=str, trial=int, parameters=dict, state=str, cycles=int)
            if row["state"] not in get_args(RunState):
                raise ValueError(f"no run ends as '{row['state']}'")
            records.parameters[row["trial"]] = row["parameters"]
            run = records._of_row(row)
            # a finished run whose cycles are not all there has to be trained again
            asked = configured_cycles(row["parameters"], n_cycles)
            if row["state"] != "finished" or run.n_cycles >= asked:
                run.state = row["state"]
        return records

    def run(self, name: str) -> RecordedRun:
        """The run of that name; a new one if nothing is known of it."""
        return self.runs.setdefault(name, RecordedRun())

    def _of_row(self, row: Row) -> RecordedRun:
        if isinstance(row.get("trial"), int) and isinstance(row.get("seed"), int):
            seeds = self.seeds.setdefault(row["trial"], [])
            if row["seed"] not in seeds:
                seeds.append(row["seed"])
        return self.run(row["run"])

    def has_any(self, names: Iterable[str]) -> bool:
        """Whether anything is known of one of these runs."""
        return any(name in self.runs for name in names)

    def forget(self, trial: int, runs: Iterable[str]) -> None:
        """Drops a trial that is over, so that this does not grow with the sweep."""
        self.parameters.pop(trial, None)
        self.seeds.pop(trial, None)
        for run in runs:
            self.runs.pop(run, None)


def _check(row: Row, **kinds: type) -> None:
    for name, kind in kinds.items():
        if not isinstance(row[name], kind):
            raise TypeError(f"'{name}' is {row[name]!r}")


def cycle_row(run: Run, record: CycleRecord) -> Row:
    """The row of a cycle."""
    # not `asdict`, which copies all that it finds
    figures = {name: getattr(record, name) for name in _FIGURES}
    figures["layers"] = [
        {name: getattr(layer, name) for name in _LAYER_FIGURES} for layer in record.layers
    ]
    return {"trial": run.trial, "run": run.name, "seed": run.seed, **figures}


_FIGURES, _LAYER_FIGURES = (
    tuple(member.name for member in fields(kind)) for kind in (CycleRecord, LayerRecord)
)


def run_row(
    run: Run, ended: RunEnded, work: Work, parameters: Mapping[str, Scalar], n_attempts: int
) -> Row:
    """The row that tells of an ended run.

    Args:
        run: the run.
        ended: how it ended.
        work: what the run amounted to.
        parameters: the values of the dimensions that the sweep varies.
        n_attempts: 1, and 1 more for every time that it lost its actor or its machine.
    """
    configuration = run.configuration
    return {
        "trial": run.trial,
        "run": run.name,
        "seed": run.seed,
        "state": ended.state,
        "reason": None if ended.reason is None else redacted(ended.reason),
        "architecture": configuration.architecture,
        "batch_size": configuration.batch_size,
        "optimizer": configuration.optimizer,
        "cycles": configuration.cycles,
        "options": configuration.options.model_dump(mode="json"),
        "parameters": dict(parameters),
        "n_parameters": work.n_parameters,
        "n_training_images": work.n_training_images,
        "n_attempts": n_attempts,
        "host": ended.host,
        "n_threads": ended.n_threads,
        "started_at": ended.started_at,
        "ended_at": ended.ended_at,
    }


def refused_row(
    trial: int, seed: int, parameters: Mapping[str, Scalar], cycles: int, reason: str
) -> Row:
    """The row of a run that was never begun: its trial's options do not go together."""
    main = {name: parameters[name] for name in MAIN_DIMENSIONS}
    moment = now()
    return {
        "trial": trial,
        "run": run_name(trial, seed),
        "seed": seed,
        "state": "failed",
        "reason": redacted(reason),
        **main,
        "cycles": cycles,
        "options": {
            name.rpartition(".")[2]: value for name, value in parameters.items() if name not in main
        },
        "parameters": dict(parameters),
        "n_attempts": 0,
        "started_at": moment,
        "ended_at": moment,
    }


@dataclass(frozen=True, slots=True)
class CutAttempt:
    """An attempt at a run that ended before the run did."""

    number: int
    """From 1."""
    resumed_from: Position
    reason: str
    host: str | None
    """None if no machine was found for it."""
    started_at: str
    ended_at: str


def attempt_row(run: Run, attempt: CutAttempt) -> Row:
    """The row of an attempt that was cut short."""
    cycles, n_done = attempt.resumed_from
    return {
        "trial": run.trial,
        "run": run.name,
        "seed": run.seed,
        "attempt": attempt.number,
        "reason": redacted(attempt.reason),
        "resumed_from": None
        if attempt.resumed_from == START
        else {"cycle": cycles + 1, "n_done": n_done},
        "host": attempt.host,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
    }


def encoded(row: Row) -> bytes:
    """A row as a line of a log; JSON has no NaN and no infinity: they become null."""
    try:
        return _ENCODER.encode(row).encode()
    except ValueError:  # there is one in it
        return _ENCODER.encode(_finite(row)).encode()


_ENCODER = json.JSONEncoder(allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
