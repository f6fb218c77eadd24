"""The space: which dimensions exist under which optimiser, its grid, and what it suggests."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rso_core.configuration import Configuration
from rso_core.errors import InvalidInput
from sweeps.domains import Choices, Fixed, Range
from sweeps.space import Space

MIXED = Space.from_mapping(
    {
        "perturbation_std": (0.5, 1.0),
        "architecture": ("one_conv", "two_conv"),
        "batch_size": Fixed(value=256),
        "optimizer": ("rso", "sgd", "adam"),
        "learning_rate": Range(low=0.1, high=0.3, step=0.1),
        "weight_decay": 0.0,
        "rso.weight_decay": (0.0, 1e-4),
        "sgd.momentum": 0.9,
    }
)


def space(**dimensions: object) -> Space:
    main = {"architecture": "one_conv", "batch_size": 256, "optimizer": "rso"}
    return Space.from_mapping(main | dimensions)  # type: ignore[arg-type]


def test_an_option_exists_only_under_the_optimisers_that_have_it() -> None:
    def names(optimizer: str) -> list[str]:
        return [dimension.name for dimension in MIXED.options_of(optimizer)]

    assert names("rso") == ["perturbation_std", "rso.weight_decay"]
    assert names("sgd") == ["learning_rate", "weight_decay", "sgd.momentum"]
    assert names("adam") == ["learning_rate", "weight_decay"]


def test_the_grid_has_every_combination_once_with_only_the_options_that_exist() -> None:
    grid = list(MIXED.grid())

    main = [
        {"architecture": architecture, "batch_size": 256, "optimizer": optimizer}
        for architecture in ("one_conv", "two_conv")
        for optimizer in ("rso", "sgd", "adam")
    ]
    rso = [
        {"perturbation_std": std, "rso.weight_decay": decay}
        for std in (0.5, 1.0)
        for decay in (0.0, 1e-4)
    ]
    adam = [{"learning_rate": rate, "weight_decay": 0.0} for rate in (0.1, 0.2, 0.3)]
    sgd = [options | {"sgd.momentum": 0.9} for options in adam]
    by_optimizer = {"rso": rso, "sgd": sgd, "adam": adam}
    assert grid == [m | options for m in main for options in by_optimizer[str(m["optimizer"])]]
    assert MIXED.n_combinations() == len(grid) == 20


def test_every_configuration_of_the_grid_is_accepted_and_differs_from_the_others() -> None:
    configurations = [Configuration.from_values(values, cycles=1) for values in MIXED.grid()]

    assert len({str(c.values()) for c in configurations}) == len(configurations)


def test_a_grid_refuses_ranges_without_a_step_and_names_each() -> None:
    ranges = space(perturbation_std=Range(low=0.5, high=2.0), final_fraction=Range(low=0, high=1))

    with pytest.raises(InvalidInput) as caught:
        ranges.grid()

    assert [problem.split(" for ")[0] for problem in caught.value.problems] == [
        "'space.perturbation_std' must have a 'step' or be a list",
        "'space.final_fraction' must have a 'step' or be a list",
    ]
    assert ranges.n_combinations() is None


def test_the_number_of_combinations_is_known_without_listing_them() -> None:
    huge = space(perturbation_std=Range(low=0.0, high=1.0, step=1e-12))

    assert huge.n_combinations() == 10**12 + 1


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (Range(low=0.1, high=0.5, step=0.1), (0.1, 0.2, 0.3, 0.4, 0.5)),
        (Range(low=0.0, high=1.0, step=0.4), (0.0, 0.4, 0.8)),
        (Range(low=1, high=2.0, step=0.5), (1.0, 1.5, 2.0)),
        (Range(low=64, high=200, step=64), (64, 128, 192)),
        (Range(low=5, high=5, step=1), (5,)),
        (Range(low=0.1, high=0.2, step=7), (0.1,)),
    ],
)
def test_a_stepped_range_lists_the_values_as_one_would_write_them(
    domain: Range, expected: tuple[float, ...]
) -> None:
    assert domain.listed() == expected
    assert [type(value) for value in domain.listed()] == [type(value) for value in expected]
    assert domain.n_listed() == len(expected)


def test_the_largest_batch_is_found_in_every_form_of_dimension() -> None:
    assert space(batch_size=64).largest_batch_size() == 64
    assert space(batch_size=(1024, 256)).largest_batch_size() == 1024
    assert space(batch_size=Range(low=1, high=512)).largest_batch_size() == 512
    assert space(batch_size=Range(low=100, high=512, step=100)).largest_batch_size() == 500


def test_suggest_asks_the_main_dimensions_first_and_fixed_values_never() -> None:
    trial = optuna.trial.FixedTrial(
        {"architecture": "two_conv", "optimizer": "sgd", "learning_rate": 0.2}
    )

    values = MIXED.suggest(trial)  # type: ignore[arg-type]

    assert values == {
        "architecture": "two_conv",
        "batch_size": 256,
        "optimizer": "sgd",
        "learning_rate": 0.2,
        "weight_decay": 0.0,
        "sgd.momentum": 0.9,
    }
    assert list(trial.params) == ["architecture", "optimizer", "learning_rate"]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_what_is_suggested_is_accepted_and_lies_in_the_space(sampler: str) -> None:
    searched = space(
        architecture=("one_conv", "mlp(32)"),
        batch_size=Range(low=16, high=4096, log=True),
        optimizer=("rso", "sgd"),
        perturbation_std=Range(low=0.1, high=1.05, step=0.1),
        sigma=("he", "pooled", 0.1),
        step_cycles=Range(low=1, high=10, step=4),
        visit_biases=(True, False),
        learning_rate=Range(low=1e-4, high=1.0, log=True),
        nesterov=False,
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers = {
        "random": optuna.samplers.RandomSampler(seed=0),
        "tpe": optuna.samplers.TPESampler(seed=0, n_startup_trials=5),
    }
    study = optuna.create_study(sampler=samplers[sampler])

    for index in range(40):
        trial = study.ask()
        values = searched.suggest(trial)
        configuration = Configuration.from_values(values, cycles=1)
        assert 16 <= configuration.batch_size <= 4096
        assert ("learning_rate" in values) == (values["optimizer"] == "sgd")
        assert values.get("step_cycles", 1) in (1, 5, 9)
        study.tell(trial, float(index))


def test_a_grid_point_can_be_enqueued_in_a_study_and_is_suggested_back() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    grid = list(MIXED.grid())
    for values in grid:
        study.enqueue_trial(values)

    assert [MIXED.suggest(study.ask()) for _ in grid] == grid


@given(
    low=st.integers(-50, 50),
    width=st.integers(0, 50),
    step=st.integers(1, 20),
    scale=st.sampled_from([1, 10, 1000]),
)
def test_stepped_ranges_stay_within_their_ends(low: int, width: int, step: int, scale: int) -> None:
    domain = Range(low=low / scale, high=(low + width) / scale, step=step / scale)

    values = domain.listed()

    assert values == tuple((low + index * step) / scale for index in range(width // step + 1))
    assert domain.ends() == (values[0], values[-1])


def test_a_space_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MIXED.dimensions = ()  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Choices(choices=(1, 2)).choices = (3,)  # type: ignore[misc]


def test_a_space_is_known_without_optuna() -> None:
    code = "import sys, sweeps.space, sweeps.sweep_file; sys.exit('optuna' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
