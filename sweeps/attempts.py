"""Attempts at runs: how often one is begun, from where, and when it is given up."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sweeps.records import CutAttempt, RecordedRun
from sweeps.runs import START, Position, Run, RunBegan, RunEnded, now
from sweeps.spec import Limits


class Attempts:
    """The attempts that are under way, one for each run that has a slot.

    Args:
        limits: when a run is given up.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._current: dict[str, _Attempt] = {}

    def start(self, run: Run, recorded: RecordedRun) -> None:
        """A run has been given a slot."""
        self._current[run.name] = _Attempt(len(recorded.attempts) + 1, recorded, now())

    def began(self, event: RunBegan) -> None:
        """A worker has taken the run up."""
        attempt = self._current[event.run]
        attempt.began = event
        attempt.began_at = time.monotonic()

    def n_attempts(self, run: str) -> int:
        """Attempts at the run, the one under way included."""
        return self._current[run].number

    def cut(self, run: str, reason: str) -> CutAttempt:
        """Notes that the attempt under way has lost its worker."""
        attempt = self._current[run]
        earlier = attempt.recorded.attempts
        # one that was lost before it began has got no further than those before it
        resumed_from = (
            max(earlier, default=START) if attempt.began is None else attempt.began.resumed_from
        )
        earlier.append(resumed_from)
        return CutAttempt(
            number=attempt.number,
            resumed_from=resumed_from,
            reason=reason,
            host=None if attempt.began is None else attempt.began.host,
            started_at=attempt.started_at,
            ended_at=now(),
        )

    def is_out_of_attempts(self, recorded: RecordedRun) -> bool:
        """Whether its last attempts, as many as the limit, found it no further than before."""
        return n_in_vain(recorded.attempts) >= self._limits.attempts

    def overdue(self) -> list[str]:
        """The runs whose attempt has taken longer than the limit."""
        limit_s = self._limits.run_s
        if limit_s is None:
            return []
        moment = time.monotonic()
        return [
            run
            for run, attempt in self._current.items()
            if attempt.began_at is not None and moment - attempt.began_at > limit_s
        ]

    def ended(self, run: str) -> None:
        """The run is over, or left."""
        self._current.pop(run, None)

    def failed(self, run: str, reason: str) -> RunEnded:
        """The end of a run whose worker cannot tell of it."""
        attempt = self._current[run]
        began = attempt.began
        return RunEnded(
            run=run,
            state="failed",
            reason=reason,
            host="" if began is None else began.host,
            n_threads=0 if began is None else began.n_threads,
            started_at=attempt.started_at,
            ended_at=now(),
        )


def n_in_vain(resumed_from: list[Position]) -> int:
    """Of attempts that were cut short: the last ones that found the run no further than before."""
    if not resumed_from:
        return 0
    return len(resumed_from) - resumed_from.index(max(resumed_from))


@dataclass(slots=True)
class _Attempt:
    """An attempt under way."""

    number: int
    """From 1."""
    recorded: RecordedRun
    started_at: str
    began: RunBegan | None = None
    began_at: float | None = None
    """On the monotonic clock."""
