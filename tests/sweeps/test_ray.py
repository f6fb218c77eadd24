"""Ray itself: machines that join and leave, actors that die or stay warm, resources that lack."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from sweeps.ray_executor import RayExecutor
from sweeps.resources import Needs, Resources
from sweeps.runs import (
    LAST_EVENTS,
    Run,
    RunBegan,
    RunEnded,
    RunEvent,
    RunInterrupted,
    RunProgressed,
)
from sweeps.storage.checkpoints import CheckpointFolder, position
from sweeps.storage.places import open_place

Until = Callable[[RayExecutor, Callable[[list[RunEvent]], bool]], list[RunEvent]]


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


def _run(trial: int, cycles: int = 2) -> Run:
    values = {"architecture": "mlp()", "batch_size": 25, "optimizer": "rso"}
    return Run(trial, 0, Configuration.from_values(values, cycles))


def _is_over(events: list[RunEvent]) -> bool:
    return any(isinstance(event, LAST_EVENTS) for event in events)


def test_actors_are_kept_warm_and_one_that_dies_while_it_is_idle_costs_no_attempt(
    tiny_data: Dataset, ray_cluster: Cluster, until: Until
) -> None:
    with closing(RayExecutor(tiny_data, Resources(), address=ray_cluster.address)) as executor:

        def seconds(trial: int) -> float:
            started = time.monotonic()
            executor.start(_run(trial))
            *_, last = until(executor, _is_over)
            assert isinstance(last, RunEnded)
            assert last.state == "finished"
            return time.monotonic() - started

        first, second = seconds(0), seconds(1)
        assert second < first / 2
        (raylet,) = ray_cluster.head_node.all_processes["raylet"]
        (actor,) = [
            process
            for process in psutil.Process(raylet.process.pid).children()
            if "WorkerActor" in " ".join(process.cmdline())
        ]
        actor.kill()
        actor.wait(10)
        seconds(2)


@pytest.mark.long
def test_machines_join_and_leave_and_ray_prints_nothing_of_it(
    tiny_data: Dataset,
    checkpoints: CheckpointFolder,
    capfd: pytest.CaptureFixture[str],
    until: Until,
) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    leaving = cluster.add_node(num_cpus=1)
    try:
        with closing(
            RayExecutor(tiny_data, Resources(), address=cluster.address, checkpoints=checkpoints)
        ) as executor:
            assert executor.n_slots == 2
            # one on each machine, and long
            runs = [_run(trial, cycles=10_000) for trial in range(2)]
            for run in runs:
                executor.start(run)
            until(
                executor,
                lambda _: all(position(checkpoints.read(run.name)) > (0, 0) for run in runs),
            )
            cluster.remove_node(leaving, allow_graceful=False)
            *_, lost = until(executor, _is_over)
            assert isinstance(lost, RunInterrupted)
            assert lost.reason in ("its machine is gone", "its actor cannot be reached")
            _wait_for(lambda: executor.n_slots == 1)
            assert executor.n_free == 0
            cluster.add_node(num_cpus=1)
            _wait_for(lambda: executor.n_free == 1)
            executor.start(next(run for run in runs if run.name == lost.run))
            events = until(
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


def test_more_cpus_than_the_cluster_has_are_refused(tiny_data: Dataset, cluster: str) -> None:
    with pytest.raises(InvalidInput, match=r"'resources.cpus_per_run' must be at most 2, .* 1000"):
        RayExecutor(tiny_data, Resources(cpus_per_run=1000), address=cluster)


def test_the_needs_that_occur_decide_what_is_refused(tiny_data: Dataset, cluster: str) -> None:
    resources = Resources(cpus_per_run=1000)
    with closing(RayExecutor(tiny_data, resources, kinds=[Needs()], address=cluster)) as executor:
        assert executor.n_slots >= 1
    with pytest.raises(InvalidInput, match=r"'resources.cpus_per_run' must be at most 2, .* 1000"):
        RayExecutor(tiny_data, Resources(), kinds=[Needs(), Needs(1000)], address=cluster)


def test_a_run_with_needs_of_its_own_has_room_where_the_known_kinds_have_none(
    tiny_data: Dataset, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.ray_executor.can_grow", lambda: True)  # so nothing is refused
    kinds = [Needs(1000)]
    with closing(RayExecutor(tiny_data, Resources(), kinds=kinds, address=cluster)) as executor:
        assert executor.n_free == 0
        executor.expect([_run(0)], 0)
        assert executor.startable([_run(0)]) == [_run(0)]


def test_a_gpu_that_is_not_there_is_refused(tiny_data: Dataset, cluster: str) -> None:
    with pytest.raises(InvalidInput, match=r"'resources.gpus_per_run' must be at most"):
        RayExecutor(tiny_data, Resources(gpus_per_run=64), address=cluster)


def test_concurrency_limits_the_slots(tiny_data: Dataset, cluster: str) -> None:
    with closing(RayExecutor(tiny_data, Resources(concurrency=1), address=cluster)) as executor:
        assert executor.n_slots == 1


@pytest.mark.long
def test_without_an_address_ray_is_started_on_this_machine(
    tiny_data: Dataset, until: Until
) -> None:
    with closing(RayExecutor(tiny_data, Resources())) as executor:
        assert executor.n_slots == os.cpu_count()
        executor.start(_run(0))
        *_, end = until(executor, _is_over)
    assert isinstance(end, RunEnded)
    assert end.state == "finished"
    assert not ray.is_initialized()


def test_a_cluster_that_cannot_be_reached_is_refused_at_once(tiny_data: Dataset) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidInput, match="'--address' must be a running Ray cluster"):
        RayExecutor(tiny_data, Resources(), address="127.0.0.1:1")
    assert time.monotonic() - started < 10
