"""Which engine a network gets, and what is said of it."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from rso_core import engine_choice
from rso_core.engine_choice import EngineName, announce_fallback, build_engine
from rso_core.engines import Engine, ReferenceEngine
from rso_core.errors import InvalidInput
from rso_core.incremental.engine import IncrementalEngine


@pytest.fixture(autouse=True)
def _nothing_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "_announced", set())


def _built(name: EngineName, model: nn.Module) -> Engine:
    inputs, targets = torch.zeros(4, 2, 3, 3), torch.zeros(4, dtype=torch.int64)
    return build_engine(name, model, inputs, targets, n_threads=1, memory_bytes=2**20)


def _known() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 2, 2), nn.Flatten(), nn.Linear(8, 2))


def _unknown() -> nn.Module:
    return nn.Sequential(nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(18, 2))


@pytest.mark.parametrize("name", ["auto", "incremental"])
def test_a_known_network_is_visited_incrementally(name: EngineName) -> None:
    assert isinstance(_built(name, _known()), IncrementalEngine)


@pytest.mark.parametrize("model", [_known(), _unknown()])
def test_the_reference_engine_takes_any_network(model: nn.Module) -> None:
    assert isinstance(_built("reference", model), ReferenceEngine)


def test_an_unknown_network_falls_back_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        announce_fallback(_unknown(), (2, 3, 3))
        for _ in range(2):
            assert isinstance(_built("auto", _unknown()), ReferenceEngine)
    assert [record.getMessage() for record in caplog.records] == [
        "the incremental engine does not know this network: it holds a module of type GroupNorm; "
        "the reference engine is used, which is many times slower"
    ]


def test_nothing_is_said_of_a_known_network(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        announce_fallback(_known(), (2, 3, 3))
    assert not caplog.records


def test_asking_for_the_incremental_engine_where_it_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        _built("incremental", _unknown())
    assert caught.value.problems == (
        "'engine' must be auto or reference for this network, got incremental; "
        "it holds a module of type GroupNorm",
    )
