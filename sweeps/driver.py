"""The driver: asks the study, keeps the executor busy, writes what happens, tells the results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from rso_core.records import CycleRecord
from sweeps.attempts import Attempts, n_in_vain
from sweeps.executors import Executor
from sweeps.open_trial import OpenTrial
from sweeps.points import typical_configurations
from sweeps.progress import SweepProgress
from sweeps.records import RecordedRun, Row, attempt_row, cycle_row, refused_row, run_row
from sweeps.run_folder import RunFolder
from sweeps.runs import (
    CycleEnded,
    Run,
    RunBegan,
    RunEnded,
    RunEvent,
    RunInterrupted,
    RunNoticed,
    RunProgressed,
    run_name,
)
from sweeps.search import Search, Trial, UnusableTrial
from sweeps.spec import SweepSpec
from sweeps.storage.checkpoints import CheckpointFolder, UnusableCheckpoint, position
from sweeps.work import WorkCounter

_POLL_S = 0.25
"""The longest wait between two refreshes of the display."""
_SUSPEND_S = 30.0
"""How long runs may take to write their checkpoints once the sweep is to stop."""


class Display(Protocol):
    """Shows how a sweep goes."""

    def run_ended(self, run: Run, ended: RunEnded, last: CycleRecord | None) -> None:
        """A run is over; `last` is its last cycle, if this driver has seen it."""
        ...

    def run_noticed(self, run: Run, notice: str) -> None:
        """Something about a run that does not end it."""
        ...

    def trial_refused(self, number: int, reason: str) -> None:
        """A trial's options do not go together: it has failed without a run."""
        ...

    def suspending(self, n_runs: int) -> None:
        """The sweep is to stop, and so many runs write their checkpoints."""
        ...

    def refresh(self, progress: SweepProgress) -> None:
        """Called several times a second."""
        ...

    def close(self) -> None:
        """Leaves the terminal as it found it."""
        ...


