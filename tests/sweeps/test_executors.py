"""One contract for all executors: in this process, and in real Ray actors."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from rso_core.configuration import Configuration, Scalar
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from rso_core.records import CycleRecord
from rso_core.training import train
from sweeps.executors import Executor, InlineExecutor
from sweeps.ray_executor import RayExecutor
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
from sweeps.storage.checkpoints import CheckpointFolder, position
from sweeps.storage.places import open_place

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


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Cluster]:
    """A real Ray cluster with two CPUs, which the executors of a test join."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(ray_cluster: Cluster) -> str:
    """Its address."""
    address: str = ray_cluster.address
    return address


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointFolder:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "sweep.yaml").write_text("name: x\n")
    return CheckpointFolder(open_place(str(tmp_path)), every_s=0.1)


@pytest.fixture
def ray_executor(
    own_networks: None, tiny_data: Dataset, cluster: str, checkpoints: CheckpointFolder
) -> Iterator[RayExecutor]:
    with closing(
        RayExecutor(tiny_data, cpus_per_run=1, address=cluster, checkpoints=checkpoints)
    ) as made:
        yield made


@pytest.fixture
def inline_executor(
    own_networks: None, tiny_data: Dataset, checkpoints: CheckpointFolder
) -> Iterator[InlineExecutor]:
    with closing(InlineExecutor(tiny_data, n_threads=1, checkpoints=checkpoints)) as made:
        yield made


@pytest.fixture(params=["inline_executor", "ray_executor"])
def executor(request: pytest.FixtureRequest) -> Executor:
    made: Executor = request.getfixturevalue(request.param)
    return made


def _run(
    trial: int,
    architecture: str = "mlp()",
    optimizer: str = "sgd",
    cycles: int = 2,
    **options: Scalar,
) -> Run:
    values = {"architecture": architecture, "batch_size": 25, "optimizer": optimizer, **options}
    return Run(trial, 0, Configuration.from_values(values, cycles))


def _until(
    executor: Executor, done: Callable[[list[RunEvent]], bool], limit_s: float = 60.0
) -> list[RunEvent]:
    events: list[RunEvent] = []
    deadline = time.monotonic() + limit_s
    while not done(events):
        assert time.monotonic() < deadline, events
        events += executor.poll(0.2)
    return events


def _ended(events: list[RunEvent]) -> list[RunEnded]:
    return [event for event in events if isinstance(event, RunEnded)]


def _records(events: list[RunEvent], run: str) -> list[CycleRecord]:
    records = [e.record for e in events if isinstance(e, CycleEnded) and e.run == run]
    return [replace(record, training_s=0.0, evaluation_s=0.0) for record in records]


@pytest.mark.parametrize("optimizer", ["rso", "sgd", "adam"])
def test_a_run_gives_the_records_of_the_same_training_in_process(
    executor: Executor, tiny_data: Dataset, optimizer: str
) -> None:
    run = _run(0, optimizer=optimizer)
    executor.start(run)
    events = _until(executor, _ended)
    expected = [
        replace(record, training_s=0.0, evaluation_s=0.0)
        for record in train(run.configuration, tiny_data, run.seed)
    ]
    assert _records(events, run.name) == expected
    assert _ended(events)[0].state == "finished"
    assert isinstance(events[-1], RunEnded)


def test_slots_are_taken_and_given_back(executor: Executor) -> None:
    n_slots = executor.n_slots
    assert executor.n_free == n_slots >= 1
    for trial in range(n_slots):
        executor.start(_run(trial))
    assert executor.n_free == 0
    _until(executor, lambda events: len(_ended(events)) == n_slots)
    assert executor.n_free == n_slots


def test_a_run_that_is_stopped_ends_as_pruned_within_its_cycle(executor: Executor) -> None:
    run = _run(0, optimizer="rso", cycles=1000)
    executor.start(run)
    _until(executor, lambda events: any(isinstance(e, RunProgressed) for e in events))
    executor.stop(run.name)
    stopped_at = time.monotonic()
    (end,) = _ended(_until(executor, _ended))
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
    executor: Executor, network: str, reason: str
) -> None:
    run = replace(_run(0), configuration=replace(_run(0).configuration, architecture=network))
    executor.start(run)
    (end,) = _ended(_until(executor, _ended))
    assert end.state == "failed"
    assert end.reason is not None
    assert end.reason.startswith(reason)
    assert "\n" not in end.reason
    executor.start(_run(1))
    (end,) = _ended(_until(executor, _ended))
    assert end.state == "finished"


def test_a_network_that_hangs_is_abandoned_and_its_slot_is_free(executor: Executor) -> None:
    hanging = _run(0, "own_networks:hanging")
    executor.start(hanging)
    _until(executor, lambda events: any(isinstance(e, RunBegan) for e in events))
    n_free = executor.n_free
    executor.abandon(hanging.name)
    assert executor.n_free == n_free + 1
    executor.start(_run(1))
    events = _until(executor, _ended)
    assert {event.run for event in events} == {"trial-1-seed-0"}


