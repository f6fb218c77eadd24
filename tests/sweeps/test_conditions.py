"""Conditions and constraints: when they hold, what they make of a space, how they are written."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import jsonschema
import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rso_core.configuration import Scalar
from rso_core.errors import InvalidInput
from sweeps.conditions import Accepted, Bounds, Condition, Constraint, OneOf
from sweeps.domains import Choices, Domain, Fixed, Range
from sweeps.space import LARGEST_GRID, Space
from sweeps.spec import SweepSpec, json_schema
from sweeps.sweep_file import dump_sweep, parse_sweep

Point = Mapping[str, Scalar]

WRITTEN = """\
name: conditional
data: {train_size: 1000}
space:
  architecture: [one_conv, two_conv]
  batch_size: [256, 512, 1000]
  optimizer: [rso, sgd]
  momentum: {value: 0.9, when: {nesterov: true}}
  nesterov: {choices: [true, false], when: {schedule: cosine, learning_rate: {at_least: 0.2, not: 0.3}}}
  learning_rate: {low: 0.1, high: 0.4, step: 0.1, when: {optimizer: [sgd, rso]}}
  schedule: [cosine, constant]
constraints:
- {when: {architecture: two_conv}, require: {batch_size: {at_most: 512}}}
- require: {learning_rate: {not: [0.1]}}
- {require: {schedule: cosine, optimizer: sgd}, exceptions: 1}
first:
- {optimizer: sgd, learning_rate: 0.2}
"""  # noqa: E501


def when(**entries: Any) -> Condition:
    return Condition.from_mapping(entries)


def constraint(require: Condition, when: Condition | None = None) -> Constraint:
    return Constraint(when=when, require=require)


@pytest.mark.parametrize(
    ("accepted", "holds", "fails"),
    [
        (0.9, [0.9], [0.8, None, "0.9", True]),
        (1, [1, 1.0], [2, "1"]),
        (None, [None], [0, False, ""]),
        (("a", "b"), ["a", "b"], ["c", 0]),
        (Bounds(at_least=2), [2, 2.5, 99], [1.9, "9", None, True]),
        (Bounds(at_most=2), [2, -1], [2.1, "1", False]),
        (Bounds(at_least=1, at_most=2), [1, 1.5, 2], [0, 3]),
        (Bounds(excluded=("a",)), ["b", 3, None, True], ["a"]),
        (Bounds(at_least=1, excluded=(2, 3)), [1, 4], [2, 3.0, 0]),
    ],
)
def test_a_condition_accepts_a_value_a_list_or_bounds(
    accepted: Any, holds: list[Scalar], fails: list[Scalar]
) -> None:
    condition = when(x=accepted)

    assert [value for value in holds if not condition.holds({"x": value})] == []
    assert [value for value in fails if condition.holds({"x": value})] == []


def test_a_condition_holds_where_all_of_it_does_and_never_without_a_dimension_of_it() -> None:
    condition = when(x=1, y=(2, 3))

    assert condition.holds({"x": 1, "y": 3, "z": 0})
    assert not condition.holds({"x": 1, "y": 4})
    assert not condition.holds({"x": 1})
    assert not when(x=Bounds(excluded=(1,))).holds({})


def test_a_constraint_counts_what_is_broken_and_asks_nothing_of_a_dimension_that_is_absent() -> (
    None
):
    space = Space.from_mapping(
        {"architecture": "mlp()", "batch_size": 1, "optimizer": "sgd"},
        [
            constraint(when(x=1, y=Bounds(at_least=2)), when(z=True)),
            constraint(when(x=(1, 2))),
        ],
    )

    assert space.violation({"x": 3, "y": 1, "z": True}) == (2.0, 1.0)
    assert space.violation({"x": 2, "y": 2, "z": True}) == (1.0, 0.0)
    assert space.violation({"x": 3, "z": False}) == (0.0, 1.0)
    assert space.violation({"x": 3}) == (0.0, 1.0)
    assert space.violation({"z": True}) == (0.0, 0.0)
    assert space.is_allowed({"z": True})
    assert not space.is_allowed({"x": 3})


def test_dimensions_are_asked_for_once_their_conditions_can_be_decided() -> None:
    space = parse_sweep(WRITTEN, "x").space
    trial = optuna.trial.FixedTrial(
        {
            **{"architecture": "two_conv", "batch_size": 256, "optimizer": "sgd"},
            **{"learning_rate": 0.2, "schedule": "cosine", "nesterov": True},
        }
    )

    values = space.suggest(trial)

    assert list(trial.params) == [
        *("architecture", "batch_size", "optimizer"),
        *("learning_rate", "schedule", "nesterov"),
    ]
    assert values["momentum"] == 0.9
    assert "momentum" not in space.suggest(
        optuna.trial.FixedTrial({**trial.params, "learning_rate": 0.1, "nesterov": True})
    )


def test_a_bare_option_under_an_optimiser_with_its_own_makes_a_condition_on_it_false() -> None:
    space = Space.from_mapping(
        {
            "architecture": "mlp()",
            "batch_size": 1,
            "optimizer": ("rso", "sgd"),
            "weight_decay": 0.1,
            "rso.weight_decay": 0.1,
            "learning_rate": Fixed(value=0.5, when=when(weight_decay=0.1)),
            "sigma": Fixed(value="he", when=when(weight_decay=0.1)),
            "visit_biases": Fixed(value=True, when=when(**{"rso.weight_decay": 0.1})),
        }
    )

    assert [sorted(point.keys() - {"architecture", "batch_size"}) for point in space.grid()] == [
        ["optimizer", "rso.weight_decay", "visit_biases"],
        ["learning_rate", "optimizer", "weight_decay"],
    ]


def test_conditions_and_constraints_are_read_and_dumped_and_read_back_equal() -> None:
    spec = parse_sweep(WRITTEN, "x")

    assert spec.space["momentum"].domain == Fixed(value=0.9, when=when(nesterov=True))
    assert spec.space["nesterov"].domain == Choices(
        choices=(True, False),
        when=when(schedule="cosine", learning_rate=Bounds(at_least=0.2, excluded=(0.3,))),
    )
    assert spec.space["learning_rate"].domain == Range(
        low=0.1, high=0.4, step=0.1, when=when(optimizer=("sgd", "rso"))
    )
    assert spec.space.constraints == spec.constraints
    assert spec.constraints == (
        constraint(when(batch_size=Bounds(at_most=512)), when(architecture="two_conv")),
        constraint(when(learning_rate=Bounds(excluded=(0.1,)))),
        Constraint(require=when(schedule="cosine", optimizer="sgd"), exceptions=1),
    )
    assert spec.first == ({"optimizer": "sgd", "learning_rate": 0.2},)
    written = dump_sweep(spec)
    keys = ("space", "constraints", "first")
    assert {key: yaml.safe_load(written)[key] for key in keys} == {
        **{key: yaml.safe_load(WRITTEN)[key] for key in keys[:1] + keys[2:]},
        "constraints": [
            {"when": {"architecture": "two_conv"}, "require": {"batch_size": {"at_most": 512}}},
            {"require": {"learning_rate": {"not": 0.1}}},
            {"require": {"schedule": "cosine", "optimizer": "sgd"}, "exceptions": 1},
        ],
    }
    assert repr(parse_sweep(written, "x")) == repr(spec)


def test_the_json_schema_knows_the_forms_of_conditions_and_constraints() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    sound = yaml.safe_load(WRITTEN)
    value = {"value": 0.9}

    assert validator.is_valid(sound)
    for change in (
        {"space": {**sound["space"], "momentum": {**value, "when": {"nesterov": {"is": True}}}}},
        {"space": {**sound["space"], "momentum": {**value, "when": 3}}},
        {"space": {**sound["space"], "momentum": {**value, "wen": {"nesterov": True}}}},
        {"constraints": [{"when": {"batch_size": 256}}]},
        {"constraints": [{"require": {"batch_size": {"at_most": "big"}}}]},
        {"constraints": [{"require": {"batch_size": 256}, "exceptions": -1}]},
        {"first": [256]},
    ):
        assert not validator.is_valid(sound | change), change


def test_with_one_exception_a_grid_changes_one_thing_at_a_time() -> None:
    baseline = {"schedule": "constant", "momentum": 0.0, "learning_rate": 0.1}
    space = Space.from_mapping(
        {
            "architecture": ("one_conv", "two_conv"),
            "batch_size": 256,
            "optimizer": "sgd",
            "schedule": ("constant", "cosine"),
            "momentum": (0.0, 0.5, 0.9),
            "learning_rate": (0.1, 0.2),
        },
        [Constraint(require=Condition.from_mapping(baseline), exceptions=1)],
    )
    grid = list(space.grid())
    assert len(grid) == space.n_combinations() == 2 * (1 + 1 + 2 + 1)
    n_changed = [sum(point[name] != value for name, value in baseline.items()) for point in grid]
    assert sorted(n_changed) == [0] * 2 + [1] * 8


def test_a_spec_made_of_a_space_with_constraints_keeps_and_writes_them() -> None:
    read = parse_sweep(WRITTEN, "x")

    made = SweepSpec(name=read.name, data=read.data, space=read.space, first=read.first)

    assert made == read


def test_a_grid_that_cannot_be_counted_is_told_to_have_more_than_the_largest() -> None:
    steps = "{low: 0.001, high: 0.5, step: 0.001}"
    with pytest.raises(InvalidInput) as caught:
        parse_sweep(
            f"""
