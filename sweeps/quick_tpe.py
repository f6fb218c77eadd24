"""Optuna's TPE, exactly, at a fraction of its time where a study has thousands of trials.

For every trial Optuna goes through all that were told: for the dimensions that they share, for
their order, for their values. Here this is remembered, and what was told since is added. What is
computed from it, the estimators and the draws, is Optuna's own code.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.told_trials import NotRemembered, ToldTrials

_OPTUNA: Any = sys.modules[TPESampler.__module__]
_FEW_TRIALS = 200
_DIRECTIONS = (StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE)


def tpe_sampler(told: ToldTrials, number: int, **options: Any) -> TPESampler:
    """TPE for one trial.

    Args:
        told: what is remembered of the study; the same for all its trials.
        number: of the trial. Optuna is left to itself where it has little to go through.
        options: of `optuna.samplers.TPESampler`.

    Returns:
        A sampler that suggests what `TPESampler(**options)` does. It is that one where this version
        of Optuna is built differently, so that nothing could be remembered for it.
    """
    if number > _FEW_TRIALS and agrees_with_optuna():
        return QuickTpe(told, **options)
    return TPESampler(**options)


class QuickTpe(TPESampler):
    """TPE for one trial, which remembers what was told before.

    Args:
        told: what is remembered of the study; the same for all its trials.
        options: of `optuna.samplers.TPESampler`.
    """

    def __init__(self, told: ToldTrials, **options: Any) -> None:
        super().__init__(**options)
        self._told = told
        self._search_space = told.shared_dimensions
        if self._group_decomposed_search_space is not None:
            of_optuna = self._group_decomposed_search_space
            self._group_decomposed_search_space = _Groups(told, of_optuna)  # type: ignore[assignment]

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        try:
            self._told.look(study, use_cache=not self._constant_liar)
        except NotRemembered:
            return super()._sample(study, trial, search_space)
        running = self._told.running_besides(trial.number) if self._constant_liar else []
        below, above = self._told.values(search_space).split(
            self._told.below(study, self._gamma),
            [(other.number, self._get_params(other, study)) for other in running],
        )
        weights = (np.ones(len(next(iter(below.values())))),) if len(study.directions) > 1 else ()
        parameters = self._parzen_estimator_parameters
        good = self._parzen_estimator_cls(below, search_space, parameters, *weights)
        others = self._parzen_estimator_cls(above, search_space, parameters)
        drawn = good.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(drawn, self._compute_acquisition_func(drawn, good, others))
        return {name: d.to_external_repr(best[name]) for name, d in search_space.items()}


class _Groups:
    """Stands in for Optuna's own, which goes through all trials to find the same."""

    def __init__(self, told: ToldTrials, of_optuna: Any) -> None:
        self._told = told
        self._of_optuna = of_optuna

    def calculate(self, study: optuna.Study, use_cache: bool = False) -> Any:
        try:
            self._told.look(study, use_cache=use_cache)
        except NotRemembered:
            return self._of_optuna.calculate(study, use_cache)
        group = _OPTUNA._SearchSpaceGroup()
        for trial in self._told.first_of_each_dimensions():
            group.add_distributions(trial.distributions)
        return group


@cache
def agrees_with_optuna() -> bool:
    """Whether `QuickTpe` suggests what this version of Optuna suggests by itself; it is tried."""
    variants: list[dict[str, Any]] = [
        {"multivariate": True, "constant_liar": False},
        {"multivariate": False, "constant_liar": True},
        {"multivariate": True, "constant_liar": True, "group": True},
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return all(
                _suggested(partial(TPESampler, **options), n_objectives)
                == _suggested(partial(QuickTpe, ToldTrials(), **options), n_objectives)
                for options in variants
                for n_objectives in (1, 2)
            )
    except Exception:  # whatever is missing in this version
        return False


def _suggested(make: Callable[..., TPESampler], n_objectives: int) -> list[dict[str, Any]]:
    """What a sampler suggests in a small study that has everything which may be in one."""
    study = optuna.create_study(directions=_DIRECTIONS[:n_objectives])
    study.add_trials(_history(n_objectives))
    asked = []
    for seed in range(3):
        study.sampler = make(seed=seed)
        trial = study.ask()
        if trial.suggest_categorical("kind", ("a", "b", "c")) == "a":
            trial.suggest_float("rate", 0.01, 1.0, log=True)
        trial.suggest_int("size", 1, 20)
        asked.append(trial.params)
        if seed == 0:
            study.tell(trial, [0.0] * n_objectives)
    return asked


def _history(n_objectives: int) -> list[FrozenTrial]:
    generator = np.random.default_rng(0)
    return [_trial(generator, index, n_objectives) for index in range(40)]


def _trial(generator: np.random.Generator, index: int, n_objectives: int) -> FrozenTrial:
    params: dict[str, Any] = {"kind": "abc"[index % 3], "size": int(generator.integers(1, 21))}
    distributions: dict[str, BaseDistribution] = {
        "kind": CategoricalDistribution(("a", "b", "c")),
        "size": IntDistribution(1, 20),
    }
    if params["kind"] == "a":
        params["rate"] = float(generator.uniform(0.01, 1.0))
        distributions["rate"] = FloatDistribution(0.01, 1.0, log=True)
    values = [round(float(value), 1) for value in generator.random(n_objectives)]  # some are equal
    if index % 13 == 12:
        return create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
    if index % 7 == 6 and n_objectives == 1:
        return create_trial(
            state=TrialState.PRUNED,
            params=params,
            distributions=distributions,
            intermediate_values={index % 2: values[0]},
        )
    return create_trial(
        values=values,
        params=params,
        distributions=distributions,
        system_attrs={"constraints": [float(index % 5 == 4)]},
    )
