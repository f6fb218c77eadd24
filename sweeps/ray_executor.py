"""Runs in Ray actors: kept warm, one configuration at a time, the data read from the store."""

from __future__ import annotations

import logging
import os
import platform
import socket
import sys
import warnings
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError

from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput, reason
from sweeps.runs import Run, RunEnded, RunEvent, now
from sweeps.worker import Worker

_POLL_S = 5.0
"""How long an actor waits for an event before it answers a poll with nothing."""
_CONNECT_S = 5.0
"""How long a cluster may take to answer."""


class RayExecutor:
    """Trains in as many actors as the cluster has room for.

    Actors are made when they are first needed and then kept. One that dies fails the run that it
    was training; the next run gets a new one.

    Args:
        data: put in the object store once; every actor of a node reads the same copy.
        cpus_per_run: CPUs that an actor holds, at least 1; also its threads.
        gpus_per_run: GPUs that it holds, whole or a fraction; more than 0 trains on one.
        concurrency: the most runs at once; None for as many as there is room for.
        address: of a cluster to join; None starts Ray on this machine, and ends it at exit.

    Raises:
        InvalidInput: no such cluster, or none of its size would hold a run.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        cpus_per_run: int,
        gpus_per_run: float = 0,
        concurrency: int | None = None,
        address: str | None = None,
    ) -> None:
        _connect(address)
        try:
            resources: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]
            self._n_slots = _slots(resources, cpus_per_run, gpus_per_run)
        except InvalidInput:
            ray.shutdown()
            raise
        if concurrency is not None:
            self._n_slots = min(self._n_slots, concurrency)
        self._data = ray.put(_with_arrays(data))
        self._actor_class: Any = ray.remote(_WorkerActor).options(
            num_cpus=cpus_per_run,
            num_gpus=gpus_per_run,
            max_concurrency=2,  # so that a run can be stopped while a poll is waiting
            max_restarts=0,
        )
        self._n_threads = cpus_per_run
        self._device = "cuda" if gpus_per_run else "cpu"
        self._idle: list[Any] = []
        self._busy: dict[str, _Slot] = {}

    @property
    def n_slots(self) -> int:
        """How many runs the cluster has room for."""
        return self._n_slots

    @property
    def n_free(self) -> int:
        """See `Executor.n_free`."""
        return self._n_slots - len(self._busy)

    def start(self, run: Run) -> None:
        """See `Executor.start`."""
        actor = self._idle.pop() if self._idle else self._new_actor()
        # the start is waited for as well: a run that an actor cannot even receive fails there
        self._busy[run.name] = _Slot(actor, [actor.start.remote(run), actor.poll.remote(_POLL_S)])

    def stop(self, run: str) -> None:
        """See `Executor.stop`."""
        if run in self._busy:
            self._busy[run].actor.stop.remote(run)

    def poll(self, timeout_s: float) -> list[RunEvent]:
        """See `Executor.poll`."""
        owners = {ref: run for run, slot in self._busy.items() for ref in slot.pending}
        if not owners:
            return []
        ready, _ = ray.wait(list(owners), num_returns=1, timeout=timeout_s)
        if ready:
            ready, _ = ray.wait(list(owners), num_returns=len(owners), timeout=0)
        return [event for ref in ready for event in self._events(owners[ref], ref)]

    def _events(self, run: str, ref: Any) -> list[RunEvent]:
        if run not in self._busy:  # it has failed at another of its references just now
            return []
        slot = self._busy[run]
        slot.pending.remove(ref)
        try:
            events: list[RunEvent] | None = ray.get(ref)
        except RayError as error:
            del self._busy[run]
            ray.kill(slot.actor)
            return [self._failed(run, slot, error)]
        if events is None:  # the answer to the start
            return []
        if events and isinstance(events[-1], RunEnded):
            del self._busy[run]
            self._idle.append(slot.actor)
        else:
            slot.pending.append(slot.actor.poll.remote(_POLL_S))
        return events

    def _failed(self, run: str, slot: _Slot, error: RayError) -> RunEnded:
        return RunEnded(
            run=run,
            state="failed",
            reason=f"its actor died: {' '.join(str(error).split())[:500]}",
            host=platform.node(),
            n_threads=self._n_threads,
            started_at=slot.started_at,
            ended_at=now(),
        )

    def _new_actor(self) -> Any:
        return self._actor_class.remote(self._data, self._n_threads, self._device, sys.path)

    def close(self) -> None:
        """See `Executor.close`; ends Ray too if this executor started it."""
        for actor in [*self._idle, *(slot.actor for slot in self._busy.values())]:
            ray.kill(actor)
        ray.shutdown()


@dataclass(slots=True)
class _Slot:
    """An actor that is training, and the answers that it owes."""

    actor: Any
    pending: list[Any]
    started_at: str = field(default_factory=now)


class _WorkerActor(Worker):
    """A worker whose data lies in the object store.

    It finds a user's modules where the driver finds them.
    """

    def __init__(self, data: Dataset, n_threads: int, device: str, search_path: list[str]) -> None:
        sys.path.extend(folder for folder in search_path if folder not in sys.path)
        super().__init__(_with_tensors(data), n_threads, device)


def _connect(address: str | None) -> None:
    # no reports to Ray's makers, and no warning about a setting that this program does not use
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    _check_reachable(address)
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            logging_level=logging.ERROR,
            log_to_driver=False,  # an actor's prints would tear the live display
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address is None:
            raise InvalidInput(f"Ray cannot start on this machine ({reason(error)})") from error
        raise InvalidInput(
            f"'--address' must be a running Ray cluster, got '{address}' ({reason(error)})"
        ) from error


def _check_reachable(address: str | None) -> None:
    """Ray itself would try for more than a minute, and fill the terminal with its log."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):  # `auto`, or a name that Ray resolves
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise InvalidInput(
            f"'--address' must be a running Ray cluster, got '{address}' ({reason(error)}); "
            "`ray status` on its head node tells the address"
        ) from error


def _slots(resources: dict[str, float], cpus_per_run: int, gpus_per_run: float) -> int:
    held = {"CPU": cpus_per_run, "GPU": gpus_per_run}
    for name, amount in held.items():
        if amount > resources.get(name, 0):
            raise InvalidInput(
                f"'resources.{name.lower()}s_per_run' must be at most "
                f"{resources.get(name, 0):g}, what the cluster has, got {amount:g}"
            )
    return min(int(resources[name] / amount) for name, amount in held.items() if amount)


def _with_arrays(data: Dataset) -> Dataset:
    """Its tensors as numpy arrays, which Ray reads from the store without a copy."""
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in _members(data, torch.Tensor)}
    return replace(data, **arrays)


def _with_tensors(data: Dataset) -> Dataset:
    with warnings.catch_warnings():
        # the store's memory is read-only; training writes only to copies of batches
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensors: dict[str, Any] = {
            name: torch.from_numpy(array) for name, array in _members(data, np.ndarray)
        }
    return replace(data, **tensors)


def _members(data: Dataset, kind: type) -> list[tuple[str, Any]]:
    members = ((item.name, getattr(data, item.name)) for item in fields(data))
    return [(name, value) for name, value in members if isinstance(value, kind)]
