"""What pydantic cannot check of conditions and constraints: whether their names can be meant so."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping

from rso_core.configuration import Scalar
from rso_core.errors import nearest
from rso_core.validation import listing, shown
from sweeps.combinations import listed_part
from sweeps.conditions import Bounds, Condition
from sweeps.domains import Domain
from sweeps.space import LARGEST_GRID, MAIN_DIMENSIONS, Space, unlistable
from sweeps.spec import SweepSpec
from sweeps.spec_faults import Fault, Path, field_name

N_DRAWS = 1_000
"""Where none of so many random points is allowed, it is taken that none is."""


def condition_faults(space: Space, broken: Collection[str]) -> Iterator[Fault]:
    """Faults of each `when` of a dimension, and of those that hang on one another in a circle.

    Args:
        space: what is sound of it.
        broken: the dimensions that are not in it, having been found at fault.
    """
    for name, when in _conditions(space).items():
        path = ("space", name, "when")
        if name in MAIN_DIMENSIONS:
            yield Fault(
                path,
                f"'space.{name}' cannot have 'when', since every configuration has it; "
                "state what goes together under 'constraints'",
            )
        else:
            yield from _entries(path, when, space, broken, is_to_hold=True)
    yield from _circles(space)


def constraint_faults(space: Space, broken: Collection[str]) -> Iterator[Fault]:
    """Faults of each constraint by itself; see `condition_faults`."""
    for index, constraint in enumerate(space.constraints):
        for key, condition in constraint.parts():
            path = ("constraints", index, key)
            yield from _entries(path, condition, space, broken, is_to_hold=key == "when")


def rule_faults(spec: SweepSpec, broken: Collection[str]) -> Iterator[Fault]:
    """Faults of each `when` of the rules of resources; see `condition_faults`."""
    for index, rule in enumerate(spec.resources.rules):
        path = ("resources", "rules", index, "when")
        yield from _entries(path, rule.when, spec.space, broken, is_to_hold=True)


def first_faults(spec: SweepSpec, broken: Collection[str]) -> Iterator[Fault]:
    """Faults of each value under `first`."""
    for index, point in enumerate(spec.first):
        for name, value in point.items():
            path = ("first", index, name)
            if name in broken:
                continue
            if name not in spec.space:
                yield _unknown(path, spec.space)
            elif not spec.space[name].domain.contains(value):
                yield _foreign(path, value, name, spec.space[name].domain)


def reach_faults(spec: SweepSpec) -> Iterator[Fault]:
    """Faults of a space and of points under `first` whose parts are sound: what cannot be reached.

    Grids of which nothing is left or far too much, conditions that never hold, and points that are
    not in the space.
    """
    faults = list(_idle_conditions(spec.space))
    if spec.sampler.is_listing:
        faults += _grid(spec)
    elif spec.sampler.searches_each is not None:
        faults += _searches(spec)
    if not faults:
        faults += _nothing_allowed(spec)
    if not faults:
        faults += _first(spec)
    yield from faults


def _conditions(space: Space) -> dict[str, Condition]:
    return {d.name: d.domain.when for d in space.dimensions if d.domain.when is not None}


def _entries(
    path: Path, condition: Condition, space: Space, broken: Collection[str], *, is_to_hold: bool
) -> Iterator[Fault]:
    """Faults of a condition's names and values."""
    for name, accepted in condition.entries:
        at = (*path, name)
        if name in broken or at[:2] == ("space", name):  # one on itself is a circle
            continue
        if name not in space:
            yield _unknown(at, space)
            continue
        domain = space[name].domain
        foreign = [
            (index, value)
            for index, value in enumerate(accepted.named())
            if not domain.contains(value)
        ]
        within = ("not",) if isinstance(accepted, Bounds) else ()
        yield from (
            _foreign((*at, *within, index), value, name, domain) for index, value in foreign
        )
        if is_to_hold and not foreign and not domain.can_be(accepted):
            yield Fault(
                at,
                f"{field_name(at)} can never hold: 'space.{name}' is {domain.described()}, "
                f"got {shown(accepted.written())}",
            )


def _unknown(path: Path, space: Space) -> Fault:
    hint = nearest(str(path[-1]), [dimension.name for dimension in space.dimensions])
    return Fault(path, f"{field_name(path)} is not a dimension of 'space'; {hint}")


def _foreign(path: Path, value: Scalar, name: str, domain: Domain) -> Fault:
    """A value that a dimension cannot have."""
    texts = [known for known in domain.ends() if isinstance(known, str)]
    hint = nearest(value, texts) if isinstance(value, str) and texts else ""
    hint = f"; {hint}" if hint.startswith("did") else ""
    return Fault(
        path,
        f"{field_name(path)} must be {domain.described()}, as 'space.{name}' is, "
        f"got {shown(value)}{hint}",
    )


def _circles(space: Space) -> Iterator[Fault]:
    """A fault for each circle of conditions, with the first dimension of it in the file."""
    conditions = _conditions(space)
    told: set[str] = set()
    for name in conditions:
        circle = _way_back(name, conditions)
        if circle and not told & set(circle):
            told |= set(circle)
            way = " -> ".join([*circle, name])
            yield Fault(
                ("space", name, "when"),
                f"'space.{name}.when' must not hang on '{name}' itself, got {way}",
            )


