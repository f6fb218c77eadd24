"""TPE with a search of its own for each combination of listed values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.combination_search import CombinationSearch
from sweeps.combinations import combinations, is_whole, n_trials_of
from sweeps.conditions import Condition, Constraint
from sweeps.domains import Choices, Range
from sweeps.points import KnownPoints, typical_configurations
from sweeps.runs import Run
from sweeps.samplers import TpeSampling
from sweeps.space import Space
from sweeps.spec import SweepSpec

RATES = Range(low=0.01, high=1.0, log=True)
SPACE = Space.from_mapping(
    {
        "architecture": ("mlp()", "mlp(4)"),
        "batch_size": (20, 25),
        "optimizer": ("rso", "sgd"),
        "perturbation_std": (0.5, 1.0, 2.0),
        "learning_rate": RATES,
    }
)
EACH = (
    "space.architecture=['mlp()', mlp(4)]",
    "space.learning_rate={low: 0.01, high: 1.0, log: true}",
    "sampler={name: tpe, trials_each: 6, n_startup_trials: 2}",
    "seeds=1",
)
BEST = {"mlp()": 0.02, "mlp(4)": 0.5}
"""The learning rate that suits a network, in a world where the two want different ones."""


def accuracies(run: Run) -> list[float]:
    rate = run.configuration.options.model_dump()["learning_rate"]
    off = math.log(rate / BEST[run.configuration.architecture])
    return [0.5, round(1 / (1 + off**2), 9)]


def test_listed_values_are_crossed_and_ranges_are_left_open() -> None:
    found = combinations(SPACE)
    assert len(found) == 4 * 3 + 4
    assert {is_whole(SPACE, each) for each in found if each["optimizer"] == "rso"} == {True}
    assert {is_whole(SPACE, each) for each in found if each["optimizer"] == "sgd"} == {False}
    assert n_trials_of(SPACE, 5) == 4 * 3 + 4 * 5


def test_a_range_that_does_not_exist_in_a_combination_leaves_it_whole() -> None:
    rates = RATES.model_copy(update={"when": Condition.from_mapping({"batch_size": 25})})
    space = Space.from_mapping(
        {"architecture": "mlp()", "batch_size": (20, 25), "optimizer": "sgd"}
        | {"learning_rate": rates}
    )
    assert [is_whole(space, each) for each in combinations(space)] == [True, False]


def test_constraints_hold_for_combinations_as_far_as_they_can_be_told() -> None:
    forbidden = Constraint(require=Condition.from_mapping({"batch_size": 20}))
    later = Constraint(require=Condition.from_mapping({"learning_rate": 0.5}))
    space = Space(SPACE.dimensions, (forbidden, later))
    assert {each["batch_size"] for each in combinations(space)} == {20}


def test_every_combination_has_its_first_trial_before_any_has_its_second() -> None:
    spec = SweepSpec(name="x", space=SPACE, sampler=TpeSampling(trials_each=3))
    known = KnownPoints(spec, cost=lambda configuration: configuration.batch_size)
    given = [known.given(number) for number in range(spec.n_trials())]
    assert len(given) == 12 + 12
    assert known.given(len(given)) is None
    first, rest = given[:16], given[16:]
    assert Counter(str(point) for point in first).most_common(1)[0][1] == 1
    assert Counter(str(point) for point in rest) == Counter(
        str(point) for point in given[:16] if point and point["optimizer"] == "sgd"
        for _ in range(2)
    )  # fmt: skip
    assert [point["batch_size"] for point in first if point] == [25] * 8 + [20] * 8
    for number, point in enumerate(given):
        assert known.get(number) == (point if point and is_whole(SPACE, point) else None)
    assert not known.are_known


def test_typical_configurations_are_those_of_the_combinations() -> None:
    spec = SweepSpec(name="x", space=SPACE, sampler=TpeSampling(trials_each=3))
    found = typical_configurations(spec)
    assert Counter(each.optimizer for each in found) == {"rso": 12, "sgd": 12}


def trial(
    value: float, rate: float, state: TrialState = TrialState.COMPLETE, **params: Any
) -> FrozenTrial:
    given = {"architecture": "mlp()", "batch_size": 20, "optimizer": "sgd", **params}
    study = optuna.create_study()
    asked = study.ask()
    SPACE.suggest(_Recording(asked, {**given, "learning_rate": rate}))
    frozen = study.trials[0]
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params={**frozen.params, **given, "learning_rate": rate},
        distributions=frozen.distributions,
    )


class _Recording:
    """Suggests given values, and lets a trial note their distributions."""

    def __init__(self, trial: optuna.Trial, values: dict[str, Any]) -> None:
        self._trial, self._values = trial, values

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self._trial.suggest_categorical(name, choices)
        return self._values[name]

    def suggest_float(self, name: str, *arguments: Any, **options: Any) -> Any:
        self._trial.suggest_float(name, *arguments, **options)
        return self._values[name]


def test_a_search_sees_the_trials_of_its_combination_alone() -> None:
    seen: list[list[float]] = []

    class Looking(optuna.samplers.RandomSampler):
        def infer_relative_search_space(self, study: Any, frozen: Any) -> Any:
            others = [t for t in study.get_trials() if t.number != frozen.number]
            assert all(set(t.params) == {"learning_rate"} for t in others)
            seen.append([t.params["learning_rate"] for t in others])
            return {}

    study = optuna.create_study()
    study.add_trials(
        [
            trial(0.5, 0.1),
            trial(0.6, 0.2, architecture="mlp(4)"),
            trial(0.7, 0.3, batch_size=25),
            trial(0.0, 0.4, TrialState.RUNNING),
            trial(0.0, 0.5, TrialState.FAIL),
            trial(0.9, 0.6),
        ]
    )
    combination = {"architecture": "mlp()", "batch_size": 20, "optimizer": "sgd"}
    search = CombinationSearch(SPACE)
    point = search.suggest(combination, study, study.trials, Looking(seed=0))
    assert seen == [[0.1, 0.4, 0.6]]
    assert SPACE.has(point)
    assert combination.items() <= point.items()


def test_each_network_finds_the_rate_that_suits_it(
    spec: Callable[..., SweepSpec], drive: Any, scripted: Any, tmp_path: Path
) -> None:
    executor = scripted(accuracies, n_slots=1)
    drive(spec(*EACH), tmp_path / "run", executor)

    rates: dict[str, list[float]] = {"mlp()": [], "mlp(4)": []}
    for run in executor.started:
        rate = run.configuration.options.model_dump()["learning_rate"]
        rates[run.configuration.architecture].append(rate)
    assert {name: len(own) for name, own in rates.items()} == {"mlp()": 6, "mlp(4)": 6}
    # one search over both would draw what suits one of them for the other
    off = {
        name: min(abs(math.log(rate / BEST[name])) for rate in own) for name, own in rates.items()
    }
    assert max(off.values()) < 1


def test_a_killed_sweep_goes_on_with_the_combinations_that_are_left(
    spec: Callable[..., SweepSpec], drive: Any, scripted: Any, tmp_path: Path, rows: Any
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    drive(spec(*EACH), whole, scripted(accuracies, n_slots=1))
    with pytest.raises(scripted.Killed):
        drive(spec(*EACH), killed, scripted(accuracies, n_slots=1, kill_at=10))
    assert 0 < len(rows(killed, "runs")) < 12
    drive(spec(*EACH), killed, scripted(accuracies, n_slots=1))

    def told(folder: Path) -> list[tuple[int, Any]]:
        return [(row["trial"], row["parameters"]) for row in rows(folder, "runs")]

    assert told(killed) == told(whole)


def test_what_a_constraint_forbids_is_drawn_anew_within_the_combination(
    spec: Callable[..., SweepSpec], drive: Any, scripted: Any, tmp_path: Path
) -> None:
    narrow = (
        "constraints=[{when: {architecture: mlp()}, require: {learning_rate: {at_least: 0.9}}}]"
    )
    executor = scripted(accuracies, n_slots=1)
    drive(spec(*EACH, narrow), tmp_path / "run", executor)
    rates = [
        run.configuration.options.model_dump()["learning_rate"]
        for run in executor.started
        if run.configuration.architecture == "mlp()"
    ]
    assert len(rates) == 6
    assert min(rates) >= 0.9


def test_it_needs_no_number_of_trials_but_heeds_one(spec: Callable[..., SweepSpec]) -> None:
    assert spec(*EACH).n_trials() == 12
    assert spec(*EACH, "trials=5").n_trials() == 5


def test_choices_in_a_mapping_are_crossed_too() -> None:
    space = Space.from_mapping(
        {"architecture": "mlp()", "batch_size": Choices(choices=(20, 25)), "optimizer": "sgd"}
    )
    assert n_trials_of(space, 9) == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["space.batch_size={low: 10, high: 25}"],
            "'space.batch_size' must have a 'step' or be a list where 'sampler.trials_each' gives "
            "each combination a search of its own",
        ),
        (
            ["first=[{learning_rate: 0.5}]"],
            "'first' is of no use where 'sampler.trials_each' gives each combination a search of "
            "its own; leave one of them out",
        ),
        (
            ["sampler={name: tpe, trials_each: 0}"],
            "'sampler.trials_each' must be an integer of at least 1 or null, got 0",
        ),
    ],
)
def test_what_cannot_be_searched_so_is_refused(
    assert_refused: Any, sweep_file: Path, overrides: list[str], message: str
) -> None:
    options = [f"--set={override}" for override in (*EACH, *overrides)]
    assert_refused(["check", str(sweep_file), *options], [message])
