"""The files of a run folder, parsed: what a sweep asked for, and its records as plain rows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

Direction = Literal["maximize", "minimize"]
Row = dict[str, Any]

OBJECTIVE_METRICS = (
    "validation_accuracy",
    "validation_loss",
    "test_accuracy",
    "test_loss",
    "training_loss",
)


class UnreadableRunFolder(ValueError):  # noqa: N818  (it names what was wrong, as KeyError does not)
    """A folder that cannot be read as a run folder; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class SweepMetadata:
    """What one run folder's `sweep.yaml` says."""

    name: str
    """The sweep's name, made unique among the folders that were loaded together."""
    folder: Path
    metric: str
    """The objective: a column of the cycles, taken at a run's last cycle."""
    direction: Direction
    specification: Mapping[str, Any] = field(default_factory=dict)
    """The resolved sweep file without its provenance; any key may be missing."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """When and how it was started: `started_at`, `command`, `versions`, `machine`."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run folder as it lies on disk."""

    metadata: SweepMetadata
    cycle_rows: tuple[Row, ...]
    """One for each cycle of every run; of two rows for the same cycle, the later one."""
    run_rows: tuple[Row, ...]
    """One for each ended run; of two rows for the same run, the later one."""


def read_run_folder(folder: Path | str) -> RunFolder:
    """Reads a run folder, of a sweep that may still be under way.

    A last line that was cut off while it was written is ignored; a record file may be absent.

    Raises:
        UnreadableRunFolder: no `sweep.yaml`, or a file that is not what it should be.
    """
    folder = Path(folder)
    metadata = _metadata(folder)
    records = folder / "records"
    return RunFolder(
        metadata=metadata,
        cycle_rows=_latest(_rows(records / "cycles.jsonl", ("trial", "cycle")), ("run", "cycle")),
        run_rows=_latest(_rows(records / "runs.jsonl", ("trial",)), ("run",)),
    )


def _metadata(folder: Path) -> SweepMetadata:
    path = folder / "sweep.yaml"
    if not path.is_file():
        raise UnreadableRunFolder(f"'{folder}' is not a run folder: it has no sweep.yaml")
    try:
        specification = yaml.safe_load(_bytes(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UnreadableRunFolder(f"'{path}' is not valid YAML{place}") from error
    if not isinstance(specification, dict):
        raise UnreadableRunFolder(f"'{path}' must be a mapping of the sweep's settings")
    name = specification.get("name")
    if not isinstance(name, str) or not name:
        raise UnreadableRunFolder(f"'name' must be the sweep's name, got {name!r} ('{path}')")
    metric, direction = _objective(specification.get("objective"), path)
    provenance = specification.pop("provenance", None)
    return SweepMetadata(
        name=name,
        folder=folder,
        metric=metric,
        direction=direction,
        specification=specification,
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def _objective(objective: object, path: Path) -> tuple[str, Direction]:
    if not isinstance(objective, dict):
        raise UnreadableRunFolder(
            f"'objective' must have 'metric' and 'direction', got {objective!r} ('{path}')"
        )
    metric, direction = objective.get("metric"), objective.get("direction")
    if metric not in OBJECTIVE_METRICS:
        raise UnreadableRunFolder(
            f"'objective.metric' must be one of {', '.join(OBJECTIVE_METRICS)}, "
            f"got {metric!r} ('{path}')"
        )
    if direction not in ("maximize", "minimize"):
        raise UnreadableRunFolder(
            f"'objective.direction' must be maximize or minimize, got {direction!r} ('{path}')"
        )
    return metric, direction


def _rows(path: Path, integers: tuple[str, ...]) -> list[Row]:
    """The objects of a JSON-lines file, each with a text `run` and the named integers."""
    if not path.exists():
        return []
    *whole, rest = _bytes(path).split(b"\n")
    rows = [_row(line, path, number, integers) for number, line in enumerate(whole, 1) if line]
    if rest:
        # a line without its newline is one whose writer was stopped: used if it is all there
        with contextlib.suppress(UnreadableRunFolder):
            rows.append(_row(rest, path, len(whole) + 1, integers))
    return rows


def _row(line: bytes, path: Path, number: int, integers: tuple[str, ...]) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:  # broken JSON and broken UTF-8 alike
        raise UnreadableRunFolder(f"'{path}', line {number} is not valid JSON") from error
    if not isinstance(row, dict):
        raise UnreadableRunFolder(f"'{path}', line {number} must be a JSON object")
    if not isinstance(row.get("run"), str):
        raise UnreadableRunFolder(f"'{path}', line {number} must name its 'run'")
    for name in integers:
        if not isinstance(row.get(name), int):
            raise UnreadableRunFolder(
                f"'{name}' must be an integer, got {row.get(name)!r} ('{path}', line {number})"
            )
    return row


def _latest(rows: list[Row], identity: tuple[str, ...]) -> tuple[Row, ...]:
    """One row for each identity: a cycle that was trained again after a kill counts once."""
    return tuple({tuple(row[name] for name in identity): row for row in rows}.values())


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableRunFolder(f"'{path}' cannot be read: {error.strerror}") from error
