"""The combinations of a space's listed values, each of which may have a search of its own."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace

from rso_core.configuration import Scalar
from sweeps.space import Space

Point = dict[str, Scalar]
"""The values of dimensions of the space."""


def combinations(space: Space) -> list[Point]:
    """Every combination of the values of the dimensions that are listed, without the ranges.

    Of the constraints those hold that can be told by them.
    """
    return list(listed_part(space).grid())


def listed_part(space: Space) -> Space:
    """The space without its ranges; the main dimensions must be listed."""
    ranges = {dimension.name for dimension in space.unlistable_dimensions()}
    return replace(space, dimensions=tuple(d for d in space.dimensions if d.name not in ranges))


def is_whole(space: Space, combination: Mapping[str, Scalar]) -> bool:
    """Whether it is a configuration already, since no range exists in it."""
    options = space.options_of(str(combination["optimizer"]))
    return all(d.name in combination or not d.exists(combination) for d in options)


@functools.lru_cache(maxsize=8)
def n_trials_of(space: Space, trials_each: int) -> int:
    """How many trials there are if each combination has so many, or one where it is whole."""
    return sum(1 if is_whole(space, each) else trials_each for each in combinations(space))
