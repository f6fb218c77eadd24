"""The files of a run folder, parsed: what a sweep asked for, and its records as plain rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from analysis.addresses import address_of, without_credentials
from analysis.objectives import Direction, Objective, objectives_of
from analysis.places import Place, place_at

Row = dict[str, Any]


class UnreadableRunFolder(ValueError):  # noqa: N818  (it names what was wrong, as KeyError does not)
    """A folder that cannot be read as a run folder; the message is one line for the user."""


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
    cycle_rows: tuple[Row, ...]
    """One for each cycle of every run; of two rows for the same cycle, the later one."""
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
    cycles, runs, attempts, drivers = (
        _rows(place, _parts(names, log), texts, integers)
        for log, texts, integers in (
            ("cycles", ("run",), ("trial", "cycle")),
            ("runs", ("run",), ("trial",)),
            ("attempts", ("run",), ("trial", "attempt")),
            ("drivers", (), ()),
        )
    )
    return RunFolder(
        metadata=metadata,
        cycle_rows=_latest(cycles, ("run", "cycle")),
        run_rows=_latest(runs, ("run",)),
        attempt_rows=_latest(attempts, ("run", "attempt")),
        driver_rows=_drivers(drivers),
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


def _rows(
    place: Place, parts: list[str], texts: tuple[str, ...], integers: tuple[str, ...]
) -> list[Row]:
    """The objects of a log of JSON lines, each with the named texts and integers."""
    rows = []
    broken: UnreadableRunFolder | None = None
    for part in parts:
        lines = (_content(place, part) or b"").split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                row = _row(line, f"'{place.shown(part)}', line {number}", texts, integers)
            except UnreadableRunFolder as error:
                if number < len(lines) and _json(line) is not None:
                    raise
                # a writer that was stopped leaves part of a line, a power cut zeros in its place:
                # only where nothing whole follows is that all there is to it
                broken = broken or error
                continue
            if broken is not None:
                raise broken
            rows.append(row)
    return rows


def _row(line: bytes, place: str, texts: tuple[str, ...], integers: tuple[str, ...]) -> Row:
    parsed = _json(line)
    if parsed is None:
        raise UnreadableRunFolder(f"{place} is not valid JSON")
    (row,) = parsed
    if not isinstance(row, dict):
        raise UnreadableRunFolder(f"{place} must be a JSON object")
    for name in texts:
        if not isinstance(row.get(name), str):
            raise UnreadableRunFolder(f"{place} must name its '{name}'")
    for name in integers:
        if not isinstance(row.get(name), int):
            raise UnreadableRunFolder(
                f"'{name}' must be an integer, got {row.get(name)!r} ({place})"
            )
    return row


def _json(line: bytes) -> tuple[Any] | None:
    """The value of a line; None if it is broken JSON or broken UTF-8."""
    try:
        return (json.loads(line.decode()),)
    except (ValueError, RecursionError):
        return None


def _latest(rows: list[Row], identity: tuple[str, ...]) -> tuple[Row, ...]:
    """One row for each identity: a cycle that was trained again after a kill counts once."""
    return tuple({tuple(row[name] for name in identity): row for row in rows}.values())


def _drivers(rows: list[Row]) -> tuple[Row, ...]:
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
