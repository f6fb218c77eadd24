"""The Optuna study of a sweep: which configuration comes next, and what came of the others.

One process owns it: it alone asks, reports, prunes and tells.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from rso_core.configuration import Configuration
from rso_core.errors import InvalidInput, reason
from sweeps.combination_search import CombinationSearch
from sweeps.combinations import Point
from sweeps.points import EarlierSpace, KnownPoints, allowed_draw
from sweeps.pruners import NoPruning, OwnPruning, PatientPruning
from sweeps.samplers import OwnSampling
from sweeps.spec import SweepSpec
from sweeps.storage.studies import StudyStore
from sweeps.storage.study_storage import StudyUnreachable, storage_errors
from sweeps.study_pruner import build_pruner
from sweeps.study_sampler import SamplerSource
from sweeps.study_trials import (
    WarmTrial,
    complete_values,
    create_study,
    create_trial_of,
    is_half_rejected,
    is_own,
    reject,
)

Result = Literal["finished", "pruned", "failed"]
"""What a trial comes to."""

_NOTHING_RECORDED: Mapping[int, Point] = MappingProxyType({})
_MOST_REJECTED = 5
"""Forbidden points in a row that a sampler may choose, since not all samplers learn from one."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration that the study has suggested."""

    number: int
    configuration: Configuration
    parameters: Point
    told: Result | None = None
    """The result that the study has of it already; None while it has none."""
    reported: Mapping[int, float] = field(default_factory=dict)
    """The objective after each step that the study has heard of."""


class UnusableTrial(Exception):  # noqa: N818  (it names what was found)
    """A trial whose values are sound one by one but make no configuration together."""

    def __init__(self, number: int, reason: str, parameters: Point) -> None:
        super().__init__(number, reason, parameters)
        self.number = number
        self.reason = reason
        self.parameters = parameters


class SearchFailed(RuntimeError):  # noqa: N818  (it names what happened)
    """A user's own sampler or pruner has raised; one line that says which and what."""


