"""Runs in Ray actors: kept warm, one configuration at a time, the data read from the store."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from rso_core.training import Training
from sweeps.capacity import Capacity
from sweeps.queueing import lacking, startable
from sweeps.ray_connection import connect
from sweeps.ray_crew import Crew, CrewMaker, explanations, with_arrays
from sweeps.ray_losses import loss
from sweeps.ray_machines import Demand, Machines, can_grow
from sweeps.ray_relay import Relay
from sweeps.resources import Needs, Resources
from sweeps.runs import LAST_EVENTS, Run, RunBegan, RunEvent, RunInterrupted, RunSuspended
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.worker import TrainingFactory

_POLL_S = 5.0
"""How long an actor waits for an event before it answers a poll with nothing."""
_LINGER_S = 0.02
"""How much longer than for one event it waits for more, so that short runs are one answer."""
_MOST_PROGRESS_A_S = 250.0
"""Answers a second, of all actors, that tell of nothing but progress within a cycle: each takes the
driver the better part of a millisecond, and an actor has four a second to give."""
_SHOW_S = 2.0
"""How often an autoscaler is shown what is lacking."""
_PENDING_S = 10.0
"""How long a new actor may take to find its place before an idle one takes its run."""


class RayExecutor:
    """Trains in as many actors as the cluster has room for.

    Actors are made when they are first needed and then kept. Where one dies, or its machine, the
    run that it was training is interrupted, and the next one gets another actor. Machines may
    join and leave; an autoscaler is shown the runs that have no room.

    Args:
        data: put in the object store once; every actor of a node reads the same copy.
        resources: what each run is given, and how many run at once.
        kinds: the needs that its runs have, so far as they are known, the most frequent first;
            None for those that the resources name.
        address: of a cluster to join; None starts Ray on this machine, and ends it at exit.
        checkpoints: where runs are gone on from and kept; None to keep nothing.
        training: what a run's training is made with.

    Raises:
        InvalidInput: no such cluster, or none of its machines would hold a run, nor would it get
            other ones.
    """

    def __init__(
        self,
        data: Dataset,
        resources: Resources,
        *,
        kinds: Sequence[Needs] | None = None,
        address: str | None = None,
        checkpoints: CheckpointFolder | None = None,
        training: TrainingFactory = Training,
    ) -> None:
        connect(address)
        self._resources = resources
        self._kinds = dict.fromkeys(kinds or resources.kinds())
        self._is_shared = address is not None
        try:
            self._machines = Machines()
            self._can_grow = self._is_shared and can_grow()
            if not self._can_grow:
                _check_room(self._kinds, self._machines.capacity)
        except InvalidInput:
            ray.shutdown()
            raise
        self._demand = Demand()
        self._shown_at = -math.inf
        self._relay = None
        if self._is_shared and checkpoints is not None and checkpoints.place.is_local:
            self._relay = Relay(checkpoints.place)
        self._crews = CrewMaker(
            ray.put(with_arrays(data)),
            checkpoints,
            None if self._relay is None else self._relay.place,
            training,
        )
        self._idle: list[tuple[Needs, Crew]] = []
        self._busy: dict[str, _Slot] = {}
        self._suspended: list[RunEvent] = []
        self._needs_of_waiting: dict[str, Needs] = {}

    @property
    def n_slots(self) -> int:
        """How many runs the cluster has room for at the moment."""
        capacity = self._machines.capacity
        return min(self._most, max(capacity.n_of(needs) for needs in self._kinds))

    @property
    def n_free(self) -> int:
        """See `Executor.n_free`."""
        capacity, busy = self._machines.capacity, self._needs_of_busy()
        n_free = max(capacity.n_of(needs, busy) for needs in self._kinds)
        return max(0, min(self._most - len(self._busy), n_free))

    def startable(self, waiting: Sequence[Run]) -> list[Run]:
        """See `Executor.startable`."""
        if self.n_free == 0:  # as for most of the time, however many wait
            return []
        waiting = list(waiting)
        needs = [self._needs_of(run) for run in waiting]
        most = self._most - len(self._busy)
        chosen = startable(needs, self._machines.capacity, self._needs_of_busy(), most)
        return [waiting[position] for position in chosen]

    def expect(self, waiting: Sequence[Run], n_more: int) -> None:
        """See `Executor.expect`: shows an autoscaler what is lacking, and gives back the rest."""
        if not self._is_shared or time.monotonic() - self._shown_at < _SHOW_S:
            return
        self._shown_at = time.monotonic()
        n_left = min(len(waiting) + n_more, self._most - len(self._busy))
        while len(self._idle) > n_left:  # so that their machines can be taken down
            self._idle.pop()[1].end()
        if self._can_grow:
            needs = [self._needs_of(run) for run in itertools.islice(waiting, n_left)]
            wanted = Counter(needs)
            wanted[next(iter(self._kinds))] += n_left - len(needs)
            self._demand.show(lacking(self._machines.capacity, self._needs_of_busy(), wanted))

    def start(self, run: Run) -> None:
        """See `Executor.start`."""
        needs = self._needs_of(run)
        self._needs_of_waiting.pop(run.name, None)
        crew = self._taken_idle(needs)
        is_warm = crew is not None
        if crew is None:
            self._make_room(needs)
            crew = self._crews.make(needs)
        self._busy[run.name] = _Slot.starting(run, needs, crew, is_warm)

    def stop(self, run: str) -> None:
        """See `Executor.stop`."""
        if run in self._busy:
            self._busy[run].crew.leader.stop.remote(run)

    def abandon(self, run: str) -> None:
        """See `Executor.abandon`."""
        slot = self._busy.pop(run, None)
        if slot is not None:
            slot.crew.end()

    def suspend(self) -> None:
        """See `Executor.suspend`."""
        for run, slot in list(self._busy.items()):
            if slot.has_begun:
                slot.crew.leader.suspend.remote()
            else:  # it may not even have a machine yet
                self.abandon(run)
                self._suspended.append(RunSuspended(run))

    def poll(self, timeout_s: float) -> list[RunEvent]:
        """See `Executor.poll`."""
        if self._suspended:
            events, self._suspended = self._suspended, []
            return events
        self._place_pending()
        owners = {ref: run for run, slot in self._busy.items() for ref in slot.owed()}
        if not owners:
            time.sleep(timeout_s)  # all machines are gone, and others may come
            return []
        ready, _ = ray.wait(list(owners), num_returns=1, timeout=timeout_s)
        if ready:
            ready, _ = ray.wait(list(owners), num_returns=len(owners), timeout=0)
        return [event for ref in ready for event in self._events(owners[ref], ref)]

    def _events(self, run: str, ref: Any) -> list[RunEvent]:
        slot = self._busy.get(run)
        if slot is None or ref not in slot.owed():  # it has failed at another reference just now
            return []
        try:
            answer = ray.get(ref)
        except RayError as error:
            return self._lost(run, slot, error)
        if ref in slot.others:
            # whatever went wrong with it, the leader tells of the run
            slot.others.remove(ref)
            slot.done_others.append(ref)
            return []
        events: list[RunEvent] = answer
        slot.has_begun |= any(isinstance(event, RunBegan) for event in events)
        last = events[-1] if events else None
        if isinstance(last, RunInterrupted):
            return [*events[:-1], self._cut_short(slot, last)]
        if isinstance(last, LAST_EVENTS):
            del self._busy[run]
            self._idle.append((slot.needs, slot.crew))
        else:
            progress_linger_s = max(_LINGER_S, len(self._busy) / _MOST_PROGRESS_A_S)
            slot.polled = slot.crew.leader.poll.remote(_POLL_S, _LINGER_S, progress_linger_s)
        return events

    def _cut_short(self, slot: _Slot, event: RunInterrupted) -> RunInterrupted:
        """One of the actors that share a run's batches is gone, or could not go on."""
        said = explanations([*slot.others, *slot.done_others])
        self.abandon(event.run)
        return replace(event, reason=f"{event.reason} ({said[0]})") if said else event

    def _lost(self, run: str, slot: _Slot, error: RayError) -> list[RunEvent]:
        """The run of an actor that is gone; one that was gone before it began is just moved."""
        slot.crew.end()
        if slot.is_warm and not slot.has_begun and not isinstance(error, RayTaskError):
            crew = self._crews.make(slot.needs)
            self._busy[run] = _Slot.starting(slot.run, slot.needs, crew, is_warm=False)
            return []
        del self._busy[run]
        return [RunInterrupted(run, loss(error))]

    def _place_pending(self) -> None:
        """Gives a run whose actor finds no machine to an idle one, which may hold the last CPUs."""
        if not self._idle:
            return
        long_ago = time.monotonic() - _PENDING_S
        for run, slot in self._busy.items():
            if not slot.has_begun and slot.started < long_ago:
                crew = self._taken_idle(slot.needs)
                if crew is not None:
                    slot.crew.end()
                    self._busy[run] = _Slot.starting(slot.run, slot.needs, crew, is_warm=True)

    @property
    def _most(self) -> int:
        """Runs at once."""
        most = self._resources.concurrency
        return sys.maxsize if most is None else most

    def _needs_of(self, run: Run) -> Needs:
        """Of those that wait it is asked again and again, and rules take their time."""
        if run.name not in self._needs_of_waiting:
            needs = self._resources.needs_of(run.configuration)
            self._needs_of_waiting[run.name] = needs
            self._kinds.setdefault(needs)
        return self._needs_of_waiting[run.name]

    def _needs_of_busy(self) -> Counter[Needs]:
        return Counter(slot.needs for slot in self._busy.values())

    def _taken_idle(self, needs: Needs) -> Crew | None:
        for index, (idle_needs, crew) in enumerate(self._idle):
            if idle_needs == needs:
                del self._idle[index]
                return crew
        return None

    def _make_room(self, needs: Needs) -> None:
        """Ends idle actors of other kinds that hold what a new one needs."""
        taken = self._needs_of_busy() + Counter([needs])
        while self._idle:
            held = Counter(idle_needs for idle_needs, _ in self._idle)
            if self._machines.capacity.holds(taken + held):
                return
            self._idle.pop(0)[1].end()

    def close(self) -> None:
        """See `Executor.close`; ends Ray too if this executor started it."""
        for crew in [*(crew for _, crew in self._idle), *(s.crew for s in self._busy.values())]:
            crew.end()
        self._demand.show({})
        if self._relay is not None:
            self._relay.close()
        # a handle that outlives the connection would be counted in the next one
        self._idle.clear()
        self._busy.clear()
        del self._crews, self._demand, self._relay
        ray.shutdown()


