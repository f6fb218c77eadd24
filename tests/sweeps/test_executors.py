"""One contract for all executors: in this process, and in real Ray actors."""

from __future__ import annotations

import itertools
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from rso_core.configuration import Configuration, Scalar
from rso_core.datasets import Dataset
from rso_core.records import CycleRecord
from rso_core.training import train
from sweeps.executors import Executor, InlineExecutor
from sweeps.ray_executor import RayExecutor
from sweeps.resources import Resources
from sweeps.runs import (
    LAST_EVENTS,
    CycleEnded,
    Run,
    RunBegan,
    RunEnded,
    RunEvent,
    RunInterrupted,
    RunProgressed,
    RunSuspended,
)
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.storage.places import open_place

Until = Callable[[Executor, Callable[[list[RunEvent]], bool]], list[RunEvent]]

_NETWORKS = """
import os, signal
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)
    def forward(self, x):
        if len(x) == 25:  # the batch of training: the check before it has two images
            self.misbehave()
        return self.linear(x.flatten(1))

class Raising(Network):
    def misbehave(self):
        raise RuntimeError("a user's network\\nwent wrong")

class Deadly(Network):
    def misbehave(self):
        os.kill(os.getpid(), signal.SIGKILL)

class Hanging(Network):
    def misbehave(self):
        import time
        time.sleep(3600)

class Leaving(Network):
    def misbehave(self):
        raise SystemExit("gone")

def raising():
    return Raising()

def leaving():
    return Leaving()

def deadly():
    return Deadly()

def hanging():
    return Hanging()
"""


@pytest.fixture(scope="module")
def own_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A module `own_networks` that this process and Ray's workers can import."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "own_networks.py").write_text(textwrap.dedent(_NETWORKS))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


@pytest.fixture
def inline_checkpoints(tmp_path: Path) -> CheckpointFolder:
    return _checkpoint_folder(tmp_path)


@pytest.fixture(scope="module")
def ray_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> CheckpointFolder:
    return _checkpoint_folder(tmp_path_factory.mktemp("ray"))


def _checkpoint_folder(folder: Path) -> CheckpointFolder:
    (folder / "checkpoints").mkdir()
    (folder / "sweep.yaml").write_text("name: x\n")
    return CheckpointFolder(open_place(str(folder)), every_s=0.1)


