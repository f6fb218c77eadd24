"""A search of its own for each combination of a space's listed values."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.combinations import Point
from sweeps.space import Space


class CombinationSearch:
    """Suggests values of the ranges by the trials of the same combination, and by no others.

    Args:
        space: the sweep's.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._ranges = {dimension.name for dimension in space.unlistable_dimensions()}
        self._combinations: dict[int, Point] = {}

    def suggest(
        self, combination: Point, study: optuna.Study, trials: Sequence[FrozenTrial],
        sampler: BaseSampler,
    ) -> Point:  # fmt: skip
        """A configuration with the values of a combination; it may break a constraint.

        Args:
            combination: one of `combinations`.
            study: of the sweep.
            trials: of the study.
            sampler: suggests, and sees nothing but the trials of the combination.
        """
        alone = optuna.create_study(directions=study.directions, sampler=sampler)
        alone.add_trials(
            self._reduced(trial)
            for trial in trials
            if trial.state in _TELLING and self._combination_of(trial) == combination
        )
        return self._space.at(combination).suggest(alone.ask())

    def _combination_of(self, trial: FrozenTrial) -> Point | None:
        """None for a trial that has lost some of its values."""
        if trial.number not in self._combinations:
            try:
                point = self._space.suggest(optuna.trial.FixedTrial(trial.params))
            except ValueError:  # so optuna says that one is not there
                return None
            own = {name: value for name, value in point.items() if name not in self._ranges}
            self._combinations[trial.number] = own
        return self._combinations[trial.number]

    def _reduced(self, trial: FrozenTrial) -> FrozenTrial:
        """The trial with its values of ranges alone: those of the rest are the same for all."""
        names = trial.params.keys() & self._ranges
        return create_trial(
            state=trial.state,
            values=trial.values,
            params={name: trial.params[name] for name in names},
            distributions={name: trial.distributions[name] for name in names},
            intermediate_values=trial.intermediate_values,
        )


_TELLING = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
