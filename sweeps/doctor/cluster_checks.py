"""Who can reach the cluster, and what became of its machines."""

from __future__ import annotations

from sweeps.doctor.facts import Cluster, Software
from sweeps.doctor.findings import Finding

_MOST_DEATHS = 3


def cluster_findings(cluster: Cluster, driver: Software) -> list[Finding]:
    """Of the cluster as a whole.

    Args:
        cluster: what is known of it.
        driver: what the driver's machine runs.
    """
    found = [] if cluster.is_own else [_token(cluster)]
    dashboard = _dashboard(cluster)
    if dashboard is not None:
        found.append(dashboard)
    if cluster.deaths:
        some = "; ".join(cluster.deaths[:_MOST_DEATHS])
        more = len(cluster.deaths) - _MOST_DEATHS
        text = f"ended unexpectedly since the cluster began: {some}"
        found.append(Finding("nodes", "note", text + (f"; and {more} more" if more > 0 else "")))
    return found


def _token(cluster: Cluster) -> Finding:
    if cluster.asks_for_token:
        return Finding("token", "ok", "the cluster lets in only those who have its token")
    return Finding(
        "token",
        "warning",
        "the cluster asks for no token: whoever reaches it can run programs on it",
        remedy="set RAY_AUTH_MODE=token on all its machines (Ray's token authentication)",
    )


def _dashboard(cluster: Cluster) -> Finding | None:
    if cluster.dashboard is None:
        if cluster.is_own:
            return None
        text = "none: `rso-sweep submit` and Ray's own metrics pages need one"
        return Finding("dashboard", "note", text)
    if cluster.is_dashboard_open is None:
        text = f"at {cluster.dashboard}; who can reach it is not told"
        return Finding("dashboard", "note", text)
    if not cluster.is_dashboard_open:
        text = f"at {cluster.dashboard}, for its own machine alone (others go through SSH)"
        return Finding("dashboard", "ok", text)
    text = f"at {cluster.dashboard}, on all interfaces of its machine"
    if cluster.asks_for_token:
        return Finding("dashboard", "ok", f"{text}, with the token")
    return Finding(
        "dashboard",
        "warning",
        f"{text}: whoever reaches it can run programs on the cluster",
        remedy="start Ray on the head with --dashboard-host=127.0.0.1 and reach it through SSH, "
        "or set RAY_AUTH_MODE=token",
    )
