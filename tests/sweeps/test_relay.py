"""Workers that do not see the run folder: what they keep travels to the driver's machine."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from sweeps.ray_connection import connect
from sweeps.ray_executor import RayExecutor
from sweeps.ray_relay import Relay, RelayedPlace, is_same_folder
from sweeps.resources import Resources
from sweeps.runs import LAST_EVENTS, Run, RunBegan, RunEnded, RunEvent, RunInterrupted, RunNoticed
from sweeps.storage.checkpoints import CheckpointFolder, position
from sweeps.storage.holder import Holder, HolderRecord, write_holder
from sweeps.storage.local_place import LocalPlace
from sweeps.storage.places import StorageFailed

pytestmark = pytest.mark.long

Until = Callable[[RayExecutor, Callable[[list[RunEvent]], bool]], list[RunEvent]]

# a machine of its own has a disk of its own; here all machines have one, so that a variable of the
# environment says who does not see what is on it
_PLACE = """
import os
from dataclasses import dataclass
from sweeps.storage.local_place import LocalPlace

@dataclass(frozen=True)
class OwnDisk(LocalPlace):
    def exists(self, name):
        return "ANOTHER_MACHINE" not in os.environ and super().exists(name)

    def read(self, name):
        if "ANOTHER_MACHINE" in os.environ:
            raise FileNotFoundError(name)
        return super().read(name)

    def write(self, name, content):
        if "ANOTHER_MACHINE" in os.environ:
            raise AssertionError("written to a folder that nobody looks into")
        super().write(name, content)
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the place's module."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "own_disk.py").write_text(textwrap.dedent(_PLACE))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def cluster(module: Path) -> Iterator[Cluster]:
    """A machine without CPUs, on which the driver is, and one that sees no run folder."""
    seen = {"PYTHONPATH": os.pathsep.join([str(module), os.environ.get("PYTHONPATH", "")])}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "env_vars": seen})
    made.add_node(num_cpus=1, env_vars={"ANOTHER_MACHINE": "1", **seen})
    yield made
    made.shutdown()


@pytest.fixture
def place(tmp_path: Path, module: Path) -> LocalPlace:
    """A run folder that is driven from here."""
    from own_disk import OwnDisk  # type: ignore[import-not-found]

    made: LocalPlace = OwnDisk(str(tmp_path / "run"))
    made.make("checkpoints")
    made.write("sweep.yaml", b"name: x\n")
    write_holder(made, HolderRecord(Holder("here", 1, "2026-01-01T00:00:00+00:00")))
    return made


def _run(cycles: int) -> Run:
    values = {"architecture": "mlp()", "batch_size": 25, "optimizer": "rso", "engine": "reference"}
    return Run(0, 0, Configuration.from_values(values, cycles))


def _is_over(events: list[RunEvent]) -> bool:
    return any(isinstance(event, LAST_EVENTS) for event in events)


def test_a_run_on_a_machine_without_the_folder_leaves_checkpoints_with_the_driver(
    cluster: Cluster, tiny_data: Dataset, place: LocalPlace, until: Until
) -> None:
    checkpoints = CheckpointFolder(place, every_s=0.1, keep_final_weights=True)
    with closing(
        RayExecutor(tiny_data, Resources(), address=cluster.address, checkpoints=checkpoints)
    ) as executor:
        run = _run(cycles=3)
        executor.start(run)
        seen = until(executor, lambda _: position(checkpoints.read(run.name)) > (0, 0))
        executor.suspend()
        seen += until(executor, _is_over)
        left_at = position(checkpoints.read(run.name))
    with closing(
        RayExecutor(tiny_data, Resources(), address=cluster.address, checkpoints=checkpoints)
    ) as executor:
        executor.start(run)
        events = until(executor, _is_over)
    began = next(event for event in events if isinstance(event, RunBegan))
    assert began.resumed_from == left_at > (0, 0)
    assert isinstance(events[-1], RunEnded)
    assert events[-1].state == "finished"
    assert not any(isinstance(event, RunNoticed) for event in [*seen, *events])
    assert place.names("weights") == [f"{run.name}.pt"]


def test_what_the_folder_cannot_keep_costs_a_notice_and_no_run(
    cluster: Cluster, tiny_data: Dataset, place: LocalPlace, until: Until
) -> None:
    (place.path / "checkpoints").rmdir()
    checkpoints = CheckpointFolder(place, every_s=0.1)
    with closing(
        RayExecutor(tiny_data, Resources(), address=cluster.address, checkpoints=checkpoints)
    ) as executor:
        executor.start(_run(cycles=2))
        events = until(executor, _is_over)
    (notice,) = [event.notice for event in events if isinstance(event, RunNoticed)]
    assert notice.startswith("its checkpoint cannot be written: ")
    assert isinstance(events[-1], RunEnded)
    assert not isinstance(events[-1], RunInterrupted)


def test_a_relayed_place_is_the_place_itself(cluster: Cluster, tmp_path: Path) -> None:
    here = LocalPlace(str(tmp_path / "run"))
    connect(cluster.address)
    try:
        relay = Relay(here)
        there = relay.place
        assert there.is_empty()
        there.make("records", "checkpoints")
        there.write("records/a", b"\x00\xff")
        assert here.read("records/a") == there.read("records/a") == b"\x00\xff"
        assert there.names("records") == here.names("records") == ["a"]
        assert there.exists("records/a")
        assert not there.exists("records/b")
        assert there.modified_at("records/a") == here.modified_at("records/a")
        assert there.address_of("records/a") == here.address_of("records/a")
        assert not there.is_empty()
        there.delete("records/a")
        assert here.names("records") == []
        (here.path / ".x.tmp").write_text("")
        there.tidy()
        assert not (here.path / ".x.tmp").exists()
        with pytest.raises(FileNotFoundError):
            there.read("records/a")
        with pytest.raises(StorageFailed, match=r"cannot be written \(No such file"):
            there.write("nowhere/a", b"")
        relay.close()
        with pytest.raises(StorageFailed, match="the driver's machine, which has"):
            _ask_until_it_ends(there)
    finally:
        ray.shutdown()


def _ask_until_it_ends(place: RelayedPlace) -> None:
    for _ in range(100):  # it may answer once more before it does
        place.exists("records/a")
        time.sleep(0.1)


def test_a_folder_of_the_same_path_that_another_driver_has_is_another_folder(
    tmp_path: Path,
) -> None:
    one, other = (LocalPlace(str(tmp_path / name)) for name in "ab")
    for place in (one, other):
        place.make()
    assert not is_same_folder(one, one)  # nobody drives it
    write_holder(one, HolderRecord(Holder("x", 1, "2026-01-01T00:00:00+00:00")))
    write_holder(other, HolderRecord(Holder("y", 1, "2026-01-01T00:00:00+00:00")))
    assert is_same_folder(one, one)
    assert not is_same_folder(one, other)
