"""The driver: asks the study, keeps the executor busy, writes what happens, tells the results."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rso_core.records import CycleRecord
from sweeps.executors import Executor
from sweeps.progress import SweepProgress
from sweeps.run_folder import RunFolder, run_row
from sweeps.runs import CycleEnded, Run, RunEnded, RunEvent, RunProgressed, RunState
from sweeps.search import Search, Trial, UnusableTrial, typical_configurations
from sweeps.spec import Metric, SweepSpec
from sweeps.work import WorkCounter

_POLL_S = 0.25
"""The longest wait between two refreshes of the display."""


class Display(Protocol):
    """Shows how a sweep goes."""

    def run_ended(self, run: Run, ended: RunEnded, last: CycleRecord | None) -> None:
        """A run is over; `last` is its last cycle."""
        ...

    def trial_refused(self, number: int, reason: str) -> None:
        """A trial's options do not go together: it has failed without a run."""
        ...

    def refresh(self, progress: SweepProgress) -> None:
        """Called several times a second."""
        ...

    def close(self) -> None:
        """Leaves the terminal as it found it."""
        ...


def run_sweep(
    spec: SweepSpec,
    folder: RunFolder,
    executor: Executor,
    work: WorkCounter,
    display: Display,
) -> SweepProgress:
    """Runs a sweep to its end.

    Every record is on the disk before the study is told of it or anything else depends on it.

    Args:
        spec: the sweep, checked.
        folder: new; receives the study and the records.
        executor: trains the runs; stays open.
        work: counts the work of configurations on the sweep's data.
        display: is told what happens.

    Returns:
        What was done, with the number of failures.
    """
    return _Driver(spec, folder, executor, work, display).run()


@dataclass(slots=True)
class _OpenTrial:
    """A trial that has no result yet."""

    trial: Trial
    n_seeds: int
    values: dict[int, list[float | None]] = field(default_factory=dict)
    """The objective after each cycle, by seed."""
    ended: dict[int, RunState] = field(default_factory=dict)
    n_reported: int = 0
    """Cycles that the study has heard of."""
    pruned: bool = False

    def mean_after(self, cycle: int) -> float | None:
        """The mean over all seeds after that cycle; None until all of them have got there."""
        reached = [values[cycle - 1] for values in self.values.values() if len(values) >= cycle]
        if len(reached) < self.n_seeds:
            return None
        numbers = [value for value in reached if value is not None]
        return statistics.fmean(numbers) if len(numbers) == len(reached) else float("nan")


class _Driver:
    def __init__(
        self,
        spec: SweepSpec,
        folder: RunFolder,
        executor: Executor,
        work: WorkCounter,
        display: Display,
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._executor = executor
        self._work = work
        self._display = display
        self._search = Search(spec, folder.journal)
        self._progress = SweepProgress(
            n_trials=spec.n_trials(),
            n_seeds=len(spec.seeds),
            mean_cost=work.mean_cost(typical_configurations(spec)),
            objective=spec.objective,
        )
        self._waiting: deque[Run] = deque()
        self._trials: dict[int, _OpenTrial] = {}

    def run(self) -> SweepProgress:
        while True:
            self._start_runs()
            if not self._progress.running:
                return self._progress
            self._take(self._executor.poll(_POLL_S))
            self._display.refresh(self._progress)

    def _start_runs(self) -> None:
        while self._executor.n_free > 0:
            if not self._waiting:
                if not self._ask():
                    return
                continue
            run = self._waiting.popleft()
            self._progress.run_started(run, self._work.count(run.configuration).cost)
            self._executor.start(run)

    def _ask(self) -> bool:
        """Takes the next trial of the study, if it can be used; False if there is none."""
        try:
            trial = self._search.ask()
        except UnusableTrial as unusable:
            self._progress.n_trials_failed += 1
            self._display.trial_refused(unusable.number, unusable.reason)
            return True
        if trial is None:
            return False
        seeds = self._spec.seeds
        self._trials[trial.number] = _OpenTrial(trial, len(seeds))
        self._waiting.extend(Run(trial.number, seed, trial.configuration) for seed in seeds)
        return True

    def _take(self, events: Sequence[RunEvent]) -> None:
        self._write(events)
        for event in events:
            running = self._progress.running[event.run]
            if isinstance(event, RunProgressed):
                running.progress = event.progress
            elif isinstance(event, CycleEnded):
                running.last = event.record
                self._cycle_ended(running.run, event.record)
            else:
                self._display.run_ended(running.run, event, running.last)
                self._progress.run_ended(running.run)
                self._run_ended(running.run, event)

    def _write(self, events: Sequence[RunEvent]) -> None:
        running = self._progress.running
        self._folder.append(
            cycles=[
                (running[event.run].run, event.record)
                for event in events
                if isinstance(event, CycleEnded)
            ],
            runs=[
                self._row(running[event.run].run, event)
                for event in events
                if isinstance(event, RunEnded)
            ],
        )

    def _row(self, run: Run, ended: RunEnded) -> dict[str, object]:
        parameters = self._trials[run.trial].trial.parameters
        return run_row(run, ended, self._work.count(run.configuration), parameters)

    def _cycle_ended(self, run: Run, record: CycleRecord) -> None:
        """Reports the mean of the cycles that all seeds have reached, and prunes on it."""
        trial = self._trials[run.trial]
        trial.values.setdefault(run.seed, []).append(
            _objective(record, self._spec.objective.metric)
        )
        while not trial.pruned:
            cycle = trial.n_reported + 1
            mean = trial.mean_after(cycle)
            if mean is None:
                return
            trial.n_reported = cycle
            last_cycle = run.configuration.cycles
            if self._search.report(run.trial, mean, cycle) and cycle < last_cycle:
                self._prune(trial)

    def _prune(self, trial: _OpenTrial) -> None:
        trial.pruned = True
        for running in self._progress.running.values():
            if running.run.trial == trial.trial.number:
                self._executor.stop(running.run.name)

    def _run_ended(self, run: Run, ended: RunEnded) -> None:
        trial = self._trials[run.trial]
        trial.ended[run.seed] = ended.state
        if len(trial.ended) == trial.n_seeds:
            self._tell(trial)
            del self._trials[run.trial]

    def _tell(self, trial: _OpenTrial) -> None:
        number, states = trial.trial.number, set(trial.ended.values())
        value = trial.mean_after(trial.trial.configuration.cycles)
        if trial.pruned and "failed" not in states:
            self._search.tell_pruned(number)
            self._progress.n_trials_pruned += 1
        elif "failed" in states or value is None or not math.isfinite(value):
            self._search.tell_failed(number)
            self._progress.n_trials_failed += 1
        else:
            self._search.tell(number, value)
            self._progress.trial_finished(trial.trial, value)


def _objective(record: CycleRecord, metric: Metric) -> float | None:
    value: float | None = getattr(record, metric)
    return value
