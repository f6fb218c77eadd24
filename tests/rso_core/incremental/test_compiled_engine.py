"""What the compiled engine promises beyond the contract of all engines."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from rso_core.batches import BatchDrawer
from rso_core.engines import KEEP, ReferenceEngine, Visits
from rso_core.evaluation import evaluate, set_batch_norm_statistics_
from rso_core.incremental.compiled.last_linear import MOST_CHANGES
from rso_core.incremental.engine import IncrementalEngine
from rso_core.incremental.preparation import prepare_kernels
from rso_core.networks import NETWORKS, build_network


def _data(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, 1, 12, 12, generator=generator)
    return inputs, torch.randint(4, (n,), generator=generator)


def _model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_network(name, (1, 12, 12), 4)


def _visited(engine: IncrementalEngine, model: nn.Module, batch_size: int) -> list[Visits]:
    """Twenty weights of every parameter."""
    generator = torch.Generator().manual_seed(1)
    visits = []
    for name, parameter in model.named_parameters():
        n = min(20, parameter.numel())
        batches = BatchDrawer("fresh", 70, batch_size, generator).layer(parameter.numel())
        deltas = torch.randn(n, generator=generator) * 0.1
        visits.append(engine.visit_(name, 0, deltas, batches, 1.0))
    return visits


@pytest.mark.parametrize("name", NETWORKS)
def test_losses_are_the_same_to_the_last_bit_whatever_the_number_of_threads(name: str) -> None:
    results = []
    for n_threads in (1, 2, 3):
        model = _model(name)
        engine = IncrementalEngine(model, *_data(70), n_threads=n_threads)
        results.append((_visited(engine, model, 34), model.state_dict()))
    for visits, state in results[1:]:
        for mine, others in zip(visits, results[0][0], strict=True):
            assert torch.equal(mine.losses, others.losses)
        assert all(torch.equal(state[key], results[0][1][key]) for key in state)


@pytest.mark.parametrize("name", NETWORKS)
def test_less_memory_makes_the_same_decisions(name: str) -> None:
    results = []
    for memory_bytes in (None, 100_000):
        model = _model(name)
        engine = IncrementalEngine(model, *_data(70), memory_bytes=memory_bytes)
        results.append(_visited(engine, model, 17))
    for mine, others in zip(*results, strict=True):
        torch.testing.assert_close(mine.losses, others.losses, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_accuracy_are_those_of_a_plain_evaluation(name: str, n_threads: int) -> None:
    model = _model(name)
    inputs, targets = _data(70)
    set_batch_norm_statistics_(model, inputs[:50])
    engine = IncrementalEngine(model, inputs, targets, n_threads=n_threads)
    held_out, classes = _data(37)
    loss, accuracy = engine.evaluate(held_out, classes)
    expected = evaluate(model, held_out, classes)
    assert loss == pytest.approx(expected[0], rel=1e-6)
    assert accuracy == expected[1]


def test_batch_norms_without_moving_statistics_are_evaluated_as_torch_does() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten(),
        nn.Linear(200, 4),
    )  # fmt: skip
    engine = IncrementalEngine(model, *_data(70))
    assert engine.evaluate(*_data(30)) == evaluate(model, *_data(30))


def test_after_many_changes_of_a_row_its_logits_are_computed_anew() -> None:
    """One row of 3,000 features, nearly all of whose weights are moved."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(64, 3000), torch.randint(2, (64,))
    model = nn.Sequential(nn.Linear(3000, 2))
    engine = IncrementalEngine(model, inputs, targets)
    batches = BatchDrawer("fresh", 64, 16, torch.Generator()).layer(6000)
    deltas = torch.randn(6000) * 0.02
    visits = engine.visit_("0.weight", 0, deltas[:3900], batches, 1.0)
    assert (visits.chosen[:3000] != KEEP).sum() > MOST_CHANGES
    reference = ReferenceEngine(copy.deepcopy(model), inputs, targets)
    expected = reference.visit_("0.weight", 3900, deltas[3900:3901], batches, 1.0)
    found = engine.visit_("0.weight", 3900, deltas[3900:3901], batches, 1.0)
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-5, atol=1e-7)


def test_kernels_are_kept_between_processes() -> None:
    """Another process loads what this one has compiled, or has loaded itself."""
    prepare_kernels()
    program = textwrap.dedent(
        """
        from rso_core.incremental.compiled import last_linear
        from rso_core.incremental.preparation import prepare_kernels

        prepare_kernels()
        stats = last_linear.visit_last_linear.stats
        print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
        """
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed.split() == ["1", "0"]
