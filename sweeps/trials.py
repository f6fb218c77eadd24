"""The trials of a sweep that are on their way: taken up, reported, pruned, repeated and told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from sweeps.open_trial import OpenTrial
from sweeps.progress import SweepProgress
from sweeps.pruners import WilcoxonPruning
from sweeps.records import RecordedRun, Records, refused_row, run_row
from sweeps.repeating import needs_seed, next_seed
from sweeps.run_folder import RunFolder
from sweeps.runs import Run, RunEnded, now, run_name
from sweeps.search import Search, Trial, UnusableTrial
from sweeps.spec import SweepSpec
from sweeps.stopping import StopRule
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.work import WorkCounter

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Trials:
    """Keeps the study and the records of ended runs in step with what the runs come to.

    Args:
        spec: the sweep.
        folder: has the records of earlier drivers, and receives new ones.
        search: the study.
        work: counts the work of configurations.
        checkpoints: of runs that are not over.
        progress: is told of trials.

    Attributes:
        waiting: the runs to be started next, in this order.
        records: what is on the disk of trials that are not over.
        stop_rule: says when no further trial is to be begun.
    """

    def __init__(
        self,
        spec: SweepSpec,
        folder: RunFolder,
        search: Search,
        work: WorkCounter,
        checkpoints: CheckpointFolder,
        progress: SweepProgress,
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._search = search
        self._work = work
        self._checkpoints = checkpoints
        self._progress = progress
        self._open: dict[int, OpenTrial] = {}
        self._to_settle: set[int] = set()
        self.records: Records = folder.records(spec.objective, spec.budget.cycles)
        self.stop_rule = StopRule(spec.stop, spec.objective[0], self.records.n_images_passed)
        self.waiting: deque[Run] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def reopen(self) -> None:
        """Takes up the trials that the study has already: in the order in which they ended, then
        those that have not.
        """
        for frozen in sorted(self._search.earlier_trials(), key=_when_ended):
            recorded = self.records.parameters.get(frozen.number)
            if recorded is None and self._search.is_torn(frozen):
                self._forget(frozen.number)
            try:
                trial = self._search.reopen(frozen, recorded)
                if trial is not None:
                    self._take_up(trial)
            except UnusableTrial as unusable:
                self._refuse(unusable)
        self.settle()

    def ask(self, refused: Callable[[int, str], object]) -> bool:
        """Takes up the next trial of the study, if it can be used; False if there is none.

        Args:
            refused: told of a trial whose options do not go together, by number and reason.
        """
        try:
            trial = self._search.ask(self.records.parameters)
        except UnusableTrial as unusable:
            self._refuse(unusable)
            refused(unusable.number, unusable.reason)
            return True
        if trial is None:
            return False
        is_recorded = trial.number in self.records.parameters
        if not is_recorded and not self._search.repeats_itself:
            self._forget(trial.number)
        self._take_up(trial)
        return True

    def of(self, run: Run) -> OpenTrial:
        """The trial of a run that is not over."""
        return self._open[run.trial]

    def recorded(self, run: Run) -> RecordedRun:
        """What is on the disk of a run whose trial is not over."""
        return self._open[run.trial].runs[run.seed]

    def report(self, trial: OpenTrial) -> bool:
        """Reports what all seeds have reached; whether the trial is now to be stopped for it."""
        if len(self._spec.objective) > 1:  # optuna takes no reports then
            return False
        number = trial.trial.number
        while trial.trial.told is None and not trial.is_pruned:
            following = trial.next_report()
            if following is None:
                return False
            step, value, is_last = following
            self._search.report(number, value, step)
            trial.reported(step)
            if not is_last and self._search.should_prune(number):
                trial.is_pruned = True
                return True
        return False

    def moved(self, trial: OpenTrial) -> None:
        """Something has become of a run of the trial, so that it is to be settled."""
        self._to_settle.add(trial.trial.number)

    def settle(self) -> None:
        """Goes on with the trials some of whose runs have ended: more runs of them, or the end.

        Only those that were taken up or have moved since the last time are looked at: with many
        actors a batch of events concerns few of the trials that are open.
        """
        if not self._to_settle:
            return
        # in the order in which they were taken up, whatever came first
        trials = [trial for number, trial in self._open.items() if number in self._to_settle]
        self._to_settle.clear()
        for trial in trials:
            if trial.is_pruned:
                self._skip(trial)
            if not trial.is_over:
                self.waiting.extendleft(reversed(trial.startable()))
            elif not self._repeated(trial):
                self._close(trial)

    def _take_up(self, trial: Trial) -> None:
        """With what the records have of it; what is left of it is to be run."""
        number = trial.number
        known = self.records.seeds.get(number, ())
        seeds = [*self._spec.seeds, *sorted(set(known) - set(self._spec.seeds))]
        runs = {seed: self.records.run(run_name(number, seed)) for seed in seeds}
        self._progress.n_runs_added += len(seeds) - len(self._spec.seeds)
        pruner = self._spec.pruner
        n_startup = pruner.n_startup_seeds if isinstance(pruner, WilcoxonPruning) else None
        opened = OpenTrial.of(trial, runs, n_startup)
        self._open[number] = opened
        self._to_settle.add(number)
        for seed, recorded in runs.items():
            if recorded.state is not None:
                cost = self._work.count(trial.configuration).cost
                self._progress.run_recorded(cost, trial.configuration)
                self._checkpoints.delete(run_name(number, seed))
        self.report(opened)
        if self._would_be_pruned(opened):
            opened.is_pruned = True
        if not opened.is_over:
            self.waiting.extend(() if opened.is_pruned else opened.startable())
        elif not self._repeated(opened):
            self._close(opened)

    def _would_be_pruned(self, trial: OpenTrial) -> bool:
        """Whether an earlier driver would have stopped it, had it lived to do so."""
        return (
            bool(trial.trial.reported)
            and trial.trial.told is None
            and not trial.is_all_reported
            and self._search.should_prune(trial.trial.number)
        )

    def _skip(self, trial: OpenTrial) -> None:
        """Writes down the runs of a stopped trial that nobody has begun."""
        moment = now()
        not_run = [*trial.not_given_out(), *self._taken_back(trial)]
        rows = []
        for run in not_run:
            recorded = trial.runs[run.seed]
            recorded.state = "pruned"
            # one that was begun had its threads under a driver before this one
            n_threads = self._spec.resources.cpus_per_run if recorded.values else 0
            ended = RunEnded(run.name, "pruned", None, "", n_threads, moment, moment)
            work = self._work.count(run.configuration)
            parameters = trial.trial.parameters
            rows.append(run_row(run, ended, work, parameters, len(recorded.attempts)))
            self._progress.run_recorded(work.cost, run.configuration)
        self._folder.append(runs=rows)
        for run in not_run:
            self._checkpoints.delete(run.name)

    def _taken_back(self, trial: OpenTrial) -> Iterator[Run]:
        """The trial's runs that were waiting to be started; they wait no longer."""
        taken = [run for run in self.waiting if run.trial == trial.trial.number]
        for run in taken:
            self.waiting.remove(run)
        return iter(taken)

    def _repeated(self, trial: OpenTrial) -> bool:
        """Gives a trial that is over another seed if it needs one; whether it did."""
        repetitions, objective = self._spec.repetitions, self._spec.objective[0]
        if repetitions is None or trial.trial.told is not None or trial.result != "finished":
            return False
        best = None if self._progress.best is None else self._progress.best.value
        if not needs_seed(trial.values_by_seed, best, repetitions, objective.direction):
            return False
        if self._spec.pruner.steps == "seeds" and self._search.should_prune(trial.trial.number):
            return False  # the test finds it worse than the best
        seed = next_seed(trial.runs)
        trial.runs[seed] = self.records.run(run_name(trial.trial.number, seed))
        self._progress.n_runs_added += 1
        self.waiting.extendleft(reversed(trial.startable()))
        return True

    def _close(self, trial: OpenTrial) -> None:
        """Tells the study of a trial that is over, unless it knows, and forgets it."""
        number, result, values = trial.trial.number, trial.result, trial.values
        is_to_tell = trial.trial.told is None
        value: float | None = None
        if result == "pruned":
            if is_to_tell:
                self._search.tell_pruned(number)
            self._progress.n_trials_pruned += 1
        elif result == "failed" or values is None:
            if is_to_tell:
                self._search.tell_failed(number)
            self._progress.n_trials_failed += 1
        else:
            if is_to_tell:
                self._search.tell(number, values)
            self._progress.trial_finished(trial.trial, values)
            value = values[0]
        self.stop_rule.trial_ended(value)
        del self._open[number]
        self._to_settle.discard(number)
        self.records.forget(number, [run_name(number, seed) for seed in trial.runs])

    def _refuse(self, unusable: UnusableTrial) -> None:
        """Writes down a trial that cannot be run, unless that is written."""
        number = unusable.number
        names = {seed: run_name(number, seed) for seed in self._spec.seeds}
        rows = [
            refused_row(
                number,
                seed,
                unusable.parameters,
                self._spec.cycles_of(unusable.parameters),
                unusable.reason,
            )
            for seed, name in names.items()
            if self.records.run(name).state is None
        ]
        self._folder.append(runs=rows)
        self.records.forget(number, names.values())
        self._progress.n_trials_failed += 1
        self.stop_rule.trial_ended(None)

    def _forget(self, number: int) -> None:
        """Drops what is left of a trial whose configuration the study has lost and nobody knows.

        A sampler that goes by the results may now choose another one for that number. Only damage
        to the study does this: a trial is in its storage before a run of it starts.
        """
        seeds = {*self._spec.seeds, *self.records.seeds.get(number, ())}
        names = [run_name(number, seed) for seed in seeds]
        if self.records.has_any(names):
            self._folder.drop_unended(number)
            self.records.forget(number, names)
        for name in names:
            self._checkpoints.delete(name)
            self._checkpoints.delete_final(name)


def _when_ended(frozen: FrozenTrial) -> tuple[bool, datetime, int]:
    """Sorts trials by when they ended; those that have not come last."""
    ended = frozen.datetime_complete
    return ended is None, ended or datetime.max, frozen.number
