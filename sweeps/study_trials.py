"""Trials as a study keeps them, each written in one piece: a crash leaves all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from rso_core.configuration import Scalar
from sweeps.space import Space
from sweeps.spec import SweepSpec
from sweeps.storage.studies import StudyStore

Values = Mapping[str, Scalar]
"""A point of a space."""

_WARM = "warm_start"
_REJECTED = "breaks_constraints"
CONSTRAINTS = "constraints"
"""Optuna's name for the violations of a trial."""


@dataclass(frozen=True, slots=True)
class WarmTrial:
    """A trial of another sweep that the sampler is to know."""

    source: str
    """The other sweep's run folder."""
    parameters: Values
    values: tuple[float, ...]
    """Its objectives."""


def create_study(store: StudyStore, spec: SweepSpec, warm: Sequence[WarmTrial] = ()) -> int:
    """Makes the study of a sweep, which begins with the results of others.

    Returns:
        Its id in the storage.
    """
    directions = [StudyDirection[objective.direction.upper()] for objective in spec.objective]
    study_id = store.storage.create_new_study(directions, store.study_name)
    for trial in warm:
        fixed = fixed_trial(spec.space, trial.parameters)
        template = create_trial(
            state=TrialState.COMPLETE,
            values=list(trial.values),
            params=fixed.params,
            distributions=fixed.distributions,
            user_attrs={_WARM: trial.source},
            system_attrs=violation_attrs(spec.space, trial.parameters),
        )
        store.storage.create_new_trial(study_id, template_trial=template)
    return study_id


def violation_attrs(space: Space, point: Values) -> dict[str, Any]:
    """Optuna's note of how far a trial is from what is allowed; none where all is.

    A sampler that heeds constraints wants it of all trials that have ended, or of none.
    """
    violation = space.violation(point)
    return {CONSTRAINTS: list(violation)} if violation else {}


def is_own(frozen: FrozenTrial) -> bool:
    """Whether it is a trial of the sweep itself, to be run or run already."""
    return not {_WARM, _REJECTED} & frozen.user_attrs.keys()


def is_half_rejected(frozen: FrozenTrial) -> bool:
    """Whether a driver was ended while it rejected the trial."""
    return _REJECTED in frozen.user_attrs and not frozen.state.is_finished()


def create_trial_of(store: StudyStore, study_id: int, space: Space, point: Values) -> int:
    """Makes a running trial of that point; its id in the storage."""
    fixed = fixed_trial(space, point)
    template = create_trial(
        state=TrialState.RUNNING, params=fixed.params, distributions=fixed.distributions
    )
    return store.storage.create_new_trial(study_id, template_trial=template)


def reject(study: optuna.Study, trial: optuna.Trial) -> None:
    """Marks a trial whose point no constraint allows; samplers learn how far it is from that."""
    trial.set_user_attr(_REJECTED, True)
    study.tell(trial, state=TrialState.PRUNED)


def complete_values(
    store: StudyStore, space: Space, trial_id: int, frozen: FrozenTrial, point: Values
) -> None:
    """Writes the values of a trial that the study has lost."""
    fixed = fixed_trial(space, point)
    for name in fixed.params.keys() - frozen.params.keys():
        distribution = fixed.distributions[name]
        store.storage.set_trial_param(
            trial_id, name, distribution.to_internal_repr(point[name]), distribution
        )


def fixed_trial(space: Space, point: Values) -> optuna.trial.FixedTrial:
    """The values of a point that a study keeps, with their distributions."""
    fixed = optuna.trial.FixedTrial(dict(point))
    space.suggest(fixed)
    return fixed
