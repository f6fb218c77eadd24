"""The machines of the Ray cluster that this process is in, and how it comes by more of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray._private import ray_constants
from ray.autoscaler._private.util import format_readonly_node_type
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental import internal_kv

from sweeps.capacity import Capacity
from sweeps.resources import Needs

_COUNT_S = 2.0
"""How long a count of the machines is good for."""
_FIRST_REPORT_S = 30.0
"""How long after its start an autoscaler may take to report for the first time."""
_MOST_SHOWN = 512
"""Of a kind of run: more than these need not wait for the autoscaler to see how much is lacking."""


class Machines:
    """The machines that are there, counted anew every few seconds: they join and leave."""

    def __init__(self) -> None:
        self._capacity = self._counted()
        self._counted_at = time.monotonic()

    @property
    def capacity(self) -> Capacity:
        """What they hold."""
        if time.monotonic() - self._counted_at > _COUNT_S:
            self._capacity = self._counted()
            self._counted_at = time.monotonic()
        return self._capacity

    def _counted(self) -> Capacity:
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        resources = [node["Resources"] for node in nodes if node["Alive"]]
        return Capacity([(r.get("CPU", 0.0), r.get("GPU", 0.0)) for r in resources])


class Demand:
    """Lets Ray's autoscaler see the runs that have no room, so that it adds machines.

    For each worker that is lacking a task waits that needs as much, and does nothing. Tasks end
    with this process, however that ends; a request for resources would outlive it, and keep
    machines running that nobody uses.
    """

    def __init__(self) -> None:
        self._tasks: dict[Needs, list[Any]] = {}

    def show(self, lacking: Mapping[Needs, int]) -> None:
        """Shows so many runs of each kind, and no others."""
        for needs in {*lacking, *self._tasks}:
            n_tasks = min(lacking.get(needs, 0), _MOST_SHOWN) * needs.workers
            waiting = self._waiting(needs)
            for task in waiting[n_tasks:]:
                ray.cancel(task)
            waiting = waiting[:n_tasks]
            missing = range(n_tasks - len(waiting))
            self._tasks[needs] = [*waiting, *(_task(needs) for _ in missing)]

    def _waiting(self, needs: Needs) -> list[Any]:
        tasks = self._tasks.get(needs, [])
        if not tasks:
            return []
        return list(ray.wait(tasks, num_returns=len(tasks), timeout=0)[1])


def can_grow() -> bool:
    """Whether the cluster has an autoscaler that adds machines.

    Ray's monitor reports on clusters without one too; it makes up a type for each machine then,
    from the identifier of the machine.
    """
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    made_up = {format_readonly_node_type(node["NodeID"]) for node in nodes}
    deadline = time.monotonic() + _FIRST_REPORT_S
    types = _node_types()
    while types is None and _has_monitor() and time.monotonic() < deadline:
        time.sleep(0.5)
        types = _node_types()
    return bool((types or set()) - made_up)


def _has_monitor() -> bool:
    return internal_kv._internal_kv_get("AutoscalerMetricsAddress") is not None


def _node_types() -> set[str] | None:
    """The types of machines, as the autoscaler calls them, of which there are some now.

    None if it has not reported yet.
    """
    if is_autoscaler_v2(fetch_from_server=True):
        status = get_cluster_status(ray.get_runtime_context().gcs_address)
        return {n.ray_node_type_name for n in (*status.active_nodes, *status.idle_nodes)} or None
    written = internal_kv._internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS)
    report = json.loads(written).get("autoscaler_report") if written else None
    return None if report is None else {*report["active_nodes"], *(report["idle_nodes"] or ())}


def _task(needs: Needs) -> Any:
    held = needs.of_worker()
    remote = ray.remote(_do_nothing).options(
        num_cpus=held["CPU"], num_gpus=held.get("GPU", 0), max_retries=0
    )
    return remote.remote()


def _do_nothing() -> None:
    """What it needs is all that matters."""
