"""The space that a sweep searches: its dimensions, when each exists, and what is allowed of it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import core_schema

from rso_core.configuration import CYCLES, Scalar
from rso_core.errors import InvalidInput
from rso_core.optimizers import optimizer_class
from sweeps.conditions import Condition, Constraint
from sweeps.domains import Choices, Domain, Fixed, Suggesting, WrittenDomain

MAIN_DIMENSIONS = ("architecture", "batch_size", "optimizer")
"""The dimensions that every configuration has."""
LARGEST_GRID = 100_000
"""More combinations than this are taken for a slip."""
_MOST_STEPS = 10 * LARGEST_GRID
"""Of a count: more choices than this, allowed or not, are taken for too many to list."""


@dataclass(frozen=True, slots=True)
class Space:
    """All the configurations that a sweep may try."""

    dimensions: tuple[Dimension, ...]
    """In the order of the sweep file; no two of one name."""
    constraints: tuple[Constraint, ...] = ()
    """What is allowed of the combinations of the dimensions: what breaks none of them."""

    def suggest(self, trial: Suggesting) -> dict[str, Scalar]:
        """Asks the trial for a configuration: the main dimensions, then its optimiser's options.

        A dimension is asked for once all that its condition names have been. What comes of it may
        break a constraint: see `is_allowed`.

        Returns:
            A value by name, for `Configuration.from_values`; fixed values are in it, though the
            trial is not asked for them.
        """
        values = {d.name: d.domain.suggest(d.name, trial) for d in self.main_dimensions()}
        for dimension in self.options_of(str(values["optimizer"])):
            if dimension.exists(values):
                values[dimension.name] = dimension.domain.suggest(dimension.name, trial)
        return values

    def has(self, point: Mapping[str, Scalar]) -> bool:
        """Whether that is one of its configurations: all of their dimensions, and no others."""
        if any(name not in point for name in MAIN_DIMENSIONS):
            return False
        optimizer = point["optimizer"]
        if not self["optimizer"].domain.contains(optimizer):
            return False
        dimensions = self.main_dimensions() + tuple(
            dimension for dimension in self.options_of(str(optimizer)) if dimension.exists(point)
        )
        return (
            point.keys() == {dimension.name for dimension in dimensions}
            and all(d.domain.contains(point[d.name]) for d in dimensions)
            and self.is_allowed(point)
        )

    def is_allowed(self, point: Mapping[str, Scalar]) -> bool:
        """Whether a configuration breaks no constraint.

        A constraint whose `when` does not hold is not broken, and neither is a `require` on a
        dimension that the configuration does not have.
        """
        return not any(self.violation(point))

    def violation(self, point: Mapping[str, Scalar]) -> tuple[float, ...]:
        """How far a configuration is from what each constraint allows; above 0 it is broken."""
        return tuple(constraint.violation(point) for constraint in self.constraints)

    def grid(self) -> Iterator[dict[str, Scalar]]:
        """Every allowed combination once, as `suggest` gives them; the last dimension is fastest.

        Raises:
            InvalidInput: a range without a step; at once, not when the first is taken.
        """
        problems = [unlistable(dimension.name) for dimension in self.unlistable_dimensions()]
        if problems:
            raise InvalidInput(*problems)
        return (point for point in _listed(self) if point is not None)

    def n_combinations(self) -> int | None:
        """Length of `grid`; None where a range has no step.

        Without conditions and constraints nothing is listed. With them the combinations are
        counted one by one, and any number above `LARGEST_GRID` stands for all larger ones.
        """
        if self.unlistable_dimensions():
            return None
        if self.is_product():
            n_with_options = sum(
                _n_combinations(self.options_of(name)) for name in self.optimizers()
            )
            return _n_combinations((self["architecture"], self["batch_size"])) * n_with_options
        return _n_counted(self)

    def is_product(self) -> bool:
        """Whether it has neither conditions nor constraints."""
        return not self.constraints and not any(d.domain.when for d in self.dimensions)

    def at(self, point: Mapping[str, Scalar]) -> Space:
        """The part of the space in which these dimensions have these values."""
        dimensions = (
            replace(d, domain=Fixed(value=d.domain.own(point[d.name]), when=d.domain.when))
            if d.name in point
            else d
            for d in self.dimensions
        )
        return replace(self, dimensions=tuple(dimensions))

    def largest_batch_size(self) -> int:
        """The largest batch that a configuration of this space may ask for, in images."""
        return max(int(str(size)) for size in self["batch_size"].domain.ends())

    def cycles(self, budget: int) -> tuple[int, int]:
        """The fewest and the most cycles that a configuration of this space may ask for.

        Args:
            budget: the cycles of a configuration that has none of its own.
        """
        own = {d.name: d.domain for d in self.dimensions if d.name.rpartition(".")[2] == CYCLES}
        found = [n for domain in own.values() for n in domain.ends() if isinstance(n, int)]
        always = {name for name, domain in own.items() if domain.when is None}
        optimizers = self.optimizers() if "optimizer" in self else ()
        if not found or not all({CYCLES, f"{o}.{CYCLES}"} & always for o in optimizers):
            found.append(budget)
        return min(found), max(found)

    def optimizers(self) -> tuple[str, ...]:
        """The optimisers that this space lists, in the file's order."""
        return tuple(str(name) for name in self["optimizer"].domain.listed())

    def main_dimensions(self) -> tuple[Dimension, ...]:
        """Architecture, batch size and optimiser, in this order."""
        return tuple(self[name] for name in MAIN_DIMENSIONS)

    def options_of(self, optimizer: str) -> tuple[Dimension, ...]:
        """The dimensions that may exist under this optimiser besides the main ones.

        In the order of the sweep file, but for those whose condition names a later one: they come
        after it. `rso.weight_decay` takes the place of a bare `weight_decay` under rso.
        """
        names = option_names(optimizer)
        own = {f"{optimizer}.{name}" for name in names}
        bare = {name for name in names if f"{optimizer}.{name}" not in self}
        return _decidable(tuple(d for d in self.dimensions if d.name in own | bare))

    def unlistable_dimensions(self) -> tuple[Dimension, ...]:
        """The ranges that have no step, so that a grid cannot list them."""
        return tuple(d for d in self.dimensions if d.domain.n_listed() is None)

    def __contains__(self, name: object) -> bool:
        return any(dimension.name == name for dimension in self.dimensions)

    def __getitem__(self, name: str) -> Dimension:
        for dimension in self.dimensions:
            if dimension.name == name:
                return dimension
        raise KeyError(name)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, Domain | Scalar | Sequence[Scalar]],
        constraints: Sequence[Constraint] = (),
    ) -> Space:
        """Builds a space from domains by name; a sequence is choices, a scalar is fixed."""
        dimensions = (Dimension(name, _domain(value)) for name, value in mapping.items())
        return cls(tuple(dimensions), tuple(constraints))

    def to_mapping(self) -> dict[str, Any]:
        """The dimensions as a sweep file writes them; it has the constraints beside them."""
        return {dimension.name: dimension.domain.written() for dimension in self.dimensions}

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """In a sweep file a space is a mapping; pydantic checks it as one, then it becomes this."""

        def validate(value: Any, inner: core_schema.ValidatorFunctionWrapHandler) -> Space:
            return value if isinstance(value, Space) else cls.from_mapping(inner(value))

        return core_schema.no_info_wrap_validator_function(
            validate,
            handler.generate_schema(dict[str, WrittenDomain]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_mapping),
        )


