"""The space that a sweep searches: its dimensions, and under which optimiser each exists."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import core_schema

from rso_core.configuration import Scalar
from rso_core.errors import InvalidInput
from rso_core.optimizers import optimizer_class
from sweeps.domains import Choices, Domain, Fixed, WrittenDomain

if TYPE_CHECKING:
    import optuna

MAIN_DIMENSIONS = ("architecture", "batch_size", "optimizer")
"""The dimensions that every configuration has."""


@dataclass(frozen=True, slots=True)
class Space:
    """All the configurations that a sweep may try."""

    dimensions: tuple[Dimension, ...]
    """In the order of the sweep file; no two of one name."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Scalar]:
        """Asks the trial for a configuration: the main dimensions, then its optimiser's options.

        Returns:
            A value by name, for `Configuration.from_values`; fixed values are in it, though the
            trial is not asked for them.
        """
        values = {d.name: d.domain.suggest(d.name, trial) for d in self.main_dimensions()}
        options = self.options_of(str(values["optimizer"]))
        return values | {d.name: d.domain.suggest(d.name, trial) for d in options}

    def grid(self) -> Iterator[dict[str, Scalar]]:
        """Every combination once, as `suggest` gives them; the last dimension varies fastest.

        Raises:
            InvalidInput: a range without a step; at once, not when the first is taken.
        """
        problems = [unlistable(dimension.name) for dimension in self.unlistable_dimensions()]
        if problems:
            raise InvalidInput(*problems)
        return (
            main | options
            for main in _combinations(self.main_dimensions())
            for options in _combinations(self.options_of(str(main["optimizer"])))
        )

    def n_combinations(self) -> int | None:
        """Length of `grid`, without listing it; None where a range has no step."""
        if self.unlistable_dimensions():
            return None
        n_with_options = sum(_n_combinations(self.options_of(name)) for name in self.optimizers())
        return _n_combinations((self["architecture"], self["batch_size"])) * n_with_options

    def largest_batch_size(self) -> int:
        """The largest batch that a configuration of this space may ask for, in images."""
        return max(int(str(size)) for size in self["batch_size"].domain.ends())

    def optimizers(self) -> tuple[str, ...]:
        """The optimisers that this space lists, in the file's order."""
        return tuple(str(name) for name in self["optimizer"].domain.listed())

    def main_dimensions(self) -> tuple[Dimension, ...]:
        """Architecture, batch size and optimiser, in this order."""
        return tuple(self[name] for name in MAIN_DIMENSIONS)

    def options_of(self, optimizer: str) -> tuple[Dimension, ...]:
        """The dimensions that exist under this optimiser besides the main ones.

        `rso.weight_decay` takes the place of a bare `weight_decay` under rso.
        """
        names = option_names(optimizer)
        own = {f"{optimizer}.{name}" for name in names}
        bare = {name for name in names if f"{optimizer}.{name}" not in self}
        return tuple(d for d in self.dimensions if d.name in own | bare)

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
    def from_mapping(cls, mapping: Mapping[str, Domain | Scalar | Sequence[Scalar]]) -> Space:
        """Builds a space from domains by name; a sequence is choices, a scalar is fixed."""
        return cls(tuple(Dimension(name, _domain(value)) for name, value in mapping.items()))

    def to_mapping(self) -> dict[str, Any]:
        """The space as a sweep file writes it."""
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


def option_names(optimizer: str) -> tuple[str, ...]:
    """The options that an optimiser has."""
    return tuple(optimizer_class(optimizer).Options.model_fields)


def unlistable(name: str) -> str:
    """Why a range cannot be part of a grid, and what to do."""
    return (
        f"'space.{name}' must have a 'step' or be a list for sampler 'grid', "
        "which tries every value; or choose sampler 'random' or 'tpe'"
    )


def _domain(written: Domain | Scalar | Sequence[Scalar]) -> Domain:
    if isinstance(written, BaseModel):
        return written
    if isinstance(written, str) or not isinstance(written, Sequence):
        return Fixed(value=written)
    return Choices(choices=tuple(written))


def _combinations(dimensions: Sequence[Dimension]) -> Iterator[dict[str, Scalar]]:
    names = [dimension.name for dimension in dimensions]
    for values in itertools.product(*(dimension.domain.listed() for dimension in dimensions)):
        yield dict(zip(names, values, strict=True))


def _n_combinations(dimensions: Sequence[Dimension]) -> int:
    return math.prod(dimension.domain.n_listed() or 0 for dimension in dimensions)
