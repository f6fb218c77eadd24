"""The actors that train a run: one, or several that share its batches."""

from __future__ import annotations

import secrets
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rso_core.datasets import Dataset
from rso_core.errors import reason
from rso_core.peers import Listener
from sweeps.ray_relay import RelayedPlace, is_same_folder
from sweeps.resources import Needs
from sweeps.runs import Run, RunEvent
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.storage.places import StorageFailed
from sweeps.worker import TrainingFactory, Worker
from sweeps.worker_logging import configure_worker_logging, thread_named

_EXPLAIN_S = 2.0
"""How long the other actors of a run may take to say what went wrong with them."""


@dataclass(frozen=True)
class CrewMaker:
    """Makes actors that are ready to train any run of a sweep.

    Attributes:
        data: a reference to the data set in the object store, as `with_arrays` makes it.
        checkpoints: where runs are gone on from and kept; None to keep nothing.
        relayed: the run folder for those that do not see it; None where all do.
        training: what a run's training is made with.
    """

    data: Any
    checkpoints: CheckpointFolder | None
    relayed: RelayedPlace | None
    training: TrainingFactory

    def make(self, needs: Needs) -> Crew:
        """New actors, which may still have to wait for a machine."""
        held = needs.of_worker()
        options = {
            "num_cpus": held["CPU"],
            "num_gpus": held.get("GPU", 0),
            "max_concurrency": 2,  # so that a run can be stopped while a poll is waiting
            "max_restarts": 0,
        }
        if needs.workers == 1:
            return Crew([self._actor(needs, options)], None)
        # all or none of them, since one alone would hold its machine and wait
        group = placement_group([held] * needs.workers, strategy="PACK")
        actors = []
        for index in range(needs.workers):
            strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
            actors.append(self._actor(needs, {**options, "scheduling_strategy": strategy}))
        return Crew(actors, group)

    def _actor(self, needs: Needs, options: dict[str, Any]) -> Any:
        actor_class: Any = ray.remote(WorkerActor).options(**options)
        return actor_class.remote(
            self.data, needs, self.checkpoints, self.relayed, self.training, sys.path
        )


@dataclass(frozen=True)
class Crew:
    """Actors that train one run after another together; the first of them speaks for all."""

    actors: Sequence[Any]
    group: Any
    """Ray's placement group that holds their machines; None for a single actor."""

    @property
    def leader(self) -> Any:
        """The actor that tells of the run."""
        return self.actors[0]

    def begin(self, run: Run, timeout_s: float, linger_s: float) -> tuple[Any, list[Any]]:
        """Starts a run.

        Returns:
            References to the leader's first events, and to what ends when each other actor is
            done with the run.
        """
        if len(self.actors) == 1:
            return self.leader.begin.remote(run, timeout_s, linger_s), []
        key = secrets.token_bytes(32)
        addresses = [actor.listen.remote() for actor in self.actors]
        others = [
            actor.follow.remote(run, rank, key, *addresses)
            for rank, actor in enumerate(self.actors[1:], 1)
        ]
        return self.leader.begin.remote(run, timeout_s, linger_s, key, *addresses), others

    def end(self) -> None:
        """Gives the machines back, whatever the actors are doing."""
        for actor in self.actors:
            ray.kill(actor)
        if self.group is not None:
            remove_placement_group(self.group)


def explanations(others: Sequence[Any]) -> list[str]:
    """What the other actors of a run that was cut short say of it, if they are still there."""
    done, _ = ray.wait(list(others), num_returns=len(others), timeout=_EXPLAIN_S)
    said = []
    for ref in done:
        try:
            said.append(ray.get(ref))
        except RayError:  # it died with the run
            continue
    return [text for text in said if text is not None]


class WorkerActor(Worker):
    """A worker whose data lies in the object store.

    It finds a user's modules where the driver finds them.
    """

    def __init__(
        self,
        data: Dataset,
        needs: Needs,
        checkpoints: CheckpointFolder | None,
        relayed: RelayedPlace | None,
        training: TrainingFactory,
        search_path: list[str],
    ) -> None:
        configure_worker_logging()
        sys.path.extend(folder for folder in search_path if folder not in sys.path)
        if 0 < needs.gpus < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(needs.gpus)
        super().__init__(
            with_tensors(data),
            needs.cpus,
            "cuda" if needs.gpus else "cpu",
            checkpoints,
            training,
        )
        self._relayed = relayed
        self._listener: Listener | None = None
        self._is_following = threading.Lock()

    def listen(self) -> tuple[str, int]:
        """Where the other actors of the next run reach this one."""
        host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._listener = Listener(host)
        return self._listener.address

    def begin(
        self,
        run: Run,
        timeout_s: float,
        linger_s: float,
        key: bytes = b"",
        *addresses: tuple[str, int],
    ) -> list[RunEvent]:
        """Starts a run and polls, in one call: for a short run that is all there is."""
        self._choose_checkpoints()
        if not addresses:
            self.start(run)
        else:
            assert self._listener is not None
            self.start(run, partial(self._listener.connect, 0, addresses, key))
        return self.poll(timeout_s, linger_s)

    def follow(self, run: Run, rank: int, key: bytes, *addresses: tuple[str, int]) -> str | None:
        """Trains a run with the leader, to its end; what has failed here, if anything has."""
        assert self._listener is not None
        # the run before may still be ending
        with self._is_following, thread_named(run.name):
            return self.train_beside(run, partial(self._listener.connect, rank, addresses, key))

    def _choose_checkpoints(self) -> None:
        """Those in the run folder itself, if it is seen from here; else through the driver's."""
        relayed, self._relayed = self._relayed, None
        if relayed is None or self._checkpoints is None:
            return
        try:
            if not is_same_folder(self._checkpoints.place, relayed):
                self._checkpoints = replace(self._checkpoints, place=relayed)
        except StorageFailed as error:
            # the run begins, and says by itself which storage it could not reach
            warnings.warn(reason(error), stacklevel=1)


def with_arrays(data: Dataset) -> Dataset:
    """Its tensors as numpy arrays, which Ray reads from the store without a copy."""
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in _members(data, torch.Tensor)}
    return replace(data, **arrays)


def with_tensors(data: Dataset) -> Dataset:
    """What `with_arrays` has made, with tensors again, which share the arrays' memory."""
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
