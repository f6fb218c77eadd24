"""Sums over the workers of a run, from within the compiled loops."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from rso_core.batches import Batches
from rso_core.engines import Visits
from rso_core.incremental.compiled.exchange import MOST_VALUES
from rso_core.incremental.engine import IncrementalEngine
from rso_core.peers import PeerLost, Peers

InGroup = Callable[[int, Callable[[Peers], Any]], list[Any]]

_N_IMAGES = 30


def _network(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, width, bias=False), nn.BatchNorm1d(width),
        nn.ReLU(), nn.Linear(width, 3),
    )  # fmt: skip


_ONE_AT_A_TIME = threading.Lock()
"""Whoever traces a network changes for a moment what all of torch's modules do."""


def _engine(model: nn.Module, **arguments: Any) -> IncrementalEngine:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(_N_IMAGES, 5, generator=generator)
    with _ONE_AT_A_TIME:
        return IncrementalEngine(model, inputs, torch.arange(_N_IMAGES) % 3, **arguments)


def _visits(engine: IncrementalEngine, parameter: str, n_visits: int) -> Visits:
    batches = Batches(torch.arange(_N_IMAGES).view(2, 15), torch.arange(n_visits) % 2)
    deltas = torch.randn(n_visits, generator=torch.Generator().manual_seed(1)) * 0.3
    return engine.visit_(parameter, 0, deltas, batches, 1.0)


def test_more_sums_than_fit_into_a_message_are_added_up(in_group: InGroup) -> None:
    width = MOST_VALUES // 2 + 50
    model = _network(width)
    copies = [copy.deepcopy(model) for _ in range(3)]
    expected = _visits(_engine(model), "0.weight", 15)
    outcomes = in_group(
        3, lambda peers: _visits(_engine(copies[peers.rank], peers=peers), "0.weight", 15)
    )
    for each, visits in zip(copies, outcomes, strict=True):
        assert torch.equal(visits.losses, outcomes[0].losses)
        assert torch.allclose(visits.losses, expected.losses, rtol=1e-5)
        assert torch.equal(visits.chosen, expected.chosen)
        assert torch.equal(each.get_parameter("0.weight"), model.get_parameter("0.weight"))


@pytest.mark.parametrize("parameter", ["0.weight", "5.weight"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_worker_that_leaves_is_lost_and_moves_no_weight_of_the_others(
    in_group: InGroup, parameter: str, n_threads: int
) -> None:
    models = [_network() for _ in range(3)]

    def work(peers: Peers) -> None:
        engine = _engine(models[peers.rank], peers=peers, n_threads=n_threads)
        _visits(engine, parameter, 3)
        if peers.rank == 1:
            return
        before = copy.deepcopy(models[peers.rank])
        with pytest.raises(PeerLost, match=r"the worker of rank [0-2] has left"):
            _visits(engine, parameter, 9)
        for own, other in zip(models[peers.rank].parameters(), before.parameters(), strict=True):
            assert torch.equal(own, other)
        assert peers.exchange_s > 0
        with pytest.raises(PeerLost, match="are closed"):
            _visits(engine, parameter, 9)

    assert in_group(3, work) == [None] * 3


def test_workers_in_different_visits_lose_one_another(in_group: InGroup) -> None:
    models = [_network() for _ in range(2)]

    def work(peers: Peers) -> None:
        _visits(_engine(models[peers.rank], peers=peers), ("0.weight", "5.bias")[peers.rank], 3)

    outcomes = in_group(2, work)
    assert all(isinstance(outcome, PeerLost) for outcome in outcomes)
    assert any("is out of step" in str(outcome) for outcome in outcomes)
