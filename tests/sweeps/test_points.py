"""The points that do not hang on results: which number has which, and that all are allowed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from rso_core.configuration import Configuration
from rso_core.errors import InvalidInput
from sweeps.combinations import Point
from sweeps.conditions import Bounds, Condition, Constraint
from sweeps.domains import Choices, Fixed, Range
from sweeps.points import EarlierSpace, KnownPoints, typical_configurations
from sweeps.random_trial import RandomTrial, trial_seed
from sweeps.samplers import BruteForceSampling, GridSampling, RandomSampling, TpeSampling
from sweeps.space import Space
from sweeps.spec import SweepSpec

MAIN: dict[str, Any] = {
    "architecture": ("one_conv", "two_conv"),
    "batch_size": (16, 64, 32),
    "optimizer": "sgd",
}
RATES = Range(low=0.1, high=1.0)


def constraint(**require: Any) -> Constraint:
    return Constraint(require=Condition.from_mapping(require))


def sweep(dimensions: dict[str, Any], *constraints: Constraint, **fields: Any) -> SweepSpec:
    if not isinstance(fields.get("sampler", GridSampling()), GridSampling | BruteForceSampling):
        fields = {"trials": 50} | fields
    return SweepSpec(name="x", space=Space.from_mapping(dimensions, constraints), **fields)


def points(known: KnownPoints) -> list[Point]:
    found = [known.get(number) for number in range(known.n_points or 0)]
    assert known.get(known.n_points or 0) is None
    return [point for point in found if point is not None]


def briefly(listed: list[Point]) -> list[tuple[object, object]]:
    return [(point["architecture"], point["batch_size"]) for point in listed]


def key(point: Point) -> frozenset[Any]:
    return frozenset(point.items())


def test_a_grid_without_costs_has_the_order_of_the_file() -> None:
    spec = sweep(MAIN)

    assert points(KnownPoints(spec)) == list(spec.space.grid())
    assert KnownPoints(spec).are_known


def test_a_grid_begins_with_what_costs_most_and_keeps_the_order_of_the_file_in_a_tie() -> None:
    known = KnownPoints(sweep(MAIN), cost=lambda configuration: -configuration.batch_size)

    assert briefly(points(known)) == [
        *(("one_conv", 16), ("two_conv", 16)),
        *(("one_conv", 32), ("two_conv", 32)),
        *(("one_conv", 64), ("two_conv", 64)),
    ]


def test_what_makes_no_configuration_or_cannot_be_counted_is_last_in_a_grid() -> None:
    spec = sweep(MAIN | {"nesterov": (True, False), "momentum": (0.0, 0.9)})

    def cost(configuration: Configuration) -> float:
        if configuration.architecture == "one_conv":
            raise InvalidInput("its network does not fit the data")
        return -1e9

    listed = points(KnownPoints(spec, cost))

    def fails(point: Point) -> bool:
        return point["architecture"] == "one_conv" or (
            point["nesterov"] is True and point["momentum"] == 0.0
        )

    assert [fails(point) for point in listed] == [False] * 9 + [True] * 15
    assert listed[9:] == [point for point in spec.space.grid() if fails(point)]


def test_a_grid_leaves_out_what_is_not_allowed_and_what_does_not_exist() -> None:
    spec = sweep(
        MAIN
        | {
            "schedule": ("constant", "step"),
            "step_cycles": Choices(
                choices=(1, 2), when=Condition.from_mapping({"schedule": "step"})
            ),
        },
        constraint(batch_size=Bounds(at_most=32)),
    )

    listed = points(KnownPoints(spec, cost=lambda configuration: configuration.batch_size))

    assert len(listed) == 2 * 2 * 3
    assert {point["batch_size"] for point in listed} == {16, 32}
    assert all(("step_cycles" in point) == (point["schedule"] == "step") for point in listed)


def test_a_brute_force_search_has_the_grid_in_an_order_of_its_seed() -> None:
    def listed(seed: int) -> list[Point]:
        spec = sweep(MAIN | {"momentum": (0.0, 0.5, 0.9)}, sampler=BruteForceSampling(), seed=seed)
        return points(KnownPoints(spec, cost=lambda configuration: configuration.batch_size))

    grid = list(Space.from_mapping(MAIN | {"momentum": (0.0, 0.5, 0.9)}).grid())

    assert listed(1) == listed(1)
    assert listed(1) != listed(2)
    assert listed(1) != grid
    assert {key(point) for point in listed(1)} == {key(point) for point in grid}
    assert len(listed(1)) == len(grid)


@pytest.mark.parametrize("sampler", [GridSampling(), BruteForceSampling()])
def test_in_a_list_all_that_agrees_with_a_first_point_is_tried_before_the_rest(
    sampler: Any,
) -> None:
    first = ({"batch_size": 32, "architecture": "two_conv"}, {"batch_size": 64})
    known = KnownPoints(
        sweep(MAIN, sampler=sampler, first=first), lambda configuration: configuration.batch_size
    )

    listed = briefly(points(known))

    assert listed[0] == ("two_conv", 32)
    assert set(listed[1:3]) == {("one_conv", 64), ("two_conv", 64)}
    assert set(listed[3:]) == {("one_conv", 16), ("two_conv", 16), ("one_conv", 32)}
    assert known.n_points == 6


def test_a_random_sweep_draws_each_trial_from_its_number() -> None:
    spec = sweep(MAIN | {"learning_rate": RATES}, sampler=RandomSampling(), seed=5)
    known = KnownPoints(spec)

    def drawn(number: int) -> Point:
        seed = int(np.random.SeedSequence((spec.seed, number)).generate_state(1)[0])
        assert seed == trial_seed(spec.seed, number) != trial_seed(spec.seed, number, attempt=1)
        return spec.space.suggest(RandomTrial(seed))

    numbers = [7, 0, 3]
    assert [known.get(number) for number in numbers] == [drawn(number) for number in numbers]
    assert known.are_known
    assert known.n_points is None


def test_a_random_sweep_draws_again_what_is_not_allowed_and_leaves_the_rest_as_it_was() -> None:
    free = sweep(MAIN | {"learning_rate": RATES}, sampler=RandomSampling())
    bound = sweep(
        MAIN | {"learning_rate": RATES},
        constraint(learning_rate=Bounds(at_least=0.5), batch_size=Bounds(excluded=(64,))),
        sampler=RandomSampling(),
    )

    pairs = [(KnownPoints(free).get(n), KnownPoints(bound).get(n)) for n in range(30)]

    def is_allowed(point: Any) -> bool:
        return bool(point["learning_rate"] >= 0.5 and point["batch_size"] != 64)

    assert all(is_allowed(redrawn) for _, redrawn in pairs)
    assert all(drawn == redrawn for drawn, redrawn in pairs if is_allowed(drawn))
    again = [redrawn for drawn, redrawn in pairs if not is_allowed(drawn)]
    assert len({key(point) for point in again if point is not None}) == len(again) > 10


def test_other_samplers_know_their_first_points_alone_and_draw_what_those_leave_out() -> None:
    first = ({"learning_rate": 1}, {"nesterov": True, "architecture": "two_conv"})
    dimensions = MAIN | {
        "schedule": ("constant", "step"),
        "learning_rate": RATES,
        "momentum": 0.9,
        "nesterov": Choices(
            choices=(True, False), when=Condition.from_mapping({"schedule": "step"})
        ),
    }
    allowed = constraint(batch_size=Bounds(excluded=(64,)), learning_rate=Bounds(at_least=0.3))

    def known(seed: int) -> KnownPoints:
        return KnownPoints(
            sweep(dimensions, allowed, sampler=TpeSampling(), first=first, seed=seed)
        )

    for seed in range(20):
        one, two = (known(seed).get(number) for number in (0, 1))
        assert one is not None
        assert two is not None
        assert repr(one["learning_rate"]) == "1.0"
        assert (two["nesterov"], two["architecture"]) == (True, "two_conv")
        assert two["schedule"] == "step"
        assert known(seed).get(1) == two
        for point in (one, two):
            assert sweep(dimensions, allowed).space.is_allowed(point)
            assert Configuration.from_values(point, cycles=1).batch_size in (16, 32)
    assert known(0).get(2) is None
    assert known(0).get(1) != known(1).get(1)
    assert known(0).n_points is None
    assert not known(0).are_known


def test_a_random_sweep_has_its_first_points_and_then_the_draws_of_their_numbers() -> None:
    first = ({"batch_size": 32, "architecture": "two_conv", "optimizer": "sgd"},)
    with_first = KnownPoints(sweep(MAIN, sampler=RandomSampling(), first=first))
    without = KnownPoints(sweep(MAIN, sampler=RandomSampling()))

    assert with_first.get(0) == first[0]
    assert [with_first.get(n) for n in range(1, 9)] == [without.get(n) for n in range(1, 9)]


def test_a_space_of_which_nothing_can_be_drawn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.points.MOST_DRAWS", 20)
    spec = sweep(MAIN, constraint(batch_size=Bounds(at_most=3)), sampler=RandomSampling())

    with pytest.raises(InvalidInput, match=r"^'constraints' must leave something to draw, but none"
                       r" of 20 random points for trial 4 is allowed; loosen them"):  # fmt: skip
        KnownPoints(spec).get(4)


@pytest.mark.parametrize("sampler", [GridSampling(), BruteForceSampling()])
@pytest.mark.parametrize("n_before", [0, 2, 6])
def test_a_list_that_was_grown_keeps_what_was_tried_and_goes_on_with_what_was_not(
    sampler: Any, n_before: int
) -> None:
    def cost(configuration: Configuration) -> float:
        return configuration.batch_size

    old = sweep(MAIN, sampler=sampler)
    new = sweep(MAIN | {"batch_size": (128, 16, 64, 32)}, sampler=sampler)
    before = points(KnownPoints(old, cost))

    known = KnownPoints(new, cost, [EarlierSpace(n_before, old.space)])

    listed = points(known)
    assert listed[:n_before] == before[:n_before]
    in_new_order = points(KnownPoints(new, cost))
    assert listed[n_before:] == [p for p in in_new_order if p not in before[:n_before]]
    assert known.n_points == len(listed) == len({key(point) for point in listed}) == 8


def test_a_list_may_be_grown_twice() -> None:
    old, middle = sweep(MAIN), sweep(MAIN | {"momentum": (0.0, 0.9)})
    new = sweep(MAIN | {"momentum": (0.0, 0.9, 0.5)})
    earlier = [EarlierSpace(2, old.space), EarlierSpace(5, middle.space)]

    listed = points(KnownPoints(new, earlier=earlier))

    assert listed[:2] == list(old.space.grid())[:2]
    assert listed[2:5] == list(middle.space.grid())[:3]
    assert listed[5:] == [p for p in new.space.grid() if p not in listed[:5]]


def test_a_random_sweep_that_was_grown_keeps_its_first_draws() -> None:
    rates = MAIN | {"learning_rate": RATES}
    old = sweep(rates, sampler=RandomSampling(), first=({"batch_size": 16},))
    new = sweep(
        rates | {"batch_size": (128, 256)},
        sampler=RandomSampling(),
        first=({"batch_size": 16}, {"batch_size": 256, "architecture": "one_conv"}),
    )
    earlier = [EarlierSpace(4, old.space, old.first)]

    known = KnownPoints(new, earlier=earlier)

    assert [known.get(n) for n in range(4)] == [KnownPoints(old).get(n) for n in range(4)]
    fifth = known.get(4)
    assert fifth is not None
    assert (fifth["batch_size"], fifth["architecture"]) == (256, "one_conv")
    plain = KnownPoints(sweep(rates | {"batch_size": (128, 256)}, sampler=RandomSampling()))
    assert [known.get(n) for n in range(5, 9)] == [plain.get(n) for n in range(5, 9)]


def test_first_points_that_a_growth_cut_off_are_gone_on_with() -> None:
    first = tuple({"batch_size": size, "architecture": "one_conv"} for size in (64, 32, 16))
    spec = sweep(MAIN, sampler=TpeSampling(), first=first)

    known = KnownPoints(spec, earlier=[EarlierSpace(1, spec.space, first)])

    assert [(known.get(n) or {}).get("batch_size") for n in range(4)] == [64, 32, 16, None]


def test_a_long_list_is_known_by_number_in_any_order() -> None:
    spec = sweep(
        MAIN
        | {
            "learning_rate": Range(low=0.01, high=0.5, step=0.01),
            "momentum": Range(low=0.0, high=0.9, step=0.1),
        }
    )
    known = KnownPoints(spec)
    grid = list(spec.space.grid())

    numbers = random.Random(0).sample(range(len(grid)), 200)

    assert len(grid) == known.n_points == 3000
    assert [known.get(number) for number in numbers] == [grid[number] for number in numbers]


def test_typical_configurations_are_allowed_ones_and_always_the_same() -> None:
    allowed = constraint(learning_rate=Bounds(at_least=0.5), batch_size=Bounds(at_most=32))
    spec = sweep(MAIN | {"learning_rate": RATES}, allowed, sampler=TpeSampling())
    free = sweep(MAIN | {"learning_rate": RATES}, sampler=TpeSampling())

    found = typical_configurations(spec, at_most=20)

    assert found == typical_configurations(spec, at_most=20)
    assert len(found) == len(typical_configurations(free, at_most=20)) == 20
    assert {configuration.batch_size for configuration in found} == {16, 32}
    assert min(configuration.values()["learning_rate"] for configuration in found) >= 0.5  # type: ignore[type-var, operator]


def test_typical_configurations_of_a_list_are_spread_over_it() -> None:
    spec = sweep(
        MAIN | {"learning_rate": Range(low=0.01, high=0.5, step=0.01), "momentum": Fixed(value=0.5)}
    )

    found = typical_configurations(spec, at_most=30)

    assert len(found) == 30
    assert {configuration.architecture for configuration in found} == {"one_conv", "two_conv"}
