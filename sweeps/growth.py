"""Growing a sweep: what may be changed of it, and how its study follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rso_core.configuration import Scalar
from rso_core.errors import InvalidInput
from sweeps.points import EarlierSpace
from sweeps.records import Records
from sweeps.space import Space
from sweeps.spec import SweepSpec
from sweeps.storage.studies import StudyStore
from sweeps.study_trials import (
    CONSTRAINTS,
    create_study,
    fixed_trial,
    is_own,
    violation_attrs,
)

_FREE = ("resources", "checkpoints", "limits", "output", "repetitions", "stop", "logging")
"""Sections that may be anything at any time: they decide on no number that is there."""
_GROWING = ("trials", "seeds", "budget", "space", "constraints", "first")
_OF_A_SPACE = ("space", "constraints", "first")
_OF_ONE_STUDY = ("cma:", "cmawm:", "sepcma:", "x_for_tell")
"""What CMA-ES keeps with trials: the state of a search in the space that there was."""


def check_growth(
    before: SweepSpec, after: SweepSpec, begun: Mapping[int, Mapping[str, Scalar] | None]
) -> None:
    """Holds a sweep that is to be grown against what it was.

    Args:
        before: as it was.
        after: as it is to be.
        begun: see `begun_points`.

    Raises:
        InvalidInput: a line for everything that would make its results another sweep's.
    """
    problems = [*_changed(before, after), *_shrunk(before, after, len(begun))]
    points = [point for point in begun.values() if point is not None]
    foreign = [point for point in points if not after.space.has(point)]
    if foreign:
        shown = ", ".join(f"{name} {value}" for name, value in foreign[0].items())
        problems.append(
            f"'space' must keep every configuration that has been begun, but {len(foreign)} of "
            f"{len(points)} would not be in it, such as {shown}; add to it, take nothing away"
        )
    if problems:
        raise InvalidInput(*problems)


def needs_new_study(before: SweepSpec, after: SweepSpec) -> bool:
    """Whether trials that have been told, or the values that a trial may have, are to change.

    A study takes back nothing that it was told, and no other list of values.
    """
    return (
        before.seeds != after.seeds
        or before.budget != after.budget
        or before.space.dimensions != after.space.dimensions
        or (before.constraints != after.constraints and after.sampler.heeds_constraints)
    )


def grown_study(
    old: StudyStore,
    new: StudyStore,
    before: SweepSpec,
    after: SweepSpec,
    records: Records,
    *,
    retries_failed: bool,
) -> None:
    """Makes the study of a grown sweep from the one that it had: all its trials, by number.

    Those whose results are still to come, since they get more seeds or cycles or failed, run
    again. It is in the storage when this returns.

    Args:
        old: has the study as it was.
        new: has no study yet.
        before: the sweep as it was.
        after: as it is to be.
        records: of its runs.
        retries_failed: whether failed trials run again.
    """
    gets_more = before.seeds != after.seeds or before.budget != after.budget
    study_id = create_study(new, after)
    _copy_sequence(old, new, study_id)
    for frozen in trials_of(old):
        template = _copied(frozen, before.space, after, records)
        is_again = is_own(frozen) and (
            (gets_more and frozen.state == TrialState.COMPLETE)
            or (retries_failed and frozen.state == TrialState.FAIL)
        )
        if is_again:
            template.state = TrialState.RUNNING
            template.values = None
            template.datetime_complete = None
        if template.state in _NOT_TOLD and (gets_more or frozen.state == TrialState.FAIL):
            # what it heard was a mean over other seeds, or of another training
            template.intermediate_values = {}
        new.storage.create_new_trial(study_id, template_trial=template)
    new.flush()


_NOT_TOLD = (TrialState.RUNNING, TrialState.WAITING)


def _copy_sequence(old: StudyStore, new: StudyStore, study_id: int) -> None:
    """How far a sequence of QMC has come, lest it begin again with the same points."""
    old_id = old.storage.get_study_id_from_name(old.study_name)
    for key, value in old.storage.get_study_system_attrs(old_id).items():
        if key.endswith("last sample id"):
            new.storage.set_study_system_attr(study_id, key, value)


def trials_of(store: StudyStore) -> list[FrozenTrial]:
    """All trials of a study, by number."""
    study_id = store.storage.get_study_id_from_name(store.study_name)
    return store.storage.get_all_trials(study_id, deepcopy=False)


def begun_points(
    trials: Sequence[FrozenTrial], space: Space, records: Records
) -> dict[int, Mapping[str, Scalar] | None]:
    """The points of a sweep's own trials that have been begun, by number; None for a lost one.

    Args:
        trials: of its study.
        space: the sweep's.
        records: of its runs; they may tell of trials that the study has lost.
    """
    found = {trial.number: _point(trial, space, records) for trial in trials if is_own(trial)}
    return {**records.parameters, **found}


def has_failed(trials: Sequence[FrozenTrial], records: Records) -> bool:
    """Whether one of these trials, or a run of any, has failed."""
    return any(trial.state == TrialState.FAIL and is_own(trial) for trial in trials) or any(
        run.state == "failed" for run in records.runs.values()
    )


def earlier_spaces(about: Mapping[str, Any]) -> tuple[EarlierSpace, ...]:
    """What a sweep searched before it was grown, from its sweep file's provenance.

    Raises:
        InvalidInput: it is not what `with_earlier` has written.
    """
    found = []
    try:
        for stage in about.get("earlier", ()):
            written = {name: stage[name] for name in _OF_A_SPACE}
            part = SweepSpec.model_validate({"name": "earlier", **written})
            found.append(EarlierSpace(int(stage["n_trials"]), part.space, part.first))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            "'provenance.earlier' must list what the sweep searched before it was grown, as "
            "rso-sweep writes it; restore sweep.yaml from a copy"
        ) from error
    return tuple(found)


def with_earlier(
    about: Mapping[str, Any], before: SweepSpec, after: SweepSpec, n_trials: int
) -> dict[str, Any]:
    """The provenance of a grown sweep.

    Args:
        about: the provenance that it had.
        before: the sweep as it was.
        after: as it is to be.
        n_trials: that had been begun.
    """
    if all(getattr(before, name) == getattr(after, name) for name in _OF_A_SPACE):
        return dict(about)
    content = before.model_dump(mode="json")
    stage = {"n_trials": n_trials} | {name: content[name] for name in _OF_A_SPACE}
    return {**about, "earlier": [*about.get("earlier", ()), stage]}


def _changed(before: SweepSpec, after: SweepSpec) -> list[str]:
    changed = [
        f"'{name}'"
        for name in type(before).model_fields
        if name not in _FREE + _GROWING and getattr(before, name) != getattr(after, name)
    ]
    if not changed:
        return []
    names = changed[0] if len(changed) == 1 else f"{', '.join(changed[:-1])} and {changed[-1]}"
    return [
        f"{names} must stay as {'it is' if len(changed) == 1 else 'they are'} when a sweep is "
        f"grown: {', '.join(_GROWING[:-1])} and {_GROWING[-1]} may be added to, and "
        f"{', '.join(_FREE[:-1])} and {_FREE[-1]} may be changed; or begin a new sweep, which "
        "'warm_start: [DIR]' lets learn from this one"
    ]


def _shrunk(before: SweepSpec, after: SweepSpec, n_begun: int) -> list[str]:
    problems = []
    if after.n_trials() < n_begun:
        problems.append(
            f"'trials' must be at least {n_begun}, the trials that have been begun, "
            f"got {after.n_trials()}"
        )
    lost = [seed for seed in before.seeds if seed not in after.seeds]
    if lost:
        problems.append(
            f"'seeds' must keep those that there are, {list(before.seeds)}, got "
            f"{list(after.seeds)}; add to them"
        )
    if after.budget.cycles < before.budget.cycles:
        problems.append(
            f"'budget.cycles' must be at least {before.budget.cycles}, as before, "
            f"got {after.budget.cycles}"
        )
    if after.first[: len(before.first)] != before.first:
        problems.append("'first' must begin with the points that it has; add to its end")
    return problems


def _copied(frozen: FrozenTrial, before: Space, spec: SweepSpec, records: Records) -> FrozenTrial:
    """The trial with the distributions of the new space; with no values if some were lost."""
    point, after = _point(frozen, before, records), spec.space
    # what a constraint forbids is in the study, too
    if point is not None and not replace(after, constraints=()).has(point):
        point = None
    fixed = None if point is None else fixed_trial(after, point)
    copied = FrozenTrial(
        number=-1,  # the storage gives it its own
        trial_id=-1,
        state=frozen.state,
        value=None,
        values=frozen.values,
        datetime_start=frozen.datetime_start,
        datetime_complete=frozen.datetime_complete,
        params={} if fixed is None else fixed.params,
        distributions={} if fixed is None else fixed.distributions,
        user_attrs=dict(frozen.user_attrs),
        system_attrs=_system_attrs(frozen, before, after)
        | (
            {} if point is None or not frozen.state.is_finished() else violation_attrs(after, point)
        ),
        intermediate_values=dict(frozen.intermediate_values),
    )
    if fixed is None and not is_own(frozen):
        # it keeps its number, but has nothing to say of this space
        copied.state, copied.values, copied.intermediate_values = TrialState.FAIL, None, {}
    return copied


def _system_attrs(frozen: FrozenTrial, before: Space, after: Space) -> dict[str, Any]:
    """What samplers have noted of a trial that goes for the new space, too."""
    is_same = before.dimensions == after.dimensions
    return {
        key: value
        for key, value in frozen.system_attrs.items()
        if key != CONSTRAINTS and (is_same or not key.startswith(_OF_ONE_STUDY))
    }


def _point(frozen: FrozenTrial, space: Space, records: Records) -> dict[str, Scalar] | None:
    recorded = records.parameters.get(frozen.number)
    if recorded is not None and is_own(frozen):
        return recorded
    try:
        return space.suggest(optuna.trial.FixedTrial(frozen.params))
    except ValueError:  # the study has lost some of its values
        return None
