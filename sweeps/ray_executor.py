"""Runs in Ray actors: kept warm, one configuration at a time, the data read from the store."""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError, RayTaskError

from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from rso_core.training import Training
from sweeps.ray_connection import connect
from sweeps.runs import LAST_EVENTS, Run, RunBegan, RunEvent, RunInterrupted, RunSuspended
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.storage.redaction import redacted
from sweeps.worker import TrainingFactory, Worker

_POLL_S = 5.0
"""How long an actor waits for an event before it answers a poll with nothing."""
_LINGER_S = 0.02
"""How much longer than for one event it waits for more, so that short runs are one answer."""
_COUNT_S = 2.0
"""How long a count of the cluster's resources is good for."""
_PENDING_S = 10.0
"""How long a new actor may take to find its place before an idle one takes its run."""


class RayExecutor:
    """Trains in as many actors as the cluster has room for.

    Actors are made when they are first needed and then kept. Where one dies, or its machine, the
    run that it was training is interrupted, and the next one gets another actor. Machines may
    join and leave.

    Args:
        data: put in the object store once; every actor of a node reads the same copy.
        cpus_per_run: CPUs that an actor holds, at least 1; also its threads.
        gpus_per_run: GPUs that it holds, whole or a fraction; more than 0 trains on one.
        concurrency: the most runs at once; None for as many as there is room for.
        address: of a cluster to join; None starts Ray on this machine, and ends it at exit.
        checkpoints: where runs are gone on from and kept; None to keep nothing.
        training: what a run's training is made with.

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
        checkpoints: CheckpointFolder | None = None,
        training: TrainingFactory = Training,
    ) -> None:
        connect(address)
        self._held = {"CPU": float(cpus_per_run), "GPU": float(gpus_per_run)}
        self._concurrency = concurrency
        try:
            _check_room(self._held)
        except InvalidInput:
            ray.shutdown()
            raise
        self._n_slots = self._counted_slots()
        self._counted_at = time.monotonic()
        self._data = ray.put(_with_arrays(data))
        self._actor_class: Any = ray.remote(_WorkerActor).options(
            num_cpus=cpus_per_run,
            num_gpus=gpus_per_run,
            max_concurrency=2,  # so that a run can be stopped while a poll is waiting
            max_restarts=0,
        )
        self._n_threads = cpus_per_run
        self._device = "cuda" if gpus_per_run else "cpu"
        self._checkpoints = checkpoints
        self._training = training
        self._idle: list[Any] = []
        self._busy: dict[str, _Slot] = {}
        self._suspended: list[RunEvent] = []

    @property
    def n_slots(self) -> int:
        """How many runs the cluster has room for at the moment."""
        if time.monotonic() - self._counted_at > _COUNT_S:
            self._n_slots = self._counted_slots()
            self._counted_at = time.monotonic()
        return self._n_slots

    @property
    def n_free(self) -> int:
        """See `Executor.n_free`."""
        return max(0, self.n_slots - len(self._busy))

    def start(self, run: Run) -> None:
        """See `Executor.start`."""
        is_warm = bool(self._idle)
        actor = self._idle.pop() if is_warm else self._new_actor()
        self._busy[run.name] = _Slot.starting(run, actor, is_warm)

    def stop(self, run: str) -> None:
        """See `Executor.stop`."""
        if run in self._busy:
            self._busy[run].actor.stop.remote(run)

    def abandon(self, run: str) -> None:
        """See `Executor.abandon`."""
        slot = self._busy.pop(run, None)
        if slot is not None:
            ray.kill(slot.actor)

    def suspend(self) -> None:
        """See `Executor.suspend`."""
        for run, slot in list(self._busy.items()):
            if slot.has_begun:
                slot.actor.suspend.remote()
            else:  # it may not even have a machine yet
                self.abandon(run)
                self._suspended.append(RunSuspended(run))

    def poll(self, timeout_s: float) -> list[RunEvent]:
        """See `Executor.poll`."""
        if self._suspended:
            events, self._suspended = self._suspended, []
            return events
        self._place_pending()
        owners = {ref: run for run, slot in self._busy.items() for ref in slot.pending}
        if not owners:
            time.sleep(timeout_s)  # all machines are gone, and others may come
            return []
        ready, _ = ray.wait(list(owners), num_returns=1, timeout=timeout_s)
        if ready:
            ready, _ = ray.wait(list(owners), num_returns=len(owners), timeout=0)
        return [event for ref in ready for event in self._events(owners[ref], ref)]

    def _events(self, run: str, ref: Any) -> list[RunEvent]:
        slot = self._busy.get(run)
        if slot is None or ref not in slot.pending:  # it has failed at another reference just now
            return []
        slot.pending.remove(ref)
        try:
            events: list[RunEvent] = ray.get(ref)
        except RayError as error:
            return self._lost(run, slot, error)
        slot.has_begun |= any(isinstance(event, RunBegan) for event in events)
        if events and isinstance(events[-1], LAST_EVENTS):
            del self._busy[run]
            self._idle.append(slot.actor)
        else:
            slot.pending.append(slot.actor.poll.remote(_POLL_S, _LINGER_S))
        return events

    def _lost(self, run: str, slot: _Slot, error: RayError) -> list[RunEvent]:
        """The run of an actor that is gone; one that was gone before it began is just moved."""
        ray.kill(slot.actor)
        if slot.is_warm and not slot.has_begun and not isinstance(error, RayTaskError):
            self._busy[run] = _Slot.starting(slot.run, self._new_actor(), is_warm=False)
            return []
        del self._busy[run]
        return [RunInterrupted(run, _loss(error))]

    def _place_pending(self) -> None:
        """Gives a run whose actor finds no machine to an idle one, which may hold the last CPUs."""
        long_ago = time.monotonic() - _PENDING_S
        for run, slot in self._busy.items():
            if self._idle and not slot.has_begun and slot.started < long_ago:
                ray.kill(slot.actor)
                self._busy[run] = _Slot.starting(slot.run, self._idle.pop(), is_warm=True)

    def _counted_slots(self) -> int:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        fitting = [
            int(resources.get(name, 0) / amount) for name, amount in self._held.items() if amount
        ]
        return min(fitting) if self._concurrency is None else min(*fitting, self._concurrency)

    def _new_actor(self) -> Any:
        return self._actor_class.remote(
            self._data, self._n_threads, self._device, self._checkpoints, self._training, sys.path
        )

    def close(self) -> None:
        """See `Executor.close`; ends Ray too if this executor started it."""
        for actor in [*self._idle, *(slot.actor for slot in self._busy.values())]:
            ray.kill(actor)
        # a handle that outlives the connection would be counted in the next one
        self._idle.clear()
        self._busy.clear()
        ray.shutdown()


@dataclass(slots=True)
class _Slot:
    """An actor that has a run, and the answers that it owes."""

    run: Run
    actor: Any
    is_warm: bool
    """Whether it has trained before."""
    pending: list[Any]
    has_begun: bool = False
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def starting(cls, run: Run, actor: Any, is_warm: bool) -> _Slot:
        return cls(run, actor, is_warm, [actor.begin.remote(run, _POLL_S, _LINGER_S)])


class _WorkerActor(Worker):
    """A worker whose data lies in the object store.

    It finds a user's modules where the driver finds them.
    """

    def __init__(
        self,
        data: Dataset,
        n_threads: int,
        device: str,
        checkpoints: CheckpointFolder | None,
        training: TrainingFactory,
        search_path: list[str],
    ) -> None:
        sys.path.extend(folder for folder in search_path if folder not in sys.path)
        super().__init__(_with_tensors(data), n_threads, device, checkpoints, training)

    def begin(self, run: Run, timeout_s: float, linger_s: float) -> list[RunEvent]:
        """Starts a run and polls, in one call: for a short run that is all there is."""
        self.start(run)
        return self.poll(timeout_s, linger_s)


def _loss(error: RayError) -> str:
    """What became of an actor, in one line; Ray's own text tells of a dozen identifiers."""
    if isinstance(error, ActorUnavailableError):
        return "its actor cannot be reached"
    if isinstance(error, OutOfMemoryError):
        return "its actor was ended because its machine had no memory left"
    text = redacted(" ".join(str(error).split()))
    for sign, meaning in _SIGNS.items():
        if sign in text:
            return meaning
    return f"its actor died: {text[:300]}"


_SIGNS = {
    "node was terminated": "its machine is gone",
    "node is dead": "its machine is gone",
    "its node has died": "its machine is gone",
    "memory monitor": "its actor was ended because its machine had no memory left",
    "running low on memory": "its actor was ended because its machine had no memory left",
    "killed by SIGKILL": "its actor was killed",
    "End of file": "its actor was killed",
}


def _check_room(held: dict[str, float]) -> None:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for name, amount in held.items():
        if amount > resources.get(name, 0):
            raise InvalidInput(
                f"'resources.{name.lower()}s_per_run' must be at most "
                f"{resources.get(name, 0):g}, what the cluster has, got {amount:g}"
            )


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
