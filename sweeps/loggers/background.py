"""A logger that works in a thread of its own, so that the driver never waits, and never fails."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue

from rso_core.errors import reason
from rso_core.records import CycleRecord
from sweeps.loggers.interface import RunLogger
from sweeps.runs import Run, RunState
from sweeps.storage.redaction import redacted

_CLOSE_S = 20.0
"""How long the end of a sweep waits for what has not been told yet."""


class BackgroundLogger:
    """Passes on what it is told, in order; a `RunLogger`.

    After a failure it passes on nothing more: it says so once, the next time that it is told
    something or is closed, in the caller's thread.
    """

    def __init__(
        self,
        name: str,
        opened: Callable[[], RunLogger],
        notice: Callable[[str], None],
        close_s: float = _CLOSE_S,
    ) -> None:
        """Begins at once.

        Args:
            name: for what it says.
            opened: makes the logger, in the thread.
            notice: is given what it says.
            close_s: how long `close` waits.
        """
        self._name = name
        self._opened = opened
        self._notice = notice
        self._close_s = close_s
        self._jobs: SimpleQueue[Callable[[RunLogger], None] | None] = SimpleQueue()
        self._failure: str | None = None
        self._is_silent = False
        # a daemon: a server that does not answer is not to keep the process alive
        self._thread = threading.Thread(target=self._work, name=f"log to {name}", daemon=True)
        self._thread.start()

    def run_began(self, run: Run) -> None:
        self._pass_on(lambda logger: logger.run_began(run))

    def cycle_ended(self, run: Run, record: CycleRecord) -> None:
        self._pass_on(lambda logger: logger.cycle_ended(run, record))

    def run_ended(self, run: Run, state: RunState) -> None:
        self._pass_on(lambda logger: logger.run_ended(run, state))

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(self._close_s)
        if self._thread.is_alive():
            self._failure = f"it has not taken all within {self._close_s:g} s"
        self._say_failure()

    def _pass_on(self, job: Callable[[RunLogger], None]) -> None:
        self._say_failure()
        if not self._is_silent:
            self._jobs.put(job)

    def _say_failure(self) -> None:
        if self._failure is None or self._is_silent:
            return
        self._is_silent = True
        self._notice(
            redacted(f"{self._name} is told nothing more ({self._failure}); the sweep goes on")
        )

    def _work(self) -> None:
        logger: RunLogger | None = None
        try:
            logger = self._opened()
            while (job := self._jobs.get()) is not None:
                job(logger)
            logger.close()
        except Exception as error:  # whatever a library or its server does
            self._failure = reason(error)
            if logger is not None:
                with contextlib.suppress(Exception):
                    logger.close()
