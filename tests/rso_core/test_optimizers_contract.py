"""What every optimiser promises to a training run."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from rso_core.optimizers import OPTIMIZERS, Optimizer, ProgressCallback, optimizer_class
from rso_core.records import CycleOutcome, LayerRecord, Progress

SCALARS = (bool, int, float, str)


@pytest.fixture(params=list(OPTIMIZERS))
def optimizer(request: pytest.FixtureRequest) -> type[Optimizer]:
    return OPTIMIZERS[request.param]


def _made(
    optimizer: type[Optimizer],
    network: nn.Module,
    data: Dataset,
    *,
    cycles: int = 2,
    batch_size: int = 20,
    seed: int = 0,
    on_progress: ProgressCallback | None = None,
) -> Optimizer:
    return optimizer(
        network,
        data.train_inputs,
        data.train_targets,
        batch_size=batch_size,
        cycles=cycles,
        generator=torch.Generator().manual_seed(seed),
        on_progress=on_progress,
    )


def test_a_run_yields_one_outcome_a_cycle_numbered_from_1(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    outcomes = list(_made(optimizer, small_network, small_data, cycles=3).run())
    assert [outcome.cycle for outcome in outcomes] == [1, 2, 3]


def test_an_outcome_has_the_types_and_ranges_that_records_promise(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    for outcome in _made(optimizer, small_network, small_data).run():
        assert type(outcome) is CycleOutcome
        assert type(outcome.training_loss) is type(outcome.training_s) is float
        for count in ("cycle", "n_visited", "n_accepted", "n_images_passed"):
            assert type(getattr(outcome, count)) is int, count
        assert 0 <= outcome.n_accepted <= outcome.n_visited
        assert outcome.n_images_passed >= len(small_data.train_targets)
        assert outcome.training_loss > 0
        assert outcome.training_s > 0
        assert type(outcome.layers) is tuple
        assert all(type(layer) is LayerRecord for layer in outcome.layers)
        assert sum(layer.n_visited for layer in outcome.layers) == outcome.n_visited
        assert sum(layer.n_accepted for layer in outcome.layers) == outcome.n_accepted
        json.dumps(dataclasses.asdict(outcome), allow_nan=False)


def test_the_loss_falls(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    outcomes = list(_made(optimizer, small_network, small_data, cycles=5).run())
    assert outcomes[-1].training_loss < 0.95 * outcomes[0].training_loss


def test_a_cycle_is_trained_only_when_it_is_asked_for(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    def weights() -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in small_network.parameters()])

    made = _made(optimizer, small_network, small_data)
    start = weights()
    outcomes = made.run()
    assert torch.equal(weights(), start)
    next(outcomes)
    after_first = weights()
    assert not torch.equal(after_first, start)
    next(outcomes)
    assert not torch.equal(weights(), after_first)


def test_equal_generators_train_equal_weights(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    runs = []
    for seed in (1, 1, 2):
        network = copy.deepcopy(small_network)
        losses = [
            outcome.training_loss
            for outcome in _made(optimizer, network, small_data, seed=seed).run()
        ]
        runs.append((losses, torch.cat([p.detach().flatten() for p in network.parameters()])))
    once, again, other = runs
    assert once[0] == again[0]
    assert torch.equal(once[1], again[1])
    assert once[0] != other[0]
    assert not torch.equal(once[1], other[1])


def test_data_and_global_random_state_are_left_alone(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    inputs, targets = small_data.train_inputs.clone(), small_data.train_targets.clone()
    state = torch.get_rng_state()
    made = _made(optimizer, small_network, small_data)
    list(made.run())
    made.prepare_evaluation_()
    assert torch.equal(small_data.train_inputs, inputs)
    assert torch.equal(small_data.train_targets, targets)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_is_ready_for_evaluation_mode_after_its_preparation(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    made = _made(optimizer, small_network, small_data, cycles=20)
    list(made.run())
    made.prepare_evaluation_()
    small_network.eval()
    with torch.no_grad():
        predicted = small_network(small_data.test_inputs).argmax(dim=1)
    assert (predicted == small_data.test_targets).double().mean() > 0.5


def test_as_many_weights_are_visited_as_announced(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    n_visits = optimizer.n_visits(small_network, optimizer.Options())
    outcomes = list(_made(optimizer, small_network, small_data).run())
    assert [outcome.n_visited for outcome in outcomes] == [n_visits] * 2


@pytest.mark.parametrize("batch_size", [1, 7, 120])
def test_any_batch_size_up_to_the_training_set_is_taken(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset, batch_size: int
) -> None:
    made = _made(optimizer, small_network, small_data, batch_size=batch_size, cycles=1)
    assert len(list(made.run())) == 1


@pytest.mark.parametrize("batch_size", [0, -1, 121])
def test_a_batch_that_the_training_set_cannot_fill_is_refused(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset, batch_size: int
) -> None:
    with pytest.raises(InvalidInput) as caught:
        _made(optimizer, small_network, small_data, batch_size=batch_size)
    assert str(caught.value) == (
        "'batch_size' must be an integer from 1 to 120, the number of training images, "
        f"got {batch_size}"
    )


def test_a_network_with_nothing_to_train_is_refused(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    with pytest.raises(InvalidInput, match="no parameter"):
        _made(optimizer, small_network.requires_grad_(False), small_data)


def test_a_frozen_parameter_stays_as_it_is(
    optimizer: type[Optimizer], small_network: nn.Module, small_data: Dataset
) -> None:
    small_network.get_submodule("0").requires_grad_(False)
    before = copy.deepcopy(small_network.state_dict())
    list(_made(optimizer, small_network, small_data).run())
    assert torch.equal(small_network.state_dict()["0.weight"], before["0.weight"])
    assert not torch.equal(small_network.state_dict()["5.weight"], before["5.weight"])


def test_a_tensor_that_two_layers_share_is_one_tensor(
    optimizer: type[Optimizer], small_data: Dataset
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 36), nn.ReLU(), nn.Linear(36, 36))
    network[3].weight = network[1].weight
    n_weights = sum(parameter.numel() for parameter in network.parameters())
    outcomes = list(_made(optimizer, network, small_data, cycles=1).run())
    assert outcomes[0].n_visited in (0, n_weights)
    assert network[3].weight is network[1].weight


def test_what_the_progress_callback_raises_ends_the_run_at_once(
    optimizer: type[Optimizer],
    small_network: nn.Module,
    small_data: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stop(Exception):  # noqa: N818  (a signal, not an error)
        pass

    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        raise Stop

    monkeypatch.setattr(sys.modules[optimizer.__module__], "PROGRESS_INTERVAL_S", -1.0)
    modes = [module.training for module in small_network.modules()]
    with pytest.raises(Stop):
        next(_made(optimizer, small_network, small_data, on_progress=stop).run())
    [progress] = seen
    assert (progress.cycle, progress.n_done) == (1, 1)
    assert progress.n_total > 1
    assert [module.training for module in small_network.modules()] == modes


def test_options_are_scalars_with_sound_defaults_that_json_can_hold(
    optimizer: type[Optimizer],
) -> None:
    defaults = optimizer.Options()
    dumped = defaults.model_dump(mode="json")
    assert list(dumped) == list(optimizer.Options.model_fields)
    assert dumped
    assert all(isinstance(value, SCALARS) for value in dumped.values())
    assert json.loads(json.dumps(dumped, allow_nan=False)) == dumped
    assert optimizer.Options.model_validate(dumped, strict=True) == defaults


def test_options_are_frozen_and_refuse_unknown_names(optimizer: type[Optimizer]) -> None:
    options = optimizer.Options()
    name = next(iter(optimizer.Options.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(options, name, getattr(options, name))
    with pytest.raises(ValidationError, match="extra_forbidden"):
        optimizer.Options(no_such_option=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_option_takes_a_value_that_is_not_finite(
    optimizer: type[Optimizer], value: float
) -> None:
    for name in optimizer.Options.model_fields:
        with pytest.raises(ValidationError):
            optimizer.Options(**{name: value})


def test_an_optimiser_is_found_by_its_name() -> None:
    assert {name: optimizer_class(name) for name in OPTIMIZERS} == dict(OPTIMIZERS)
