"""Flat values become a checked configuration, or a sentence for every fault."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rso_core.configuration import Configuration
from rso_core.errors import InvalidInput
from rso_core.optimizers import OPTIMIZERS, AdamOptions, RSOOptions, SGDOptions
from rso_core.records import CycleRecord, LayerRecord

BASE = {"architecture": "mlp(8)", "batch_size": 32}

_rates = st.floats(1e-9, 10)
OPTIONS = {
    "rso": st.builds(
        RSOOptions,
        perturbation_std=_rates,
        initialisation=st.sampled_from(["he", "glorot", "model"]),
        sigma=st.sampled_from(["he", "pooled"]) | _rates,
        batch_norm_sigma=_rates,
        sampler=st.sampled_from(["normal", "uniform", "ternary"]),
        annealing=st.sampled_from(["paper", "authors", "none"]),
        final_fraction=st.floats(0, 1),
        layer_order=st.sampled_from(["last_to_first", "first_to_last"]),
        visit_biases=st.booleans(),
        visit_batch_norm=st.booleans(),
        weight_decay=st.floats(0, 0.99),
        batch_drawing=st.sampled_from(["fresh", "with_replacement", "layer", "cycle"]),
    ),
    "sgd": st.builds(
        SGDOptions,
        learning_rate=_rates,
        momentum=st.floats(0.01, 0.99),
        nesterov=st.booleans(),
        weight_decay=st.floats(0, 1),
        schedule=st.sampled_from(["constant", "cosine", "step"]),
        step_cycles=st.integers(1, 100),
        step_factor=st.floats(0.01, 1),
    ),
    "adam": st.builds(
        AdamOptions, learning_rate=_rates, beta1=st.floats(0, 0.99), beta2=st.floats(0, 0.999)
    ),
}


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """Sound ones of every optimiser."""
    optimizer = draw(st.sampled_from(sorted(OPTIONS)))
    return Configuration(
        architecture=draw(st.sampled_from(["one_conv", "mlp", "mlp()", "mlp(64,32)"])),
        batch_size=draw(st.integers(1, 60_000)),
        optimizer=optimizer,
        options=draw(OPTIONS[optimizer]),
        cycles=draw(st.integers(1, 500)),
    )


def _from(cycles: int = 3, **values: Any) -> Configuration:
    return Configuration.from_values(BASE | values, cycles)


# ---------------------------------------------------------------------------------- sound values


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_options_every_option_has_its_default(name: str) -> None:
    configuration = _from(optimizer=name)
    assert configuration.options == OPTIMIZERS[name].Options()
    assert (configuration.architecture, configuration.batch_size) == ("mlp(8)", 32)
    assert (configuration.optimizer, configuration.cycles) == (name, 3)


def test_bare_options_are_those_of_the_optimiser() -> None:
    configuration = _from(optimizer="rso", weight_decay=1e-4, sigma=0.25, sampler="uniform")
    assert configuration.options == RSOOptions(weight_decay=1e-4, sigma=0.25, sampler="uniform")


@pytest.mark.parametrize("prefixed_first", [True, False])
def test_a_prefixed_option_wins_over_a_bare_one(prefixed_first: bool) -> None:
    values = {"rso.weight_decay": 0.25, "weight_decay": 0.5}
    ordered = values if prefixed_first else dict(reversed(values.items()))
    assert _from(optimizer="rso", **ordered).options == RSOOptions(weight_decay=0.25)
    assert _from(optimizer="sgd", **ordered).options == SGDOptions(weight_decay=0.5)


def test_options_with_another_optimisers_prefix_are_left_out() -> None:
    values = {"rso.sigma": 0.5, "adam.beta1": 7, "own.code:Climber.no_such_option": 1}
    assert _from(optimizer="sgd", **values).options == SGDOptions()


def test_the_spaces_in_a_networks_name_do_not_matter() -> None:
    assert _from(architecture=" mlp( 64, 32 ) ", optimizer="sgd") == _from(
        architecture="mlp(64,32)", optimizer="sgd"
    )


@given(configuration=configurations())
def test_values_lead_back_to_the_configuration(configuration: Configuration) -> None:
    values = configuration.values()
    assert Configuration.from_values(values, configuration.cycles) == configuration
    assert set(values) == {
        "architecture",
        "batch_size",
        "optimizer",
        *type(configuration.options).model_fields,
    }
    assert all(isinstance(value, bool | int | float | str) for value in values.values())


def test_the_callers_values_are_not_changed() -> None:
    values = BASE | {"optimizer": "rso", "rso.sigma": 0.5, "sgd.momentum": 0.5}
    before = dict(values)
    Configuration.from_values(values, 1)
    assert values == before


# --------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"architecture": "one_cov"},
            "'architecture' must be a network, got 'one_cov'; did you mean 'one_conv'?",
        ),
        (
            {"architecture": "one_conv(3)"},
            "'architecture' takes sizes with mlp alone, got 'one_conv(3)'; write 'one_conv'",
        ),
        ({"batch_size": 0}, "'batch_size' must be an integer of at least 1, got 0"),
        ({"batch_size": "big"}, "'batch_size' must be an integer of at least 1, got 'big'"),
        ({"batch_size": 32.0}, "'batch_size' must be an integer of at least 1, got 32.0"),
        ({"batch_size": True}, "'batch_size' must be an integer of at least 1, got True"),
        (
            {"optimizer": "rsoo"},
            "'optimizer' must be an optimiser, got 'rsoo'; did you mean 'rso'?",
        ),
        (
            {"optimizer": "lion"},
            "'optimizer' must be an optimiser, got 'lion'; valid: adam, rso, sgd",
        ),
        ({"sigmas": 1.0}, "'sigmas' is not an option of rso; did you mean 'sigma'?"),
        (
            {"rso.visit_bias": True},
            "'visit_bias' is not an option of rso; did you mean 'visit_biases'?",
        ),
        (
            {"rsoo.sigma": 1.0},
            "'rsoo.sigma' must begin with an optimiser's name; did you mean 'rso'?",
        ),
        (
            {"sampler": "normall"},
            "'sampler' must be normal, uniform or ternary, got 'normall'; did you mean 'normal'?",
        ),
        ({"annealing": 3}, "'annealing' must be paper, authors or none, got 3"),
        ({"perturbation_std": 0}, "'perturbation_std' must be a number of more than 0, got 0"),
        ({"final_fraction": 1.5}, "'final_fraction' must be a number from 0 to 1, got 1.5"),
        (
            {"weight_decay": -0.5},
            "'weight_decay' must be a number of at least 0 and less than 1, got -0.5",
        ),
        ({"visit_biases": "some"}, "'visit_biases' must be true or false, got 'some'"),
        ({"sigma": -1.0}, "'sigma' must be he, pooled or a number of more than 0, got -1.0"),
        (
            {"optimizer": "sgd", "step_cycles": 1.5},
            "'step_cycles' must be an integer of at least 1, got 1.5",
        ),
        (
            {"optimizer": "adam", "learning_rate": "fast"},
            "'learning_rate' must be a number of more than 0, got 'fast'",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_fault_gives_field_constraint_value_and_the_nearest_name(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        _from(**({"optimizer": "rso"} | values))
    assert caught.value.problems == (message,)


@pytest.mark.parametrize("cycles", [0, -1, 1.0, True, "3"])
def test_cycles_must_be_a_positive_integer(cycles: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        _from(cycles, optimizer="rso")
    assert str(caught.value) == f"'cycles' must be an integer of at least 1, got {cycles!r}"


def test_missing_values_are_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        Configuration.from_values({"batch_size": 3}, 1)
    assert caught.value.problems == ("'architecture' is missing", "'optimizer' is missing")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        _from(
            0,
            architecture="resnet",
            batch_size=0,
            optimizer="sgd",
            momentum=2,
            learning_rate=-1,
        )
    fields = [problem.split()[0] for problem in caught.value.problems]
    assert fields == ["'architecture'", "'batch_size'", "'learning_rate'", "'momentum'", "'cycles'"]
    assert str(caught.value) == "\n".join(caught.value.problems)


# ------------------------------------------------------------------------- crossing to an actor


@given(configuration=configurations())
def test_a_configuration_survives_pickling(configuration: Configuration) -> None:
    assert pickle.loads(pickle.dumps(configuration)) == configuration


def test_a_record_survives_pickling() -> None:
    record = CycleRecord(
        cycle=2,
        training_loss=0.5,
        n_visited=10,
        n_accepted=4,
        n_images_passed=300,
        training_s=1.5,
        layers=(LayerRecord("linear.weight", 10, 4, 0.1),),
        test_loss=0.25,
        test_accuracy=0.875,
    )
    assert pickle.loads(pickle.dumps(record)) == record


def test_an_error_survives_pickling_with_all_its_problems() -> None:
    error = InvalidInput("'a' is missing", "'b' is missing")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is InvalidInput
    assert copy.problems == error.problems
    assert str(copy) == "'a' is missing\n'b' is missing"


def test_a_configuration_cannot_be_changed() -> None:
    configuration = _from(optimizer="rso")
    with pytest.raises(FrozenInstanceError):
        configuration.batch_size = 1  # type: ignore[misc]
    assert replace(configuration, batch_size=1) != configuration
