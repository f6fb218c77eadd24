"""What trains: one configuration at a time, in a thread of its own, within an actor or in process.

Training never waits for whoever asks for its events: they gather here until the next poll.
"""

from __future__ import annotations

import logging
import math
import platform
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

import torch

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import reason
from rso_core.optimizers import ProgressCallback
from rso_core.peers import ALONE, PeerLost, Peers
from rso_core.records import CycleRecord, Progress
from rso_core.training import Training
from sweeps.runs import (
    LAST_EVENTS,
    CycleEnded,
    Run,
    RunBegan,
    RunEnded,
    RunEvent,
    RunInterrupted,
    RunNoticed,
    RunProgressed,
    RunState,
    RunSuspended,
    now,
)
from sweeps.starting_states import StartingStates, storage_fault
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.storage.redaction import redacted

_LOGGER = logging.getLogger(__name__)
_CYCLE_WORTH_S = 1.0
"""A cycle is worth a checkpoint of its own if the last one is older than this."""


class RunTraining(Protocol):
    """What a worker needs of a run's training; see `rso_core.training.Training`."""

    @property
    def records(self) -> Sequence[CycleRecord]:
        """Of all cycles that are over."""
        ...

    def __iter__(self) -> Iterator[CycleRecord]:
        """Trains; yields the record of every cycle that is left as soon as it is over."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """From which a training of the same run can go on."""
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """By name, on the CPU, as copies."""
        ...


class TrainingFactory(Protocol):
    """Begins a run's training, or goes on with it; `Training` itself is one.

    It is pickled on its way to an actor, so it must be a class or a function of a module, or a
    `functools.partial` of one.
    """

    def __call__(
        self,
        configuration: Configuration,
        data: Dataset,
        seed: int,
        *,
        n_threads: int,
        device: str,
        on_progress: ProgressCallback | None,
        state: Mapping[str, Any] | None,
    ) -> RunTraining:
        """See `Training`, which has the same arguments and raises the same."""
        ...


class Worker:
    """Trains one run after another on one data set.

    Args:
        data: the training, validation and test data of all its runs.
        n_threads: threads that torch may use.
        device: a torch device: `cpu`, `cuda`.
        checkpoints: where runs are gone on from and kept; None to keep nothing.
        training: what a run's training is made with.
    """

    def __init__(
        self,
        data: Dataset,
        n_threads: int,
        device: str = "cpu",
        checkpoints: CheckpointFolder | None = None,
        training: TrainingFactory = Training,
    ) -> None:
        self._data = data
        self._n_threads = n_threads
        self._device = device
        self._checkpoints = checkpoints
        self._training = training
        self._events: queue.SimpleQueue[RunEvent] = queue.SimpleQueue()
        self._stopped: set[str] = set()
        self._suspended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, run: Run, meet: Callable[[], Peers] = lambda: ALONE) -> None:
        """Begins to train, from the run's kept state if it has one; returns at once.

        The run before must have ended.

        Args:
            run: the run.
            meet: gives the other workers with whom it is trained; this one is the leader.
        """
        arguments = (run, meet)
        self._thread = threading.Thread(
            target=self._train, args=arguments, name=run.name, daemon=True
        )
        self._thread.start()

    def train_beside(self, run: Run, meet: Callable[[], Peers]) -> str | None:
        """Trains a run with another worker as the leader; returns when that one is done with it.

        Args:
            run: the run.
            meet: gives the other workers.

        Returns:
            What has failed here, in one line; None if nothing has.
        """
        try:
            with closing(meet()) as peers:
                for _ in self._begun(run, None, peers, None):
                    pass
        except PeerLost:  # the leader has stopped the run, or says what is wrong
            return None
        except BaseException as error:  # as in `_train`
            return f"on {platform.node()}: {redacted(reason(error))}"
        return None

    def stop(self, run: str) -> None:
        """Ends the run of that name as pruned, within a second or so; at once if still to come."""
        self._stopped.add(run)

    def suspend(self) -> None:
        """Leaves off with the run in hand after writing its checkpoint, and with all to come."""
        self._suspended.set()

    def wait(self, timeout_s: float) -> None:
        """Waits until nothing trains, at most so long: a process must not end under torch."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def poll(
        self, timeout_s: float, linger_s: float = 0.0, progress_linger_s: float = 0.0
    ) -> list[RunEvent]:
        """The events since the last poll, in order; waits up to `timeout_s` for the first.

        Of several progress events in a row only the last is kept.

        Args:
            timeout_s: until the first event.
            linger_s: from then on, for more of them, unless the run has ended; what comes close
                together costs one answer then.
            progress_linger_s: the same as long as there is nothing but progress within a cycle.
        """
        events: list[RunEvent] = []
        try:
            events.append(self._events.get(timeout=timeout_s))
            until = math.inf
            while True:
                is_progress = isinstance(events[-1], RunProgressed)
                longest_s = progress_linger_s if is_progress else linger_s
                until = min(until, time.monotonic() + longest_s)
                wait_s = 0.0 if isinstance(events[-1], LAST_EVENTS) else until - time.monotonic()
                event = self._events.get(block=wait_s > 0, timeout=max(wait_s, 0.0))
                if isinstance(events[-1], RunProgressed) and isinstance(event, RunProgressed):
                    events.pop()
                events.append(event)
        except queue.Empty:
            return events

    def _begun(
        self,
        run: Run,
        state: Mapping[str, Any] | None,
        peers: Peers,
        on_progress: ProgressCallback | None,
    ) -> RunTraining:
        shared: dict[str, Any] = {} if peers.size == 1 else {"peers": peers}
        return self._training(
            run.configuration,
            self._data,
            run.seed,
            n_threads=self._n_threads,
            device=self._device,
            on_progress=on_progress,
            state=state,
            **shared,
        )

    def _train(self, run: Run, meet: Callable[[], Peers]) -> None:
        attempt = _Attempt(run, self._checkpoints, self._events.put)
        began = attempt.begin(self._n_threads)
        _LOGGER.info("begins: %s", run.configuration.values())
        state: RunState = "finished"
        failure = None
        # a training knows `on_progress`, which knows the training: the circle is opened at the end,
        # lest gigabytes of an engine wait until Python looks for circles, some runs later
        held: list[RunTraining] = []

        def obey(training: RunTraining) -> None:
            """Called wherever a run can be left."""
            if run.name in self._stopped:
                raise _Stopped
            if self._suspended.is_set():
                attempt.save(training)
                raise _Suspended

        def on_progress(progress: Progress) -> None:
            self._events.put(RunProgressed(run.name, progress))
            [training] = held
            obey(training)
            attempt.save_if_due(training)

        peers = ALONE
        try:
            peers = meet()
            begun = attempt.states.begin(lambda state: self._begun(run, state, peers, on_progress))
            held.append(begun)
            for record in begun.records:
                self._events.put(CycleEnded(run.name, record))
            for record in begun:
                self._events.put(CycleEnded(run.name, record))
                if record.cycle < run.configuration.cycles:
                    obey(begun)
                    attempt.save_if_due(begun, _CYCLE_WORTH_S)
            attempt.keep_final(begun)
        except _Suspended:
            _LOGGER.info("leaves off, to be gone on with")
            self._events.put(RunSuspended(run.name))
            return
        except PeerLost:
            lost = "a worker that shared its batches is gone"
            _LOGGER.info("is cut short: %s", lost)
            self._events.put(RunInterrupted(run.name, lost))
            return
        except _Stopped:
            state = "pruned"
        except BaseException as error:  # a user's network may do anything, even leave by sys.exit
            state, failure = "failed", redacted(reason(error))
            # the driver says why in a line; where in the user's code is for the actor's own log
            _LOGGER.info("fails", exc_info=error)
        finally:
            held.clear()
            peers.close()
        _LOGGER.info("ends: %s", state)
        self._events.put(
            RunEnded(
                run=run.name,
                state=state,
                reason=failure,
                host=began.host,
                n_threads=self._n_threads,
                started_at=began.started_at,
                ended_at=now(),
            )
        )


