"""A real cluster of three nodes, all on this machine, of which one has faults of many kinds."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.doctor.command import Diagnosis, diagnosis_within_ray
from sweeps.doctor.facts import Clock, DataRead, Node, Software, TrialSpeed
from sweeps.doctor.findings import Finding
from sweeps.ray_connection import connect

pytestmark = pytest.mark.long

_AHEAD_S = 5.0

# read by each Python process that is started with it on its path
_CLOCK = f"""
import sys
if any("default_worker" in argument for argument in sys.orig_argv):
    import time
    true_time = time.time
    time.time = lambda: true_time() + {_AHEAD_S}
"""

_OWN = """
import os
from torch import nn
if "FAULTY_NODE" in os.environ:
    raise ImportError("a library is missing there")

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
"""

_SWEEP = """
name: mine
data: {train_size: 2000, validation_size: 100, test_size: 100}
budget: {cycles: 2}
space: {architecture: ["own_network_of_doctor:network", "mlp()"], batch_size: 100, optimizer: rso}
resources:
  cpus_per_run: 1
  rules: [{when: {architecture: "mlp()"}, gpus_per_run: 2}]
"""


@dataclass(frozen=True)
class Examined:
    """What was found out in the cluster."""

    diagnosis: Diagnosis
    head: Node
    sound: Node
    faulty: Node
    folder: Path
    """Beneath which the output was to be."""
    said: tuple[str, ...]

    def bad(self, topic: str) -> Finding:
        """The only finding of a topic that is not well."""
        (found,) = [
            finding
            for finding in self.diagnosis.findings
            if finding.topic == topic and finding.status != "ok"
        ]
        return found


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Examined]:
    """A head whose CPU is held, a sound node, and one with another clock, numba and no GPU."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "sitecustomize.py").write_text(_CLOCK)
    (folder / "numba-0.1.dist-info").mkdir()
    (folder / "numba-0.1.dist-info" / "METADATA").write_text("Name: numba\nVersion: 0.1\n")
    own = tmp_path_factory.mktemp("own")
    (own / "own_network_of_doctor.py").write_text(textwrap.dedent(_OWN))
    (own / "sweep.yaml").write_text(_SWEEP)
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(own))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        sound = cluster.add_node(num_cpus=2)
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        faulty = cluster.add_node(
            num_cpus=1,
            num_gpus=1,
            object_store_memory=80 * 2**20,
            env_vars={"PYTHONPATH": path, "FAULTY_NODE": "1"},
        )
        connect(cluster.address)
        held = _hold_cpu(cluster.head_node.node_id)
        said: list[str] = []
        out = own / "runs" / "mine"
        found = diagnosis_within_ray(str(own / "sweep.yaml"), (), str(out), said.append)
        named = {node.name.rpartition("-")[2]: node for node in found.examination.nodes}
        nodes = [named[each.node_id[:6]] for each in (cluster.head_node, sound, faulty)]
        del held
        yield Examined(found, *nodes, own, tuple(said))
    finally:
        ray.shutdown()
        cluster.shutdown()
        patch.undo()


def _hold_cpu(node: str) -> Any:
    """An actor that has the node's CPU as long as its handle lives."""

    class Idle:
        def ready(self) -> None:
            pass

    actor: Any = ray.remote(Idle)
    place = NodeAffinitySchedulingStrategy(node, soft=False)
    held = actor.options(num_cpus=1, scheduling_strategy=place).remote()
    ray.get(held.ready.remote(), timeout=100)
    return held


def test_a_node_without_a_free_cpu_is_examined_as_well(examined: Examined) -> None:
    head = examined.head
    assert (head.cpus, head.cpus_free) == (1.0, 0.0)
    assert isinstance(head.software, Software)
    assert isinstance(head.data, DataRead)
    assert isinstance(head.trial, TrialSpeed)
    room = [f.text for f in examined.diagnosis.findings if f.topic == "room"]
    assert "1 of 4 CPUs are held by others at the moment" in room


