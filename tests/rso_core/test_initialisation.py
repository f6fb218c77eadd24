"""Where the weights of a network start under each rule."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from rso_core.initialisation import Initialisation, fan_in, initialise_, is_normalisation

RULES: tuple[Initialisation, ...] = ("he", "glorot", "model")


@pytest.fixture
def network() -> nn.Sequential:
    """Large tensors, so that their statistics are sharp; no parameter is 0 or 1 by itself."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(20, 50, 3),
        nn.BatchNorm2d(50),
        nn.Flatten(),
        nn.Linear(200, 100),
        nn.LayerNorm(100),
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(2, 3)
    return network


def _initialised(
    network: nn.Module, rule: Initialisation, seed: int = 0
) -> dict[str, torch.Tensor]:
    network = copy.deepcopy(network)
    initialise_(network, rule, torch.Generator().manual_seed(seed))
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


@pytest.mark.parametrize(("weight", "n_inputs"), [("0.weight", 180), ("3.weight", 200)])
def test_he_draws_normal_weights_by_the_fan_in(
    network: nn.Module, weight: str, n_inputs: int
) -> None:
    assert fan_in(dict(network.named_parameters())[weight]) == n_inputs
    drawn = _initialised(network, "he")[weight]
    sigma = math.sqrt(2 / n_inputs)
    assert drawn.std().item() == pytest.approx(sigma, rel=0.03)
    assert drawn.mean().item() == pytest.approx(0, abs=5 * sigma / math.sqrt(drawn.numel()))
    # of a normal distribution 4.55 % lie beyond two sigma, of a uniform one with this std none
    assert (drawn.abs() > 2 * sigma).double().mean().item() == pytest.approx(0.0455, abs=0.01)


@pytest.mark.parametrize(
    ("weight", "n_inputs", "n_outputs"), [("0.weight", 180, 450), ("3.weight", 200, 100)]
)
def test_glorot_draws_uniform_weights_by_fan_in_and_fan_out(
    network: nn.Module, weight: str, n_inputs: int, n_outputs: int
) -> None:
    drawn = _initialised(network, "glorot")[weight]
    limit = math.sqrt(6 / (n_inputs + n_outputs))
    assert 0.99 * limit < drawn.max().item() <= limit
    assert -limit <= drawn.min().item() < -0.99 * limit
    assert drawn.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.03)


@pytest.mark.parametrize("rule", ["he", "glorot"])
def test_biases_start_at_0_and_normalisations_at_1_and_0(
    network: nn.Module, rule: Initialisation
) -> None:
    drawn = _initialised(network, rule)
    for name, value in {"0.bias": 0, "3.bias": 0, "1.weight": 1, "1.bias": 0}.items():
        assert (drawn[name] == value).all(), name
    assert (drawn["4.weight"] == 1).all()
    assert (drawn["4.bias"] == 0).all()


def test_model_leaves_every_parameter_and_the_generator_alone(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    before, state = copy.deepcopy(network.state_dict()), generator.get_state()
    initialise_(network, "model", generator)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("rule", ["he", "glorot"])
def test_equal_generators_draw_equal_weights_and_no_global_ones(
    network: nn.Module, rule: Initialisation
) -> None:
    before = torch.get_rng_state()
    once, again, other = (_initialised(network, rule, seed) for seed in (0, 0, 1))
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    assert not torch.equal(once["3.weight"], other["3.weight"])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rule", ["he", "glorot"])
def test_frozen_parameters_stay_as_they_are(network: nn.Module, rule: Initialisation) -> None:
    network.get_submodule("3").requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    drawn = _initialised(network, rule)
    assert torch.equal(drawn["3.weight"], before["3.weight"])
    assert torch.equal(drawn["3.bias"], before["3.bias"])
    assert not torch.equal(drawn["0.weight"], before["0.weight"])


@pytest.mark.parametrize("rule", ["he", "glorot"])
def test_a_users_own_scale_is_not_taken_for_a_bias(rule: Initialisation) -> None:
    assert _initialised(nn.PReLU(init=0.25), rule)["weight"].item() == 0.25


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(4),
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4, affine=True),
        nn.LayerNorm(4),
        nn.GroupNorm(2, 4),
        nn.RMSNorm(4),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_the_scale_of_every_kind_of_normalisation_starts_at_1(norm: nn.Module) -> None:
    assert is_normalisation(norm)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.fill_(7)
    drawn = _initialised(norm, "he")
    assert {name: values.unique().tolist() for name, values in drawn.items()} == {
        name: [1.0] if name == "weight" else [0.0] for name in drawn
    }


def test_layers_that_mix_their_inputs_are_no_normalisation() -> None:
    assert not any(is_normalisation(m) for m in (nn.Linear(2, 2), nn.Conv2d(1, 1, 1), nn.PReLU()))