class Search:
    """Asks the study for configurations and tells it their results.

    All of it is in the storage after `flush`, and after nothing else.

    The study may hold more than the sweep's own trials: results of another sweep, with which it
    began, and points that a sampler chose although a constraint forbids them, which count as
    violations of it and are not run.

    Args:
        spec: the sweep.
        store: where the study is kept; it is made there if it is not there yet.
        cost: of one run of a configuration; a grid begins with the most costly ones.
        earlier: what was searched before the space was grown.
        warm: results of other sweeps, with which a new study begins.
    """

    def __init__(
        self,
        spec: SweepSpec,
        store: StudyStore,
        cost: Callable[[Configuration], float] | None = None,
        earlier: Sequence[EarlierSpace] = (),
        warm: Sequence[WarmTrial] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spec = spec
        self._store = store
        self._storage = store.storage
        self._points = KnownPoints(spec, cost, earlier)
        self._samplers = SamplerSource(
            spec.sampler, spec.seed, self._violations if spec.space.constraints else None
        )
        with storage_errors():
            if not store.has_study():
                create_study(store, spec, warm)
            self._study = optuna.load_study(
                study_name=store.study_name,
                storage=store.storage,
                sampler=self._samplers.for_trial(0),
                pruner=build_pruner(spec.pruner, spec.most_cycles()),
            )
            self._study_id = self._storage.get_study_id_from_name(store.study_name)
            trials = self._study.get_trials(deepcopy=False)
        self._earlier = [trial for trial in trials if is_own(trial)]
        self._n_trials = len(trials)
        self.n_asked = len(self._earlier)
        self._is_exhausted = False
        self._combinations = (
            None if spec.sampler.searches_each is None else CombinationSearch(spec.space)
        )
        self._asked: dict[int, optuna.Trial] = {}
        for trial in filter(is_half_rejected, trials):
            with storage_errors(), self._sampling(trial.number):
                self._study.tell(trial.number, state=TrialState.PRUNED)

    @property
    def repeats_itself(self) -> bool:
        """Whether a trial's number alone says its configuration, whatever was told before."""
        return self._points.are_known

    @property
    def has_more(self) -> bool:
        """Whether there is a trial left to be asked for."""
        return not self._is_exhausted and self.n_asked < self._spec.n_trials()

    def earlier_trials(self) -> list[FrozenTrial]:
        """The sweep's own trials that the study had when it was opened, once: they are let go."""
        earlier, self._earlier = self._earlier, []
        return earlier

    def ask(self, recorded: Mapping[int, Point] = _NOTHING_RECORDED) -> Trial | None:
        """The next configuration; None once the sweep has all its trials.

        Args:
            recorded: by number, the points of trials that are known from the records; the others
                are sampled.

        Raises:
            UnusableTrial: the next one's options do not go together; the study knows of it, and
                there may be more after it.
            SearchFailed: the user's own sampler has raised.
        """
        if not self.has_more:
            return None
        with storage_errors():
            for n_rejected in itertools.count():
                # again after each that was rejected: the records may know the next number
                point = recorded.get(self._n_trials) or self._points.get(self.n_asked)
                if point is None and self._combinations is not None:
                    point = self._within(self._points.given(self.n_asked))
                if point is None and self._points.n_points is not None:
                    self._is_exhausted = True
                    return None
                if point is None and n_rejected == _MOST_REJECTED:
                    point = allowed_draw(self._spec, self._n_trials)
                found = self._sampled() if point is None else (self._created(point), point)
                if found is not None:
                    self.n_asked += 1
                    return self._usable(*found, {})
        raise AssertionError("what is drawn at random is allowed")

    def is_torn(self, frozen: FrozenTrial) -> bool:
        """Whether the study has lost values of a trial that was asked for."""
        try:
            self._spec.space.suggest(optuna.trial.FixedTrial(frozen.params))
        except ValueError:  # so optuna says that one is not there
            return True
        return False

    def reopen(self, frozen: FrozenTrial, recorded: Point | None = None) -> Trial | None:
        """A trial of the study that was asked for earlier, by this driver or one before it.

        Args:
            frozen: the trial, of `earlier_trials`.
            recorded: its point if it is known from the records.

        Returns:
            The trial; None if it is not to be run, since a constraint forbids its point.

        Raises:
            UnusableTrial: its options do not go together.
        """
        number, told = frozen.number, _RESULTS.get(frozen.state)
        with storage_errors():
            if told is not None:
                values = self._spec.space.suggest(optuna.trial.FixedTrial(frozen.params))
                return self._configured(number, values, told, frozen.intermediate_values)
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
            if frozen.state == TrialState.WAITING:  # somebody has enqueued it
                self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            if recorded is not None:
                complete_values(self._store, self._spec.space, trial_id, frozen, recorded)
            with self._sampling(number):
                # what was suggested is given again; the rest of a torn ask is sampled
                trial = optuna.Trial(self._study, trial_id)
                values = self._spec.space.suggest(trial)
            if not self._spec.space.is_allowed(values):
                reject(self._study, trial)
                self.n_asked -= 1
                return None
            return self._usable(trial, values, frozen.intermediate_values)

    def report(self, number: int, value: float, step: int) -> None:
        """Reports the objective after a step: a cycle, or a seed if the pruner compares seeds."""
        if math.isfinite(value):
            with storage_errors():
                self._asked[number].report(value, step=step)

    def should_prune(self, number: int) -> bool:
        """Whether the trial is to be pruned, to go by what was reported last.

        Raises:
            SearchFailed: the user's own pruner has raised.
        """
        if isinstance(self._spec.pruner, NoPruning):
            return False
        with (
            storage_errors(),
            _own_class(self._spec.pruner, "pruner"),
            warnings.catch_warnings(),
        ):
            if self._spec.pruner.steps == "seeds":
                # the best trial may be another sweep's, or lack seeds that this one was given
                warnings.simplefilter("ignore", UserWarning)
            return self._asked[number].should_prune()

    def tell(self, number: int, values: Sequence[float]) -> None:
        """Tells the objectives of a trial that ran to its end; finite numbers."""
        with storage_errors(), self._sampling(number):
            self._study.tell(self._asked.pop(number), list(values))

    def tell_pruned(self, number: int) -> None:
        """Tells that a trial was stopped early; the study takes its last reported value."""
        with storage_errors(), self._sampling(number):
            self._study.tell(self._asked.pop(number), state=TrialState.PRUNED)

    def tell_failed(self, number: int) -> None:
        """Tells that a trial has no objective."""
        with storage_errors(), self._sampling(number):
            self._study.tell(self._asked.pop(number), state=TrialState.FAIL)

    def flush(self) -> None:
        """Sees to it that all that was asked, reported and told is in the storage."""
        with storage_errors():
            self._store.flush()

    def _sampled(self) -> tuple[optuna.Trial, Point] | None:
        """A trial whose point the sampler chooses; None if that is forbidden, and rejected."""
        with self._sampling(self._n_trials):
            trial = self._study.ask()
            self._n_trials += 1
            values = self._spec.space.suggest(trial)
            if self._spec.space.is_allowed(values):
                return trial, values
            reject(self._study, trial)
        return None

    def _within(self, combination: Point | None) -> Point | None:
        """What the combination's own search chooses; None where there is no combination."""
        if combination is None or self._combinations is None:
            return None
        number = self._n_trials
        point = self._combinations.suggest(
            combination,
            self._study,
            self._study.get_trials(deepcopy=False),
            self._samplers.for_combination(number),
        )
        if self._spec.space.is_allowed(point):
            return point
        return allowed_draw(self._spec, number, combination)

    def _created(self, point: Point) -> optuna.Trial:
        trial_id = create_trial_of(self._store, self._study_id, self._spec.space, point)
        self._n_trials += 1
        return optuna.Trial(self._study, trial_id)

    @contextmanager
    def _sampling(self, number: int) -> Iterator[None]:
        """Within it the study has the trial's sampler."""
        if self._spec.sampler.learns or not self.repeats_itself:
            self._study.sampler = self._samplers.for_trial(number)
        with _own_class(self._spec.sampler, "sampler"):
            yield

    def _violations(self, frozen: FrozenTrial) -> tuple[float, ...]:
        return self._spec.space.violation(
            self._spec.space.suggest(optuna.trial.FixedTrial(frozen.params))
        )

    def _usable(self, trial: optuna.Trial, values: Point, reported: Mapping[int, float]) -> Trial:
        try:
            usable = self._configured(trial.number, values, None, reported)
        except UnusableTrial:
            with self._sampling(trial.number):
                self._study.tell(trial, state=TrialState.FAIL)
            raise
        self._asked[trial.number] = trial
        return usable

    def _configured(
        self,
        number: int,
        values: Point,
        told: Result | None,
        reported: Mapping[int, float],
    ) -> Trial:
        try:
            configuration = Configuration.from_values(values, self._spec.budget.cycles)
        except InvalidInput as error:
            raise UnusableTrial(number, str(error), values) from error
        return Trial(number, configuration, values, told, dict(reported))


_RESULTS: dict[TrialState, Result] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@contextmanager
def _own_class(section: object, field: str) -> Iterator[None]:
    """Whatever a user's own class raises becomes one line; what others raise stays."""
    if isinstance(section, PatientPruning):
        section, field = section.wrapped, f"{field}.wrapped"
    if not isinstance(section, OwnSampling | OwnPruning):
        yield
        return
    try:
        with storage_errors():
            yield
    except StudyUnreachable:
        raise
    except (Exception, SystemExit) as error:
        raise SearchFailed(f"'{field}' {section.name} has failed ({reason(error)})") from error
