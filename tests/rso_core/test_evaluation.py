"""Loss and accuracy on held-out data, and the batch statistics that RSO works with."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from rso_core.evaluation import (
    EVALUATION_BATCH_SIZE,
    batch_statistics,
    evaluate,
    module_modes_restored,
    set_batch_norm_statistics_,
)


@pytest.fixture
def network() -> nn.Sequential:
    """With batch norms and dropout, in a mixture of modes, with statistics of its own."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(),
        nn.BatchNorm1d(4),
        nn.Linear(4, 8),
        nn.BatchNorm1d(8, momentum=0.3),
        nn.Dropout(0.5),
        nn.Linear(8, 3),
    )
    network(torch.randn(100, 4) * 2 + 1)
    network[3].eval()
    return network


def _images(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(n, 4, generator=generator) * 3 - 1,
        torch.randint(3, (n,), generator=generator),
    )


def _modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


# ------------------------------------------------------------------------------------- evaluate


@pytest.mark.parametrize("n", [1, 7, EVALUATION_BATCH_SIZE, 2 * EVALUATION_BATCH_SIZE + 501])
def test_an_evaluation_equals_one_pass_over_all_images(network: nn.Sequential, n: int) -> None:
    inputs, targets = _images(n)
    loss, accuracy = evaluate(network, inputs, targets)
    network.eval()
    with torch.no_grad():
        logits = network(inputs).double()
    assert loss == pytest.approx(functional.cross_entropy(logits, targets).item(), rel=1e-6)
    assert accuracy == (logits.argmax(1) == targets).double().mean().item()


def test_the_loss_is_summed_in_float64() -> None:
    inputs = torch.tensor([[0.0, -30.0]])  # in float32 exp(-30) vanishes beside 1
    loss, _ = evaluate(nn.Identity(), inputs, torch.tensor([0]))
    assert loss == pytest.approx(9.357622968839299e-14, rel=0.01, abs=0)


def test_an_evaluation_restores_the_mode_of_every_module(network: nn.Sequential) -> None:
    before = _modes(network)
    state = copy.deepcopy(network.state_dict())
    evaluate(network, *_images(10))
    assert _modes(network) == before
    assert len(set(before)) == 2
    torch.testing.assert_close(network.state_dict(), state, rtol=0, atol=0)


def test_an_evaluation_that_fails_restores_the_modes_too(network: nn.Sequential) -> None:
    before = _modes(network)
    with pytest.raises(RuntimeError):
        evaluate(network, torch.zeros(2, 99), torch.zeros(2, dtype=torch.int64))
    assert _modes(network) == before


def test_data_in_read_only_memory_is_safe_from_a_network_that_works_in_place() -> None:
    inputs, targets = _images(20)
    before = inputs.clone()
    array = inputs.numpy()
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch knows no read-only tensors
        shared = torch.from_numpy(array)
    network = nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm1d(4), nn.Linear(4, 3))
    evaluate(network, shared, targets)
    set_batch_norm_statistics_(network, shared)
    assert torch.equal(shared, before)


# ------------------------------------------------------------------------- batch norm statistics


@pytest.mark.parametrize("old", [0.0, 5.0, float("nan"), float("inf")])
def test_the_statistics_set_are_the_batchs_whatever_was_there(
    network: nn.Sequential, old: float
) -> None:
    for norm in (network[1], network[3]):
        norm.running_mean.fill_(old)
        norm.running_var.fill_(old)
    inputs, _ = _images(50)
    set_batch_norm_statistics_(network, inputs)
    torch.testing.assert_close(network[1].running_mean, inputs.mean(0))
    torch.testing.assert_close(network[1].running_var, inputs.var(0, unbiased=True))
    # the second norm sees what the first one makes of the batch
    first = network[1]
    scaled = (inputs - inputs.mean(0)) / (inputs.var(0, unbiased=False) + first.eps).sqrt()
    hidden = network[2](scaled * first.weight + first.bias).detach()
    torch.testing.assert_close(network[3].running_mean, hidden.mean(0))
    torch.testing.assert_close(network[3].running_var, hidden.var(0, unbiased=True))


def test_setting_the_statistics_changes_nothing_else(network: nn.Sequential) -> None:
    modes = _modes(network)
    parameters = copy.deepcopy(dict(network.named_parameters()))
    set_batch_norm_statistics_(network, _images(50)[0])
    assert _modes(network) == modes
    assert (network[1].momentum, network[3].momentum) == (0.1, 0.3)
    torch.testing.assert_close(dict(network.named_parameters()), parameters, rtol=0, atol=0)


def test_a_failure_while_the_statistics_are_set_leaves_modes_and_momenta(
    network: nn.Sequential,
) -> None:
    modes = _modes(network)
    with pytest.raises(RuntimeError):
        set_batch_norm_statistics_(network, torch.zeros(5, 99))
    assert _modes(network) == modes
    assert (network[1].momentum, network[3].momentum) == (0.1, 0.3)


def test_a_network_without_batch_norm_is_not_even_called() -> None:
    class Uncallable(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            raise AssertionError

    set_batch_norm_statistics_(Uncallable(), torch.zeros(2, 4))


def test_within_batch_statistics_the_batch_normalises_and_dropout_is_off(
    network: nn.Sequential,
) -> None:
    inputs, _ = _images(50)
    with batch_statistics(network), torch.no_grad():
        found = network(inputs)
    x = functional.batch_norm(inputs, None, None, network[1].weight, network[1].bias, training=True)
    x = functional.batch_norm(
        network[2](x), None, None, network[3].weight, network[3].bias, training=True
    )
    torch.testing.assert_close(found, network[5](x).detach())


@pytest.mark.parametrize("fails", [False, True])
def test_batch_statistics_leaves_buffers_and_modes_alone(
    network: nn.Sequential, fails: bool
) -> None:
    network[1].track_running_stats = False  # a user's own choice, to be put back as well
    modes, state = _modes(network), copy.deepcopy(network.state_dict())
    try:
        with batch_statistics(network):
            network(_images(50)[0])
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert _modes(network) == modes
    assert [network[1].track_running_stats, network[3].track_running_stats] == [False, True]
    torch.testing.assert_close(network.state_dict(), state, rtol=0, atol=0)


def test_modes_are_restored_after_an_exception(network: nn.Sequential) -> None:
    before = _modes(network)

    def fail() -> None:
        with module_modes_restored(network):
            network.eval()
            network[3].train()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert _modes(network) == before
