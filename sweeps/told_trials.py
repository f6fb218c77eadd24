"""What a study has been told, in the order and the form in which TPE needs it."""

from __future__ import annotations

import bisect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

SearchSpace = Mapping[str, BaseDistribution]
Numbers = NDArray[np.int64]
"""Numbers of trials, rising."""

_OPTUNA: Any = sys.modules[TPESampler.__module__]


class NotRemembered(Exception):  # noqa: N818  (it names what was found)
    """The study holds what is not provided for here; optuna has to go through it by itself."""


class ToldTrials:
    """The trials of one study that count for TPE; what was told since the last look is added.

    A trial that was told is never looked at again: Optuna lets nobody change it.
    """

    def __init__(self) -> None:
        self.shared_dimensions = IntersectionSearchSpace(include_pruned=True)
        """Finds the dimensions that all trials have; it, too, looks at new trials only."""
        self._n_seen = 0
        self._unfinished: list[int] = []
        self._running: list[FrozenTrial] = []
        self._trials: dict[int, FrozenTrial] = {}
        self._complete: list[tuple[float, int]] = []
        self._pruned: list[tuple[tuple[float, float], int]] = []
        self._violating: list[tuple[float, int]] = []
        self._below: Numbers | None = None
        self._values: dict[tuple[tuple[str, BaseDistribution], ...], Values] = {}
        self._first_of_dimensions: dict[frozenset[str], FrozenTrial] = {}

    def look(self, study: optuna.Study, *, use_cache: bool) -> None:
        """Adds what is new in the study.

        Args:
            study: always the same one.
            use_cache: whether Optuna's list from when this trial was asked for will do.

        Raises:
            NotRemembered: trials are missing, or an objective is not a number.
        """
        trials = study._get_trials(deepcopy=False, use_cache=use_cache)
        if len(trials) < self._n_seen:
            raise NotRemembered
        unfinished = []
        for number in [*self._unfinished, *range(self._n_seen, len(trials))]:
            trial = trials[number]
            if trial.number != number:
                raise NotRemembered
            if not trial.state.is_finished():
                unfinished.append(number)
            elif trial.state != TrialState.FAIL and number not in self._trials:
                self._add(study, trial)
        self._n_seen = len(trials)
        self._unfinished = unfinished
        self._running = [trials[n] for n in unfinished if trials[n].state == TrialState.RUNNING]

    def running_besides(self, number: int) -> list[FrozenTrial]:
        """The trials that ran at the last look, but for this one, by number."""
        return [trial for trial in self._running if trial.number != number]

    def below(self, study: optuna.Study, gamma: Callable[[int], int] | None) -> Numbers:
        """The good trials, of which TPE draws more.

        Args:
            study: the one that was looked at.
            gamma: how many they are, of so many; None: as Optuna has it.
        """
        if self._below is None:
            if len(study.directions) == 1:
                n = (gamma or _OPTUNA.default_gamma)(len(self._trials))
                # those that pruned or violated make up for what is missing
                best = [*self._complete[:n], *self._pruned[:n], *self._violating[:n]]
                numbers = [number for _, number in best[:n]]
            else:
                n = (gamma or _OPTUNA.default_gamma_multiobjective)(len(self._trials))
                by_number = [self._trials[number] for number in sorted(self._trials)]
                numbers = [t.number for t in _OPTUNA._split_trials(study, by_number, n)[0]]
            self._below = np.array(sorted(numbers), dtype=np.int64)
        return self._below

    def values(self, space: SearchSpace) -> Values:
        """The values of all trials that have these dimensions."""
        key = tuple(space.items())
        values = self._values.setdefault(key, Values(space))
        # a dict keeps the order in which the trials were told
        values.add(list(islice(self._trials.values(), values.n_looked_at, None)))
        return values

    def first_of_each_dimensions(self) -> list[FrozenTrial]:
        """Of all trials with the same dimensions the first, by number.

        Optuna divides the dimensions into groups by the trials that have them, one after another;
        a second trial with the same dimensions divides nothing further.
        """
        return sorted(self._first_of_dimensions.values(), key=lambda trial: trial.number)

    def _add(self, study: optuna.Study, trial: FrozenTrial) -> None:
        number = trial.number
        self._trials[number] = trial
        self._below = None
        dimensions = frozenset(trial.distributions)
        earlier = self._first_of_dimensions.get(dimensions)
        if earlier is None or number < earlier.number:
            self._first_of_dimensions[dimensions] = trial
        if len(study.directions) > 1:
            return  # optuna ranks them
        violation = _OPTUNA._get_infeasible_trial_score(trial)
        if violation > 0:
            bisect.insort(self._violating, (violation, number))
        elif trial.state == TrialState.PRUNED:
            bisect.insort(self._pruned, (_OPTUNA._get_pruned_trial_score(trial, study), number))
        else:
            value = trial.value
            if value is None or math.isnan(value):
                raise NotRemembered
            sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
            bisect.insort(self._complete, (sign * value, number))


class Values:
    """The values of all trials that have the same dimensions, as optuna's estimators take them.

    Args:
        space: the dimensions.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = dict(space)
        self._numbers: Numbers = np.empty(0, dtype=np.int64)
        self._columns: NDArray[np.float64] = np.empty((len(space), 0))
        self.n_looked_at = 0
        """How many trials were added, those without the dimensions too."""

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Adds trials, in any order."""
        self.n_looked_at += len(trials)
        listed = [(trial.number, trial.params) for trial in trials]
        self._numbers, self._columns = self._with(self._numbers, self._columns, listed)

    def split(
        self, below: Numbers, running: Sequence[tuple[int, Mapping[str, Any]]]
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
        """The values of the good trials and of the others, by dimension; each by trial number.

        Args:
            below: the good trials.
            running: numbers and values of trials that run, which count as others.
        """
        at = np.searchsorted(self._numbers, below)
        at = at[at < len(self._numbers)]
        at = at[self._numbers[at] == below[: len(at)]]
        _, others = self._with(
            np.delete(self._numbers, at), np.delete(self._columns, at, axis=1), running
        )
        return self._by_name(self._columns[:, at]), self._by_name(others)

    def _with(
        self,
        numbers: Numbers,
        columns: NDArray[np.float64],
        trials: Sequence[tuple[int, Mapping[str, Any]]],
    ) -> tuple[Numbers, NDArray[np.float64]]:
        """A copy with more trials, each at its place."""
        rows = sorted(
            (number, [d.to_internal_repr(values[name]) for name, d in self._space.items()])
            for number, values in trials
            if self._space.keys() <= values.keys()
        )
        if not rows:
            return numbers, columns
        new_numbers = np.array([number for number, _ in rows])
        new_columns = np.array([values for _, values in rows], dtype=float).T
        at = np.searchsorted(numbers, new_numbers)
        return np.insert(numbers, at, new_numbers), np.insert(columns, at, new_columns, axis=1)

    def _by_name(self, columns: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return dict(zip(self._space, columns, strict=True))