class _Attempt:
    """One attempt at a run: from which state it begins, when it writes the next, what it leaves.

    A state that cannot be read or written costs time, should the run have to be gone on with; it
    never ends the run.

    Attributes:
        states: from which it can begin.
    """

    def __init__(
        self,
        run: Run,
        checkpoints: CheckpointFolder | None,
        tell: Callable[[RunEvent], object],
    ) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._tell = tell
        self.states = StartingStates(run.name, self._readable(), self._notice)
        self._saved_at = time.monotonic()
        self._has_failed = False

    def begin(self, n_threads: int) -> RunBegan:
        began = RunBegan(
            run=self._run.name,
            resumed_from=self.states.position,
            host=platform.node(),
            n_threads=n_threads,
            started_at=now(),
        )
        self._tell(began)
        return began

    def save_if_due(self, training: RunTraining, worth_s: float = math.inf) -> None:
        """Writes a checkpoint if the last one is older than the sweep asks, or than `worth_s`."""
        if self._checkpoints is None:
            return
        if time.monotonic() - self._saved_at >= min(self._checkpoints.every_s, worth_s):
            self.save(training)

    def save(self, training: RunTraining) -> None:
        if self._checkpoints is None:
            return
        try:
            self._checkpoints.write(self._run.name, training.state_dict())
        except Exception as error:  # a user's optimiser may have a state that cannot be saved
            self._notice_once(f"its checkpoint cannot be written: {storage_fault(error)}")
        self._saved_at = time.monotonic()

    def keep_final(self, training: RunTraining) -> None:
        """Leaves the weights, and the state from which the run can be given more cycles."""
        if self._checkpoints is None or not self._checkpoints.keep_final_weights:
            return
        try:
            self._checkpoints.write_weights(self._run.name, training.weights())
        except Exception as error:
            self._notice(f"its weights cannot be kept: {storage_fault(error)}")
        try:
            self._checkpoints.write_final(self._run.name, training.state_dict())
        except Exception as error:
            self._notice(f"its final state cannot be kept: {storage_fault(error)}")

    def _readable(self) -> CheckpointFolder | None:
        """The folder, if it can be seen; none is written to if it is on no shared disk."""
        if self._checkpoints is None:
            return None
        try:
            if self._checkpoints.is_reachable():
                return self._checkpoints
        except Exception as error:  # whatever it is, the run can begin
            self._notice(f"its checkpoint cannot be read: {storage_fault(error)}; it begins anew")
            return None
        self._checkpoints = None
        self._notice(
            f"the run folder is not to be seen from {platform.node()}: no checkpoint is "
            "written there; name a shared folder or an address such as s3://bucket/folder"
        )
        return None

    def _notice_once(self, text: str) -> None:
        """What fails now may be written next time, but failing each time is said once."""
        if not self._has_failed:
            self._notice(text)
        self._has_failed = True

    def _notice(self, text: str) -> None:
        self._tell(RunNoticed(self._run.name, text))


class _Stopped(Exception):  # noqa: N818  (a signal, not an error)
    """Leaves the training loop: the run is pruned."""


class _Suspended(Exception):  # noqa: N818  (a signal, not an error)
    """Leaves the training loop: the run is to be gone on with later."""
