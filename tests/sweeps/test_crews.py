"""Runs that several Ray actors train together, with batches that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from rso_core.configuration import Configuration, Scalar
from rso_core.datasets import Dataset
from rso_core.records import CycleRecord
from rso_core.training import train
from sweeps.executors import InlineExecutor
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

pytestmark = pytest.mark.long

Until = Callable[[RayExecutor, Callable[[list[RunEvent]], bool]], list[RunEvent]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CheckpointFolder:
    path: Path = tmp_path_factory.mktemp("crews")
    (path / "checkpoints").mkdir()
    (path / "sweep.yaml").write_text("name: x\n")
    return CheckpointFolder(open_place(str(path)), every_s=0.1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two machines with a CPU each, so that the workers of a run lie on both."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def executor(
    cluster: Cluster, tiny_data: Dataset, folder: CheckpointFolder
) -> Iterator[RayExecutor]:
    resources = Resources(workers_per_run=2)
    with closing(
        RayExecutor(tiny_data, resources, address=cluster.address, checkpoints=folder)
    ) as made:
        yield made


def _run(trial: int, cycles: int = 2, optimizer: str = "rso", **options: Scalar) -> Run:
    values = {"architecture": "mlp(4)", "batch_size": 25, "optimizer": optimizer, **options}
    return Run(trial, 0, Configuration.from_values(values, cycles))


def _is_over(events: list[RunEvent]) -> bool:
    return any(isinstance(event, LAST_EVENTS) for event in events)


def _records(events: list[RunEvent]) -> list[CycleRecord]:
    return [event.record for event in events if isinstance(event, CycleEnded)]


def _without_times(record: CycleRecord) -> CycleRecord:
    return replace(record, training_s=0.0, evaluation_s=0.0)


def _assert_alike(records: list[CycleRecord], run: Run, data: Dataset) -> None:
    alone = list(train(run.configuration, data, run.seed))
    assert len(records) == len(alone)
    for record, expected in zip(records, alone, strict=True):
        # where two candidates are as good as each other, the last bit of a sum decides
        assert record.training_loss == pytest.approx(expected.training_loss, rel=1e-3)
        assert record.test_loss == pytest.approx(expected.test_loss, rel=1e-2)


def test_a_run_of_two_workers_gives_what_one_worker_gives(
    executor: RayExecutor, tiny_data: Dataset, until: Until
) -> None:
    assert executor.n_slots == executor.n_free == 1
    for trial in range(2):  # the second finds the actors warm
        run = _run(trial)
        assert executor.startable([run, _run(9)]) == [run]
        executor.start(run)
        assert executor.n_free == 0
        events = until(executor, _is_over)
        assert isinstance(events[-1], RunEnded)
        assert events[-1].state == "finished"
        _assert_alike(_records(events), run, tiny_data)


def test_an_optimizer_that_shares_no_batches_has_one_worker(
    executor: RayExecutor, tiny_data: Dataset, until: Until
) -> None:
    runs = [_run(trial, optimizer="sgd") for trial in (10, 11)]
    assert executor.startable(runs) == runs  # one on each machine
    executor.start(runs[0])
    assert executor.startable([_run(12)]) == []
    assert executor.n_free == 1  # for another one of its kind
    assert executor.startable(runs[1:]) == runs[1:]
    executor.start(runs[1])
    assert executor.n_free == 0
    events = until(executor, lambda seen: sum(isinstance(e, RunEnded) for e in seen) == 2)
    assert {event.state for event in events if isinstance(event, RunEnded)} == {"finished"}


def test_a_worker_that_dies_interrupts_the_run_which_goes_on_from_its_checkpoint(
    executor: RayExecutor, cluster: Cluster, until: Until
) -> None:
    undisturbed, run = (_run(trial, cycles=4, engine="reference") for trial in (20, 21))
    executor.start(undisturbed)
    expected = _records(until(executor, _is_over))
    executor.start(run)
    until(executor, lambda events: sum(isinstance(e, RunProgressed) for e in events) > 3)
    follower = next(
        process
        for node in cluster.list_all_nodes()
        for raylet in node.all_processes["raylet"]
        for process in psutil.Process(raylet.process.pid).children()
        if "WorkerActor.follow" in " ".join(process.cmdline())
    )
    follower.kill()
    *_, last = until(executor, _is_over)
    assert isinstance(last, RunInterrupted)
    assert executor.startable([run, _run(22)]) == [run]
    executor.start(run)
    events = until(executor, _is_over)
    began = next(event for event in events if isinstance(event, RunBegan))
    assert began.resumed_from > (0, 0)
    assert [_without_times(record) for record in _records(events)] == [
        _without_times(record) for record in expected
    ]


def test_a_run_of_two_workers_is_suspended_and_gone_on_with_by_one(
    executor: RayExecutor, tiny_data: Dataset, folder: CheckpointFolder, until: Until
) -> None:
    run = _run(30, cycles=3, engine="reference")
    executor.start(run)
    until(executor, lambda events: sum(isinstance(e, RunProgressed) for e in events) > 3)
    executor.suspend()
    *_, last = until(executor, _is_over)
    assert last == RunSuspended(run.name)
    with closing(InlineExecutor(tiny_data, n_threads=1, checkpoints=folder)) as alone:
        alone.start(run)
        events = until(alone, _is_over)  # type: ignore[arg-type]
    _assert_alike(_records(events), run, tiny_data)
