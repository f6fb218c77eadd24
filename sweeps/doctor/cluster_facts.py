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

_HEAD = "node:__internal_head__"
"""Among the resources of the head alone."""
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
        growth=Growth(_types(listed, probes)) if not is_own and can_grow() else None,
        deaths=tuple(_deaths(listed)),
    )


def _on_head(
    method: str, arguments: Sequence[Any], listed: Sequence[Mapping[str, Any]], probes: Probes
) -> Any:
    """What the head's probe answers; None if it does not."""
    for node in listed:
        if node["Alive"] and _HEAD in node["Resources"]:
            identifier = node["NodeID"]
            answer = probes.ask(method, {identifier: arguments}, ANSWER_S)[identifier]
            return None if isinstance(answer, Failure) else answer
    return None


def _is_open(dashboard: str, listed: Sequence[Mapping[str, Any]], probes: Probes) -> bool | None:
    port = dashboard.rpartition(":")[2]
    if not port.isdigit():
        return None
    answer: bool | None = _on_head("listens_beyond_loopback", (int(port),), listed, probes)
    return answer


def _types(listed: Sequence[Mapping[str, Any]], probes: Probes) -> dict[str, tuple[float, float]]:
    """Machines that the autoscaler may add: as it has told Ray, or the launcher's file says."""
    config = ray_state.state.get_cluster_config()
    groups = [] if config is None else config.node_group_configs
    told = {
        group.name: (float(group.resources.get("CPU", 0)), float(group.resources.get("GPU", 0)))
        for group in groups
        if group.max_count != 0
    }
    return told or _on_head("machine_types", (), listed, probes) or {}


def _deaths(listed: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{node['NodeManagerHostname']} ({' '.join(node['DeathReasonMessage'].split())[:120]})"
        for node in listed
        if not node["Alive"] and node.get("DeathReason") == _UNEXPECTED
    ]
