"""What a sweep has done so far: the figures behind the live display and the closing lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rso_core.configuration import Configuration
from rso_core.records import CycleRecord, Progress
from sweeps.runs import Run
from sweeps.search import Trial
from sweeps.spec import Objective

_TOO_EARLY_S = 2.0
"""Before this there is no pace to go by."""


@dataclass(slots=True)
class RunningRun:
    """A run that is being trained."""

    run: Run
    cost: float
    """Its whole work, in `Work.cost`'s unit."""
    progress: Progress | None = None
    last: CycleRecord | None = None
    training_s: float = 0.0
    """Seconds that the cycles took of which this driver has heard."""
    share_before: float = 0.0
    """What was done of it before this driver, or this attempt, began."""

    @property
    def share_done(self) -> float:
        """From 0 to 1."""
        if self.progress is None:
            return self.share_before
        within = self.progress.n_done / self.progress.n_total
        return (self.progress.cycle - 1 + within) / self.run.configuration.cycles


@dataclass(slots=True)
class Best:
    """The best trial so far."""

    trial: int
    value: float
    configuration: Configuration


@dataclass(slots=True)
class SweepProgress:
    """Kept up by the driver; read by a display.

    Args:
        n_trials: trials that the sweep will have.
        n_seeds: runs of each.
        mean_cost: of a run, in `Work.cost`'s unit.
        objectives: what makes a trial the best.
    """

    n_trials: int
    n_seeds: int
    mean_cost: float
    objectives: tuple[Objective, ...]
    clock: Callable[[], float] = time.monotonic
    n_trials_finished: int = 0
    n_trials_pruned: int = 0
    n_trials_failed: int = 0
    running: dict[str, RunningRun] = field(default_factory=dict)
    best: Best | None = None
    n_runs_added: int = 0
    """Seeds beyond the sweep file's that trials were given."""
    stop_reason: str | None = None
    """Why no further trial is begun; None while there is no reason."""
    is_interrupted: bool = False
    """Whether the sweep was left to be gone on with."""
    started: float = 0.0
    _cost_before: float = 0.0
    _cost_ended: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def n_runs(self) -> int:
        """Runs that the sweep will have."""
        return self.n_trials * self.n_seeds + self.n_runs_added

    @property
    def n_trials_ended(self) -> int:
        """Trials that have a result, whichever."""
        return self.n_trials_finished + self.n_trials_pruned + self.n_trials_failed

    @property
    def elapsed_s(self) -> float:
        """Since the sweep began."""
        return self.clock() - self.started

    def run_recorded(self, cost: float) -> None:
        """A run was over before this driver began."""
        self._cost_before += cost

    def run_started(self, run: Run, cost: float) -> None:
        """A run is being trained from now on."""
        self.running[run.name] = RunningRun(run, cost)

    def run_ended(self, run: Run, seconds: float | None = None) -> None:
        """A run is over."""
        ended = self.running.pop(run.name)
        self._cost_before += ended.share_before * ended.cost
        self._cost_ended += (1 - ended.share_before) * ended.cost

    def run_left(self, run: Run) -> None:
        """A run is not being trained any more, though it is not over."""
        self.running.pop(run.name)

    def trial_finished(self, trial: Trial, values: tuple[float, ...]) -> None:
        """A trial has its objectives."""
        value = values[0]
        self.n_trials_finished += 1
        sign = 1 if self.objectives[0].direction == "maximize" else -1
        if self.best is None or sign * value > sign * self.best.value:
            self.best = Best(trial.number, value, trial.configuration)

    def left_s(self) -> float | None:
        """Seconds until the sweep ends, at the pace so far; None while there is none to go by."""
        running = self.running.values()
        done = self._cost_ended + sum((r.share_done - r.share_before) * r.cost for r in running)
        before = self._cost_before + sum(r.share_before * r.cost for r in running)
        if done <= 0 or self.elapsed_s < _TOO_EARLY_S:
            return None
        return self.elapsed_s * max(0.0, (self.mean_cost * self.n_runs - before) / done - 1)
