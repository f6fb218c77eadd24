"""Which configuration a trial gets where it can be told in advance from the trial's number."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from rso_core.configuration import Configuration, Scalar
from rso_core.errors import InvalidInput
from sweeps.combinations import Point, combinations, is_whole
from sweeps.random_trial import RandomTrial, trial_seed
from sweeps.space import Space
from sweeps.spec import SweepSpec

MOST_DRAWS = 100_000
"""Draws for one trial, until one is allowed; a space that needs more is all but forbidden."""


@dataclass(frozen=True, slots=True)
class EarlierSpace:
    """What a sweep searched before its space was grown."""

    n_trials: int
    """Trials that had been asked for by then, those of still earlier spaces included."""
    space: Space
    first: Sequence[Mapping[str, Scalar]] = ()
    """What the sweep file had under `first` then."""


class KnownPoints:
    """The points that do not hang on results, each by its trial's number.

    These are what a sweep file has under `first`, then all points of a grid or of a brute-force
    search, or all that random sampling draws. A sweep that was cut off at any instant so goes on
    with the points that it would have had.

    A grid begins with its most costly points, so that none of them is left for the end, when the
    other workers have nothing to do; a brute-force search has an order drawn from the sweep's seed.
    In both, what agrees with a point of `first` comes before all else.

    Where each combination of listed values has a search of its own, only the combination of a trial
    is known: each has its first trial before any has its second, the most costly ones first.

    Args:
        spec: the sweep.
        cost: of one run of a configuration, in any unit; without it a grid has the file's order.
            It may raise InvalidInput.
        earlier: what was searched before the present space, the oldest first. Numbers below their
            `n_trials` keep their points; a grid goes on with what it has not had yet.
    """

    def __init__(
        self,
        spec: SweepSpec,
        cost: Callable[[Configuration], float] | None = None,
        earlier: Sequence[EarlierSpace] = (),
    ) -> None:
        self._spec = spec
        self._stages = _stages(spec, earlier)
        self._is_planned = spec.n_planned() is not None
        self._rows = _rows(spec, self._stages, cost) if self._is_planned else []

    @property
    def are_known(self) -> bool:
        """Whether every number says its point, whatever the results are."""
        return self._spec.sampler.is_listing or self._spec.sampler.draws_independently

    @property
    def n_points(self) -> int | None:
        """How many points there are in all; None for a sampler that does not plan them."""
        return len(self._rows) if self._is_planned else None

    def given(self, number: int) -> Point | None:
        """What is known of the point of a trial, where all trials are planned."""
        return _point(self._rows[number]) if number < len(self._rows) else None

    def get(self, number: int) -> Point | None:
        """The point of a trial; None where the sampler decides, or a list has no more.

        Raises:
            InvalidInput: no allowed point was drawn.
        """
        if self._is_planned:
            point = self.given(number)
            if point is None or self._spec.sampler.is_listing:
                return point
            return point if is_whole(self._spec.space, point) else None
        stage = next(stage for stage in self._stages if number < stage.end)
        if number - stage.start < len(stage.first):
            return _drawn(self._spec, stage.space, number, stage.first[number - stage.start])
        if self._spec.sampler.draws_independently:
            return _drawn(self._spec, stage.space, number)
        return None


def draws(
    spec: SweepSpec, space: Space, number: int, given: Mapping[str, Scalar] | None = None
) -> Iterator[Point]:
    """What random sampling draws for a trial, one attempt after the other, without an end.

    What is drawn may lack dimensions of `given`, and may not be allowed.

    Args:
        spec: the sweep.
        space: its space, or an earlier one.
        number: the trial's.
        given: values that are not drawn.
    """
    part = space.at(given) if given else space
    for attempt in itertools.count():
        yield part.suggest(RandomTrial(trial_seed(spec.seed, number, attempt)))


def allowed_draw(spec: SweepSpec, number: int, given: Mapping[str, Scalar] | None = None) -> Point:
    """A random point for a trial that its sampler finds no allowed one for.

    Args:
        spec: the sweep.
        number: the trial's.
        given: values that it has to have.

    Raises:
        InvalidInput: no allowed point was drawn.
    """
    return _drawn(spec, spec.space, number, given)


def is_among(point: Mapping[str, Scalar], given: Mapping[str, Scalar]) -> bool:
    """Whether a point has all dimensions that are given, with these values."""
    return all(name in point and point[name] == value for name, value in given.items())


def typical_configurations(spec: SweepSpec, at_most: int = 200) -> list[Configuration]:
    """Configurations that stand for those of the sweep, always the same for one sweep file.

    Those that are planned, evenly spaced where there are more of them, with defaults for what is
    not known; for a sampler, which chooses as it goes, random ones that are allowed; fewer where
    few are.
    """
    points: Iterable[Point]
    if spec.n_planned() is not None:
        n = spec.n_trials()
        planned = (point for _, point in _planned(spec, spec.space))
        points = itertools.islice(planned, 0, n, math.ceil(n / at_most))
    else:
        trial = RandomTrial(spec.seed)
        drawn = (spec.space.suggest(trial) for _ in range(10 * at_most))
        points = itertools.islice(filter(spec.space.is_allowed, drawn), at_most)
    found = []
    for point in points:
        with suppress(InvalidInput):  # such a trial will fail at once
            found.append(Configuration.from_values(point, spec.budget.cycles))
    return found


@dataclass(frozen=True, slots=True)
class _Stage:
    """The trials between two changes of the space."""

    start: int
    end: float
    """Infinite for the present space."""
    space: Space
    first: tuple[Mapping[str, Scalar], ...]
    """In a grid all of its time; else those of them that no earlier stage has had."""


def _stages(spec: SweepSpec, earlier: Sequence[EarlierSpace]) -> tuple[_Stage, ...]:
    stages: list[_Stage] = []
    had: list[Mapping[str, Scalar]] = []
    ends = [(float(stage.n_trials), stage.space, stage.first) for stage in earlier]
    for end, space, first in [*ends, (math.inf, spec.space, spec.first)]:
        start = 0 if not stages else int(stages[-1].end)
        left = [point for point in first if spec.sampler.is_listing or point not in had]
        had += left[: len(left) if end == math.inf else max(0, int(end) - start)]
        stages.append(_Stage(start, end, space, tuple(left)))
    return tuple(stages)


def _drawn(
    spec: SweepSpec, space: Space, number: int, given: Mapping[str, Scalar] | None = None
) -> Point:
    """The first of the draws that is allowed and has all that is given."""
    for point in itertools.islice(draws(spec, space, number, given), MOST_DRAWS):
        if is_among(point, given or {}) and space.is_allowed(point):
            return point
    raise InvalidInput(
        f"'constraints' must leave something to draw, but none of {MOST_DRAWS} random points for "
        f"trial {number} is allowed; loosen them, or choose sampler 'grid'"
    )


_Row = tuple[tuple[str, ...], tuple[Scalar, ...]]
"""A point's names, of which many rows share one tuple, and its values; a dict is far larger."""


