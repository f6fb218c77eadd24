"""RSO against an independent loop, and the behaviours that its options promise."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from rso_core.datasets import Dataset
from rso_core.engines import KEEP, ReferenceEngine, Visits
from rso_core.errors import InvalidInput
from rso_core.optimizers import RSO, ProgressCallback, RSOOptions
from rso_core.records import CycleOutcome, Progress

_CYCLES = 2
_BATCH_SIZE = 20


def _rso(
    network: nn.Module,
    data: Dataset,
    options: RSOOptions | None = None,
    *,
    cycles: int = _CYCLES,
    batch_size: int = _BATCH_SIZE,
    seed: int = 0,
    on_progress: ProgressCallback | None = None,
) -> list[CycleOutcome]:
    rso = RSO(
        network,
        data.train_inputs,
        data.train_targets,
        batch_size=batch_size,
        cycles=cycles,
        options=options,
        generator=torch.Generator().manual_seed(seed),
        on_progress=on_progress,
    )
    return list(rso.run())


class _AlgorithmOne:
    """Algorithm 1 of arXiv:2005.05955 for `small_network`, in the order of its lines.

    It shares no code with the package: its forward pass is written out, and it draws its random
    numbers itself, in the order that RSO documents: the initial tensors in the network's order;
    then, layer by layer, a shuffled order of the images and the layer's perturbations.
    """

    def __init__(self, data: Dataset, seed: int) -> None:
        self.inputs, self.targets = data.train_inputs, data.train_targets
        self.generator = torch.Generator().manual_seed(seed)
        g = self.generator
        self.parameters = {  # line 2: He initialisation; biases 0; gamma 1 and beta 0
            "0.weight": torch.randn(2, 1, 3, 3, generator=g) * math.sqrt(2 / 9),
            "0.bias": torch.zeros(2),
            "1.weight": torch.ones(2),
            "1.bias": torch.zeros(2),
            "5.weight": torch.randn(3, 8, generator=g) * math.sqrt(2 / 8),
            "5.bias": torch.zeros(3),
        }
        self.decisions: list[tuple[str, int, int]] = []
        self.chosen_losses: list[float] = []

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> float:
        p = self.parameters
        x = functional.conv2d(inputs, p["0.weight"], p["0.bias"])
        x = functional.batch_norm(x, None, None, p["1.weight"], p["1.bias"], training=True)
        x = functional.max_pool2d(torch.relu(x), 2).flatten(1)
        logits = functional.linear(x, p["5.weight"], p["5.bias"]).double()
        right = logits[torch.arange(len(targets)), targets]
        return float((torch.logsumexp(logits, 1) - right).mean())

    def run(self, cycles: int, batch_size: int) -> None:
        sigmas = {
            "5.weight": math.sqrt(2 / 8),
            "5.bias": math.sqrt(2 / 8),
            "1.weight": 0.167,
            "1.bias": 0.167,
            "0.weight": math.sqrt(2 / 9),
            "0.bias": math.sqrt(2 / 9),
        }
        n = len(self.targets)
        for c in range(1, cycles + 1):  # line 4
            annealed = 1 - 0.9 * (c - 1) / (cycles - 1)
            for name, sigma in sigmas.items():  # line 5: from the last layer to the first
                weights = self.parameters[name].view(-1)
                order = torch.randperm(n, generator=self.generator)
                deltas = torch.randn(len(weights), generator=self.generator) * (sigma * annealed)
                for j in range(len(weights)):  # line 6
                    batch = order[: n // batch_size * batch_size].view(-1, batch_size)[
                        j % (n // batch_size)
                    ]
                    x, labels = self.inputs[batch], self.targets[batch]
                    old = weights[j].clone()
                    losses = []
                    for candidate in (old, old + deltas[j], old - deltas[j]):  # lines 8 to 10
                        weights[j] = candidate
                        losses.append(self.loss(x, labels))
                    best = min(losses)  # line 11; the first of equals is the old weight
                    choice = losses.index(best)
                    weights[j] = (old, old + deltas[j], old - deltas[j])[choice]
                    self.decisions.append((name, j, choice))
                    self.chosen_losses.append(best)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_decisions_equal_those_of_an_independent_loop_weight_by_weight(
    small_network: nn.Module, small_data: Dataset, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions: list[tuple[str, int, int]] = []
    losses: list[float] = []
    visit_ = ReferenceEngine.visit_

    def recorded(
        self: ReferenceEngine, parameter: str, first_weight: int, *rest: object, **options: object
    ) -> Visits:
        visits = visit_(self, parameter, first_weight, *rest, **options)  # type: ignore[arg-type]
        for position, choice in enumerate(visits.chosen.tolist()):
            decisions.append((parameter, first_weight + position, choice))
        losses.extend(visits.chosen_losses().tolist())
        return visits

    monkeypatch.setattr(ReferenceEngine, "visit_", recorded)
    outcomes = _rso(small_network, small_data, RSOOptions(engine="reference"), seed=seed)
    expected = _AlgorithmOne(small_data, seed)
    expected.run(_CYCLES, _BATCH_SIZE)

    assert decisions == expected.decisions
    assert losses == pytest.approx(expected.chosen_losses, rel=1e-6)
    for name, parameter in small_network.named_parameters():
        assert torch.equal(parameter.detach(), expected.parameters[name]), name
    n_moved = sum(choice != KEEP for _, _, choice in expected.decisions)
    assert sum(outcome.n_accepted for outcome in outcomes) == n_moved
    assert 0 < n_moved < len(expected.decisions)


def test_a_cycle_tells_what_it_did(small_network: nn.Module, small_data: Dataset) -> None:
    first, last = _rso(small_network, small_data)
    assert [layer.name for layer in first.layers] == [
        "5.weight", "5.bias", "1.weight", "1.bias", "0.weight", "0.bias",
    ]  # fmt: skip
    assert [layer.n_visited for layer in first.layers] == [24, 3, 2, 2, 18, 2]
    assert first.n_visited == 51
    assert first.n_accepted == sum(layer.n_accepted for layer in first.layers)
    assert first.n_images_passed == 3 * _BATCH_SIZE * 51
    assert last.training_loss < first.training_loss
    assert last.layers[0].sigma == pytest.approx(0.1 * first.layers[0].sigma)


def test_a_kept_weight_stays_bit_for_bit_as_it_was(
    small_network: nn.Module, small_data: Dataset
) -> None:
    before = copy.deepcopy(small_network.state_dict())
    huge = RSOOptions(initialisation="model", sigma=1e30, batch_norm_sigma=1e30)
    outcome = _rso(small_network, small_data, huge, cycles=1)[0]
    moved = sum(
        int((before[name] != parameter).sum())
        for name, parameter in small_network.named_parameters()
    )
    assert moved == outcome.n_accepted < outcome.n_visited


def test_running_statistics_are_not_touched_by_training(
    small_network: nn.Module, small_data: Dataset
) -> None:
    before = {name: buffer.clone() for name, buffer in small_network.named_buffers()}
    small_network.train()
    _rso(small_network, small_data)
    assert all(torch.equal(before[n], b) for n, b in small_network.named_buffers())
    assert small_network.training


def test_ties_keep_the_weight(small_data: Dataset) -> None:
    """A weight behind a dead ReLU changes no loss: nothing may move."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Threshold(1e9, 0.0))
    outcome = _rso(network, small_data, RSOOptions(sigma=0.1), cycles=1)[0]
    assert outcome.n_accepted == 0


