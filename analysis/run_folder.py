"""The files of a run folder, parsed: what a sweep asked for, and its records as plain rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import yaml

from analysis.addresses import address_of, without_credentials
from analysis.errors import UnreadableRunFolder
from analysis.objectives import Direction, Objective, objectives_of
from analysis.places import Place, place_at
from analysis.record_columns import read_cycles
from analysis.record_lines import Lines, Log, Row, read_rows

__all__ = ["RunFolder", "SweepMetadata", "UnreadableRunFolder", "read_run_folder"]

_RUNS = Log(texts=("run",), integers=("trial",), identity=("run",))
_ATTEMPTS = Log(texts=("run",), integers=("trial", "attempt"), identity=("run", "attempt"))


@dataclass(frozen=True, slots=True)
class SweepMetadata:
    """What one run folder's `sweep.yaml` says."""

    name: str
    """The sweep's name, made unique among the folders that were loaded together."""
    folder: Path | str
    """Where it lies: a path, or an address without its credentials."""
    objectives: tuple[Objective, ...]
    """One or more; the first is the one that single choices go by."""
    specification: Mapping[str, Any] = field(default_factory=dict)
    """The resolved sweep file without its provenance; any key may be missing."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """When and how it was started: `started_at`, `command`, `versions`, `machine`."""

    @property
    def metric(self) -> str:
        """The metric of the first objective."""
        return self.objectives[0].metric

    @property
    def direction(self) -> Direction:
        """The direction of the first objective."""
        return self.objectives[0].direction

    @property
    def n_seeds(self) -> int | None:
        """Seeds that every trial is to have; None where the sweep file does not say."""
        seeds = self.specification.get("seeds")
        if isinstance(seeds, list):  # or a number, as whoever edits the file may write it
            return len(seeds)
        return seeds if isinstance(seeds, int) else None

    @property
    def limits_itself(self) -> bool:
        """Whether it may end before it has tried all its trials."""
        stop = self.specification.get("stop")
        return isinstance(stop, dict) and any(limit is not None for limit in stop.values())


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run folder as it was found."""

    metadata: SweepMetadata
    cycles: pa.Table
    """A row for each cycle of every run, in columns (`record_columns.SCHEMA`); of two rows for the
    same cycle, the later one."""
    run_rows: tuple[Row, ...]
    """One for each ended run; of two rows for the same run, the later one."""
    attempt_rows: tuple[Row, ...] = ()
    """One for each attempt at a run that was cut short; of two for the same, the later one."""
    driver_rows: tuple[Row, ...] = ()
    """One for each driver of the sweep, the first one first; none in a folder of old. With
    `ended_at`, and `stop_reason` if it then began no further trial, where it had time to say."""


def read_run_folder(folder: Path | str) -> RunFolder:
    """Reads a run folder, of a sweep that may still be under way.

    A log may be in parts: `cycles.jsonl`, `cycles.0002.jsonl` and so on. A last line that was cut
    off while it was written is ignored; a log may be absent.

    Args:
        folder: a path, or an address that fsspec knows, such as `s3://bucket/sweep`.

    Raises:
        UnreadableRunFolder: no `sweep.yaml`, a file that is not what it should be, or an address
            that cannot be read.
    """
    try:
        place = place_at(folder)
    except OSError as error:
        shown = without_credentials(address_of(folder) or str(folder))
        raise UnreadableRunFolder(f"'{shown}' cannot be read: {error.strerror}") from error
    metadata = _metadata(place)
    try:
        names = place.names("records")
    except OSError as error:
        raise _unreadable(place, "records", error) from error
    return RunFolder(
        metadata=metadata,
        cycles=read_cycles(_files(place, names, "cycles")),
        run_rows=read_rows(_files(place, names, "runs"), _RUNS),
        attempt_rows=read_rows(_files(place, names, "attempts"), _ATTEMPTS),
        driver_rows=_drivers(read_rows(_files(place, names, "drivers"), Log())),
    )


def _metadata(place: Place) -> SweepMetadata:
    content, path = _content(place, "sweep.yaml"), place.shown("sweep.yaml")
    if content is None:
        raise UnreadableRunFolder(f"'{place.shown()}' is not a run folder: it has no sweep.yaml")
    try:
        specification = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date may be a ValueError
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UnreadableRunFolder(f"'{path}' is not valid YAML{where}") from error
    if not isinstance(specification, dict):
        raise UnreadableRunFolder(f"'{path}' must be a mapping of the sweep's settings")
    name = specification.get("name")
    if not isinstance(name, str) or not name:
        raise UnreadableRunFolder(f"'name' must be the sweep's name, got {name!r} ('{path}')")
    try:
        objectives = objectives_of(specification.get("objective"))
    except ValueError as error:
        raise UnreadableRunFolder(f"{error} ('{path}')") from error
    provenance = specification.pop("provenance", None)
    return SweepMetadata(
        name=name,
        folder=place.shown(),
        objectives=objectives,
        specification=specification,
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def _parts(names: list[str], log: str) -> list[str]:
    """The files of a log among those of the records, in the order in which they were begun."""
    part = re.compile(rf"{log}(?:\.(\d+))?\.jsonl")
    numbered = sorted(
        (int(found[1] or 1), name) for name in names if (found := part.fullmatch(name))
    )
    return [f"records/{name}" for _, name in numbered]


def _files(place: Place, names: list[str], log: str) -> Iterator[Lines]:
    """The files of a log, each read when it is its turn."""
    for part in _parts(names, log):
        yield Lines(_content(place, part) or b"", str(place.shown(part)))


def _drivers(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows of the drivers' beginnings, with what those of their ends say."""
    drivers: list[Row] = []
    for row in rows:
        if "phases_s" in row:  # of the start of the one before
            continue
        if "started_at" in row or "ended_at" not in row:
            drivers.append(row)
            continue
        own = (driver for driver in reversed(drivers) if driver.get("pid") == row.get("pid"))
        if (driver := next(own, None)) is not None:
            driver |= {name: row.get(name) for name in ("ended_at", "stop_reason")}
    return tuple(drivers)


def _content(place: Place, name: str) -> bytes | None:
    try:
        return place.read(name)
    except OSError as error:
        raise _unreadable(place, name, error) from error


def _unreadable(place: Place, name: str, error: OSError) -> UnreadableRunFolder:
    return UnreadableRunFolder(f"'{place.shown(name)}' cannot be read: {error.strerror}")
