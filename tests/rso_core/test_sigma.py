"""The size of a perturbation: the rules for sigma, its annealing, and the samplers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rso_core.networks import build_network
from rso_core.sigma import Annealing, Sampler, annealing_factor, draw_deltas, layer_sigmas

SAMPLERS: tuple[Sampler, ...] = ("normal", "uniform", "ternary")
N = 100_000


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 5, 3),
        nn.BatchNorm2d(5),
        nn.Flatten(),
        nn.Linear(20, 7),
        nn.LayerNorm(7),
        nn.Linear(7, 3, bias=False),
    )


# ---------------------------------------------------------------------------------------- sigma


def test_he_follows_the_fan_in_and_a_bias_its_layer(network: nn.Module) -> None:
    assert layer_sigmas(network, "he", 0.167) == {
        "0.weight": pytest.approx(math.sqrt(2 / 18)),
        "0.bias": pytest.approx(math.sqrt(2 / 18)),
        "1.weight": 0.167,
        "1.bias": 0.167,
        "3.weight": pytest.approx(math.sqrt(2 / 20)),
        "3.bias": pytest.approx(math.sqrt(2 / 20)),
        "4.weight": 0.167,
        "4.bias": 0.167,
        "5.weight": pytest.approx(math.sqrt(2 / 7)),
    }


@pytest.mark.parametrize(
    ("network", "published"),
    [
        ("one_conv", {"conv1": 0.471, "linear": 0.0505}),
        ("two_conv", {"conv1": 0.471, "conv2": 0.118, "linear": 0.0505}),
    ],
)
def test_he_gives_the_known_values(network: str, published: dict[str, float]) -> None:
    sigmas = layer_sigmas(build_network(network, (1, 28, 28), 10), "he", 0.167)
    for layer, sigma in published.items():
        assert sigmas[f"{layer}.weight"] == pytest.approx(sigma, rel=5e-3)


@pytest.mark.parametrize(
    ("network", "published"),
    [
        ("one_conv", {"conv1": 0.316, "linear": 0.032}),
        ("two_conv", {"conv1": 0.158, "conv2": 0.057, "linear": 0.034}),
    ],
)
def test_pooled_gives_the_notebooks_values(network: str, published: dict[str, float]) -> None:
    sigmas = layer_sigmas(build_network(network, (1, 28, 28), 10), "pooled", 0.167)
    for layer, sigma in published.items():
        assert sigmas[f"{layer}.weight"] == sigmas[f"{layer}.bias"]
        assert sigmas[f"{layer}.weight"] == pytest.approx(sigma, abs=5e-4)


def test_pooled_is_the_std_of_all_tensors_drawn_up_to_the_layer(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    squares, n_elements = 0.0, 0
    expected = {}
    for module in ("0", "1", "3", "4", "5"):
        own = dict(network.get_submodule(module).named_parameters())
        for parameter in own.values():
            size = parameter.numel()
            draws = torch.randn(2000, size, generator=generator) * math.sqrt(2 / size)
            squares += draws.square().mean(dim=0).sum().item()
            n_elements += size
        expected.update({f"{module}.{name}": math.sqrt(squares / n_elements) for name in own})
    assert layer_sigmas(network, "pooled", 0.167) == pytest.approx(expected, rel=0.02)


def test_a_number_holds_for_all_but_normalisations(network: nn.Module) -> None:
    sigmas = layer_sigmas(network, 0.5, 0.25)
    norms = {"1.weight", "1.bias", "4.weight", "4.bias"}
    assert sigmas == {
        name: 0.25 if name in norms else 0.5 for name, _ in network.named_parameters()
    }


# ------------------------------------------------------------------------------------ annealing


@given(cycles=st.integers(2, 1000), final_fraction=st.floats(0, 1))
def test_the_papers_annealing_goes_from_1_to_the_final_fraction(
    cycles: int, final_fraction: float
) -> None:
    assert annealing_factor("paper", final_fraction, 1, cycles) == 1.0
    last = annealing_factor("paper", final_fraction, cycles, cycles)
    assert last == pytest.approx(final_fraction, abs=1e-12)


@pytest.mark.parametrize("cycles", [2, 10, 50])
def test_the_papers_annealing_is_its_formula(cycles: int) -> None:
    for c in range(1, cycles + 1):
        expected = 1 - 0.9 * (c - 1) / (cycles - 1)
        assert annealing_factor("paper", 0.1, c, cycles) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("cycles", [2, 10, 50])
def test_the_authors_annealing_is_their_formula_and_ends_above_the_final_fraction(
    cycles: int,
) -> None:
    factors = [annealing_factor("authors", 0.1, c, cycles) for c in range(1, cycles + 1)]
    expected = [0.1 + 0.9 * (cycles - e) / cycles for e in range(cycles)]
    assert factors == pytest.approx(expected, abs=1e-12)
    assert factors[0] == 1.0
    assert factors[-1] == pytest.approx(0.1 + 0.9 / cycles)


@pytest.mark.parametrize("schedule", ["paper", "authors", "none"])
def test_a_single_cycle_is_not_annealed(schedule: Annealing) -> None:
    assert annealing_factor(schedule, 0.1, 1, 1) == 1.0


@given(cycle=st.integers(1, 20))
def test_without_annealing_the_factor_stays_1(cycle: int) -> None:
    assert annealing_factor("none", 0.1, cycle, 20) == 1.0


# ------------------------------------------------------------------------------------- samplers


@pytest.mark.parametrize(
    ("sampler", "std"),
    [("normal", 1.0), ("uniform", 2 / math.sqrt(3)), ("ternary", (2 / 3) ** 0.5)],
)
@pytest.mark.parametrize("sigma", [0.03, 7.0])
def test_perturbations_have_mean_0_and_the_samplers_std(
    sampler: Sampler, std: float, sigma: float
) -> None:
    deltas = draw_deltas(sampler, sigma, N, torch.Generator().manual_seed(0))
    assert deltas.dtype == torch.float32
    assert deltas.shape == (N,)
    assert deltas.mean().item() == pytest.approx(0, abs=5 * sigma * std / math.sqrt(N))
    assert deltas.std().item() == pytest.approx(sigma * std, rel=0.01)


def test_uniform_perturbations_fill_two_sigma_to_either_side() -> None:
    deltas = draw_deltas("uniform", 0.5, N, torch.Generator().manual_seed(0))
    assert -1.0 <= deltas.min() < -0.999
    assert 0.999 < deltas.max() <= 1.0
    quarters = torch.histc(deltas, bins=4, min=-1, max=1) / N
    assert quarters.tolist() == pytest.approx([0.25] * 4, abs=0.01)


def test_ternary_perturbations_have_three_values_with_equal_chances() -> None:
    deltas = draw_deltas("ternary", 0.5, N, torch.Generator().manual_seed(0))
    values, counts = deltas.unique(return_counts=True)
    assert values.tolist() == [-0.5, 0.0, 0.5]
    assert (counts / N).tolist() == pytest.approx([1 / 3] * 3, abs=0.01)


def test_normal_perturbations_have_a_normals_tails() -> None:
    deltas = draw_deltas("normal", 2.0, N, torch.Generator().manual_seed(0))
    for sigmas, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert (deltas.abs() < 2.0 * sigmas).double().mean().item() == pytest.approx(
            share, abs=0.005
        )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equal_generators_draw_equal_perturbations_and_no_global_ones(sampler: Sampler) -> None:
    before = torch.get_rng_state()
    once, again, other = (
        draw_deltas(sampler, 0.1, 50, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("sigma", [0.0, 1e38, 1e300])
def test_any_sigma_can_be_drawn_from(sampler: Sampler, sigma: float) -> None:
    assert draw_deltas(sampler, sigma, 9, torch.Generator().manual_seed(0)).shape == (9,)