class Driver:
    """Runs a sweep to its end, from its beginning or from where an earlier driver left it.

    Every record is on the disk before the study is told of it or anything else depends on it, and
    every trial is in the study's storage before a run of it starts.

    Args:
        spec: the sweep, checked.
        folder: has the records of earlier drivers, and receives new ones.
        search: the study.
        work: counts the work of configurations on the sweep's data.

    Attributes:
        progress: what was done, with the number of failures.

    Raises:
        StorageFailed: here and in `run`: the folder fails; the sweep can be gone on with.
        StudyUnreachable: the study's storage does.
    """

    def __init__(
        self, spec: SweepSpec, folder: RunFolder, search: Search, work: WorkCounter
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._records = folder.records(spec.objective.metric)
        self._search = search
        self._work = work
        self._checkpoints = CheckpointFolder(folder.place, spec.checkpoints.every_s)
        self._attempts = Attempts(spec.limits)
        self.progress = SweepProgress(
            n_trials=spec.n_trials(),
            n_seeds=len(spec.seeds),
            mean_cost=work.mean_cost(typical_configurations(spec)),
            objective=spec.objective,
        )
        self._waiting: deque[Run] = deque()
        self._trials: dict[int, OpenTrial] = {}
        self._executor: Executor
        self._display: Display
        self._reopen()

    @property
    def has_work(self) -> bool:
        """Whether there is a run that has not ended."""
        return bool(self._trials) or self._search.n_asked < self._spec.n_trials()

    def run(
        self,
        executor: Executor,
        display: Display,
        is_to_stop: Callable[[], bool] = lambda: False,
    ) -> SweepProgress:
        """Trains all that is left; once.

        Args:
            executor: trains the runs; stays open.
            display: is told what happens.
            is_to_stop: asked several times a second; once it is true the runs write their
                checkpoints and the sweep is left to be gone on with.
        """
        self._executor, self._display = executor, display
        while not is_to_stop():
            self._start_runs()
            if not self.has_work:
                return self.progress
            self._take(executor.poll(_POLL_S))
            self._end_overdue()
            self._folder.lock.check()
            display.refresh(self.progress)
        self._suspend()
        return self.progress

    def _reopen(self) -> None:
        """Takes up the trials that the study has already."""
        for frozen in self._search.trials:
            recorded = self._records.parameters.get(frozen.number)
            if recorded is None and self._search.is_torn(frozen):
                self._forget(frozen.number)
            try:
                self._open(self._search.reopen(frozen, recorded))
            except UnusableTrial as unusable:
                self._refuse(unusable)
        self._search.flush()

    def _start_runs(self) -> None:
        while self._executor.n_free > 0:
            if not self._waiting:
                if not self._ask():
                    return
                continue
            run = self._waiting.popleft()
            self.progress.run_started(run, self._work.count(run.configuration).cost)
            self._attempts.start(run, self._trials[run.trial].runs[run.seed])
            self._executor.start(run)
            if self._trials[run.trial].is_pruned:  # decided by an earlier driver
                self._executor.stop(run.name)

    def _ask(self) -> bool:
        """Takes the next trial of the study, if it can be used; False if there is none."""
        number = self._search.n_asked
        recorded = self._records.parameters.get(number)
        if recorded is None and not self._search.repeats_itself:
            self._forget(number)
        try:
            trial = self._search.ask(recorded)
        except UnusableTrial as unusable:
            self._refuse(unusable)
            self._search.flush()
            self._display.trial_refused(unusable.number, unusable.reason)
            return True
        if trial is None:
            return False
        self._open(trial)
        self._search.flush()
        return True

    def _refuse(self, unusable: UnusableTrial) -> None:
        """Writes down a trial that cannot be run, unless that is written."""
        number = unusable.number
        rows = [
            refused_row(
                number, seed, unusable.parameters, self._spec.budget.cycles, unusable.reason
            )
            for seed in self._spec.seeds
            if self._records.run(run_name(number, seed)).state is None
        ]
        self._folder.append(runs=rows)
        self._records.forget(number, [run_name(number, seed) for seed in self._spec.seeds])
        self.progress.n_trials_failed += 1

    def _forget(self, number: int) -> None:
        """Drops what is left of a trial whose configuration the study has lost and nobody knows.

        A sampler that goes by the results may now choose another one for that number. Only damage
        to the study does this: a trial is in its storage before a run of it starts.
        """
        names = [run_name(number, seed) for seed in self._spec.seeds]
        if self._records.has_any(names):
            self._folder.drop_unended(number)
            self._records.forget(number, names)
        for name in names:
            self._checkpoints.delete(name)

    def _runs_of(self, trial: Trial) -> list[Run]:
        return [Run(trial.number, seed, trial.configuration) for seed in self._spec.seeds]

    def _open(self, trial: Trial) -> None:
        """Takes up a trial with what the records have of it; what is left of it is to be run."""
        runs = self._runs_of(trial)
        opened = OpenTrial.of(trial, {run.seed: self._records.run(run.name) for run in runs})
        self._trials[trial.number] = opened
        for run in runs:
            if opened.runs[run.seed].state is None:
                self._waiting.append(run)
            else:
                self.progress.run_recorded(self._work.count(run.configuration).cost)
                self._checkpoints.delete(run.name)
        self._report(opened)
        if opened.is_over:
            self._close(opened)
        elif self._is_to_be_pruned(opened):
            opened.is_pruned = True

    def _is_to_be_pruned(self, trial: OpenTrial) -> bool:
        """Whether an earlier driver would have stopped it, had it lived to do so."""
        is_on_its_way = 0 < trial.n_reported < trial.trial.configuration.cycles
        return (
            is_on_its_way
            and trial.trial.told is None
            and self._search.should_prune(trial.trial.number)
        )

    def _take(self, events: Sequence[RunEvent]) -> None:
        """Writes what the events say, and then acts on it."""
        events = self._written(events)
        for event in events:
            running = self.progress.running[event.run]
            run, trial = running.run, self._trials[running.run.trial]
            if isinstance(event, RunBegan):
                running.share_before = event.resumed_from[0] / run.configuration.cycles
            elif isinstance(event, RunProgressed):
                running.progress = event.progress
            elif isinstance(event, RunNoticed):
                self._display.run_noticed(run, event.notice)
            elif isinstance(event, CycleEnded):
                running.last = event.record
                self._report(trial)
            elif isinstance(event, RunEnded):
                self._display.run_ended(run, event, running.last)
                self.progress.run_ended(run)
                self._attempts.ended(run.name)
                self._checkpoints.delete(run.name)
            else:
                if isinstance(event, RunInterrupted):
                    self._display.run_noticed(run, f"{event.reason}; it goes on elsewhere")
                self.progress.run_left(run)
                self._attempts.ended(run.name)
                self._waiting.appendleft(run)
        for trial in [trial for trial in self._trials.values() if trial.is_over]:
            self._close(trial)
        self._search.flush()

    def _written(self, events: Sequence[RunEvent]) -> list[RunEvent]:
        """The events, once all that they say is on the disk.

        An attempt that was cut short becomes the end of its run if that is out of attempts.
        """
        cycles: list[Row] = []
        runs: list[Row] = []
        attempts: list[Row] = []
        judged: list[RunEvent] = []
        for event in events:
            run = self.progress.running[event.run].run
            recorded = self._trials[run.trial].runs[run.seed]
            if isinstance(event, RunBegan):
                self._attempts.began(event)
            elif isinstance(event, CycleEnded):
                # a run that was resumed tells of its earlier cycles again
                if event.record.cycle == recorded.n_cycles + 1:
                    cycles.append(cycle_row(run, event.record))
                    recorded.objectives.append(_objective(event.record, self._spec))
            elif isinstance(event, RunInterrupted):
                cut = self._attempts.cut(run.name, event.reason)
                attempts.append(attempt_row(run, cut))
                if self._is_given_up(run, recorded):
                    event = self._attempts.failed(
                        run.name,
                        f"{event.reason}, {n_in_vain(recorded.attempts)} times in a row without "
                        "getting further",
                    )
            if isinstance(event, RunEnded):
                recorded.state = event.state
                runs.append(self._row(run, event))
            judged.append(event)
        self._folder.append(cycles, runs, attempts)
        return judged

    def _row(self, run: Run, ended: RunEnded) -> Row:
        return run_row(
            run,
            ended,
            self._work.count(run.configuration),
            self._trials[run.trial].trial.parameters,
            n_attempts=self._attempts.n_attempts(run.name),
        )

    def _is_given_up(self, run: Run, recorded: RecordedRun) -> bool:
        if not self._attempts.is_out_of_attempts(recorded):
            return False
        try:
            reached = position(self._checkpoints.read(run.name))
        except UnusableCheckpoint:
            return True
        return reached <= max(recorded.attempts)

    def _end_overdue(self) -> None:
        for name in self._attempts.overdue():
            self._executor.abandon(name)
            limit_s = self._spec.limits.run_s
            reason = f"it took longer than 'limits.run_s' allows, {limit_s:g} s"
            self._take([self._attempts.failed(name, reason)])

    def _report(self, trial: OpenTrial) -> None:
        """Reports the mean of the cycles that all seeds have reached, and prunes on it."""
        number, last_cycle = trial.trial.number, trial.trial.configuration.cycles
        while trial.trial.told is None and not trial.is_pruned:
            following = trial.next_report()
            if following is None:
                return
            cycle, mean = following
            self._search.report(number, mean, cycle)
            trial.n_reported = cycle
            if cycle < last_cycle and self._search.should_prune(number):
                self._prune(trial)

    def _prune(self, trial: OpenTrial) -> None:
        trial.is_pruned = True
        for running in self.progress.running.values():
            if running.run.trial == trial.trial.number:
                self._executor.stop(running.run.name)

    def _close(self, trial: OpenTrial) -> None:
        """Tells the study of a trial that is over, unless it knows, and forgets it."""
        number, result, value = trial.trial.number, trial.result, trial.value
        is_to_tell = trial.trial.told is None
        if result == "pruned":
            if is_to_tell:
                self._search.tell_pruned(number)
            self.progress.n_trials_pruned += 1
        elif result == "failed" or value is None:
            if is_to_tell:
                self._search.tell_failed(number)
            self.progress.n_trials_failed += 1
        else:
            if is_to_tell:
                self._search.tell(number, value)
            self.progress.trial_finished(trial.trial, value)
        del self._trials[number]
        self._records.forget(number, [run.name for run in self._runs_of(trial.trial)])

    def _suspend(self) -> None:
        """Lets the runs write their checkpoints; one that does not answer is left behind."""
        self._display.suspending(len(self.progress.running))
        self._executor.suspend()
        deadline = time.monotonic() + _SUSPEND_S
        while self.progress.running and time.monotonic() < deadline:
            self._take(self._executor.poll(_POLL_S))
            self._display.refresh(self.progress)
        self.progress.is_interrupted = self.has_work


def _objective(record: CycleRecord, spec: SweepSpec) -> float | None:
    value: float | None = getattr(record, spec.objective.metric)
    return value
