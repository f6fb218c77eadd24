"""How long runs take, told before they are trained: a model, its calibration, its correction."""

from __future__ import annotations

import heapq
import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rso_core.configuration import Configuration
from sweeps.work import NOMINAL_RATES, EngineKind, Rates, Work

Kind = tuple[str, str]
"""Architecture and optimiser: what most decides how far a prediction is off."""

_N_REMEMBERED = 25
"""Runs of a kind by which it is corrected: the last ones, since a machine's load changes."""
_OVERALL_WEIGHT = 0.1
"""Of the correction of all kinds, in runs. Kinds differ more from each other than runs of one."""
_PRIOR_WEIGHT = 1e-6
"""Of rates in the nominal proportion, beside one measurement; it decides what is left open."""


def kind_of(configuration: Configuration) -> Kind:
    """The kind of its runs."""
    return configuration.architecture, configuration.optimizer


class CostModel:
    """Predicts the seconds of a run.

    What a kind of run was measured to take decides; kinds that were not measured are off by the
    same factor as the measured ones of their engine, or as all of them; and with nothing measured
    the machine is a nominal one. What is observed later corrects that.

    Args:
        work: counts the work of a run, such as `WorkCounter.count`.
        measured: single cycles, if there are any.

    Example:
        >>> model = CostModel(WorkCounter(data).count, calibrate(spec, data, work))
        >>> model.predicted_s(configuration)
    """

    def __init__(
        self, work: Callable[[Configuration], Work], measured: Sequence[MeasuredCycle] = ()
    ) -> None:
        self._work = work
        self._rates = _rates_by_kind(measured)
        self._rates_of_others = _rates_of_others(measured)
        self._observed = ObservedRatios()

    def predicted_s(self, configuration: Configuration) -> float:
        """Seconds of a run of it.

        Raises:
            InvalidInput: its work cannot be counted.
        """
        return self._uncorrected_s(configuration) * self._observed.factor(kind_of(configuration))

    def observe(self, configuration: Configuration, seconds: float) -> None:
        """A whole run of it has taken so long.

        Raises:
            InvalidInput: its work cannot be counted.
        """
        predicted_s = self._uncorrected_s(configuration)
        self._observed.observe(kind_of(configuration), predicted_s, seconds)

    def is_measured(self, configuration: Configuration) -> bool:
        """Whether there was a measurement of its kind."""
        return (kind_of(configuration), self._work(configuration).engine) in self._rates

    def _uncorrected_s(self, configuration: Configuration) -> float:
        work = self._work(configuration)
        rates = self._rates.get((kind_of(configuration), work.engine))
        return (rates or self._rates_of_others[work.engine]).run_s(work)


@dataclass(frozen=True, slots=True)
class MeasuredCycle:
    """What a cycle was measured to take."""

    kind: Kind
    work: Work
    """Of one cycle."""
    training_s: float
    """More than 0."""
    evaluation_s: float
    """Of the evaluation after it; more than 0."""


class ObservedRatios:
    """By how much observed times differ from the predicted ones, by kind.

    The ratio of a kind is the geometric median of its last runs, drawn a little to the median of
    all kinds, which is also what a kind gets that was never observed.
    """

    def __init__(self) -> None:
        self._logs: dict[Kind, deque[float]] = {}

    def copy(self) -> ObservedRatios:
        """One that can be told more without this one knowing of it."""
        copied = ObservedRatios()
        copied._logs = {kind: deque(logs, _N_REMEMBERED) for kind, logs in self._logs.items()}
        return copied

    def observe(self, kind: Kind, predicted_s: float, seconds: float, trust: float = 1.0) -> None:
        """A run, or a part of one, has taken so long; without effect if either time is not above 0.

        Args:
            kind: of the run.
            predicted_s: for the same part.
            seconds: that it took.
            trust: from 0 to 1; the less, the nearer the ratio is taken to be to 1.
        """
        if predicted_s > 0 and seconds > 0:
            logs = self._logs.setdefault(kind, deque(maxlen=_N_REMEMBERED))
            logs.append(trust * math.log(seconds / predicted_s))

    @property
    def overall(self) -> float:
        """The factor of a kind that was never observed; 1 with nothing observed."""
        return math.exp(self._overall_log())

    def factor(self, kind: Kind) -> float:
        """By which to multiply what is predicted for a run of that kind."""
        logs = self._logs.get(kind)
        if logs is None:
            return self.overall
        n, weight = len(logs), _OVERALL_WEIGHT
        own = statistics.median(logs)
        return math.exp((n * own + weight * self._overall_log()) / (n + weight))

    def has(self, kind: Kind) -> bool:
        """Whether a run of that kind was observed."""
        return kind in self._logs

    def _overall_log(self) -> float:
        if not self._logs:
            return 0.0
        return statistics.median(map(statistics.median, self._logs.values()))


