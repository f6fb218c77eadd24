"""A trial on its way: what its runs have come to, and when the study may hear of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sweeps.objectives import mean_values
from sweeps.records import RecordedRun
from sweeps.runs import Run, RunState
from sweeps.search import Result, Trial

_FEWEST_SIDE_BY_SIDE = 2
"""Seeds that a test of seeds begins with at the least: of one it says nothing."""


@dataclass(slots=True)
class OpenTrial:
    """A trial some of whose runs are not over."""

    trial: Trial
    runs: dict[int, RecordedRun]
    """By seed, in their order."""
    n_side_by_side: int | None = None
    """Where seeds are tested as they end: with how many it begins, then one by one."""
    n_reported: int = 0
    """Steps that the study has heard of: cycles, or seeds where those are tested."""
    is_pruned: bool = False
    given_out: set[int] = field(default_factory=set)
    """The seeds whose runs have been handed to be started."""

    @classmethod
    def of(
        cls, trial: Trial, runs: dict[int, RecordedRun], n_startup_seeds: int | None = None
    ) -> OpenTrial:
        """The trial as the study and the records have it.

        Args:
            trial: as the study has it.
            runs: as the records have them, by seed.
            n_startup_seeds: where seeds are tested: how many there are before the first test.
        """
        side_by_side = None
        if n_startup_seeds is not None:
            side_by_side = max(_FEWEST_SIDE_BY_SIDE, n_startup_seeds)
        return cls(
            trial,
            runs,
            side_by_side,
            n_reported=max(trial.reported, default=-1) + 1
            if side_by_side is not None
            else max(trial.reported, default=0),
            is_pruned=trial.told == "pruned",
        )

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
        values = self.values
        is_told = values is not None and all(map(math.isfinite, values))
        return "finished" if is_told else "failed"

    @property
    def values(self) -> tuple[float, ...] | None:
        """The objectives after the last cycle; None until all seeds have got there."""
        return self.means_after(self.trial.configuration.cycles)

    @property
    def values_by_seed(self) -> list[float]:
        """The first objective of each seed that has come to its end, where it is a number."""
        last = self.trial.configuration.cycles
        ended = (run.values[last - 1][0] for run in self.runs.values() if run.n_cycles >= last)
        return [value for value in ended if value is not None]

    def means_after(self, cycle: int) -> tuple[float, ...] | None:
        """The means over all seeds after that cycle; None until all of them have got there."""
        if any(run.n_cycles < cycle for run in self.runs.values()):
            return None
        return mean_values([run.values[cycle - 1] for run in self.runs.values()])

    def next_report(self) -> tuple[int, float, bool] | None:
        """What the study may hear next: the step, the objective, and whether it is the last step.

        A step is a cycle that all seeds have reached; where seeds are tested, a seed that has
        ended, after all those before it.
        """
        if self.n_side_by_side is None:
            cycle = self.n_reported + 1
            means = self.means_after(cycle)
            last = self.trial.configuration.cycles
            return None if means is None else (cycle, means[0], cycle >= last)
        runs = list(self.runs.values())
        index = self.n_reported
        if index >= len(runs) or runs[index].state != "finished":
            return None
        value = runs[index].values[-1][0]
        return index, math.nan if value is None else value, index == len(runs) - 1

    @property
    def is_all_reported(self) -> bool:
        """Whether there is nothing more for the study to hear."""
        n_steps = len(self.runs) if self.n_side_by_side else self.trial.configuration.cycles
        return self.n_reported >= n_steps

    def reported(self, step: int) -> None:
        """The study has heard of that step."""
        self.n_reported = step if self.n_side_by_side is None else step + 1

    def startable(self) -> Sequence[Run]:
        """The runs that may be started now and have not been given out; they are from now on."""
        unended = [seed for seed, run in self.runs.items() if run.state is None]
        if self.n_side_by_side is not None:
            n_ended = len(self.runs) - len(unended)
            unended = unended[: max(1, self.n_side_by_side - n_ended)]
        new = [seed for seed in unended if seed not in self.given_out]
        self.given_out.update(new)
        return [self.run(seed) for seed in new]

    def not_given_out(self) -> list[Run]:
        """The runs that have neither ended nor been given out."""
        return [
            self.run(seed)
            for seed, run in self.runs.items()
            if run.state is None and seed not in self.given_out
        ]

    def run(self, seed: int) -> Run:
        """The run with that seed."""
        return Run(self.trial.number, seed, self.trial.configuration)
