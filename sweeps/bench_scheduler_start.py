"""How long `rso-sweep run` takes until a trial trains, and where that time goes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rso_core.errors import InvalidInput
from sweeps.bench_scheduler_trial import bench_folder

_SWEEP = """
name: bench-start
data: {name: mnist, train_size: 1000, validation_size: 500, test_size: 500}
budget: {cycles: 1}
space: {architecture: mlp(), batch_size: 500, optimizer: rso}
trials: 1
"""
_MOST_S = 300.0
# what the `rso-sweep` script does
_PROGRAM = "from sweeps.cli import main; main()"

IMPORTS = "the interpreter and imports"
FIRST_ACTOR = "the first actor"
UNTIL_THE_FOLDER = "until the run folder is made"
AFTER_THE_FOLDER = "the study and the first actor"


@dataclass(frozen=True, slots=True)
class StartTimes:
    """What a start takes, by the clock on the wall."""

    first_trial_s: float
    """From the start of the process until the first run trains: the median of the starts."""
    slowest_s: float
    n_starts: int
    phases_s: Mapping[str, float]
    """Of the median start, in their order; they add up to it."""


def measure_start(n_starts: int, say: Callable[[str], object]) -> StartTimes:
    """Runs a small sweep in a process of its own, several times.

    A run before these, which does not count, fills the disk's caches and compiles what is to be
    compiled once.

    Args:
        n_starts: how many starts count, at least 1.
        say: is told which start it is.

    Raises:
        InvalidInput: the current folder cannot be written, or the sweep fails.
    """
    starts = []
    with bench_folder() as folder:
        sweep = folder / "sweep.yaml"
        sweep.write_text(_SWEEP, encoding="utf-8")
        for index in range(n_starts + 1):
            say(f"start {index} of {n_starts}" if index else "a start to warm the caches")
            out = folder / f"run-{index}"
            began_at = datetime.now(UTC)
            _run(sweep, out)
            starts.append(start_phases(began_at, out))
    counted = sorted(starts[1:], key=_total)
    # of an even number the slower one in the middle, which is a start that there was
    median = counted[len(counted) // 2]
    return StartTimes(
        first_trial_s=statistics.median_high(map(_total, counted)),
        slowest_s=_total(counted[-1]),
        n_starts=n_starts,
        phases_s=median,
    )


def start_phases(began_at: datetime, out: Path) -> dict[str, float]:
    """What the records of a sweep say about its start, in order.

    Args:
        began_at: when its process was started.
        out: its run folder.

    Returns:
        Seconds by phase, until the first run trained.
    """
    drivers = list(_rows(out / "records" / "drivers.jsonl"))
    trains_at = min(_moment(row["started_at"]) for row in _rows(out / "records" / "runs.jsonl"))
    for row in drivers:
        if "phases_s" in row:
            imports_s = (_moment(row["began_at"]) - began_at).total_seconds()
            phases = {IMPORTS: imports_s, **row["phases_s"]}
            rest_s = (trains_at - began_at).total_seconds() - sum(phases.values())
            return {**phases, FIRST_ACTOR: rest_s}
    made_at = _moment(drivers[0]["started_at"])
    return {
        UNTIL_THE_FOLDER: (made_at - began_at).total_seconds(),
        AFTER_THE_FOLDER: (trains_at - made_at).total_seconds(),
    }


def _run(sweep: Path, out: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, "run", str(sweep), "--out", str(out)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_MOST_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidInput(f"'rso-sweep run' has not ended within {_MOST_S:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise InvalidInput(f"'rso-sweep run' ends with status {done.returncode} and says: {said}")


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _total(phases: Mapping[str, float]) -> float:
    return sum(phases.values())
