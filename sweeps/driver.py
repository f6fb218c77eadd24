"""The driver: asks the study, keeps the executor busy, writes what happens, tells the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from rso_core.records import CycleRecord
from sweeps.attempts import Attempts, n_in_vain
from sweeps.cost import costs_by_kind
from sweeps.executors import Executor
from sweeps.loggers import NO_LOGGER, RunLogger
from sweeps.open_trial import OpenTrial
from sweeps.points import typical_configurations
from sweeps.progress import SweepProgress
from sweeps.records import RecordedRun, Row, attempt_row, cycle_row, run_row
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
)
from sweeps.search import Search
from sweeps.spec import SweepSpec
from sweeps.storage.checkpoints import CheckpointFolder, UnusableCheckpoint, position
from sweeps.trials import Trials
from sweeps.work import WorkCounter

_POLL_S = 0.25
"""The longest wait between two refreshes of the display."""
_SLOTS_FOR_ONE_AHEAD = 8
"""Actors for each run that is kept ready though its sampler would learn from one more result."""
_SUSPEND_S = 30.0
"""How long runs may take to write their checkpoints once the sweep is to stop."""


class Display(Protocol):
    """Shows how a sweep goes."""

    def run_began(self, run: Run, began: RunBegan) -> None:
        """An attempt at a run begins: its first one, or one that goes on."""
        ...

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
    every trial is in the study's storage before a run of it starts. What belongs together is
    written together: a batch of events costs one wait for the disk in each file that it concerns.

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
        SearchFailed: a user's own sampler or pruner does.
    """

    def __init__(
        self, spec: SweepSpec, folder: RunFolder, search: Search, work: WorkCounter
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._search = search
        self._work = work
        self._checkpoints = CheckpointFolder(folder.place, spec.checkpoints.every_s)
        self._attempts = Attempts(spec.limits)
        typical = typical_configurations(spec)
        n_runs = spec.n_trials() * len(spec.seeds)
        self.progress = SweepProgress(
            n_trials=spec.n_trials(),
            n_seeds=len(spec.seeds),
            mean_cost=work.mean_cost(typical),
            objectives=spec.objective,
            total_costs=costs_by_kind(typical, work.count, n_runs)
            if spec.n_planned() is not None and typical
            else None,
        )
        self._trials = Trials(spec, folder, search, work, self._checkpoints, self.progress)
        self._metrics: list[str] = [objective.metric for objective in spec.objective]
        self._driven_before_s = 0.0 if spec.stop.wall_clock_s is None else folder.driven_s()
        self._executor: Executor
        self._display: Display
        self._logger: RunLogger
        self._trials.reopen()
        search.flush()

    @property
    def has_work(self) -> bool:
        """Whether there is a run that has not ended, or a trial that is to be begun."""
        return len(self._trials) > 0 or self._is_to_ask

    @property
    def _is_to_ask(self) -> bool:
        """Whether another trial is to be begun; if not for a reason to stop, that is noted."""
        if not self._search.has_more:
            return False
        if self.progress.stop_reason is None and self._trials.stop_rule.may_stop:
            driven_s = self._driven_before_s + self.progress.elapsed_s
            self.progress.stop_reason = self._trials.stop_rule.reason(driven_s)
        return self.progress.stop_reason is None

    def run(
        self,
        executor: Executor,
        display: Display,
        is_to_stop: Callable[[], bool] = lambda: False,
        logger: RunLogger = NO_LOGGER,
    ) -> SweepProgress:
        """Trains all that is left; once.

        Args:
            executor: trains the runs; stays open.
            display: is told what happens.
            is_to_stop: asked several times a second; once it is true the runs write their
                checkpoints and the sweep is left to be gone on with.
            logger: is told of runs, too, once the records have it.
        """
        self._executor, self._display, self._logger = executor, display, logger
        self._drive(is_to_stop)
        if self._trials.stop_rule.may_stop:
            self._folder.note_end(None if self.has_work else self.progress.stop_reason)
        return self.progress

    def _drive(self, is_to_stop: Callable[[], bool]) -> None:
        while not is_to_stop():
            self._ask()
            if not self.has_work:
                return
            self._start_waiting()
            events = self._executor.poll(_POLL_S)
            # what was asked for ahead is begun before anything else, so that no actor waits
            self._start_waiting()
            self._take(events)
            self._expect()
            self._end_overdue()
            self._folder.lock.check()
            self._display.refresh(self.progress)
        self._suspend()

    def _ask(self) -> None:
        """Asks for as many trials as there is room for, and some ahead where nothing is lost by it.

        All that was asked and told since the last time is durable when this returns.
        """
        n_wanted = self._executor.n_free + self._n_ahead()
        waiting = self._trials.waiting
        while len(waiting) < n_wanted and self._is_to_ask:
            if not self._trials.ask(self._display.trial_refused):
                break
        self._search.flush()

    def _n_ahead(self) -> int:
        """Runs that are to be ready for actors that are not free yet."""
        n_slots = self._executor.n_slots
        # the last result may be the one that stops the sweep, or a trial may wait for more seeds
        has_seeds_to_come = self._spec.pruner.steps == "seeds" or self._spec.repetitions is not None
        if self._trials.stop_rule.may_stop or has_seeds_to_come:
            return 0
        if self._spec.sampler.asks_ahead:
            return n_slots
        # many actors are asked for side by side anyway: one result more or less is not missed
        return n_slots // _SLOTS_FOR_ONE_AHEAD

    def _start_waiting(self) -> None:
        """Starts runs, whose trials are all durable, as long as there is room."""
        waiting = self._trials.waiting
        if not waiting:
            return
        for run in self._executor.startable(waiting):
            waiting.remove(run)
            self.progress.run_started(run, self._work.count(run.configuration).cost)
            self._attempts.start(run, self._trials.recorded(run))
            self._executor.start(run)

    def _expect(self) -> None:
        waiting = self._trials.waiting
        self._executor.expect(waiting, max(0, self.progress.n_to_come() - len(waiting)))

    def _take(self, events: Sequence[RunEvent]) -> None:
        """Writes what the events say, and then acts on it."""
        advanced: dict[int, OpenTrial] = {}
        for event in self._written(events):
            running = self.progress.running[event.run]
            run, trial = running.run, self._trials.of(running.run)
            self._trials.moved(trial)
            if isinstance(event, RunBegan):
                running.resumed_from = event.resumed_from
                running.share_before = event.resumed_from[0] / run.configuration.cycles
                self._display.run_began(run, event)
            elif isinstance(event, RunProgressed):
                running.progress = event.progress
            elif isinstance(event, RunNoticed):
                self._display.run_noticed(run, event.notice)
            elif isinstance(event, CycleEnded):
                running.last = event.record
                running.training_s += event.record.training_s + event.record.evaluation_s
                advanced[run.trial] = trial
            elif isinstance(event, RunEnded):
                self._display.run_ended(run, event, running.last)
                self.progress.run_ended(run, running.training_s)
                self._attempts.ended(run.name)
                self._checkpoints.delete(run.name)
                advanced[run.trial] = trial
            else:
                if isinstance(event, RunInterrupted):
                    self._display.run_noticed(run, f"{event.reason}; it goes on elsewhere")
                self.progress.run_left(run)
                self._attempts.ended(run.name)
                self._trials.waiting.appendleft(run)
        for trial in advanced.values():
            self._report(trial)
        self._trials.settle()

    def _report(self, trial: OpenTrial) -> None:
        """Reports what the trial has come to, and stops its runs if it is pruned for it."""
        if self._trials.report(trial):
            for running in self.progress.running.values():
                if running.run.trial == trial.trial.number:
                    self._executor.stop(running.run.name)

    def _written(self, events: Sequence[RunEvent]) -> list[RunEvent]:
        """The events, once all that they say is on the disk.

        An attempt that was cut short becomes the end of its run if that is out of attempts.
        """
        cycles: list[Row] = []
        runs: list[Row] = []
        attempts: list[Row] = []
        judged: list[RunEvent] = []
        logged: list[Callable[[], None]] = []
        for event in events:
            run = self.progress.running[event.run].run
            recorded = self._trials.recorded(run)
            if isinstance(event, RunBegan):
                self._attempts.began(event)
                logged.append(partial(self._logger.run_began, run))
            elif isinstance(event, CycleEnded):
                # a run that was resumed tells of its earlier cycles again
                if event.record.cycle == recorded.n_cycles + 1:
                    cycles.append(cycle_row(run, event.record))
                    figures = {name: getattr(event.record, name) for name in self._metrics}
                    recorded.add_cycle(self._spec.objective, figures)
                    self._trials.stop_rule.images_passed(event.record.n_images_passed)
                    self.progress.n_visited += event.record.n_visited
                    self.progress.n_images_passed += event.record.n_images_passed
                    logged.append(partial(self._logger.cycle_ended, run, event.record))
            elif isinstance(event, RunInterrupted):
                cut = self._attempts.cut(run.name, event.reason)
                attempts.append(attempt_row(run, cut))
                self.progress.n_interrupted += 1
                if self._is_given_up(run, recorded):
                    event = self._attempts.failed(
                        run.name,
                        f"{event.reason}, {n_in_vain(recorded.attempts)} times in a row without "
                        "getting further",
                    )
            if isinstance(event, RunEnded):
                recorded.state = event.state
                runs.append(self._row(run, event))
                logged.append(partial(self._logger.run_ended, run, event.state))
            judged.append(event)
        self._folder.append(cycles, runs, attempts)
        for tell in logged:
            tell()
        return judged

    def _row(self, run: Run, ended: RunEnded) -> Row:
        return run_row(
            run,
            ended,
            self._work.count(run.configuration),
            self._trials.of(run).trial.parameters,
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

    def _suspend(self) -> None:
        """Lets the runs write their checkpoints; one that does not answer is left behind."""
        self._display.suspending(len(self.progress.running))
        self._executor.suspend()
        deadline = time.monotonic() + _SUSPEND_S
        while self.progress.running and time.monotonic() < deadline:
            self._take(self._executor.poll(_POLL_S))
            self._search.flush()
            self._display.refresh(self.progress)
        self.progress.is_interrupted = self.has_work
