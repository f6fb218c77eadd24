"""Machines that are none: Ray's nodes as processes of this machine, which come and go."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Literal

from rso_core.errors import InvalidInput, reason

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

Leaving = Literal["killed", "removed"]
"""How a node goes: its raylet by SIGKILL, or after it was asked to leave."""

_STORE_BYTES = 80 << 20
"""Of each node's object store; Ray takes no less than 75 MiB."""
_FRUGAL = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # each node's agent would measure the machine, which all of them share, every few seconds
    "RAY_enable_metrics_collection": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "3600000",
    # many processes on few cores may be late to answer without being dead
    "RAY_health_check_timeout_ms": "60000",
    # actors would have to wait for whatever else the machine does
    "RAY_worker_niceness": "0",
}
"""Settings of the nodes; on machines of their own they would not need them."""
_MOST_START_S = 60.0
"""How long the last nodes may take to be known to the cluster."""
_MOST_STOP_S = 120.0
_N_ATTEMPTS = 3
"""At starting a node."""
_FEWEST_NODES = 2
"""One may leave then while the other trains."""


@dataclass(frozen=True, slots=True)
class Left:
    """A node has gone, and another one has come in its place."""

    leaving: Leaving


class SimulatedNodes:
    """A Ray cluster on this machine, of so many nodes that trials can run on.

    It is a process of its own, so that what starting and ending nodes takes is not counted among
    what the driver takes. Nodes are replaced there one after the other, while this process goes on.

    Attributes:
        address: of the cluster.
    """

    def __init__(self, channel: Connection, address: str) -> None:
        self.address = address
        self._channel = channel
        self._replaced: list[Leaving] = []

    def replace(self, leaving: Leaving) -> None:
        """Lets one node go, chosen at random, and then another one come; returns at once."""
        self._channel.send(leaving)

    def replaced(self) -> tuple[Leaving, ...]:
        """How nodes have gone in whose place others have come by now."""
        while self._channel.poll():
            answer = self._channel.recv()
            if not isinstance(answer, Left):
                raise InvalidInput(f"a node could not be replaced ({answer})")
            self._replaced.append(answer.leaving)
        return tuple(self._replaced)


@contextmanager
def simulated_nodes(n_nodes: int, cpus_per_node: int = 1) -> Iterator[SimulatedNodes]:
    """Starts a cluster, and ends it.

    One node is its head, where the driver and no trial runs, unless it is the only one.

    Args:
        n_nodes: that have CPUs.
        cpus_per_node: logical ones.

    Raises:
        InvalidInput: they do not start.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, n_nodes, cpus_per_node), name="nodes", daemon=True
    )
    process.start()
    theirs.close()
    try:
        try:
            address = ours.recv()
        except EOFError:
            address = _Failure("their process has ended")
        if isinstance(address, _Failure):
            raise InvalidInput(
                f"'--nodes' must be as many as this machine can hold, got {n_nodes}: {address.why}"
            )
        yield SimulatedNodes(ours, address)
    finally:
        ours.close()  # which ends it
        process.join(_MOST_STOP_S)
        if process.is_alive():
            process.kill()


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str

    def __str__(self) -> str:
        return self.why


def _serve(channel: Connection, n_nodes: int, cpus_per_node: int) -> None:
    """The process: starts the nodes, says where, and replaces them until nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of the channel says when to end
    os.environ.update(_FRUGAL)
    from ray.cluster_utils import Cluster

    from sweeps.ray_connection import on_loopback

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # it tells of the machine's other clusters

    cluster = Cluster()
    with on_loopback():
        try:
            channel.send(_started(cluster, n_nodes, cpus_per_node))
            generator = random.Random(0)
            while True:
                channel.send(_replaced(cluster, channel.recv(), cpus_per_node, generator))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass
        finally:
            _end(cluster)


def _started(cluster: Cluster, n_nodes: int, cpus_per_node: int) -> str | _Failure:
    """The address, once all nodes are there."""
    is_alone = n_nodes < _FEWEST_NODES
    try:
        _add_node(cluster, cpus_per_node if is_alone else 0, include_dashboard=False)
        for _ in range(0 if is_alone else n_nodes):
            _add_node(cluster, cpus_per_node)
        cluster.wait_for_nodes(_MOST_START_S)
    except Exception as error:  # whatever Ray raises where processes do not start
        return _Failure(reason(error))
    address: str = cluster.address
    return address


def _replaced(
    cluster: Cluster, leaving: Leaving, cpus_per_node: int, generator: random.Random
) -> Left | _Failure:
    nodes = sorted(cluster.worker_nodes, key=lambda node: str(node.node_id))
    try:
        cluster.remove_node(generator.choice(nodes), allow_graceful=leaving == "removed")
        _add_node(cluster, cpus_per_node)
    except Exception as error:  # as above
        return _Failure(reason(error))
    return Left(leaving)


def _add_node(cluster: Cluster, n_cpus: int, **options: Any) -> None:
    """Tries again where a busy machine takes longer than Ray waits for a node: half a minute."""
    for attempt in range(1, _N_ATTEMPTS + 1):
        try:
            cluster.add_node(
                num_cpus=n_cpus, object_store_memory=_STORE_BYTES, wait=False, **options
            )
        except Exception:  # Ray raises nothing more special
            if attempt == _N_ATTEMPTS:
                raise
        else:
            return


def _end(cluster: Cluster) -> None:
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)
    if cluster.head_node is not None:
        cluster.remove_node(cluster.head_node, allow_graceful=False)
