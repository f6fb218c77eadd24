"""What trains: one configuration at a time, in a thread of its own, within an actor or in process.

Training never waits for whoever asks for its events: they gather here until the next poll.
"""

from __future__ import annotations

import platform
import queue
import threading

from rso_core.datasets import Dataset
from rso_core.errors import reason
from rso_core.records import Progress
from rso_core.training import train
from sweeps.runs import CycleEnded, Run, RunEnded, RunEvent, RunProgressed, RunState, now


class Worker:
    """Trains one run after another on one data set.

    Args:
        data: the training, validation and test data of all its runs.
        n_threads: threads that torch may use.
        device: a torch device: `cpu`, `cuda`.
    """

    def __init__(self, data: Dataset, n_threads: int, device: str = "cpu") -> None:
        self._data = data
        self._n_threads = n_threads
        self._device = device
        self._events: queue.SimpleQueue[RunEvent] = queue.SimpleQueue()
        self._stopped: set[str] = set()
        self._thread: threading.Thread | None = None

    def start(self, run: Run) -> None:
        """Begins to train; returns at once. The run before must have ended."""
        self._thread = threading.Thread(target=self._train, args=(run,), name=run.name, daemon=True)
        self._thread.start()

    def stop(self, run: str) -> None:
        """Ends the run of that name as pruned, within a second or so; at once if still to come."""
        self._stopped.add(run)

    def wait(self, timeout_s: float) -> None:
        """Waits until nothing trains, at most so long: a process must not end under torch."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def poll(self, timeout_s: float) -> list[RunEvent]:
        """The events since the last poll, in order; waits up to `timeout_s` for the first.

        Of several progress events in a row only the last is kept.
        """
        events: list[RunEvent] = []
        try:
            events.append(self._events.get(timeout=timeout_s))
            while True:
                event = self._events.get_nowait()
                if isinstance(events[-1], RunProgressed) and isinstance(event, RunProgressed):
                    events.pop()
                events.append(event)
        except queue.Empty:
            return events

    def _train(self, run: Run) -> None:
        started_at = now()
        state: RunState = "finished"
        failure = None

        def on_progress(progress: Progress) -> None:
            if run.name in self._stopped:
                raise _Stopped
            self._events.put(RunProgressed(run.name, progress))

        try:
            for record in train(
                run.configuration,
                self._data,
                run.seed,
                n_threads=self._n_threads,
                device=self._device,
                on_progress=on_progress,
            ):
                self._events.put(CycleEnded(run.name, record))
                if run.name in self._stopped:
                    raise _Stopped
        except _Stopped:
            state = "pruned"
        except BaseException as error:  # a user's network may do anything, even leave by sys.exit
            state, failure = "failed", reason(error)
        self._events.put(
            RunEnded(
                run=run.name,
                state=state,
                reason=failure,
                host=platform.node(),
                n_threads=self._n_threads,
                started_at=started_at,
                ended_at=now(),
            )
        )


class _Stopped(Exception):  # noqa: N818  (a signal, not an error)
    """Leaves the training loop."""