@dataclass(frozen=True, slots=True)
class Dimension:
    """One name of the space and the values that it may take."""

    name: str
    """`batch_size`, or an option: bare, or as `rso.weight_decay`."""
    domain: Domain

    def exists(self, values: Mapping[str, Scalar]) -> bool:
        """Whether its condition holds for the values of the dimensions before it."""
        return self.domain.when is None or self.domain.when.holds(values)


def option_names(optimizer: str) -> tuple[str, ...]:
    """The options that an optimiser has, and the cycles, which are given like one."""
    return (*optimizer_class(optimizer).Options.model_fields, CYCLES)


def unlistable(name: str, sampler: str = "grid") -> str:
    """Why a range cannot be part of a grid, and what to do."""
    return (
        f"'space.{name}' must have a 'step' or be a list for sampler '{sampler}', "
        "which tries every value; or choose sampler 'random' or 'tpe'"
    )


def _domain(written: Domain | Scalar | Sequence[Scalar]) -> Domain:
    if isinstance(written, BaseModel):
        return written
    if isinstance(written, str) or not isinstance(written, Sequence):
        return Fixed(value=written)
    return Choices(choices=tuple(written))


def _decidable(dimensions: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
    """Each after those of them that its condition names; else in the given order."""
    if not any(dimension.domain.when for dimension in dimensions):
        return dimensions
    left = {dimension.name: dimension for dimension in dimensions}
    ordered = []
    while left:
        ready = (
            dimension
            for dimension in left.values()
            if not any(name in left for name in _names(dimension.domain.when))
        )
        # in a circle, which is a fault of the sweep file, none is ready
        dimension = next(ready, None) or next(iter(left.values()))
        ordered.append(left.pop(dimension.name))
    return tuple(ordered)


def _names(condition: Condition | None) -> tuple[str, ...]:
    return condition.names() if condition else ()


def _listed(space: Space) -> Iterator[dict[str, Scalar] | None]:
    """Every allowed combination, and None for each choice after which none is allowed."""
    suffixes = {name: _Suffix.under(name, space) for name in space.optimizers()}
    for main in _combinations(space.main_dimensions()):
        yield from suffixes[str(main["optimizer"])].combinations(main)


@dataclass(frozen=True, slots=True)
class _Suffix:
    """The dimensions that are still to be chosen, in their order."""

    dimensions: tuple[Dimension, ...]
    constraints: tuple[tuple[Constraint, ...], ...]
    """One more than dimensions: those that can be told before the first, the second, ..."""
    n_entangled: int
    """After so many dimensions, all values of those that are left go together."""

    @classmethod
    def under(cls, optimizer: str, space: Space) -> _Suffix:
        options = space.options_of(optimizer)
        place = {dimension.name: index for index, dimension in enumerate(options, start=1)}
        decided: list[list[Constraint]] = [[] for _ in range(len(options) + 1)]
        for constraint in space.constraints:
            decided[max((place.get(name, 0) for name in constraint.names()), default=0)].append(
                constraint
            )
        entangled = [place[d.name] for d in options if d.domain.when]
        entangled += [index for index, constraints in enumerate(decided) if constraints]
        return cls(options, tuple(map(tuple, decided)), max(entangled, default=0))

    def combinations(
        self, values: dict[str, Scalar], first: int = 0
    ) -> Iterator[dict[str, Scalar] | None]:
        """The values with each combination of the dimensions from the first on."""
        if any(constraint.violation(values) for constraint in self.constraints[first]):
            yield None
        elif first == self.n_entangled:
            for options in _combinations(self.dimensions[first:]):
                yield values | options
        elif self.dimensions[first].exists(values):
            name = self.dimensions[first].name
            for value in self.dimensions[first].domain.listed():
                yield from self.combinations({**values, name: value}, first + 1)
        else:
            yield from self.combinations(values, first + 1)


def _combinations(dimensions: Sequence[Dimension]) -> Iterator[dict[str, Scalar]]:
    names = [dimension.name for dimension in dimensions]
    for values in itertools.product(*(dimension.domain.listed() for dimension in dimensions)):
        yield dict(zip(names, values, strict=True))


def _n_combinations(dimensions: Sequence[Dimension]) -> int:
    return math.prod(dimension.domain.n_listed() or 0 for dimension in dimensions)


@functools.lru_cache(maxsize=8)
def _n_counted(space: Space) -> int:
    """How many points a grid with conditions has; it is asked for at every trial."""
    if any((dimension.domain.n_listed() or 0) > LARGEST_GRID for dimension in space.dimensions):
        return LARGEST_GRID + 1  # too many to write out even one of its dimensions
    n_allowed = 0
    for n_steps, point in enumerate(_listed(space)):
        n_allowed += point is not None
        if n_allowed > LARGEST_GRID or n_steps > _MOST_STEPS:
            return LARGEST_GRID + 1
    return n_allowed
