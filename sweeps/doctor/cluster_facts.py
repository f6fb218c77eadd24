"""What is known of a Ray cluster as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray._private import state as ray_state
from ray._private import worker as ray_worker

from sweeps.doctor.facts import Cluster, Failure, Growth
from sweeps.doctor.probes import ANSWER_S, Probes
from sweeps.ray_connection import asks_for_token
from sweeps.ray_machines import can_grow

_UNEXPECTED = 2
"""Ray's `NodeDeathInfo.UNEXPECTED_TERMINATION`."""


def cluster_facts(is_own: bool, listed: Sequence[Mapping[str, Any]], probes: Probes) -> Cluster:
    """Of the cluster that this process is in.

    Args:
        is_own: whether it was started for the examination.
        listed: all nodes, as `ray.nodes` has them.
        probes: of those that live.
    """
    dashboard: str | None = ray_worker.get_dashboard_url()  # type: ignore[no-untyped-call]
    return Cluster(
        is_own=is_own,
        address=ray.get_runtime_context().gcs_address,
        asks_for_token=asks_for_token(),
        dashboard=dashboard or None,
        is_dashboard_open=_is_open(dashboard, listed, probes) if dashboard else None,
        growth=Growth(_types()) if not is_own and can_grow() else None,
        deaths=tuple(_deaths(listed)),
    )


def _is_open(dashboard: str, listed: Sequence[Mapping[str, Any]], probes: Probes) -> bool | None:
    """Asked on the head, which has it."""
    head = [
        node["NodeID"]
        for node in listed
        if node["Alive"] and "node:__internal_head__" in node["Resources"]
    ]
    port = dashboard.rpartition(":")[2]
    if not head or not port.isdigit():
        return None
    answer = probes.ask("listens_beyond_loopback", {head[0]: (int(port),)}, ANSWER_S)[head[0]]
    return None if isinstance(answer, Failure) else answer


def _types() -> dict[str, tuple[float, float]]:
    """Machines that the autoscaler may add, as far as it has told Ray of them."""
    config = ray_state.state.get_cluster_config()
    groups = [] if config is None else config.node_group_configs
    return {
        group.name: (float(group.resources.get("CPU", 0)), float(group.resources.get("GPU", 0)))
        for group in groups
        if group.max_count != 0
    }


def _deaths(listed: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{node['NodeManagerHostname']} ({' '.join(node['DeathReasonMessage'].split())[:120]})"
        for node in listed
        if not node["Alive"] and node.get("DeathReason") == _UNEXPECTED
    ]
