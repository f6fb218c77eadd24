"""What the cycles of an earlier sweep took, by its records; it may still be running."""

from __future__ import annotations

import json
import statistics
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset, load_dataset
from rso_core.errors import InvalidInput, reason
from sweeps.cost import MeasuredCycle, kind_of
from sweeps.run_folder import SWEEP_FILE, RunFolder
from sweeps.spec import SweepSpec
from sweeps.storage.append_log import AppendLog
from sweeps.storage.places import Place, StorageFailed, open_place
from sweeps.storage.redaction import redacted
from sweeps.sweep_file import parse_sweep
from sweeps.work import WorkCounter

_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EarlierTimes:
    """What was found in the records of a run folder."""

    cycles: list[MeasuredCycle]
    """One for each kind and batch size, with the medians of all its cycles; not empty."""
    n_threads: set[int]
    """That the runs had."""
    hosts: set[str]
    """On which they were trained."""


def earlier_times(address: str, spec: SweepSpec, data: Dataset, work: WorkCounter) -> EarlierTimes:
    """Reads what the cycles of the runs took that have ended, whichever way.

    Args:
        address: of a run folder.
        spec: another sweep, whose data need not be loaded again where it is the same.
        data: of that sweep.
        work: counts the work on that data.

    Raises:
        InvalidInput: it is no run folder, cannot be read, or has no cycle of an ended run.
    """
    shown = redacted(address)
    try:
        place = open_place(address)
        if not place.exists(SWEEP_FILE):
            raise InvalidInput(
                f"'--like' must be a run folder, got '{shown}', without {SWEEP_FILE}"
            )
        text, name = RunFolder(place).sweep_text(), place.address_of(SWEEP_FILE)
        runs, cycles = _rows(place, "runs"), _rows(place, "cycles")
    except StorageFailed as error:
        raise InvalidInput(
            f"'--like' must be a folder that can be read, got '{shown}': {error}"
        ) from error
    other = parse_sweep(text, name)
    if other.data != spec.data:
        data = load_dataset(other.data)
        work = WorkCounter(data)
    try:
        found = _measured(runs, cycles, data, work)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"'--like' must be a run folder of this program, got '{shown}', whose records have a "
            f"row that is none of its own ({reason(error)})"
        ) from error
    if not found.cycles:
        raise InvalidInput(
            f"'--like' must be a run folder with a cycle of a run that has ended, got '{shown}', "
            "which has none; wait for one, or measure this machine with '--calibrate'"
        )
    return found


def _rows(place: Place, log: str) -> list[_Row]:
    """Without the last one where a driver that is at work has not finished it."""
    return [json.loads(line) for line in AppendLog(place, f"records/{log}.jsonl").read()]


def _measured(
    runs: list[_Row], cycles: list[_Row], data: Dataset, work: WorkCounter
) -> EarlierTimes:
    configurations = dict(_counted(runs, work))
    times: dict[Hashable, tuple[Configuration, list[float], list[float]]] = {}
    for cycle in cycles:
        configuration = configurations.get(cycle["run"])
        if configuration is None or not (cycle["training_s"] and cycle["evaluation_s"]):
            continue
        setting = (kind_of(configuration), work.count(configuration))
        _, training, evaluation = times.setdefault(setting, (configuration, [], []))
        training.append(cycle["training_s"])
        evaluation.append(cycle["evaluation_s"])
    return EarlierTimes(
        [
            MeasuredCycle(
                kind_of(configuration),
                work.count(configuration),
                statistics.median(training),
                statistics.median(evaluation),
            )
            for configuration, training, evaluation in times.values()
        ],
        {run["n_threads"] for run in runs if run["run"] in configurations},
        {run["host"] for run in runs if run["run"] in configurations},
    )


def _counted(runs: list[_Row], work: WorkCounter) -> Iterator[tuple[str, Configuration]]:
    """The configurations of a single cycle of each run that was begun, by the run's name."""
    for run in runs:
        if run.get("host"):
            main = {name: run[name] for name in ("architecture", "batch_size", "optimizer")}
            with suppress(InvalidInput):  # an own network that is no longer there
                configuration = Configuration.from_values({**main, **run["options"]}, cycles=1)
                work.count(configuration)
                yield run["run"], configuration