def _way_back(name: str, conditions: Mapping[str, Condition]) -> list[str]:
    """The dimensions by which a condition leads back to its own; none if it does not."""
    ways = [[name]]
    seen = set()
    while ways:
        way = ways.pop(0)
        for following in conditions[way[-1]].names() if way[-1] in conditions else ():
            if following == name:
                return way
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def _idle_conditions(space: Space) -> Iterator[Fault]:
    """Conditions on dimensions that no optimiser has beside the one that is to exist."""
    for name, when in _conditions(space).items():
        allowed = dict(when.entries).get("optimizer")
        needed = {name, *when.names()} - set(MAIN_DIMENSIONS)
        optimizers = (o for o in space.optimizers() if allowed is None or allowed.accepts(o))
        if not any(needed <= {d.name for d in space.options_of(o)} for o in optimizers):
            quoted = [f"'{option}'" for option in sorted(needed)]
            yield Fault(
                ("space", name, "when"),
                f"'space.{name}.when' can never hold: no optimiser of 'space.optimizer' that it "
                f"allows has {listing(quoted, 'and')}",
            )


def _grid(spec: SweepSpec) -> Iterator[Fault]:
    sampler = spec.sampler.name
    for dimension in spec.space.unlistable_dimensions():
        yield Fault(("space", dimension.name), unlistable(dimension.name, sampler))
    n_combinations = spec.space.n_combinations()
    if n_combinations is not None and n_combinations > LARGEST_GRID:
        n = f"{n_combinations}" if spec.space.is_product() else f"more than {LARGEST_GRID}"
        yield Fault(
            ("space",),
            f"'space' must have at most {LARGEST_GRID} combinations for sampler '{sampler}', "
            f"got {n}; shorten its lists, or choose sampler 'random' or 'tpe'",
        )


def _searches(spec: SweepSpec) -> Iterator[Fault]:
    """What keeps each combination of listed values from having a search of its own."""
    unlisted = [d.name for d in spec.space.unlistable_dimensions() if d.name in MAIN_DIMENSIONS]
    for name in unlisted:
        yield Fault(
            ("space", name),
            f"'space.{name}' must have a 'step' or be a list where "
            "'sampler.trials_each' gives each combination a search of its own",
        )
    n_combinations = listed_part(spec.space).n_combinations() if not unlisted else None
    if n_combinations is not None and n_combinations > LARGEST_GRID:
        yield Fault(
            ("space",),
            f"'space' must have at most {LARGEST_GRID} combinations of listed values for "
            "'sampler.trials_each', got more; shorten its lists",
        )
    if spec.first:
        yield Fault(
            ("first",),
            "'first' is of no use where 'sampler.trials_each' gives each combination a search of "
            "its own; leave one of them out",
        )


def _nothing_allowed(spec: SweepSpec) -> Iterator[Fault]:
    if not spec.space.constraints or _is_reached(spec, {}):
        return
    index = _always_broken(spec.space, list(_draws(spec, {})))
    sentence = "together they allow none" if index is None else "this one allows none"
    if not spec.sampler.is_listing:
        sentence += f" of {N_DRAWS} random ones"
    yield Fault(
        ("constraints",) if index is None else ("constraints", index),
        f"'constraints' must allow some configuration, but {sentence}; loosen them",
    )


def _first(spec: SweepSpec) -> Iterator[Fault]:
    """Points under `first` whose values do not go together."""
    for index, point in enumerate(spec.first):
        if not _is_reached(spec, point):
            yield _out_of_reach(("first", index), point, list(_draws(spec, point)), spec.space)


def _is_reached(spec: SweepSpec, point: Mapping[str, Scalar]) -> bool:
    """Whether there is an allowed configuration with a point's values, as far as can be told."""
    found = spec.space.at(point).grid() if spec.sampler.is_listing else _draws(spec, point)
    return any(point.keys() <= one.keys() and spec.space.is_allowed(one) for one in found)


def _out_of_reach(
    path: Path,
    point: Mapping[str, Scalar],
    points: Collection[Mapping[str, Scalar]],
    space: Space,
) -> Fault:
    """Why none of the configurations with a point's values is allowed and has all of them."""
    absent = [name for name in point if not any(name in found for found in points)]
    if absent:
        at = (*path, absent[0])
        return Fault(at, f"{field_name(at)} {_absence(absent[0], point, space)}")
    whole = [found for found in points if point.keys() <= found.keys()]
    if not whole:
        sentence = "must list points whose dimensions exist together, got"
    elif (broken := _always_broken(space, whole)) is None:
        sentence = "must list points that 'constraints' allow, but they together forbid"
    else:
        sentence = f"must list points that number {broken + 1} of 'constraints' allows, got"
    return Fault(path, f"{field_name(path)} {sentence} {shown(dict(point))}")


def _absence(name: str, point: Mapping[str, Scalar], space: Space) -> str:
    """Why a dimension does not exist beside the others of a point."""
    fixed = space.at(point).optimizers()
    if not any(name in {d.name for d in space.options_of(optimizer)} for optimizer in fixed):
        return f"does not exist in this point: it is not an option of {listing(fixed, 'or')}"
    return f"does not exist in this point: 'space.{name}.when' does not hold"


def _always_broken(space: Space, points: Collection[Mapping[str, Scalar]]) -> int | None:
    """The first constraint that all of the points break."""
    violations = [space.violation(point) for point in points]
    return next(
        (n for n in range(len(space.constraints)) if all(broken[n] for broken in violations)), None
    )


def _draws(spec: SweepSpec, point: Mapping[str, Scalar]) -> Iterator[dict[str, Scalar]]:
    """Random configurations with the values of a point."""
    from sweeps.points import draws  # only who has constraints or first points waits for optuna

    return itertools.islice(draws(spec, spec.space, 0, point), N_DRAWS)
