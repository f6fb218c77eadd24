"""The samplers of a sweep's study: one for each trial, so that a resumed sweep draws the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler
from optuna.samplers.nsgaii import (
    BaseCrossover,
    BLXAlphaCrossover,
    SBXCrossover,
    SPXCrossover,
    UNDXCrossover,
    UniformCrossover,
    VSBXCrossover,
)
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial

from sweeps.own_classes import own_sampler
from sweeps.quick_tpe import tpe_sampler
from sweeps.random_trial import trial_seed
from sweeps.samplers import (
    CmaEsSampling,
    Crossover,
    GeneticSampling,
    GpSampling,
    Nsga3Sampling,
    OwnSampling,
    QmcSampling,
    Sampling,
    TpeSampling,
)
from sweeps.told_trials import ToldTrials

Constraints = Callable[[FrozenTrial], Sequence[float]]
"""A trial's violations: a number above 0 for each constraint that it does not keep."""

_SHARING = (
    optuna.samplers.GPSampler,
    optuna.samplers.CmaEsSampler,
    optuna.samplers.NSGAIISampler,
    optuna.samplers.NSGAIIISampler,
)
"""Those that look in all trials for the dimensions which these have in common."""


class SamplerSource:
    """Gives each trial its sampler.

    What TPE, a Gaussian process, CMA-ES and NSGA know lies in the study, so theirs are made anew,
    with a seed from the sweep's and the trial's number: it does not matter which driver asks. The
    sequence of QMC is numbered in the study, and has one seed. A user's own may keep anything, so
    it is made once, with another seed in each driver lest a resumed one draws the same again.

    Args:
        sampling: the section of the sweep file.
        seed: of the sweep.
        constraints_func: goes to the samplers that heed constraints.
    """

    def __init__(
        self, sampling: Sampling, seed: int, constraints_func: Constraints | None = None
    ) -> None:
        self._sampling = sampling
        self._seed = seed
        self._constraints = constraints_func
        self._own: BaseSampler | None = None
        self._told = ToldTrials()
        # kept, it looks at new trials only
        self._dimensions = IntersectionSearchSpace()

    def for_trial(self, number: int) -> BaseSampler:
        """The sampler with which a trial is asked for, and with which results are told.

        Args:
            number: of the trial, from 0.

        Raises:
            InvalidInput: a user's own class, which could be made when the file was read, cannot
                now.
        """
        seed = trial_seed(self._seed, number)
        with _as_asked_for():
            sampler = self._made(number, seed)
        for name in ("_search_space", "_intersection_search_space"):
            # TPE has its own, for which pruned trials count too
            if type(sampler) in _SHARING and hasattr(sampler, name):
                setattr(sampler, name, self._dimensions)
        return sampler

    def for_combination(self, number: int) -> BaseSampler:
        """The sampler of a trial for a study that holds the trials of its combination alone."""
        assert isinstance(self._sampling, TpeSampling), "no other one searches each combination"
        with _as_asked_for():
            return self._tpe(self._sampling, 0, trial_seed(self._seed, number), None)

    def _made(self, number: int, seed: int) -> BaseSampler:
        match self._sampling:
            case TpeSampling():
                return self._tpe(self._sampling, number, seed, self._constraints)
            case GpSampling():
                return optuna.samplers.GPSampler(
                    seed=seed,
                    n_startup_trials=self._sampling.n_startup_trials,
                    deterministic_objective=self._sampling.deterministic_objective,
                    warn_independent_sampling=False,
                    constraints_func=self._constraints,
                )
            case CmaEsSampling():
                return _cmaes(self._sampling, seed)
            case GeneticSampling():
                return self._genetic(self._sampling, seed)
            case QmcSampling():
                return optuna.samplers.QMCSampler(
                    qmc_type=self._sampling.qmc_type,
                    scramble=self._sampling.scramble,
                    seed=self._seed,
                    independent_sampler=RandomSampler(seed=seed),
                    warn_independent_sampling=False,
                )
            case OwnSampling(name=name, options=options):
                if self._own is None:
                    self._own = own_sampler(name, options, seed)
                return self._own
            case _:  # what lists the space is asked for nothing but a value that was lost
                return RandomSampler(seed=seed)

    def _tpe(
        self, sampling: TpeSampling, number: int, seed: int, constraints: Constraints | None
    ) -> BaseSampler:
        given: dict[str, Any] = {"prior_weight": sampling.prior_weight}
        return tpe_sampler(
            self._told,
            number,
            seed=seed,
            n_startup_trials=sampling.n_startup_trials,
            n_ei_candidates=sampling.n_ei_candidates,
            # optuna warns where it has to see this by itself
            multivariate=True if sampling.group else sampling.multivariate,
            group=sampling.group,
            constant_liar=sampling.constant_liar,
            constraints_func=constraints,
            **_set(given),
        )

    def _genetic(self, sampling: GeneticSampling, seed: int) -> BaseSampler:
        options: dict[str, Any] = {
            "population_size": sampling.population_size,
            "mutation_prob": sampling.mutation_prob,
            "crossover": _crossover(sampling.crossover, sampling.swapping_prob),
            "crossover_prob": sampling.crossover_prob,
            "swapping_prob": sampling.swapping_prob,
            "seed": seed,
            "constraints_func": self._constraints,
        }
        if isinstance(sampling, Nsga3Sampling):
            return optuna.samplers.NSGAIIISampler(
                dividing_parameter=sampling.dividing_parameter, **options
            )
        return optuna.samplers.NSGAIISampler(**options)


def _cmaes(sampling: CmaEsSampling, seed: int) -> BaseSampler:
    given: dict[str, Any] = {"sigma0": sampling.sigma0}
    return optuna.samplers.CmaEsSampler(
        seed=seed,
        n_startup_trials=sampling.n_startup_trials,
        popsize=sampling.population_size,
        consider_pruned_trials=sampling.consider_pruned_trials,
        use_separable_cma=sampling.use_separable_cma,
        with_margin=sampling.with_margin,
        lr_adapt=sampling.lr_adapt,
        warn_independent_sampling=False,
        **_set(given),
    )


def _crossover(name: Crossover, swapping_prob: float) -> BaseCrossover:
    match name:
        case "uniform":
            return UniformCrossover(swapping_prob)
        case "blxalpha":
            return BLXAlphaCrossover()
        case "spx":
            return SPXCrossover()
        case "sbx":
            return SBXCrossover()
        case "vsbx":
            return VSBXCrossover()
        case "undx":
            return UNDXCrossover()


def _set(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are set: optuna may not have the others for much longer."""
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def _as_asked_for() -> Iterator[None]:
    """Without optuna's warnings that what the user has asked for by name is new, or will go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", ".*(constraints_func|prior_weight|sigma0)", FutureWarning)
        yield
