"""A sweep's folder on disk: what was asked, the study's journal, the records, the report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from rso_core.errors import InvalidInput
from rso_core.records import CycleRecord
from sweeps.provenance import provenance
from sweeps.runs import Run, RunEnded
from sweeps.spec import SweepSpec
from sweeps.sweep_file import dump_sweep
from sweeps.work import Work

SWEEP_FILE = "sweep.yaml"


class RunFolder:
    """The folder of one sweep. `create` makes it.

    Attributes:
        path: the folder.
        journal: the Optuna study's journal file in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "study.journal"
        self._cycles = path / "records" / "cycles.jsonl"
        self._runs = path / "records" / "runs.jsonl"

    @classmethod
    def create(cls, path: Path, spec: SweepSpec, command: Sequence[str]) -> RunFolder:
        """Makes the folder, with the resolved sweep file and how it came about.

        Raises:
            InvalidInput: it cannot be made, or holds something already; nothing is written.
        """
        check_output(path)
        try:
            for part in ("records", "checkpoints", "report"):
                (path / part).mkdir(parents=True, exist_ok=True)
            about = yaml.safe_dump({"provenance": provenance(command)}, sort_keys=False)
            resolved = spec.model_copy(update={"trials": spec.n_trials()})
            (path / SWEEP_FILE).write_text(dump_sweep(resolved) + about, encoding="utf-8")
        except OSError as error:
            raise InvalidInput(
                f"'--out' must be a folder that can be written, got '{path}' ({error.strerror})"
            ) from error
        return cls(path)

    def append(
        self, cycles: Iterable[tuple[Run, CycleRecord]], runs: Iterable[dict[str, Any]]
    ) -> None:
        """Appends rows to the records; they are on the disk when it returns.

        Args:
            cycles: a run and one of its cycles, for each new row.
            runs: new rows of ended runs, from `run_row`.
        """
        _append_lines(self._cycles, [_cycle_row(run, record) for run, record in cycles])
        _append_lines(self._runs, list(runs))


def run_row(run: Run, ended: RunEnded, work: Work, parameters: dict[str, Any]) -> dict[str, Any]:
    """The row that tells of an ended run.

    Args:
        run: the run.
        ended: how it ended.
        work: what the run amounted to.
        parameters: the values of the dimensions that the sweep varies.
    """
    configuration = run.configuration
    return {
        "trial": run.trial,
        "run": run.name,
        "seed": run.seed,
        "state": ended.state,
        "reason": ended.reason,
        "architecture": configuration.architecture,
        "batch_size": configuration.batch_size,
        "optimizer": configuration.optimizer,
        "cycles": configuration.cycles,
        "options": configuration.options.model_dump(mode="json"),
        "parameters": parameters,
        "n_parameters": work.n_parameters,
        "n_training_images": work.n_training_images,
        "host": ended.host,
        "n_threads": ended.n_threads,
        "started_at": ended.started_at,
        "ended_at": ended.ended_at,
    }


def check_output(path: Path) -> None:
    """Finds out whether a new sweep may be written there, without writing.

    Raises:
        InvalidInput: the path is a file, or a folder that is not empty.
    """
    try:
        if not path.exists():
            return
        if not path.is_dir():
            raise InvalidInput(f"'--out' must be a folder, got the file '{path}'; name another")
        if not any(path.iterdir()):
            return
    except OSError as error:
        raise InvalidInput(
            f"'--out' must be a folder that can be read, got '{path}' ({error.strerror})"
        ) from error
    held = "a sweep" if (path / SWEEP_FILE).exists() else "other files"
    raise InvalidInput(
        f"'--out' must be a new or an empty folder, got '{path}', which holds {held}; "
        f"name another, such as '{free_name(path)}'"
    )


def free_name(path: Path) -> Path:
    """The path itself, or with the first of -2, -3, ... that does not exist yet."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}-{number}")
        number += 1
    return candidate


def _cycle_row(run: Run, record: CycleRecord) -> dict[str, Any]:
    return {"trial": run.trial, "run": run.name, "seed": run.seed, **asdict(record)}


def _append_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    lines = "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
