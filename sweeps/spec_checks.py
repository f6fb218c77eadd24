"""What pydantic cannot check of a sweep file: its fields against one another and the data."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from rso_core.datasets import check_dataset_name, n_training_images
from rso_core.errors import InvalidInput
from sweeps.condition_checks import (
    condition_faults,
    constraint_faults,
    first_faults,
    reach_faults,
    rule_faults,
)
from sweeps.pruners import futile
from sweeps.space_checks import combination_faults, dimension_faults
from sweeps.spec import SweepSpec
from sweeps.spec_faults import Fault, Path
from sweeps.storage.study_address import check_storage_address


def check_spec(
    spec: SweepSpec, content: Mapping[str, Any], broken: Collection[Path]
) -> list[Fault]:
    """Checks a sweep across its fields.

    Args:
        spec: what is sound of the sweep file; defaults stand where something is not.
        content: the sweep file as it was read.
        broken: what is not sound, and has been found to be; nothing that hangs on it is checked.
    """
    sections = {str(path[0]) for path in broken if path}
    faults: list[Fault] = []
    if not {("data",), ("data", "name")} & set(broken):
        faults += _problems(lambda: check_dataset_name(spec.data.name))
    if not faults and "data" not in sections:
        faults += _problems(lambda: n_training_images(spec.data))
    n_images = None if faults or "data" in sections else n_training_images(spec.data)
    for check, fields in _CHECKS.items():
        if not sections & set(fields):
            faults += check(spec, content)
    return faults + list(_space(spec, n_images, broken))


def _space(spec: SweepSpec, n_images: int | None, broken: Collection[Path]) -> Iterator[Fault]:
    if ("space",) in broken:
        return
    sections = {str(path[0]) for path in broken if path}
    dimensions = {str(path[1]) for path in broken if path[:1] == ("space",) and len(path) > 1}
    faults = [
        *dimension_faults(spec.space, n_images, dimensions),
        *condition_faults(spec.space, dimensions),
        *constraint_faults(spec.space, dimensions),
        *first_faults(spec, dimensions),
        *rule_faults(spec, dimensions),
    ]
    if not dimensions and not faults and "constraints" not in sections:
        faults += [] if "sampler" in sections else reach_faults(spec)
        faults += combination_faults(spec.space)
    yield from faults


def _problems(check: Callable[[], object]) -> list[Fault]:
    """What a check of the core finds; its sentences start with the field."""
    try:
        check()
    except InvalidInput as error:
        return [Fault(_named_path(problem), problem) for problem in error.problems]
    return []


def _objective(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    for index, objective in enumerate(spec.objective):
        metric = objective.metric
        if metric.startswith("validation_") and spec.data.validation_size == 0:
            is_listed = isinstance(content.get("objective"), list | tuple)
            path: Path = ("objective", index, "metric") if is_listed else ("objective", "metric")
            yield Fault(
                path if "objective" in content else ("data", "validation_size"),
                f"'objective.metric' {metric} needs validation images, but 'data.validation_size' "
                f"is 0; hold some out, or choose {metric.replace('validation', 'test')}",
            )


def _one_objective(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    """What is only for a single objective."""
    n = len(spec.objective)
    if n == 1:
        return
    if spec.pruner.name != "none":
        yield Fault(
            ("pruner",),
            f"'pruner' must be none where there are {n} objectives, since Optuna prunes by one, "
            f"got {spec.pruner.name!r}",
        )
    for field in ("target", "no_improvement_trials"):
        if getattr(spec.stop, field) is not None:
            yield Fault(
                ("stop", field),
                f"'stop.{field}' is for one objective, but there are {n}; leave it out",
            )
    if spec.repetitions is not None:
        yield Fault(
            ("repetitions",),
            f"'repetitions' is for one objective, but there are {n}; list all 'seeds' instead",
        )


def _target(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    """A target that no trial could reach, such as one in per cent."""
    target, metric = spec.stop.target, spec.objective[0].metric
    if len(spec.objective) > 1 or target is None:
        return
    is_accuracy = metric.endswith("_accuracy")
    if target < 0 or (is_accuracy and target > 1):
        bounds = "from 0 to 1" if is_accuracy else "of at least 0"
        written = content["stop"]["target"]
        yield Fault(
            ("stop", "target"),
            f"'stop.target' must be a number {bounds}, as {metric} is, got {written!r}",
        )


def _sampler(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    sampler = spec.sampler
    most = sampler.most_objectives
    if most is not None and most < len(spec.objective):
        yield Fault(
            ("sampler",),
            f"'sampler' must be one for {len(spec.objective)} objectives, such as nsga2 or tpe, "
            f"got '{sampler.name}', which takes {most}",
        )


def _trials(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    is_planned = spec.sampler.is_listing or spec.sampler.searches_each is not None
    if spec.trials is None and not is_planned:
        yield Fault(
            ("sampler",),
            f"'trials' is missing; sampler '{spec.sampler.name}' needs a number of trials, "
            "an integer of at least 1",
        )


def _warm_start(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    if spec.warm_start and not spec.sampler.learns:
        yield Fault(
            ("warm_start",),
            f"'warm_start' is of no use to sampler '{spec.sampler.name}', which does not learn; "
            "leave it out, or choose one that does, such as tpe",
        )


def _pruner(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    n_seeds = max(len(spec.seeds), spec.repetitions.most_seeds if spec.repetitions else 0)
    problem = futile(spec.pruner, spec.most_cycles(), n_seeds)
    if problem is not None:
        yield Fault(("pruner",), f"'pruner' {problem}")


def _repetitions(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    repetitions, n_seeds = spec.repetitions, len(spec.seeds)
    if repetitions is not None and repetitions.most_seeds <= n_seeds:
        yield Fault(
            ("repetitions", "most_seeds"),
            f"'repetitions.most_seeds' must be more than the number of 'seeds', {n_seeds}, "
            f"got {repetitions.most_seeds}",
        )


def _half_width(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    """An interval that is wider than the values that the objective may have."""
    repetitions, metric = spec.repetitions, spec.objective[0].metric
    if repetitions is None or len(spec.objective) > 1 or not metric.endswith("_accuracy"):
        return
    if repetitions.half_width >= 0.5:
        written = content["repetitions"]["half_width"]
        yield Fault(
            ("repetitions", "half_width"),
            f"'repetitions.half_width' must be a number of less than 0.5, since {metric} is from "
            f"0 to 1, got {written!r}",
        )


def _study(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    if spec.study.storage is not None:
        try:
            check_storage_address(spec.study.storage)
        except InvalidInput as error:
            yield from (Fault(("study", "storage"), problem) for problem in error.problems)


_CHECKS: Mapping[Callable[[SweepSpec, Mapping[str, Any]], Iterator[Fault]], tuple[str, ...]] = {
    _objective: ("data", "objective"),
    _one_objective: ("objective", "pruner", "repetitions", "stop"),
    _sampler: ("objective", "sampler"),
    _trials: ("sampler", "trials"),
    _warm_start: ("sampler", "warm_start"),
    _pruner: ("budget", "pruner", "repetitions", "seeds", "space"),
    _repetitions: ("repetitions", "seeds"),
    _half_width: ("objective", "repetitions"),
    _target: ("objective", "stop"),
    _study: ("study",),
}
"""Each check with the fields on which it hangs."""


def _named_path(problem: str) -> Path:
    """The field with which a sentence starts: 'data.train_size' must be ..."""
    found = re.match(r"'(\w+)\.(\w+)'", problem)
    return found.groups() if found else ("data",)
