"""A trial on its way: what its runs have come to, and when the study may hear of it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from sweeps.records import RecordedRun
from sweeps.runs import RunState
from sweeps.search import Result, Trial


@dataclass(slots=True)
class OpenTrial:
    """A trial some of whose runs are not over."""

    trial: Trial
    runs: dict[int, RecordedRun]
    """By seed."""
    n_reported: int = 0
    """Cycles that the study has heard of."""
    is_pruned: bool = False

    @classmethod
    def of(cls, trial: Trial, runs: dict[int, RecordedRun]) -> OpenTrial:
        """The trial as the study and the records have it."""
        is_pruned = trial.told == "pruned"
        return cls(trial, runs, max(trial.reported, default=0), is_pruned)

    @property
    def is_over(self) -> bool:
        """Whether all its runs have ended."""
        return all(run.state is not None for run in self.runs.values())

    @property
    def result(self) -> Result:
        """What is to be told of it, once it is over."""
        states: set[RunState | None] = {run.state for run in self.runs.values()}
        if "failed" in states:
            return "failed"
        if self.is_pruned or "pruned" in states:
            return "pruned"
        value = self.value
        return "failed" if value is None or not math.isfinite(value) else "finished"

    @property
    def value(self) -> float | None:
        """The objective after the last cycle; None until all seeds have got there."""
        return self.mean_after(self.trial.configuration.cycles)

    def next_report(self) -> tuple[int, float] | None:
        """The next cycle that all seeds have reached and the study has not heard of."""
        cycle = self.n_reported + 1
        mean = self.mean_after(cycle)
        return None if mean is None else (cycle, mean)

    def mean_after(self, cycle: int) -> float | None:
        """The mean over all seeds after that cycle; None until all of them have got there."""
        reached = [run.objectives[cycle - 1 : cycle] for run in self.runs.values()]
        if not all(reached):
            return None
        numbers = [value for (value,) in reached if value is not None]
        return statistics.fmean(numbers) if len(numbers) == len(reached) else float("nan")
