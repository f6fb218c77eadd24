"""Whether the clocks of nodes agree with the driver's."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.doctor.facts import Clock, Failure, Node
from sweeps.doctor.findings import Finding, Status, names

LEAST_S = 1.0
"""Off by no more than this a clock does no harm."""
LEASE_S = 70.0
"""How long a driver's lease outlives its last renewal, at the least; see `storage.lease`."""


def clock_findings(nodes: Sequence[Node]) -> list[Finding]:
    """Those that agree in one line, and a line for each that does not."""
    found = []
    agreeing: list[tuple[Node, Clock]] = []
    for node in nodes:
        if isinstance(node.clock, Failure):
            text = f"its clock could not be read: {node.clock.reason}"
            found.append(Finding("clock", "note", text, names([node])))
        elif node.clock is not None:
            if abs(node.clock.offset_s) - node.clock.uncertainty_s > LEAST_S:
                found.append(_off(node, node.clock))
            else:
                agreeing.append((node, node.clock))
    if agreeing:
        furthest = max(abs(clock.offset_s) for _, clock in agreeing)
        surest = max(clock.uncertainty_s for _, clock in agreeing)
        text = f"within {_words(furthest)} of the driver's, give or take {_words(surest)}"
        found.insert(0, Finding("clock", "ok", text, names(node for node, _ in agreeing)))
    return found


def _off(node: Node, clock: Clock) -> Finding:
    way = "ahead of" if clock.offset_s > 0 else "behind"
    status: Status = "warning"
    harm = "the times in the rows of its runs are off as much"
    if abs(clock.offset_s) - clock.uncertainty_s > LEASE_S:
        status = "fault"
        harm += ", and a driver there takes one that lives elsewhere for dead, or is taken for it"
    return Finding(
        "clock",
        status,
        f"{_words(abs(clock.offset_s))} {way} the driver's, give or take "
        f"{_words(clock.uncertainty_s)}: {harm}",
        names([node]),
        "let chrony or systemd-timesyncd set it (`timedatectl set-ntp true`)",
    )


def _words(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.9995 else f"{seconds:,.1f} s"
