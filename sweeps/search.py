"""The Optuna study of a sweep: which configuration comes next, and what came of the others.

One process owns it: it alone asks, reports, prunes and tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from rso_core.configuration import Configuration
from rso_core.errors import InvalidInput
from sweeps.points import KnownPoints, Point, sampler_seed
from sweeps.pruners import MedianPruning
from sweeps.samplers import TpeSampling
from sweeps.spec import SweepSpec
from sweeps.storage.studies import StudyStore
from sweeps.storage.study_storage import storage_errors

Result = Literal["finished", "pruned", "failed"]
"""What a trial comes to."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration that the study has suggested."""

    number: int
    configuration: Configuration
    parameters: Point
    told: Result | None = None
    """The result that the study has of it already; None while it has none."""
    reported: Mapping[int, float] = field(default_factory=dict)
    """The objective after each cycle that the study has heard of."""


class UnusableTrial(Exception):  # noqa: N818  (it names what was found)
    """A trial whose values are sound one by one but make no configuration together."""

    def __init__(self, number: int, reason: str, parameters: Point) -> None:
        super().__init__(number, reason, parameters)
        self.number = number
        self.reason = reason
        self.parameters = parameters


class Search:
    """Asks the study for configurations and tells it their results.

    All of it is in the storage after `flush`, and after nothing else.

    Args:
        spec: the sweep.
        store: where the study is kept; it is made there if it is not there yet.
    """

    def __init__(self, spec: SweepSpec, store: StudyStore) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spec = spec
        self._store = store
        with storage_errors():
            # optuna's `load_if_exists` would write into the journal each time
            if not store.has_study():
                store.storage.create_new_study([_direction(spec)], store.study_name)
            self._study = optuna.load_study(
                study_name=store.study_name, storage=store.storage, pruner=_pruner(spec)
            )
            self._study_id = store.storage.get_study_id_from_name(store.study_name)
            self.trials = self._study.get_trials(deepcopy=False)
        self.n_asked = len(self.trials)
        self._points = KnownPoints(spec)
        self._asked: dict[int, optuna.Trial] = {}

    @property
    def repeats_itself(self) -> bool:
        """Whether a trial's number alone says its configuration, whatever was told before."""
        return self._points.are_known

    def ask(self, recorded: Point | None = None) -> Trial | None:
        """The next configuration; None once the sweep has all its trials.

        Args:
            recorded: the point of this trial if it is known from the records; else it is sampled.

        Raises:
            UnusableTrial: the next one's options do not go together; the study knows of it, and
                there may be more after it.
        """
        number = self.n_asked
        if number >= self._spec.n_trials():
            return None
        with storage_errors():
            self._study.sampler = _sampler(self._spec, number)
            point = recorded
            if point is None and self._points.are_known:
                point = self._points[number]
            trial = self._study.ask() if point is None else self._created(point)
            self.n_asked += 1
            return self._usable(trial, {})

    def is_torn(self, frozen: optuna.trial.FrozenTrial) -> bool:
        """Whether the study has lost values of a trial that was asked for."""
        try:
            self._spec.space.suggest(optuna.trial.FixedTrial(frozen.params))
        except ValueError:  # so optuna says that one is not there
            return True
        return False

    def reopen(self, frozen: optuna.trial.FrozenTrial, recorded: Point | None = None) -> Trial:
        """A trial of the study that was asked for earlier, by this driver or one before it.

        Args:
            frozen: the trial, of `trials`.
            recorded: its point if it is known from the records.

        Raises:
            UnusableTrial: its options do not go together.
        """
        number, told = frozen.number, _RESULTS.get(frozen.state)
        with storage_errors():
            if told is not None:
                values = self._spec.space.suggest(optuna.trial.FixedTrial(frozen.params))
                return self._configured(number, values, told, frozen.intermediate_values)
            self._study.sampler = _sampler(self._spec, number)
            trial_id = self._store.storage.get_trial_id_from_study_id_trial_number(
                self._study_id, number
            )
            if frozen.state == TrialState.WAITING:  # somebody has enqueued it
                self._store.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            if recorded is not None:
                self._complete(trial_id, frozen, recorded)
            # what was suggested is given again; the rest of a torn ask is sampled
            return self._usable(optuna.Trial(self._study, trial_id), frozen.intermediate_values)

    def report(self, number: int, value: float, cycle: int) -> None:
        """Reports the objective after a cycle."""
        if math.isfinite(value):
            with storage_errors():
                self._asked[number].report(value, step=cycle)

    def should_prune(self, number: int) -> bool:
        """Whether the trial is to be pruned, to go by what was reported last."""
        with storage_errors():
            return self._asked[number].should_prune()

    def tell(self, number: int, value: float) -> None:
        """Tells the objective of a trial that ran to its end; a finite number."""
        with storage_errors():
            self._study.tell(self._asked.pop(number), value)

    def tell_pruned(self, number: int) -> None:
        """Tells that a trial was stopped early; the study takes its last reported value."""
        with storage_errors():
            self._study.tell(self._asked.pop(number), state=TrialState.PRUNED)

    def tell_failed(self, number: int) -> None:
        """Tells that a trial has no objective."""
        with storage_errors():
            self._study.tell(self._asked.pop(number), state=TrialState.FAIL)

    def flush(self) -> None:
        """Sees to it that all that was asked, reported and told is in the storage."""
        with storage_errors():
            self._store.flush()

    def _fixed(self, point: Point) -> optuna.trial.FixedTrial:
        """The values of a point that a study keeps, with their distributions."""
        fixed = optuna.trial.FixedTrial(point)
        self._spec.space.suggest(fixed)
        return fixed

    def _complete(self, trial_id: int, frozen: optuna.trial.FrozenTrial, point: Point) -> None:
        fixed = self._fixed(point)
        for name in fixed.params.keys() - frozen.params.keys():
            distribution = fixed.distributions[name]
            self._store.storage.set_trial_param(
                trial_id, name, distribution.to_internal_repr(point[name]), distribution
            )

    def _created(self, point: Point) -> optuna.Trial:
        """A trial of that point, in one piece: a crash leaves all of it or nothing."""
        fixed = self._fixed(point)
        template = create_trial(
            state=TrialState.RUNNING, params=fixed.params, distributions=fixed.distributions
        )
        trial_id = self._store.storage.create_new_trial(self._study_id, template_trial=template)
        return optuna.Trial(self._study, trial_id)

    def _usable(self, trial: optuna.Trial, reported: Mapping[int, float]) -> Trial:
        values = self._spec.space.suggest(trial)
        try:
            usable = self._configured(trial.number, values, None, reported)
        except UnusableTrial:
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


def _direction(spec: SweepSpec) -> StudyDirection:
    return StudyDirection[spec.objective.direction.upper()]


def _sampler(spec: SweepSpec, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for one trial: a sweep that was resumed draws what it would have drawn."""
    seed = sampler_seed(spec, number)
    if isinstance(spec.sampler, TpeSampling):
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=spec.sampler.n_startup_trials,
            n_ei_candidates=spec.sampler.n_ei_candidates,
        )
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(spec: SweepSpec) -> optuna.pruners.BasePruner:
    if isinstance(spec.pruner, MedianPruning):
        return optuna.pruners.MedianPruner(
            n_startup_trials=spec.pruner.n_startup_trials,
            n_warmup_steps=spec.pruner.n_warmup_cycles,
        )
    return optuna.pruners.NopPruner()