def _point(row: _Row) -> Point:
    return dict(zip(*row, strict=True))


def _rows(
    spec: SweepSpec, stages: Sequence[_Stage], cost: Callable[[Configuration], float] | None
) -> list[_Row]:
    """All planned points, in the order of their trials."""
    rows: list[_Row] = []
    had: Counter[frozenset[tuple[str, Scalar]]] = Counter()
    for stage in stages:
        left = had.copy()
        new = [row for row in _in_order(spec, stage, cost) if not left or not _taken(row, left)]
        if stage.end != math.inf:
            new = new[: int(stage.end) - stage.start]
            had.update(map(_key, new))
        rows += new
    return rows


def _taken(row: _Row, left: Counter[frozenset[tuple[str, Scalar]]]) -> bool:
    """Whether an earlier stage has had the point, which then counts for this row and no other."""
    key = _key(row)
    if left[key] == 0:
        return False
    left[key] -= 1
    return True


def _key(row: _Row) -> frozenset[tuple[str, Scalar]]:
    """Equal for equal points, in whatever order their values stand."""
    return frozenset(zip(*row, strict=True))


def _in_order(
    spec: SweepSpec, stage: _Stage, cost: Callable[[Configuration], float] | None
) -> list[_Row]:
    """The points of one space, those that agree with its `first` before the others."""
    names: dict[tuple[str, ...], tuple[str, ...]] = {}
    rows: list[_Row] = []
    ranks: list[tuple[int, float]] = []
    is_shuffled = spec.sampler.name == "brute_force"
    for n_before, point in _planned(spec, stage.space):
        of_first = (n for n, given in enumerate(stage.first) if is_among(point, given))
        rank = 0.0 if cost is None or is_shuffled else -_cost(point, spec, cost)
        ranks.append((n_before or next(of_first, len(stage.first)), rank))
        shared = names.setdefault(tuple(point), tuple(point))
        rows.append((shared, tuple(point.values())))
    order: Sequence[int] = range(len(rows))
    if is_shuffled:
        order = np.random.default_rng(spec.seed).permutation(len(rows)).tolist()
    return [rows[index] for index in sorted(order, key=ranks.__getitem__)]


def _planned(spec: SweepSpec, space: Space) -> Iterator[tuple[int, Point]]:
    """All points of a space, or combinations, each with how many times it came before."""
    n_each = spec.sampler.searches_each
    if n_each is None:
        yield from ((0, point) for point in space.grid())
        return
    for point in combinations(space):
        for n_before in range(1 if is_whole(space, point) else n_each):
            yield n_before, point


def _cost(point: Point, spec: SweepSpec, cost: Callable[[Configuration], float]) -> float:
    """A run's cost, defaults for what is not known; of one that fails at once less than any."""
    try:
        return cost(Configuration.from_values(point, spec.budget.cycles))
    except InvalidInput:
        return -math.inf
