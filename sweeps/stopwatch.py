"""Where the time goes before a sweep trains: a program's phases, one after the other."""

from __future__ import annotations

import time

from sweeps.runs import now


class Stopwatch:
    """Times phases that follow each other without a gap.

    Attributes:
        began_at: when the first phase began: ISO 8601, UTC.
        phases_s: the seconds of each phase that is over, in order.
    """

    def __init__(self) -> None:
        self.began_at = now()
        self.phases_s: dict[str, float] = {}
        self._lap_began = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Ends the phase of that name; the next one begins."""
        moment = time.perf_counter()
        self.phases_s[phase] = round(moment - self._lap_began, 3)
        self._lap_began = moment