def test_a_candidate_without_a_finite_loss_is_never_accepted(small_data: Dataset) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    _rso(network, small_data, RSOOptions(sigma=3e38), cycles=1)
    assert all(bool(p.isfinite().all()) for p in network.parameters())


def test_weight_decay_shrinks_every_visited_weight_whatever_wins(small_data: Dataset) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Threshold(1e9, 0.0))
    before = copy.deepcopy(network.state_dict())
    options = RSOOptions(initialisation="model", weight_decay=0.25)
    _rso(network, small_data, options, cycles=1)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] * 0.75)


def test_layers_can_be_visited_from_the_first_to_the_last(
    small_network: nn.Module, small_data: Dataset
) -> None:
    outcome = _rso(small_network, small_data, RSOOptions(layer_order="first_to_last"), cycles=1)[0]
    assert [layer.name for layer in outcome.layers] == [
        "0.weight", "0.bias", "1.weight", "1.bias", "5.weight", "5.bias",
    ]  # fmt: skip


def test_biases_and_batch_norm_can_be_left_out(
    small_network: nn.Module, small_data: Dataset
) -> None:
    options = RSOOptions(visit_biases=False, visit_batch_norm=False)
    outcome = _rso(small_network, small_data, options, cycles=1)[0]
    assert [layer.name for layer in outcome.layers] == ["5.weight", "0.weight"]
    assert RSO.n_visits(small_network, options) == outcome.n_visited == 42