def makespan(runs_s: Iterable[float], n_workers: int) -> float:
    """When the last run ends if each worker takes the next one as soon as it is free.

    Args:
        runs_s: seconds of the runs, in the order in which they are begun.
        n_workers: at least 1.
    """
    free_at = [0.0] * n_workers
    end = 0.0
    for seconds in runs_s:
        ended = free_at[0] + seconds
        heapq.heapreplace(free_at, ended)
        end = max(end, ended)
    return end


def costs_by_kind(
    configurations: Sequence[Configuration], work: Callable[[Configuration], Work], n_runs: int
) -> dict[Kind, float]:
    """The costs of all runs of a sweep together, in nominal seconds.

    Args:
        configurations: that stand for those of the sweep in equal parts.
        work: counts the work of a run.
        n_runs: of the sweep.
    """
    costs: dict[Kind, float] = {}
    for configuration in configurations:
        kind = kind_of(configuration)
        costs[kind] = costs.get(kind, 0.0) + work(configuration).cost
    return {kind: cost * n_runs / len(configurations) for kind, cost in costs.items()}


_Rated = tuple[Kind, EngineKind]


def _rates_by_kind(measured: Sequence[MeasuredCycle]) -> dict[_Rated, Rates]:
    by_kind: dict[_Rated, list[MeasuredCycle]] = {}
    for cycle in measured:
        by_kind.setdefault((cycle.kind, cycle.work.engine), []).append(cycle)
    return {rated: _fitted(NOMINAL_RATES[rated[1]], cycles) for rated, cycles in by_kind.items()}


def _rates_of_others(measured: Sequence[MeasuredCycle]) -> Mapping[EngineKind, Rates]:
    """For kinds that were not measured, by engine."""
    rates: dict[EngineKind, Rates] = {}
    for engine, nominal in NOMINAL_RATES.items():
        like = [cycle for cycle in measured if cycle.work.engine == engine] or measured
        training, evaluation = _off_by(like)
        rates[engine] = Rates(
            nominal.flop_s * training,
            nominal.step_s * training,
            nominal.evaluation_flop_s * evaluation,
        )
    return rates


def _fitted(nominal: Rates, cycles: Sequence[MeasuredCycle]) -> Rates:
    """The rates that fit best, by relative errors.

    Those of flop and steps are fitted as multiples of the nominal ones. Where the measurements do
    not tell one from the other, as with a single batch size, both are off by the same factor.
    """
    training, evaluation = _off_by(cycles)
    # multiples of what the common factor makes of the nominal rates: 1 where nothing tells more
    rows = [
        (
            training * nominal.flop_s * cycle.work.n_flop / cycle.training_s,
            training * nominal.step_s * cycle.work.n_steps / cycle.training_s,
        )
        for cycle in cycles
    ]
    # its import takes a quarter of a second, and a new sweep has nothing to fit yet
    from scipy.optimize import nnls

    pull = math.sqrt(_PRIOR_WEIGHT * len(cycles))
    matrix = np.array([*rows, (pull, 0.0), (0.0, pull)])
    multiples, _ = nnls(matrix, np.array([1.0] * len(rows) + [pull, pull]))
    flop, step = (float(multiple) * training for multiple in multiples)
    return Rates(
        nominal.flop_s * flop, nominal.step_s * step, nominal.evaluation_flop_s * evaluation
    )


def _off_by(cycles: Sequence[MeasuredCycle]) -> tuple[float, float]:
    """The factors by which the nominal rates are off in training and evaluation; 1 for none."""
    if not cycles:
        return 1.0, 1.0
    training, evaluation = [], []
    for cycle in cycles:
        nominal, work = NOMINAL_RATES[cycle.work.engine], cycle.work
        training.append(cycle.training_s / nominal.training_s(work.n_flop, work.n_steps))
        evaluation.append(cycle.evaluation_s / (nominal.evaluation_flop_s * work.n_evaluation_flop))
    return statistics.geometric_mean(training), statistics.geometric_mean(evaluation)
