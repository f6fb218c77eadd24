"""The Optuna study of a sweep: which configuration comes next, and what came of the others.

One process owns it: it alone asks, reports, prunes and tells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from rso_core.configuration import Configuration, Scalar
from rso_core.errors import InvalidInput
from sweeps.spec import MedianPruning, SweepSpec, TpeSampling


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration that the study has suggested."""

    number: int
    configuration: Configuration
    parameters: dict[str, Scalar]
    """The values of all dimensions of the space that this configuration has, fixed ones too."""


class UnusableTrial(Exception):  # noqa: N818  (it names what was found)
    """A trial whose values are sound one by one but make no configuration together."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number, reason)
        self.number = number
        self.reason = reason


class Search:
    """Asks the study for configurations and tells it their results.

    Args:
        spec: the sweep.
        journal: where the study is kept; a new file.
    """

    def __init__(self, spec: SweepSpec, journal: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spec = spec
        self._study = optuna.create_study(
            study_name=spec.name,
            storage=JournalStorage(JournalFileBackend(str(journal))),
            direction=spec.objective.direction,
            sampler=_sampler(spec),
            pruner=_pruner(spec),
        )
        self._points = _points(spec)
        self._asked: dict[int, optuna.Trial] = {}

    def ask(self) -> Trial | None:
        """The next configuration; None once the sweep has all its trials.

        Raises:
            UnusableTrial: the next one's options do not go together; the study knows of it, and
                there may be more after it.
        """
        point = next(self._points, _END)
        if point is _END:
            return None
        if isinstance(point, dict):
            # Optuna's grid sampler does not suit ask and tell: the grid's points are enqueued
            self._study.enqueue_trial(point)
        trial = self._study.ask()
        values = self._spec.space.suggest(trial)
        try:
            configuration = Configuration.from_values(values, self._spec.budget.cycles)
        except InvalidInput as error:
            self._study.tell(trial, state=TrialState.FAIL)
            raise UnusableTrial(trial.number, str(error)) from error
        self._asked[trial.number] = trial
        return Trial(trial.number, configuration, values)

    def report(self, number: int, value: float, cycle: int) -> bool:
        """Reports the objective after a cycle; True if the trial is to be pruned."""
        if not math.isfinite(value):
            return False
        trial = self._asked[number]
        trial.report(value, step=cycle)
        return trial.should_prune()

    def tell(self, number: int, value: float) -> None:
        """Tells the objective of a trial that ran to its end; a finite number."""
        self._study.tell(self._asked.pop(number), value)

    def tell_pruned(self, number: int) -> None:
        """Tells that a trial was stopped early; the study takes its last reported value."""
        self._study.tell(self._asked.pop(number), state=TrialState.PRUNED)

    def tell_failed(self, number: int) -> None:
        """Tells that a trial has no objective."""
        self._study.tell(self._asked.pop(number), state=TrialState.FAIL)


def typical_configurations(spec: SweepSpec, at_most: int = 200) -> list[Configuration]:
    """Configurations that stand for those of the sweep, always the same for one sweep file.

    A grid's own, evenly spaced where there are more of them; for a sampler, which chooses as it
    goes, random ones.
    """
    points: Iterable[dict[str, Scalar]]
    if spec.sampler.name == "grid":
        n = spec.n_trials()
        points = itertools.islice(spec.space.grid(), 0, n, math.ceil(n / at_most))
    else:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=spec.seed))
        points = (spec.space.suggest(study.ask()) for _ in range(at_most))
    found = []
    for point in points:
        with suppress(InvalidInput):  # such a trial will fail at once
            found.append(Configuration.from_values(point, spec.budget.cycles))
    return found


_END: Any = object()


def _points(spec: SweepSpec) -> Iterator[dict[str, Scalar] | None]:
    """For each trial to come: its point in the space, or None where the sampler chooses it."""
    if spec.sampler.name == "grid":
        yield from itertools.islice(spec.space.grid(), spec.n_trials())
    else:
        for _ in range(spec.n_trials()):
            yield None


def _sampler(spec: SweepSpec) -> optuna.samplers.BaseSampler:
    if isinstance(spec.sampler, TpeSampling):
        return optuna.samplers.TPESampler(
            seed=spec.seed,
            n_startup_trials=spec.sampler.n_startup_trials,
            n_ei_candidates=spec.sampler.n_ei_candidates,
        )
    return optuna.samplers.RandomSampler(seed=spec.seed)


def _pruner(spec: SweepSpec) -> optuna.pruners.BasePruner:
    if isinstance(spec.pruner, MedianPruning):
        return optuna.pruners.MedianPruner(
            n_startup_trials=spec.pruner.n_startup_trials,
            n_warmup_steps=spec.pruner.n_warmup_cycles,
        )
    return optuna.pruners.NopPruner()
