"""What a node does with the project's own code while it is examined; called by `NodeProbe`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from rso_core.records import Progress
from rso_core.references import resolve
from rso_core.training import Training
from sweeps.ray_crew import with_tensors
from sweeps.storage.places import StorageFailed, open_place

_WARM_UP_S = 0.3
"""Of a trial: before this nothing is counted, since what is new is built and loaded."""


def imports(references: Sequence[tuple[str, str]]) -> dict[str, str | None]:
    """By reference, why a user's own code cannot be had; None if it can.

    Args:
        references: fields of the sweep file, and what they name.
    """
    found: dict[str, str | None] = {}
    for field, reference in references:
        try:
            resolve(reference, field)
            found[reference] = None
        except InvalidInput as error:
            found[reference] = str(error).partition("; ")[0]
    return found


def is_shared(folder: str, name: str, content: bytes, answer: str) -> bool:
    """Whether a folder holds the file that the driver has written there; if so, answers in it.

    Raises:
        OSError: it does, but nothing can be written.
    """
    path = Path(folder) / name
    try:
        if path.read_bytes() != content:
            return False
    except OSError:
        return False
    (path.parent / answer).write_bytes(content)
    return True


def write_and_remove(address: str, name: str) -> None:
    """Writes a file at an address, reads it and removes it.

    Raises:
        InvalidInput, StorageFailed: any of this cannot be done.
    """
    place = open_place(address)
    content = name.encode()
    place.make()
    place.write(name, content)
    try:
        if place.read(name) != content:
            raise StorageFailed(f"'{place.address_of(name)}' is not what was written there")
    finally:
        place.delete(name)


def trial(
    of: tuple[str, int],
    references: list[Any],
    configuration: Configuration,
    n_threads: int,
    seconds: float,
) -> dict[str, Any]:
    """Trains for a while; keys as the fields of `TrialSpeed`.

    Args:
        of: name of the data set, and its number of classes.
        references: to its arrays in the object store.
        configuration: what to train, for more cycles than there is time for.
        n_threads: of the run.
        seconds: how long.
    """
    kernels_s, are_compiled = _prepare() if configuration.optimizer == "rso" else (None, False)
    name, n_classes = of
    data = with_tensors(Dataset(name=name, n_classes=n_classes, **ray.get(references[0])))
    clocked = _Clocked(seconds)
    training = Training(
        configuration, data, 0, n_threads=n_threads, on_progress=clocked.on_progress
    )
    try:
        for _ in training:
            pass
    except _EnoughTime:
        pass
    return {
        "per_second": clocked.per_second(),
        "kernels_s": kernels_s,
        "are_compiled": are_compiled,
    }


def _prepare() -> tuple[float, bool]:
    """Has RSO's kernels compiled or loaded: seconds, and whether they were compiled."""
    from numba.core import event

    started = time.perf_counter()
    from rso_core.incremental.preparation import prepare_kernels

    with event.install_recorder("numba:compile") as compilations:
        prepare_kernels()
    return time.perf_counter() - started, bool(compilations.buffer)


class _EnoughTime(Exception):  # noqa: N818  (a signal, not an error)
    """Ends the trial."""


class _Clocked:
    """Counts the steps of a training, and ends it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started: float | None = None
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None

    def on_progress(self, progress: Progress) -> None:
        now = time.perf_counter()
        n_steps = (progress.cycle - 1) * progress.n_total + progress.n_done
        if self._started is None:
            self._started = now
        if now - self._started < _WARM_UP_S or self._first is None:
            self._first = (now, n_steps)
            return
        self._last = (now, n_steps)
        if now - self._first[0] >= self._seconds:
            raise _EnoughTime

    def per_second(self) -> float:
        if self._first is None or self._last is None:
            return 0.0
        return (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])
