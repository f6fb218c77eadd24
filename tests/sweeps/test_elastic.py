"""A sweep on a cluster of a head alone: Ray's own autoscaler adds machines, and takes them down."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.cluster_utils import Cluster

from rso_core.datasets import Dataset
from sweeps.progress import SweepProgress
from sweeps.ray_connection import connect
from sweeps.ray_executor import RayExecutor
from sweeps.ray_machines import Demand, Machines, can_grow
from sweeps.resources import Needs
from sweeps.spec import SweepSpec
from sweeps.sweep_file import parse_sweep

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


_TRAINING = """
import time
from sweeps.bench_scheduler_training import SleepingTraining

class Placed(SleepingTraining):
    '''Fails where it is not on the device that its network is to be trained on.'''
    def __init__(self, configuration, data, seed, *, device, **arguments):
        wanted = "cuda" if configuration.architecture == "mlp(8)" else "cpu"
        if device != wanted:
            raise RuntimeError(f"{configuration.architecture} on {device}")
        super().__init__(configuration, data, seed, device=device, seconds=0.5, **arguments)
"""

_SWEEP = """
name: elastic
data: {name: mnist, train_size: 1000, validation_size: 500, test_size: 500}
budget: {cycles: 2}
space:
  architecture: [mlp(), mlp(8)]
  batch_size: [10, 20, 30]
  optimizer: rso
  weight_decay: 1.0e-3
seeds: 3
resources:
  rules:
    - {when: {architecture: mlp(8)}, gpus_per_run: 0.5}
"""


_EMPTY = (
    "cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands",
    "setup_commands", "head_setup_commands", "worker_setup_commands", "head_start_ray_commands",
    "worker_start_ray_commands",
)  # fmt: skip
"""What a launcher file has to have, and such a cluster has no use for."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def _launcher_file(gcs_address: str) -> dict[str, Any]:
    """A cluster of a head without CPUs, and of machines that are processes of this one."""
    small = {"object_store_memory": 100_000_000}
    return {
        "cluster_name": "elastic",
        "max_workers": 3,
        "idle_timeout_minutes": 0.5,
        "upscaling_speed": 10,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": gcs_address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "cpu": {"resources": {"CPU": 1, **small}, "node_config": {}, "max_workers": 2},
            "gpu": {
                "resources": {"CPU": 2, "GPU": 1, **small}, "node_config": {}, "max_workers": 1
            },
        },
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in _EMPTY},
    }  # fmt: skip


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a cluster that begins with its head alone."""
    port = _free_port()
    host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    written = tmp_path / "launcher.json"
    written.write_text(json.dumps(_launcher_file(f"{host}:{port}")))
    short = tempfile.mkdtemp(prefix="ray-")  # the names of sockets may not be long
    environment = os.environ | {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_autoscaler_v2": "0",  # Ray's package lacks a file for the second one's fakes
    }
    command = [
        str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--port={port}",
        f"--temp-dir={short}", f"--node-ip-address={host}", "--num-cpus=0",
        "--object-store-memory=100000000", "--include-dashboard=false",
        f"--autoscaling-config={written}",
    ]  # fmt: skip
    log = tmp_path / "head.log"
    with log.open("w") as output:
        head = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text():
            assert head.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"{host}:{port}"
    finally:
        started = []
        if head.poll() is None:
            started = psutil.Process(head.pid).children(recursive=True)
            head.terminate()
        psutil.wait_procs(started, timeout=10)
        for process in started:
            if process.is_running():
                process.kill()
        head.wait()
        shutil.rmtree(short, ignore_errors=True)


def _machines() -> int:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return sum(node["Alive"] for node in nodes)


def _wait_for(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 150
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def test_ray_s_autoscaler_adds_machines_for_what_it_is_shown_and_takes_them_down(
    address: str,
) -> None:
    connect(address)
    try:
        assert can_grow()
        assert Machines().capacity.n_of(Needs()) == 0
        demand = Demand()
        demand.show({Needs(): 2, Needs(gpus=0.5): 2})
        _wait_for(lambda: Machines().capacity.n_of(Needs(gpus=0.5)) == 2, "no GPU came")
        _wait_for(lambda: Machines().capacity.n_of(Needs()) == 4, "no CPUs came")
        demand.show({})
        _wait_for(lambda: _machines() == 1, "machines stay that nobody needs")
    finally:
        ray.shutdown()


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Cluster]:
    """A machine without CPUs, and whoever adds others to it."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "placed_training.py").write_text(textwrap.dedent(_TRAINING))
    seen = {"PYTHONPATH": os.pathsep.join([str(module), os.environ.get("PYTHONPATH", "")])}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "env_vars": seen})
    made.add = partial(made.add_node, env_vars=seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(module))
        # Ray's fake machines run no actors, so that the test adds real ones in its place
        patch.setattr("sweeps.ray_executor.can_grow", lambda: True)
        yield made
    made.shutdown()


def test_a_sweep_begins_without_machines_and_uses_those_that_come_for_each_kind_of_run(
    head: Cluster, tiny_data: Dataset, tmp_path: Path, drive: Callable[..., SweepProgress]
) -> None:
    from placed_training import Placed  # type: ignore[import-not-found]

    spec: SweepSpec = parse_sweep(_SWEEP, "sweep.yaml")
    executor = RayExecutor(tiny_data, spec.resources, address=head.address, training=Placed)
    with closing(executor):
        assert executor.n_slots == executor.n_free == 0
        added: list[str] = []

        def add_what_is_wanted() -> bool:
            """Called by the driver between two polls."""
            status = get_cluster_status(head.gcs_address)
            demands = status.resource_demands.ray_task_actor_demand
            wanted = [bundle.bundle for demand in demands for bundle in demand.bundles_by_count]
            if "gpu" not in added and any(each.get("GPU") == 0.5 for each in wanted):
                head.add(num_cpus=2, num_gpus=1)
                added.append("gpu")
            elif "cpu" not in added and any(not each.get("GPU") for each in wanted):
                head.add(num_cpus=1)
                added.append("cpu")
            return False

        progress = drive(spec, tmp_path / "out", executor, is_to_stop=add_what_is_wanted)
        assert (progress.n_trials_finished, progress.n_trials_failed) == (6, 0)
        assert sorted(added) == ["cpu", "gpu"]
        _wait_for(lambda: _all_given_back(executor), "actors stay that have no run")


def _all_given_back(executor: RayExecutor) -> bool:
    executor.expect([], 0)
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return (free.get("CPU"), free.get("GPU")) == (3, 1)
