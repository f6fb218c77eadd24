"""A run that several workers train is the one that a single worker trains, and ends for all."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rso_core.batches import Drawing
from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput, TrainingDiverged
from rso_core.incremental import engine as incremental_engine
from rso_core.optimizers import rso as rso_module
from rso_core.peers import Listener, PeerLost, Peers
from rso_core.records import CycleRecord, Progress
from rso_core.training import Training, UnusableState

InGroup = Callable[[int, Callable[[Peers], Any]], list[Any]]


@pytest.fixture(autouse=True)
def _few_visits_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told after every few visits, and the incremental engine begins anew as often."""
    monkeypatch.setattr(rso_module, "PROGRESS_INTERVAL_S", 1e-3)
    monkeypatch.setattr(incremental_engine, "RESUMABLE_FLOP", 2e5)


def network(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Batch norms at both kinds of places, a residual link, and all kinds of parameters.

    No bias comes before a batch norm: that takes it away, and rounding alone would decide on it.
    """
    return nn.Sequential(_Residual(input_shape[0]), nn.AvgPool2d(2), nn.Flatten(),
                         nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(),
                         nn.Linear(4, n_classes))  # fmt: skip


class _Residual(nn.Module):
    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_channels, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.second = nn.Conv2d(2, 2, 3, padding=1, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first = self.norm(self.first(inputs)).relu()
        return first + self.second(first)


def _configuration(cycles: int = 2, **values: Any) -> Configuration:
    defaults = {"architecture": f"{__name__}:network", "optimizer": "rso", "batch_size": 25}
    return Configuration.from_values({**defaults, **values}, cycles=cycles)


class _Gated:
    """Peers of a thread that makes its training while no other thread runs a network.

    Whoever traces a network changes for a moment what all of torch's modules do.
    """

    def __init__(self, peers: Peers, gate: threading.Lock) -> None:
        self._peers, self._gate = peers, gate
        self.exchange_s = 0.0
        gate.acquire()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._peers, name)

    def share(self, content: bytes | None) -> bytes:
        self.leave_gate()
        return self._peers.share(content)

    def leave_gate(self) -> None:
        if self._gate is not _NO_GATE:
            gate, self._gate = self._gate, _NO_GATE
            gate.release()


_NO_GATE = threading.Lock()
_GATE = threading.Lock()


def _training(
    configuration: Configuration, data: Dataset, peers: Peers, **arguments: Any
) -> Training:
    """A training of one of the threads of a group."""
    gated = _Gated(peers, _GATE)
    try:
        training = Training(configuration, data, 3, peers=gated, **arguments)
    finally:
        gated.leave_gate()
    peers.sum_(np.zeros(1))  # until all have made theirs
    return training


def _trained(training: Training) -> tuple[list[CycleRecord], dict[str, torch.Tensor]]:
    for _ in training:
        pass
    return training.records, training.weights()


def _check_same_bits(outcomes: list[tuple[list[CycleRecord], dict[str, torch.Tensor]]]) -> None:
    """Whether all workers have the same weights and records, but for the times."""
    records, weights = outcomes[0]
    for their_records, their_weights in outcomes[1:]:
        assert all(torch.equal(weights[name], their_weights[name]) for name in weights)
        assert [_timeless(record) for record in their_records] == [
            _timeless(record) for record in records
        ]


def _timeless(record: CycleRecord) -> CycleRecord:
    return replace(record, training_s=0.0, evaluation_s=0.0)


def _check_close(
    records: list[CycleRecord], weights: dict[str, torch.Tensor], alone: Training
) -> None:
    """Whether they are those of a worker alone, to rounding."""
    assert len(records) == len(alone.records)
    for record, expected in zip(records, alone.records, strict=True):
        assert record.layers == expected.layers
        for name, value in asdict(_timeless(expected)).items():
            if name != "layers":
                own = getattr(_timeless(record), name)
                assert type(own) is type(value)  # so that a state can be written and read
                assert own == pytest.approx(value, rel=1e-5), name
    for name, tensor in alone.weights().items():
        assert torch.allclose(weights[name], tensor, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize(
    ("size", "engine", "drawing", "options"),
    [
        (2, "incremental", "fresh", {}),
        (3, "incremental", "with_replacement", {"weight_decay": 1e-3}),
        (4, "incremental", "layer", {"sampler": "uniform", "annealing": "none"}),
        (2, "incremental", "cycle", {"layer_order": "first_to_last", "initialisation": "model"}),
        (3, "incremental", "fresh", {"engine_memory_gib": 1e-6}),
        (2, "reference", "with_replacement", {"weight_decay": 1e-3}),
    ],
)
def test_a_group_trains_the_run_that_one_worker_trains(
    in_group: InGroup, small_data: Dataset, size: int, engine: str, drawing: Drawing,
    options: dict[str, Any],
) -> None:  # fmt: skip
    configuration = _configuration(engine=engine, batch_drawing=drawing, **options)
    alone = Training(configuration, small_data, 3)
    _trained(alone)

    def work(peers: Peers) -> Any:
        n_threads = 1 + peers.rank % 2  # nor does that change anything
        return _trained(
            _training(configuration, small_data, peers, n_threads=n_threads)
        )  # fmt: skip

    outcomes = in_group(size, work)
    _check_same_bits(outcomes)
    _check_close(*outcomes[0], alone)


class _Left(Exception):  # noqa: N818  (it names what happened)
    pass


def _interrupted(
    configuration: Configuration, data: Dataset, n_told: int, peers: Peers
) -> dict[str, Any]:
    """The state of a training that was left when it told its progress for so many times."""
    states: list[dict[str, Any]] = []

    def take(progress: Progress) -> None:
        states.append(pickle.loads(pickle.dumps(training.state_dict())))
        if len(states) == n_told:
            raise _Left

    training = _training(configuration, data, peers, on_progress=take)
    with pytest.raises((_Left, PeerLost)):
        _trained(training)
    return states[-1] if states else training.state_dict()


@pytest.mark.parametrize(("size_before", "size_after"), [(2, 2), (1, 3), (3, 1)])
def test_a_run_goes_on_from_a_state_in_the_middle_with_any_number_of_workers(
    in_group: InGroup, small_data: Dataset, size_before: int, size_after: int
) -> None:
    configuration = _configuration()
    alone = Training(configuration, small_data, 3)
    _trained(alone)
    states = in_group(
        size_before,
        lambda peers: _interrupted(configuration, small_data, 25 if peers.rank == 0 else 10**6,
                                   peers),
    )  # fmt: skip
    assert 0 < states[0]["optimizer"]["cycle"]["number"] <= 2
    assert states[0]["optimizer"]["n_done"] > 0

    def go_on(peers: Peers) -> Any:
        # only the leader's state counts
        state = states[0] if peers.rank == 0 else None
        return _trained(_training(configuration, small_data, peers, state=state))

    outcomes = in_group(size_after, go_on)
    _check_same_bits(outcomes)
    _check_close(*outcomes[0], alone)
    if size_before == size_after:  # then not even rounding tells them apart
        whole = in_group(
            size_after, lambda peers: _trained(_training(configuration, small_data, peers))
        )
        _check_same_bits([whole[0], outcomes[0]])


def test_all_begin_from_the_leader_s_state_whatever_they_were_given(
    in_group: InGroup, small_data: Dataset
) -> None:
    configuration = _configuration(cycles=1)
    whole = Training(configuration, small_data, 3)
    _trained(whole)

    def work(peers: Peers) -> Any:
        state = None if peers.rank == 0 else whole.state_dict()
        return _trained(_training(configuration, small_data, peers, state=state))

    outcomes = in_group(2, work)
    _check_same_bits(outcomes)
    _check_close(*outcomes[0], whole)


def test_a_state_that_the_leader_cannot_use_is_told_to_nobody_so_that_it_may_begin_anew(
    in_group: InGroup, small_data: Dataset
) -> None:
    configuration = _configuration(cycles=1)
    state = Training(configuration, small_data, 4).state_dict()

    def work(peers: Peers) -> Any:
        if peers.rank == 0:
            with _GATE, pytest.raises(UnusableState, match="its 'seed' is 4, not 3"):
                Training(configuration, small_data, 3, state=state, peers=peers)
        return _trained(_training(configuration, small_data, peers))

    outcomes = in_group(3, work)
    _check_same_bits(outcomes)


@pytest.mark.parametrize("engine", ["incremental", "reference"])
@pytest.mark.parametrize("leaver", [0, 1])
def test_if_one_worker_ends_the_others_lose_it_within_seconds(
    in_group: InGroup, small_data: Dataset, engine: str, leaver: int
) -> None:
    moments: dict[str, float] = {}

    def work(peers: Peers) -> None:
        def tell(progress: Progress) -> None:
            if peers.rank == leaver and progress.n_done > 20:
                moments["left"] = time.monotonic()
                raise _Left

        training = _training(
            _configuration(cycles=50, engine=engine), small_data, peers, on_progress=tell
        )
        try:
            _trained(training)
        finally:
            moments["ended"] = max(moments.get("ended", 0.0), time.monotonic())

    outcomes = in_group(3, work)
    for rank, outcome in enumerate(outcomes):
        assert isinstance(outcome, _Left if rank == leaver else PeerLost), outcome
    assert moments["ended"] - moments["left"] < 5


@pytest.mark.parametrize("engine", ["incremental", "reference"])
@pytest.mark.parametrize("interval_s", [1e-3, 10.0])
def test_a_run_that_diverges_ends_for_all_at_the_same_weight(
    in_group: InGroup, small_data: Dataset, monkeypatch: pytest.MonkeyPatch, engine: str,
    interval_s: float,
) -> None:  # fmt: skip
    monkeypatch.setattr(rso_module, "PROGRESS_INTERVAL_S", interval_s)
    inputs = small_data.train_inputs.clone()
    inputs[5] = math.nan
    broken = replace(small_data, train_inputs=inputs)

    def work(peers: Peers) -> None:
        def tell(progress: Progress) -> None:
            time.sleep(0.01 * peers.rank)  # so that each visits as many at a time as it likes

        _trained(
            _training(_configuration(engine=engine), broken, peers, on_progress=tell)
        )  # fmt: skip

    outcomes = in_group(3, work)
    assert all(isinstance(outcome, TrainingDiverged) for outcome in outcomes), outcomes
    assert len({str(outcome) for outcome in outcomes}) == 1
    assert str(outcomes[0]).startswith("the loss in cycle 1 is nan at weight ")


# ------------------------------------------------------------------------------ what is refused


def coupled(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Its logits depend on the mean of the batch, of which no batch norm knows."""
    return nn.Sequential(nn.Flatten(), _LessTheMean(), nn.Linear(36, n_classes))


class _LessTheMean(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs - inputs.mean(dim=0)


def own_norm(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """A batch norm that does something of its own."""
    return nn.Sequential(nn.Flatten(), _OwnNorm(36), nn.Linear(36, n_classes))


class _OwnNorm(nn.BatchNorm1d):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) + inputs.mean(dim=0)


def random(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Never twice the same."""
    return nn.Sequential(nn.Flatten(), _Noise(), nn.Linear(36, n_classes))


class _Noise(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs + torch.randn_like(inputs)


def layer_norm(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """One that the incremental engine does not know, and whose images are each by themselves."""
    return nn.Sequential(nn.Flatten(), nn.LayerNorm(36), nn.Dropout(0.5), nn.Linear(36, n_classes))


_REFUSED = {
    "sgd": ({"optimizer": "sgd"}, "'workers_per_run' must be 1 for sgd, "),
    "adam": ({"optimizer": "adam"}, "'workers_per_run' must be 1 for adam, "),
    "a small batch": ({"batch_size": 1}, "'batch_size' must be at least 2, "),
    "coupled images": (
        {"architecture": f"{__name__}:coupled"},
        "'workers_per_run' must be 1 for a network in which the images of a batch act on one ",
    ),
    "an own batch norm": ({"architecture": f"{__name__}:own_norm"}, "batch norm (_OwnNorm), "),
    "random numbers": ({"architecture": f"{__name__}:random"}, "which draws random numbers"),
}


@pytest.mark.parametrize(("values", "message"), _REFUSED.values(), ids=_REFUSED)
def test_what_cannot_be_shared_is_refused_by_all_with_one_line(
    in_group: InGroup, small_data: Dataset, values: dict[str, Any], message: str
) -> None:
    configuration = _configuration(**{"engine": "reference"} | values if "architecture" in values
                                   else values)  # fmt: skip

    def work(peers: Peers) -> None:
        _training(configuration, small_data, peers)

    for outcome in in_group(2, work):
        assert isinstance(outcome, InvalidInput)
        assert message in str(outcome)
        assert len(outcome.problems) == 1


def test_a_network_that_the_incremental_engine_does_not_know_is_trained_by_the_other(
    in_group: InGroup, small_data: Dataset
) -> None:
    configuration = _configuration(architecture=f"{__name__}:layer_norm", cycles=1)
    alone = Training(configuration, small_data, 3)
    _trained(alone)
    outcomes = in_group(2, lambda peers: _trained(_training(configuration, small_data, peers)))
    _check_same_bits(outcomes)
    _check_close(*outcomes[0], alone)


def test_fewer_validation_images_than_workers_are_evaluated_all_the_same(
    in_group: InGroup, small_data: Dataset
) -> None:
    data = replace(
        small_data, validation_inputs=small_data.validation_inputs[:2],
        validation_targets=small_data.validation_targets[:2],
    )  # fmt: skip
    alone = Training(_configuration(cycles=1), data, 3)
    _trained(alone)
    outcomes = in_group(3, lambda peers: _trained(_training(_configuration(cycles=1), data, peers)))
    _check_same_bits(outcomes)
    _check_close(*outcomes[0], alone)


# ----------------------------------------------------------------------------- real processes


def _train_in_a_process(pipe: Connection, rank: int, data: Dataset, cycles: int) -> None:
    listener = Listener()
    pipe.send(listener.address)
    addresses = pipe.recv()
    peers = listener.connect(rank, addresses, b"key")

    def tell(progress: Progress) -> None:
        if cycles > 3 and progress.n_done > 50 and rank == 1:
            os.kill(os.getpid(), 9)

    training = Training(_configuration(cycles), data, 3, on_progress=tell, peers=peers)
    try:
        _trained(training)
        pipe.send(({name: t.numpy() for name, t in training.weights().items()}, time.monotonic()))
    except PeerLost as error:
        pipe.send((error, time.monotonic()))


def _in_processes(size: int, data: Dataset, cycles: int) -> list[Any]:
    """What comes of a run in so many processes: weights or the error; None of one that died."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for rank in range(size):
        own, other = context.Pipe()
        process = context.Process(target=_train_in_a_process, args=(other, rank, data, cycles))
        process.start()
        other.close()
        pipes.append(own)
        processes.append(process)
    addresses = [pipe.recv() for pipe in pipes]
    outcomes: list[Any] = []
    for pipe in pipes:
        pipe.send(addresses)
    for pipe, process in zip(pipes, processes, strict=True):
        try:
            outcomes.append(pipe.recv())
        except EOFError:
            outcomes.append(None)
        process.join()
        pipe.close()
    return outcomes


@pytest.mark.long
def test_processes_train_a_run_as_threads_do(in_group: InGroup, small_data: Dataset) -> None:
    (weights, _), (others, _) = _in_processes(2, small_data, cycles=2)
    expected, _ = in_group(
        2, lambda peers: _trained(_training(_configuration(), small_data, peers))
    )
    for name, tensor in expected[1].items():
        assert np.array_equal(weights[name], others[name])
        assert np.array_equal(weights[name], tensor.numpy())


@pytest.mark.long
def test_if_a_process_is_killed_the_others_lose_it_within_seconds(small_data: Dataset) -> None:
    started = time.monotonic()
    first, killed, third = _in_processes(3, small_data, cycles=10_000)
    assert killed is None
    for error, moment in (first, third):
        assert isinstance(error, PeerLost)
        assert moment - started < 60
    assert abs(first[1] - third[1]) < 5
