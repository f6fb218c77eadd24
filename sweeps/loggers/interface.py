"""What is told of the runs of a sweep."""

from __future__ import annotations

from typing import Protocol

from rso_core.records import CycleRecord
from sweeps.runs import Run, RunState


class RunLogger(Protocol):
    """Is told what becomes of runs, in the order in which it happens, once it is on the disk.

    A run may begin several times, when its machine dies or another driver goes on with its sweep;
    each of its cycles is told once, by whichever driver has written it.
    """

    def run_began(self, run: Run) -> None:
        """An attempt at the run begins: its first one, or one that goes on."""
        ...

    def cycle_ended(self, run: Run, record: CycleRecord) -> None:
        """The run has finished a cycle, which it had not finished before."""
        ...

    def run_ended(self, run: Run, state: RunState) -> None:
        """The run is over; it may be so without having begun, where it is given up."""
        ...

    def close(self) -> None:
        """Nothing more will be told. Runs that have not ended may be gone on with later."""
        ...