@dataclass(slots=True)
class _Slot:
    """The actors that have a run, and the answers that they owe."""

    run: Run
    needs: Needs
    crew: Crew
    is_warm: bool
    """Whether they have trained before."""
    polled: Any
    """A reference to the leader's next events."""
    others: list[Any]
    """References to the ends of the actors that train with it."""
    done_others: list[Any] = field(default_factory=list)
    has_begun: bool = False
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def starting(cls, run: Run, needs: Needs, crew: Crew, is_warm: bool) -> _Slot:
        return cls(run, needs, crew, is_warm, *crew.begin(run, _POLL_S, _LINGER_S))

    def owed(self) -> list[Any]:
        return [self.polled, *self.others]


def _check_room(kinds: Iterable[Needs], capacity: Capacity) -> None:
    """Refuses what the machines will never hold."""
    for needs in kinds:
        if capacity.n_of(needs):
            continue
        for name, amount in needs.of_worker().items():
            largest = capacity.largest(name)
            if amount > largest:
                raise InvalidInput(
                    f"'resources.{name.lower()}s_per_run' must be at most {largest:g}, what the "
                    f"largest machine of the cluster has, got {amount:g}"
                )
        one = replace(needs, workers=1)
        raise InvalidInput(
            f"'resources.workers_per_run' must be at most {capacity.n_of(one)}, as many as the "
            f"cluster has room for, got {needs.workers}"
        )
