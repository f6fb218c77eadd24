"""SGD and Adam against plain loops in torch, and what they report."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from rso_core.optimizers import SGD, Adam, AdamOptions, SGDOptions
from rso_core.records import CycleOutcome, Progress

CYCLES = 3
BATCH_SIZE = 50  # leaves a last batch of 20 of the 120 images


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh(), nn.Linear(5, 3))


def _trained(
    optimizer: type[SGD] | type[Adam],
    network: nn.Module,
    data: Dataset,
    options: SGDOptions | AdamOptions | None = None,
    cycles: int = CYCLES,
) -> list[CycleOutcome]:
    return list(
        optimizer(
            network,
            data.train_inputs,
            data.train_targets,
            batch_size=BATCH_SIZE,
            cycles=cycles,
            options=options,
            generator=torch.Generator().manual_seed(7),
        ).run()
    )


def _plain_sgd(
    network: nn.Module,
    data: Dataset,
    rate: Callable[[int, int], float],
    momentum: float,
    nesterov: bool,
    decay: float,
) -> list[float]:
    """Sutskever's momentum in torch's form, written out; returns the mean loss of each epoch.

    `rate` gives the learning rate of an update from its number and that of its epoch, from 0.
    """
    generator = torch.Generator().manual_seed(7)
    n = len(data.train_targets)
    velocities: dict[nn.Parameter, torch.Tensor] = {}
    update, losses = 0, []
    for epoch in range(CYCLES):
        order = torch.randperm(n, generator=generator)
        loss_sum = 0.0
        for start in range(0, n, BATCH_SIZE):
            images = order[start : start + BATCH_SIZE]
            logits = network(data.train_inputs[images])
            loss = functional.cross_entropy(logits, data.train_targets[images])
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            loss_sum += loss.item() * len(images)
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                    gradient = gradient + decay * parameter
                    velocity = momentum * velocities.get(parameter, 0.0) + gradient
                    velocities[parameter] = velocity
                    step = gradient + momentum * velocity if nesterov else velocity
                    parameter -= rate(update, epoch) * step
            update += 1
        losses.append(loss_sum / n)
    return losses


_UPDATES = CYCLES * math.ceil(120 / BATCH_SIZE)


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ({}, lambda update, epoch: 0.1),
        ({"momentum": 0.9}, lambda update, epoch: 0.1),
        ({"momentum": 0.9, "nesterov": True}, lambda update, epoch: 0.1),
        ({"weight_decay": 0.05}, lambda update, epoch: 0.1),
        (
            {"schedule": "cosine"},
            lambda update, epoch: 0.1 * (1 + math.cos(math.pi * update / _UPDATES)) / 2,
        ),
        (
            {"schedule": "step", "step_cycles": 2, "step_factor": 0.25},
            lambda update, epoch: 0.1 * 0.25 ** (epoch // 2),
        ),
        (
            {"schedule": "cosine", "momentum": 0.5, "nesterov": True, "weight_decay": 0.01},
            lambda update, epoch: 0.1 * (1 + math.cos(math.pi * update / _UPDATES)) / 2,
        ),
    ],
    ids=["plain", "momentum", "nesterov", "weight decay", "cosine", "step", "all together"],
)
def test_sgd_equals_a_plain_loop(
    network: nn.Module,
    small_data: Dataset,
    options: dict[str, Any],
    rate: Callable[[int, int], float],
) -> None:
    expected = copy.deepcopy(network)
    losses = _plain_sgd(
        expected,
        small_data,
        rate,
        options.get("momentum", 0.0),
        options.get("nesterov", False),
        options.get("weight_decay", 0.0),
    )
    outcomes = _trained(SGD, network, small_data, SGDOptions(learning_rate=0.1, **options))
    torch.testing.assert_close(network.state_dict(), expected.state_dict(), rtol=1e-5, atol=1e-6)
    assert [outcome.training_loss for outcome in outcomes] == pytest.approx(losses, rel=1e-5)


def test_adam_equals_torchs(network: nn.Module, small_data: Dataset) -> None:
    expected = copy.deepcopy(network)
    optimizer = torch.optim.Adam(
        expected.parameters(), lr=0.02, betas=(0.8, 0.95), weight_decay=0.01
    )
    generator = torch.Generator().manual_seed(7)
    for _ in range(CYCLES):
        for images in torch.randperm(120, generator=generator).split(BATCH_SIZE):
            optimizer.zero_grad()
            logits = expected(small_data.train_inputs[images])
            functional.cross_entropy(logits, small_data.train_targets[images]).backward()
            optimizer.step()
    options = AdamOptions(learning_rate=0.02, beta1=0.8, beta2=0.95, weight_decay=0.01)
    _trained(Adam, network, small_data, options)
    torch.testing.assert_close(network.state_dict(), expected.state_dict())


def test_without_options_sgd_is_the_notebooks(network: nn.Module, small_data: Dataset) -> None:
    expected = copy.deepcopy(network)
    _plain_sgd(expected, small_data, lambda update, epoch: 0.01, 0.0, False, 0.0)
    _trained(SGD, network, small_data)
    torch.testing.assert_close(network.state_dict(), expected.state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_an_epoch_passes_every_image_once_and_visits_no_weight(
    optimizer: type[SGD], network: nn.Module, small_data: Dataset
) -> None:
    seen = []
    network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    outcomes = _trained(optimizer, network, small_data, cycles=2)
    for outcome in outcomes:
        assert outcome.n_images_passed == 120
        assert (outcome.n_visited, outcome.n_accepted, outcome.layers) == (0, 0, ())
    assert [len(batch) for batch in seen] == [50, 50, 20] * 2
    epochs = torch.cat(seen[:3]), torch.cat(seen[3:])
    for epoch in epochs:
        torch.testing.assert_close(_sorted(epoch), _sorted(small_data.train_inputs))
    assert not torch.equal(*epochs)


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_no_weight_visits_are_announced(optimizer: type[SGD], network: nn.Module) -> None:
    assert optimizer.n_visits(network, optimizer.Options()) == 0


def test_training_keeps_up_moving_statistics_and_restores_the_mode(
    small_network: nn.Module, small_data: Dataset
) -> None:
    small_network.eval()
    norm = small_network.get_submodule("1")
    before = norm.running_mean.clone()
    _trained(SGD, small_network, small_data)
    assert not torch.equal(norm.running_mean, before)
    assert not any(module.training for module in small_network.modules())


def test_progress_counts_the_batches_of_an_epoch(
    network: nn.Module, small_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rso_core.optimizers.sgd.PROGRESS_INTERVAL_S", -1.0)
    seen: list[Progress] = []
    sgd = SGD(
        network,
        small_data.train_inputs,
        small_data.train_targets,
        batch_size=BATCH_SIZE,
        cycles=2,
        generator=torch.Generator(),
        on_progress=seen.append,
    )
    list(sgd.run())
    assert seen == [Progress(cycle, done, 3) for cycle in (1, 2) for done in (1, 2, 3)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"optimizer": "sgd", "nesterov": True},
            "'nesterov' needs a 'momentum' of more than 0",
        ),
        (
            {"optimizer": "sgd", "beta1": 0.9},
            "'beta1' is not an option of sgd; valid: initialisation, learning_rate, momentum, "
            "nesterov, schedule, step_cycles, step_factor, weight_decay",
        ),
        (
            {"optimizer": "adam", "momentun": 0.9},
            "'momentun' is not an option of adam; valid: beta1, beta2, initialisation, "
            "learning_rate, schedule, step_cycles, step_factor, weight_decay",
        ),
        (
            {"optimizer": "sgd", "momentun": 0.9},
            "'momentun' is not an option of sgd; did you mean 'momentum'?",
        ),
    ],
)
def test_faults_in_the_options_are_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Configuration.from_values({"architecture": "mlp", "batch_size": 1, **values}, cycles=1)
    assert str(caught.value) == message


def _sorted(images: torch.Tensor) -> torch.Tensor:
    """The same images in an order of their own: by their first pixel."""
    return images[images[:, 0, 0, 0].argsort()]