def test_frozen_parameters_are_not_visited(small_network: nn.Module, small_data: Dataset) -> None:
    small_network[0].requires_grad_(False)  # type: ignore[index]
    outcome = _rso(small_network, small_data, cycles=1)[0]
    assert not any(layer.name.startswith("0.") for layer in outcome.layers)


def test_a_network_without_weights_to_visit_is_refused(small_data: Dataset) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).requires_grad_(False)
    with pytest.raises(InvalidInput, match="no parameter to visit"):
        _rso(network, small_data)


def test_a_batch_larger_than_the_data_is_refused(
    small_network: nn.Module, small_data: Dataset
) -> None:
    with pytest.raises(InvalidInput, match=r"'batch_size' must be an integer from 1 to 120.*121"):
        _rso(small_network, small_data, batch_size=121)


def test_a_network_that_works_in_place_on_its_input_makes_the_same_decisions(
    small_data: Dataset,
) -> None:
    def network(in_place: bool) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.ReLU(inplace=in_place), nn.Flatten(), nn.Linear(36, 3))

    data = copy.deepcopy(small_data)
    changing, plain = network(in_place=True), network(in_place=False)
    assert _without_times(_rso(changing, data)) == _without_times(_rso(plain, small_data))
    assert torch.equal(data.train_inputs, small_data.train_inputs)


def test_progress_is_told_within_a_cycle_and_ends_at_the_total(
    small_network: nn.Module, small_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rso_core.optimizers.rso.PROGRESS_INTERVAL_S", 0.0)
    seen: list[Progress] = []
    rso = RSO(
        small_network,
        small_data.train_inputs,
        small_data.train_targets,
        batch_size=10,
        cycles=1,
        generator=torch.Generator(),
        on_progress=seen.append,
    )
    list(rso.run())
    assert [progress.n_done for progress in seen] == list(range(1, 52))
    assert {progress.n_total for progress in seen} == {51}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    options=st.builds(
        RSOOptions,
        sampler=st.sampled_from(["normal", "uniform", "ternary"]),
        annealing=st.sampled_from(["paper", "authors", "none"]),
        layer_order=st.sampled_from(["last_to_first", "first_to_last"]),
        batch_drawing=st.sampled_from(["fresh", "with_replacement", "layer", "cycle"]),
        sigma=st.sampled_from(["he", "pooled", 0.1]),
        initialisation=st.sampled_from(["he", "glorot", "model"]),
        weight_decay=st.sampled_from([0.0, 1e-3]),
    ),
    batch_size=st.integers(1, 120),
)
def test_how_many_visits_an_engine_is_handed_at_a_time_changes_nothing(
    small_network: nn.Module,
    small_data: Dataset,
    options: RSOOptions,
    batch_size: int,
) -> None:
    def run(interval_s: float) -> tuple[list[CycleOutcome], dict[str, torch.Tensor]]:
        network = copy.deepcopy(small_network)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("rso_core.optimizers.rso.PROGRESS_INTERVAL_S", interval_s)
            outcomes = _rso(network, small_data, options, batch_size=batch_size)
        return _without_times(outcomes), network.state_dict()

    one_by_one, weights = run(0.0)
    all_at_once, same_weights = run(1e9)
    assert one_by_one == all_at_once
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)


@pytest.mark.parametrize("engine", ["incremental", "reference"])
def test_an_engine_is_handed_many_visits_at_a_time(
    small_network: nn.Module, small_data: Dataset, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rso_core.optimizers.rso.PROGRESS_INTERVAL_S", 1e9)
    told: list[Progress] = []
    options = RSOOptions(engine=engine)
    (outcome,) = _rso(
        small_network, small_data, options, batch_size=20, cycles=1, on_progress=told.append
    )
    # the first visit, whose pace is not known, the rest of its layer, and each layer after it
    assert len(told) == len(outcome.layers) + 1
    assert told[-1].n_done == outcome.n_visited


def _without_times(outcomes: list[CycleOutcome]) -> list[CycleOutcome]:
    return [replace(outcome, training_s=0.0) for outcome in outcomes]