@pytest.fixture(scope="module")
def ray_executor(
    own_networks: None, tiny_data: Dataset, ray_checkpoints: CheckpointFolder
) -> Iterator[RayExecutor]:
    """One for all tests, since its actors take seconds to start; no test leaves a run behind."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        with closing(
            RayExecutor(
                tiny_data, Resources(), address=cluster.address, checkpoints=ray_checkpoints
            )
        ) as made:
            yield made
    finally:
        cluster.shutdown()


@pytest.fixture
def inline_executor(
    own_networks: None, tiny_data: Dataset, inline_checkpoints: CheckpointFolder
) -> Iterator[InlineExecutor]:
    with closing(InlineExecutor(tiny_data, n_threads=1, checkpoints=inline_checkpoints)) as made:
        yield made


@pytest.fixture(params=["inline_executor", "ray_executor"])
def executor(request: pytest.FixtureRequest) -> Executor:
    made: Executor = request.getfixturevalue(request.param)
    return made


_NUMBERS = itertools.count()


def _run(
    architecture: str = "mlp()", optimizer: str = "rso", cycles: int = 2, **options: Scalar
) -> Run:
    """A run that no executor has seen."""
    values = {"architecture": architecture, "batch_size": 25, "optimizer": optimizer, **options}
    return Run(next(_NUMBERS), 0, Configuration.from_values(values, cycles))


def _ended(events: list[RunEvent]) -> list[RunEnded]:
    return [event for event in events if isinstance(event, RunEnded)]


def _records(events: list[RunEvent], run: str) -> list[CycleRecord]:
    records = [e.record for e in events if isinstance(e, CycleEnded) and e.run == run]
    return [replace(record, training_s=0.0, evaluation_s=0.0) for record in records]


@pytest.mark.parametrize("optimizer", ["rso", "sgd", "adam"])
def test_a_run_gives_the_records_of_the_same_training_in_process(
    executor: Executor, tiny_data: Dataset, optimizer: str, until: Until
) -> None:
    run = _run(optimizer=optimizer)
    executor.start(run)
    events = until(executor, _ended)
    expected = [
        replace(record, training_s=0.0, evaluation_s=0.0)
        for record in train(run.configuration, tiny_data, run.seed)
    ]
    assert _records(events, run.name) == expected
    assert _ended(events)[0].state == "finished"
    assert isinstance(events[-1], RunEnded)


def test_slots_are_taken_and_given_back(executor: Executor, until: Until) -> None:
    n_slots = executor.n_slots
    assert executor.n_free == n_slots >= 1
    for _ in range(n_slots):
        executor.start(_run())
    assert executor.n_free == 0
    until(executor, lambda events: len(_ended(events)) == n_slots)
    assert executor.n_free == n_slots


def test_a_run_that_is_stopped_ends_as_pruned_within_its_cycle(
    executor: Executor, until: Until
) -> None:
    run = _run(cycles=1000)
    executor.start(run)
    until(executor, lambda events: any(isinstance(e, RunProgressed) for e in events))
    executor.stop(run.name)
    stopped_at = time.monotonic()
    (end,) = _ended(until(executor, _ended))
    assert end.state == "pruned"
    assert time.monotonic() - stopped_at < 10


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("own_networks:raising", "RuntimeError: a user's network went wrong"),
        ("own_networks:leaving", "SystemExit: gone"),
        ("own_networks:missing", "InvalidInput: 'architecture' must name a function of module"),
    ],
)
def test_a_network_that_misbehaves_fails_its_own_run_alone_in_one_line(
    executor: Executor, network: str, reason: str, until: Until
) -> None:
    run = _run(optimizer="sgd")
    run = replace(run, configuration=replace(run.configuration, architecture=network))
    executor.start(run)
    (end,) = _ended(until(executor, _ended))
    assert end.state == "failed"
    assert end.reason is not None
    assert end.reason.startswith(reason)
    assert "\n" not in end.reason
    executor.start(_run())
    (end,) = _ended(until(executor, _ended))
    assert end.state == "finished"


def test_a_network_that_hangs_is_abandoned_and_its_slot_is_free(
    executor: Executor, until: Until
) -> None:
    hanging = _run("own_networks:hanging", "sgd")
    executor.start(hanging)
    until(executor, lambda events: any(isinstance(e, RunBegan) for e in events))
    n_free = executor.n_free
    executor.abandon(hanging.name)
    assert executor.n_free == n_free + 1
    following = _run()
    executor.start(following)
    events = until(executor, _ended)
    assert {event.run for event in events} == {following.name}


@pytest.mark.parametrize("kind", ["inline", "ray"])
def test_runs_that_are_suspended_leave_checkpoints_and_are_gone_on_with(
    kind: str, tiny_data: Dataset, request: pytest.FixtureRequest, until: Until
) -> None:
    executor: Executor = request.getfixturevalue(f"{kind}_executor")
    checkpoints: CheckpointFolder = request.getfixturevalue(f"{kind}_checkpoints")
    run = _run(cycles=2, engine="reference")
    executor.start(run)
    until(executor, lambda events: sum(isinstance(e, RunProgressed) for e in events) > 2)
    executor.suspend()
    events = until(executor, lambda events: any(isinstance(e, LAST_EVENTS) for e in events))
    assert events[-1] == RunSuspended(run.name)
    resumed = InlineExecutor(tiny_data, n_threads=1, checkpoints=checkpoints)
    resumed.start(run)
    events = until(resumed, _ended)
    began = events[0]
    assert isinstance(began, RunBegan)
    assert began.resumed_from > (0, 0)
    expected = [
        replace(record, training_s=0.0, evaluation_s=0.0)
        for record in train(run.configuration, tiny_data, run.seed)
    ]
    assert _records(events, run.name) == expected


def test_nothing_is_going_on_when_nothing_was_started(executor: Executor) -> None:
    assert executor.poll(0.01) == []


def test_an_actor_that_dies_interrupts_its_run_and_another_takes_its_place(
    ray_executor: RayExecutor, until: Until
) -> None:
    n_slots = ray_executor.n_slots
    run = _run("own_networks:deadly", "sgd")
    ray_executor.start(run)
    *_, end = until(ray_executor, lambda events: any(isinstance(e, LAST_EVENTS) for e in events))
    assert end == RunInterrupted(run.name, "its actor was killed")
    assert ray_executor.n_free == n_slots
    ray_executor.start(_run())
    (end,) = _ended(until(ray_executor, _ended))
    assert end.state == "finished"


def test_stopping_a_run_that_has_ended_does_nothing(executor: Executor, until: Until) -> None:
    run = _run()
    executor.start(run)
    until(executor, _ended)
    executor.stop(run.name)
    assert executor.poll(0.1) == []
