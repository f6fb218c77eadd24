"""What Ray takes of the driver as clusters grow: the other figures of `SCALING.md`.

    python -m tests.sweeps.cluster.scaling_ray waiting      # one poll of many actors' answers
    python -m tests.sweeps.cluster.scaling_ray polling      # an actor's answers, one at a time
    python -m tests.sweeps.cluster.scaling_ray nodes --nodes 32
    python -m tests.sweeps.cluster.scaling_ray spreading --nodes 8

Each starts Ray on this machine, with as many simulated nodes as it needs, and ends it. Times are
processor time of this process, Ray's threads in it included, unless they are called something else.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.bench_cluster_nodes import simulated_nodes
from sweeps.ray_connection import connect, on_loopback, start_cluster
from tests.sweeps.cluster.scaling import print_table

N_REFERENCES = (2, 8, 32, 128, 1_000)
_OBJECT_BYTES = 40_000_000
"""That fits a simulated node's store; the file transfers in parts of 5 MiB."""


def main() -> None:
    """Measures what the command line says, and prints it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=["waiting", "polling", "nodes", "spreading"])
    parser.add_argument("--nodes", type=int, default=8)
    asked = parser.parse_args()
    if asked.what == "waiting":
        waiting()
    elif asked.what == "polling":
        polling()
    else:
        (nodes if asked.what == "nodes" else spreading)(asked.nodes)


@ray.remote(num_cpus=1)
class Answering:
    """Answers as an actor that trains: at once, or not for as long as one waits."""

    async def never(self) -> None:
        """Owes its answer."""
        import asyncio

        await asyncio.sleep(3600)

    async def now(self, size: int) -> list[bytes]:
        """Gives so many bytes, as an answer with events in it."""
        return [b"x" * size]


def waiting() -> None:
    """What `ray.wait` takes over answers that are not there, as `RayExecutor.poll` calls it."""
    rows = []
    with _one_node(1):
        actor: Any = Answering.options(max_concurrency=2_000).remote()  # type: ignore[attr-defined]
        ray.get(actor.now.remote(1))
        for n in N_REFERENCES:
            owed = [actor.never.remote() for _ in range(n)]
            time.sleep(1.0)
            first_ms = _cpu_ms(partial(ray.wait, owed, num_returns=1, timeout=0))
            second_ms = _cpu_ms(partial(ray.wait, owed, num_returns=n, timeout=0))
            rows.append((n, first_ms, second_ms))
            for reference in owed:
                ray.cancel(reference)
    print_table(("references", "wait for one, ms", "wait for all, ms"), rows)


def polling(n_calls: int = 3_000) -> None:
    """What one answer takes: the call, the wait for it and its content."""
    rows = []
    with _one_node(1):
        actor: Any = Answering.options(max_concurrency=2).remote()  # type: ignore[attr-defined]
        ray.get(actor.now.remote(1))
        for size in (10, 300, 3_000):

            def poll(size: int = size) -> None:
                ray.wait([answer := actor.now.remote(size)], num_returns=1)
                ray.get(answer)

            rows.append((size, _cpu_ms(poll, n_calls)))
    print_table(("bytes", "ms an answer"), rows)


def nodes(n_most: int) -> None:
    """What it takes to ask the cluster what it has, and what a node that only is there takes."""
    rows = []
    for n in [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= n_most]:
        with simulated_nodes(n) as cluster, on_loopback():
            connect(cluster.address)
            time.sleep(5.0)
            raylets = _raylets(cluster.address)
            resources_ms = _cpu_ms(ray.cluster_resources, 200)
            nodes_ms = _cpu_ms(ray.nodes, 200)
            before, own = _spent_s(raylets), time.process_time()
            time.sleep(10.0)
            idle = (_spent_s(raylets) - before) / 10 / len(raylets)
            driver_idle = (time.process_time() - own) / 10
            rows.append((n, resources_ms, nodes_ms, 1000 * driver_idle, 1000 * idle))
            ray.shutdown()
    print_table(
        ("nodes", "cluster_resources, ms", "nodes, ms", "idle driver, ms a s", "raylet, ms a s"),
        rows,
    )


def spreading(n_nodes: int) -> None:
    """Which node sends an object's bytes when all want it: all at a time, or one by one."""
    rows: list[tuple[Any, ...]] = []
    with simulated_nodes(n_nodes) as cluster, on_loopback():
        connect(cluster.address)
        there = [node for node in ray.nodes() if node["Resources"].get("CPU")]
        own = ray.get_runtime_context().get_node_id()
        readers = [
            _read.options(  # type: ignore[attr-defined]
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            )
            for node in there
        ]
        ray.get([reader.remote(b"") for reader in readers])  # their processes are there
        pids = {process.pid: _option(process, "node_id") for process in _raylets(cluster.address)}
        for order in ("all at a time", "one by one"):
            before = _sent_mb(pids)
            data = ray.put(np.random.default_rng(0).integers(0, 255, _OBJECT_BYTES, dtype=np.uint8))
            began = time.perf_counter()
            if order == "all at a time":
                ray.get([reader.remote(data) for reader in readers])
            else:
                for reader in readers:
                    ray.get(reader.remote(data))
            wall_s = time.perf_counter() - began
            after = _sent_mb(pids)
            sent = {node: after[node] - before.get(node, 0.0) for node in after}
            others = [mb for node, mb in sent.items() if node != own]
            rows.append(
                (order, n_nodes, sent[own] / 40, sum(others) / 40, max(others) / 40, wall_s)
            )
            del data
            time.sleep(3.0)
        ray.shutdown()
    print_table(
        ("order", "nodes", "sent by the driver's, copies", "by the others", "by one of them", "s"),
        rows,
    )


@ray.remote(num_cpus=1)
def _read(data: Any) -> int:
    return len(data)


@contextmanager
def _one_node(n_cpus: int) -> Iterator[None]:
    start_cluster(n_cpus)
    try:
        yield
    finally:
        ray.shutdown()


def _cpu_ms(call: Callable[[], object], n_calls: int = 300) -> float:
    """Of this process, for one call."""
    call()
    began = time.process_time()
    for _ in range(n_calls):
        call()
    return 1000 * (time.process_time() - began) / n_calls


def _raylets(address: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is_of(process, address)]


def _is_of(process: psutil.Process, address: str) -> bool:
    try:
        return process.name() == "raylet" and _option(process, "gcs-address") == address
    except psutil.Error:
        return False


def _option(process: psutil.Process, name: str) -> str | None:
    start = f"--{name}="
    found = [word for word in process.cmdline() if word.startswith(start)]
    return found[0].removeprefix(start) if found else None


def _spent_s(processes: list[psutil.Process]) -> float:
    """Of these and those that they have started."""
    total = 0.0
    for process in processes:
        for one in [process, *process.children(recursive=True)]:
            try:
                total += sum(one.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
    return total


def _sent_mb(pids: dict[int, str | None]) -> dict[str, float]:
    """What the raylets have sent so far, by node: the kernel's count of each socket."""
    told = subprocess.run(["ss", "-tnipH"], capture_output=True, text=True, check=True).stdout
    sent: dict[str, float] = {str(node): 0.0 for node in pids.values()}
    # a socket is a line, and its figures follow in an indented one
    for socket in re.split(r"\n(?=\S)", told):
        pid, n_bytes = re.search(r"pid=(\d+)", socket), re.search(r"bytes_sent:(\d+)", socket)
        if pid and n_bytes and int(pid[1]) in pids:
            sent[str(pids[int(pid[1])])] += int(n_bytes[1]) / 1e6
    return sent


if __name__ == "__main__":
    main()