name: large
space:
  {{architecture: one_conv, batch_size: 1, optimizer: sgd, learning_rate: {steps},
  momentum: {steps}, weight_decay: {{value: 0.1, when: {{momentum: 0.5}}}}}}
""",
            "x",
        )

    assert caught.value.problems == (
        f"'space' must have at most {LARGEST_GRID} combinations for sampler 'grid', got more than "
        f"{LARGEST_GRID}; shorten its lists, or choose sampler 'random' or 'tpe' (x, line 3)",
    )


def test_a_constraint_cuts_a_grid_off_before_the_dimensions_that_it_does_not_name() -> None:
    numbers = Range(low=0.0, high=1.0, step=0.001)
    space = Space.from_mapping(
        {
            **{"architecture": "mlp()", "batch_size": tuple(range(1, 51)), "optimizer": "rso"},
            **{"perturbation_std": numbers, "batch_norm_sigma": numbers},
        },
        [constraint(when(batch_size=1, perturbation_std=(0.5, 0.6)))],
    )

    assert space.n_combinations() == 2002


@given(
    low=st.integers(-20, 20),
    width=st.integers(0, 12),
    step=st.integers(1, 5),
    scale=st.sampled_from([1, 10]),
    at_least=st.none() | st.integers(-25, 35),
    at_most=st.none() | st.integers(-25, 35),
    excluded=st.lists(st.integers(-20, 32), max_size=4, unique=True),
)
@settings(max_examples=300, deadline=None)
def test_whether_a_range_can_be_accepted_is_whether_one_of_its_values_is(
    low: int, width: int, step: int, scale: int, at_least: Any, at_most: Any, excluded: list[int]
) -> None:
    def scaled(number: int | None) -> float | None:
        return number if number is None or scale == 1 else number / scale

    if at_least is not None and at_most is not None:
        at_least, at_most = sorted((at_least, at_most))
    ends: Any = (scaled(low), scaled(low + width))
    domain = Range(low=ends[0], high=ends[1], step=scaled(step))
    values = tuple(scaled(value) for value in excluded)
    bounds = Bounds(at_least=scaled(at_least), at_most=scaled(at_most), excluded=values or None)
    listed = domain.listed()

    assert domain.can_be(bounds) == any(bounds.accepts(value) for value in listed)
    assert all(domain.contains(value) for value in listed)
    assert [value for value in values if domain.contains(value)] == [
        value for value in values if value in listed
    ]
    if values:
        assert domain.can_be(OneOf(values=values)) == any(value in values for value in listed)


def test_a_range_without_steps_can_be_all_between_its_ends() -> None:
    domain = Range(low=0.1, high=1, log=True)

    assert domain.contains(0.1234)
    assert domain.contains(1)
    assert not domain.contains(True)
    assert not domain.contains("0.5")
    assert domain.can_be(Bounds(at_least=1))
    assert domain.can_be(Bounds(at_least=0.5, excluded=(0.5,)))
    assert not domain.can_be(Bounds(at_least=1, excluded=(1,)))
    assert not domain.can_be(Bounds(at_most=0.05))
    assert (repr(domain.own(1)), repr(Range(low=1, high=3).own(2.0))) == ("1.0", "2")


# --- a space, and what it stands for, spelled out ---

OPTIONS = {
    "sgd": ("learning_rate", "momentum", "schedule", "weight_decay"),
    "rso": ("perturbation_std", "sigma", "visit_biases", "weight_decay"),
}
VALUES: Mapping[str, tuple[Scalar, ...]] = {
    "architecture": ("one_conv", "two_conv"),
    "batch_size": (16, 32, 64),
    "optimizer": ("rso", "sgd"),
    "learning_rate": (0.1, 0.2, 0.3),
    "momentum": (0.0, 0.9),
    "schedule": ("constant", "cosine", "step"),
    "perturbation_std": (0.5, 1.0),
    "sigma": ("he", 0.1),
    "visit_biases": (True, False),
    "weight_decay": (0.0, 0.1),
    "rso.weight_decay": (0.2, 0.3),
}


@st.composite
def accepted_values(draw: st.DrawFn, name: str) -> Accepted:
    values = st.sampled_from(VALUES[name])
    some = draw(st.lists(values, min_size=1, max_size=2, unique=True))
    if draw(st.booleans()):
        return OneOf(values=tuple(some))
    bound = draw(st.none() | st.sampled_from([0.1, 0.5, 1, 2, 32]))
    bounds = {"at_least" if draw(st.booleans()) else "at_most": bound}
    return Bounds(**bounds, excluded=tuple(some) if draw(st.booleans()) else None)


@st.composite
def conditions(draw: st.DrawFn, names: list[str]) -> Condition:
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    return Condition(tuple((name, draw(accepted_values(name))) for name in chosen))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    main = list(VALUES)[:3]
    options = draw(st.lists(st.sampled_from(list(VALUES)[3:]), unique=True, max_size=6))
    decided = [*main]
    domains: dict[str, Domain] = {name: Choices(choices=VALUES[name]) for name in main}
    for name in options:  # each hangs on some that were drawn before it
        condition = draw(st.none() | conditions(decided))
        values = VALUES[name]
        domains[name] = (
            Fixed(value=values[0], when=condition)
            if draw(st.booleans())
            else Range(low=0.1, high=0.3, step=0.1, when=condition)
            if name == "learning_rate"
            else Choices(choices=values, when=condition)
        )
        decided.append(name)
    order = draw(st.permutations(decided))
    constraints = draw(
        st.lists(
            st.builds(
                Constraint,
                when=st.none() | conditions(decided),
                require=conditions(decided),
                exceptions=st.integers(0, 2),
            ),
            max_size=2,
        )
    )
    return Space.from_mapping({name: domains[name] for name in order}, constraints)


def is_point(space: Space, point: Point) -> bool:
    """Whether exactly those dimensions are there that are to be there."""
    for dimension in space.dimensions:
        name, condition = dimension.name, dimension.domain.when
        prefix, _, option = name.rpartition(".")
        exists = name in ("architecture", "batch_size", "optimizer") or (
            option in OPTIONS[str(point["optimizer"])]
            and prefix in ("", point["optimizer"])
            and not (not prefix and f"{point['optimizer']}.{option}" in space)
        )
        for other, accepted in condition.entries if condition else ():
            exists = exists and other in point and accepted.accepts(point[other])
        if exists != (name in point):
            return False
    return True


def keeps(constraints: tuple[Constraint, ...], point: Point) -> bool:
    def hold(condition: Condition, of_absent: bool) -> bool:
        return all(
            accepted.accepts(point[name]) if name in point else of_absent
            for name, accepted in condition.entries
        )

    def n_broken(condition: Condition) -> int:
        return sum(not hold(Condition((entry,)), True) for entry in condition.entries)

    return all(
        n_broken(constraint.require) <= constraint.exceptions
        for constraint in constraints
        if constraint.when is None or hold(constraint.when, False)
    )


def spelled_out(space: Space) -> list[Point]:
    """The grid: every choice of present dimensions and of their values, but for what is not one."""
    absent = object()
    lists = [
        [*dimension.domain.listed(), *([] if dimension.name in list(VALUES)[:3] else [absent])]
        for dimension in space.dimensions
    ]
    names = [dimension.name for dimension in space.dimensions]
    found = []
    for values in itertools.product(*lists):
        point: Any = {n: v for n, v in zip(names, values, strict=True) if v is not absent}
        if is_point(space, point) and keeps(space.constraints, point):
            found.append(point)
    return found


def as_set(points: Any) -> set[frozenset[tuple[str, Scalar]]]:
    return {frozenset(point.items()) for point in points}


@given(space=spaces())
@settings(max_examples=120, deadline=None)
def test_a_grid_is_every_allowed_combination_once_and_each_can_be_suggested(space: Space) -> None:
    grid = list(space.grid())

    assert as_set(grid) == as_set(spelled_out(space))
    assert len(as_set(grid)) == len(grid) == space.n_combinations()
    assert [space.suggest(optuna.trial.FixedTrial(dict(point))) for point in grid] == grid


@given(space=spaces(), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_what_is_drawn_has_the_dimensions_that_its_conditions_say(space: Space, seed: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(5):
        trial = study.ask()
        point = space.suggest(trial)
        assert is_point(space, point)
        assert space.is_allowed(point) == keeps(space.constraints, point)
        assert trial.params.keys() <= point.keys()


@given(space=spaces(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_part_of_a_space_has_the_points_with_the_values_that_it_is_at(
    space: Space, data: st.DataObject
) -> None:
    dimension = data.draw(st.sampled_from(space.dimensions))
    name, value = dimension.name, data.draw(st.sampled_from(dimension.domain.listed()))
    with_it = [point for point in space.grid() if point.get(name, value) == value]

    assert as_set(space.at({name: value}).grid()) == as_set(with_it)