def test_runs_that_are_suspended_leave_checkpoints_and_are_gone_on_with(
    executor: Executor, tiny_data: Dataset, checkpoints: CheckpointFolder
) -> None:
    run = _run(0, optimizer="rso", cycles=3, engine="reference")
    executor.start(run)
    _until(executor, lambda events: sum(isinstance(e, RunProgressed) for e in events) > 2)
    executor.suspend()
    events = _until(executor, lambda events: any(isinstance(e, LAST_EVENTS) for e in events))
    assert events[-1] == RunSuspended(run.name)
    resumed = InlineExecutor(tiny_data, n_threads=1, checkpoints=checkpoints)
    resumed.start(run)
    events = _until(resumed, _ended)
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
    ray_executor: RayExecutor,
) -> None:
    n_slots = ray_executor.n_slots
    ray_executor.start(_run(0, "own_networks:deadly"))
    *_, end = _until(ray_executor, lambda events: any(isinstance(e, LAST_EVENTS) for e in events))
    assert end == RunInterrupted("trial-0-seed-0", "its actor was killed")
    assert ray_executor.n_free == n_slots
    ray_executor.start(_run(1))
    (end,) = _ended(_until(ray_executor, _ended))
    assert end.state == "finished"


def test_an_actor_that_dies_while_it_is_idle_costs_no_attempt(
    ray_executor: RayExecutor, ray_cluster: Cluster
) -> None:
    ray_executor.start(_run(0))
    _until(ray_executor, _ended)
    (raylet,) = ray_cluster.head_node.all_processes["raylet"]
    actors = [
        process
        for process in psutil.Process(raylet.process.pid).children()
        if "_WorkerActor" in " ".join(process.cmdline())
    ]
    assert len(actors) == 1
    for process in actors:
        process.kill()
        process.wait(10)
    ray_executor.start(_run(1))
    events = _until(ray_executor, lambda events: any(isinstance(e, LAST_EVENTS) for e in events))
    assert isinstance(events[-1], RunEnded)
    assert events[-1].state == "finished"


def test_machines_join_and_leave_and_ray_prints_nothing_of_it(
    tiny_data: Dataset, checkpoints: CheckpointFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    leaving = cluster.add_node(num_cpus=1)
    try:
        with closing(
            RayExecutor(tiny_data, cpus_per_run=1, address=cluster.address, checkpoints=checkpoints)
        ) as executor:
            assert executor.n_slots == 2
            # one on each machine, and long
            runs = [_run(trial, optimizer="rso", cycles=10_000) for trial in range(2)]
            for run in runs:
                executor.start(run)
            _until(
                executor,
                lambda _: all(position(checkpoints.read(run.name)) > (0, 0) for run in runs),
            )
            cluster.remove_node(leaving, allow_graceful=False)
            *_, lost = _until(
                executor, lambda events: any(isinstance(e, LAST_EVENTS) for e in events)
            )
            assert isinstance(lost, RunInterrupted)
            assert lost.reason in ("its machine is gone", "its actor cannot be reached")
            _wait_for(lambda: executor.n_slots == 1)
            assert executor.n_free == 0
            cluster.add_node(num_cpus=1)
            _wait_for(lambda: executor.n_free == 1)
            executor.start(next(run for run in runs if run.name == lost.run))
            events = _until(
                executor,
                lambda events: any(
                    isinstance(e, RunBegan | RunProgressed) and e.run == lost.run for e in events
                ),
            )
            (began,) = [e for e in events if isinstance(e, RunBegan)]
            assert began.resumed_from > (0, 0)
            assert "raylet" not in capfd.readouterr().out
    finally:
        cluster.shutdown()


def _wait_for(done: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_actors_are_kept_warm_from_run_to_run(ray_executor: RayExecutor) -> None:
    def seconds(trial: int) -> float:
        started = time.monotonic()
        ray_executor.start(_run(trial))
        _until(ray_executor, _ended)
        return time.monotonic() - started

    first, second = seconds(0), seconds(1)
    assert second < first / 2


def test_more_cpus_than_the_cluster_has_are_refused(tiny_data: Dataset, cluster: str) -> None:
    with pytest.raises(InvalidInput, match=r"'resources.cpus_per_run' must be at most 2, .* 1000"):
        RayExecutor(tiny_data, cpus_per_run=1000, address=cluster)


def test_a_gpu_that_is_not_there_is_refused(tiny_data: Dataset, cluster: str) -> None:
    with pytest.raises(InvalidInput, match=r"'resources.gpus_per_run' must be at most"):
        RayExecutor(tiny_data, cpus_per_run=1, gpus_per_run=64, address=cluster)


def test_concurrency_limits_the_slots(tiny_data: Dataset, cluster: str) -> None:
    with closing(
        RayExecutor(tiny_data, cpus_per_run=1, concurrency=1, address=cluster)
    ) as executor:
        assert executor.n_slots == 1


def test_without_an_address_ray_is_started_on_this_machine(tiny_data: Dataset) -> None:
    with closing(RayExecutor(tiny_data, cpus_per_run=1)) as executor:
        assert executor.n_slots == os.cpu_count()
        executor.start(_run(0))
        (end,) = _ended(_until(executor, _ended))
    assert end.state == "finished"
    assert not ray.is_initialized()


def test_a_cluster_that_cannot_be_reached_is_refused_at_once(tiny_data: Dataset) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidInput, match="'--address' must be a running Ray cluster"):
        RayExecutor(tiny_data, cpus_per_run=1, address="127.0.0.1:1")
    assert time.monotonic() - started < 10


def test_stopping_a_run_that_has_ended_does_nothing(executor: Executor) -> None:
    run = _run(0)
    executor.start(run)
    _until(executor, _ended)
    executor.stop(run.name)
    assert executor.poll(0.1) == []