def test_sound_nodes_have_no_fault_of_their_own(examined: Examined) -> None:
    sound = {examined.head.name, examined.sound.name}
    of_this_machine = ("disk", "trial", "memory", "cpus")  # which may be small or busy
    for finding in examined.diagnosis.findings:
        if finding.topic not in of_this_machine and finding.status in ("warning", "fault"):
            assert not sound & set(finding.nodes), finding


def test_the_clock_of_each_node_is_measured_to_a_fraction_of_a_second(examined: Examined) -> None:
    for node, offset in ((examined.head, 0), (examined.sound, 0), (examined.faulty, _AHEAD_S)):
        assert isinstance(node.clock, Clock)
        assert abs(node.clock.offset_s - offset) <= node.clock.uncertainty_s < 0.5
    finding = examined.bad("clock")
    assert (finding.status, finding.nodes) == ("warning", (examined.faulty.name,))
    assert finding.text.startswith("5.0 s ahead of the driver's")


def test_another_version_is_seen(examined: Examined) -> None:
    finding = examined.bad("versions")
    assert finding.nodes == (examined.faulty.name,)
    assert finding.text.startswith("numba 0.1, and the driver has numba ")


def test_a_gpu_that_is_only_counted_is_seen(examined: Examined) -> None:
    machine = examined.faulty.machine
    assert machine is not None
    if machine.n_gpus:
        pytest.skip("this machine has a GPU")
    assert examined.bad("gpus").status == "fault"
    assert examined.bad("gpus").text.startswith("Ray counts 1 GPU, and torch sees 0 (built ")


def test_the_data_arrives_everywhere_unchanged(examined: Examined) -> None:
    for node in examined.diagnosis.examination.nodes:
        assert isinstance(node.data, DataRead)
        assert node.data.is_same
    assert examined.diagnosis.examination.wanted.data_bytes == 2200 * (784 * 4 + 8)


def test_a_module_is_imported_where_it_can_be_and_nothing_is_trained_where_it_cannot(
    examined: Examined,
) -> None:
    reference = "own_network_of_doctor:network"
    assert examined.head.modules == {reference: None}
    finding = examined.bad("modules")
    assert finding.nodes == (examined.faulty.name,)
    assert "a library is missing there" in finding.text
    assert examined.faulty.trial is None


def test_the_output_is_one_folder_and_nothing_is_left_of_the_examination(
    examined: Examined,
) -> None:
    assert {node.output for node in examined.diagnosis.examination.nodes} == {"shared"}
    left = {path.name for path in examined.folder.iterdir()} - {"__pycache__"}
    assert left == {"sweep.yaml", "own_network_of_doctor.py"}


def test_a_second_of_training_has_a_speed(examined: Examined) -> None:
    for node in (examined.head, examined.sound):
        assert isinstance(node.trial, TrialSpeed), node.trial
        assert node.trial.per_second > 100
        assert node.trial.kernels_s is not None


def test_what_finds_room_and_what_does_not_is_told_for_each_kind(examined: Examined) -> None:
    first, second = [
        finding
        for finding in examined.diagnosis.findings
        if finding.topic == "room" and "held by others" not in finding.text
    ]
    assert first.status == "ok"
    assert first.text.startswith("4 runs at once with 1 CPU (rso own_network_of_doctor:network")
    assert second.status == "fault"
    assert second.text.startswith("no room for runs with 1 CPU and 2 GPUs (rso mlp(), batch 100")


def test_it_ends_with_all_that_was_held_given_back(examined: Examined) -> None:
    assert ray.is_initialized()
    assert len(ray.nodes()) == 3
    assert not examined.diagnosis.is_sound
    assert "looking at the nodes" in examined.said
    assert json.dumps(examined.diagnosis.as_json())


def test_the_command_tells_the_same_and_ends_with_1(
    examined: Examined, call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    address = ray.get_runtime_context().gcs_address
    status, out, err = call("doctor", "--address", address, "--out", f"file://{tmp_path}/runs/x")
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == f"the cluster at {address}: 3 nodes, 4 CPUs, 1 GPU"
    assert any(line.startswith("fault   gpus ") and examined.faulty.name in line for line in lines)
    assert any(
        f"'file://{tmp_path}/runs/x' can be written, read and deleted" in line for line in lines
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
