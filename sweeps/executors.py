"""Where runs are trained: in this process, or in Ray actors. The driver sees no difference."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

from rso_core.datasets import Dataset
from rso_core.training import Training
from sweeps.runs import LAST_EVENTS, Run, RunEvent
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.worker import TrainingFactory, Worker

_STOP_S = 10.0
"""How long a run may take to stop; a network that hangs is left behind."""


class Executor(Protocol):
    """Trains runs side by side, as many as it has slots."""

    @property
    def n_slots(self) -> int:
        """How many runs it can train at once; machines come and go."""
        ...

    @property
    def n_free(self) -> int:
        """How many more runs can be started now, of the kind with the most room."""
        ...

    def startable(self, waiting: Sequence[Run]) -> list[Run]:
        """Those of the waiting runs that there is room for now, in their order.

        Runs may need different machines, so that a later one may have room where an earlier one
        has none; but none is kept waiting for good by those after it.
        """
        ...

    def expect(self, waiting: Sequence[Run], n_more: int) -> None:
        """Tells what is to come: runs that find no room now, and how many more at the most.

        A cluster may be given the machines for them, or give up those that none of them needs.
        """
        ...

    def start(self, run: Run) -> None:
        """Begins to train, from the run's checkpoint if there is one; it must be startable."""
        ...

    def stop(self, run: str) -> None:
        """Ends the run of that name as pruned; its `RunEnded` follows."""
        ...

    def abandon(self, run: str) -> None:
        """Ends the run of that name at once, whatever it is doing; no further event of it comes."""
        ...

    def suspend(self) -> None:
        """Lets all runs write their checkpoints and leave off; each one's last event follows."""
        ...

    def poll(self, timeout_s: float) -> list[RunEvent]:
        """Events since the last poll; waits up to `timeout_s` for the first.

        Those of one run come in order: `RunBegan` first, one of `LAST_EVENTS` last.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds; runs that are still going are ended without an event."""
        ...


class InlineExecutor:
    """Trains one run at a time in this process, without Ray.

    Args:
        data: for all runs.
        n_threads: threads that torch may use.
        checkpoints: where runs are gone on from and kept; None to keep nothing.
        training: what a run's training is made with.
    """

    def __init__(
        self,
        data: Dataset,
        n_threads: int,
        checkpoints: CheckpointFolder | None = None,
        training: TrainingFactory = Training,
    ) -> None:
        self._data = data
        self._n_threads = n_threads
        self._checkpoints = checkpoints
        self._training = training
        self._worker = self._new_worker()
        self._running: str | None = None

    @property
    def n_slots(self) -> int:
        """One."""
        return 1

    @property
    def n_free(self) -> int:
        """One while nothing is training."""
        return int(self._running is None)

    def startable(self, waiting: Sequence[Run]) -> list[Run]:
        """See `Executor.startable`."""
        return list(itertools.islice(waiting, self.n_free))

    def expect(self, waiting: Sequence[Run], n_more: int) -> None:
        """See `Executor.expect`: there is but this process."""

    def start(self, run: Run) -> None:
        """See `Executor.start`."""
        assert self._running is None
        self._running = run.name
        self._worker.start(run)

    def stop(self, run: str) -> None:
        """See `Executor.stop`."""
        self._worker.stop(run)

    def abandon(self, run: str) -> None:
        """See `Executor.abandon`; a thread cannot be ended, so it is left behind."""
        if run == self._running:
            self._worker.stop(run)
            self._worker = self._new_worker()
            self._running = None

    def suspend(self) -> None:
        """See `Executor.suspend`."""
        self._worker.suspend()

    def poll(self, timeout_s: float) -> list[RunEvent]:
        """See `Executor.poll`."""
        events = self._worker.poll(timeout_s)
        if any(isinstance(event, LAST_EVENTS) for event in events):
            self._running = None
        return events

    def close(self) -> None:
        """See `Executor.close`."""
        if self._running is not None:
            self._worker.stop(self._running)
        # for one that has said its last word too: a process must not end while torch is at work
        self._worker.wait(_STOP_S)

    def _new_worker(self) -> Worker:
        return Worker(
            self._data,
            self._n_threads,
            checkpoints=self._checkpoints,
            training=self._training,
        )
