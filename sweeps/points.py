"""Which configuration a trial gets where it can be told in advance from the trial's number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress

import numpy as np
import optuna

from rso_core.configuration import Configuration, Scalar
from rso_core.errors import InvalidInput
from sweeps.spec import SweepSpec

Point = dict[str, Scalar]
"""The values of all dimensions of the space that a configuration has, fixed ones too."""


class KnownPoints:
    """The points of a grid, or those that random sampling draws, each by its trial's number.

    A sweep that was cut off at any instant so goes on with the points that it would have had.

    Args:
        spec: the sweep.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._spec = spec
        self._grid: Iterator[Point] = iter(())
        self._next = -1
        self.are_known = spec.sampler.name in ("grid", "random")

    def __getitem__(self, number: int) -> Point:
        """The point of a trial; `are_known` must hold. Of a grid in rising order is quick."""
        if self._spec.sampler.name == "random":
            return _drawn(self._spec, sampler_seed(self._spec, number))
        if number != self._next:
            self._grid = itertools.islice(self._spec.space.grid(), number, None)
        self._next = number + 1
        return next(self._grid)


def sampler_seed(spec: SweepSpec, number: int) -> int:
    """The seed of the sampler for one trial, so that what it draws depends on nothing earlier."""
    return int(np.random.SeedSequence((spec.seed, number)).generate_state(1)[0])


def typical_configurations(spec: SweepSpec, at_most: int = 200) -> list[Configuration]:
    """Configurations that stand for those of the sweep, always the same for one sweep file.

    A grid's own, evenly spaced where there are more of them; for a sampler, which chooses as it
    goes, random ones.
    """
    points: Iterable[Point]
    if spec.sampler.name == "grid":
        n = spec.n_trials()
        points = itertools.islice(spec.space.grid(), 0, n, math.ceil(n / at_most))
    else:
        study = _random_study(spec.seed)
        points = (spec.space.suggest(study.ask()) for _ in range(at_most))
    found = []
    for point in points:
        with suppress(InvalidInput):  # such a trial will fail at once
            found.append(Configuration.from_values(point, spec.budget.cycles))
    return found


def _drawn(spec: SweepSpec, seed: int) -> Point:
    return spec.space.suggest(_random_study(seed).ask())


def _random_study(seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
