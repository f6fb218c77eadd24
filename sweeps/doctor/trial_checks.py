"""How fast a second of a real run is on each node."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from sweeps.doctor.facts import Failure, Node, TrialSpeed, Wanted
from sweeps.doctor.findings import Finding, names

_SLOW = 0.5
"""Of the median of the others' speed."""


def trial_findings(nodes: Sequence[Node], wanted: Wanted) -> list[Finding]:
    """Of nodes that have answered: speeds side by side, and which are much slower."""
    found = []
    speeds: list[tuple[Node, TrialSpeed]] = []
    for node in nodes:
        if isinstance(node.trial, Failure):
            found.append(
                Finding(
                    "trial",
                    "fault",
                    f"{wanted.trial} fails: {node.trial.reason}",
                    names([node]),
                    "put that right, or take the node out; runs that land there would fail too",
                )
            )
        elif node.trial is not None:
            speeds.append((node, node.trial))
    if not speeds:
        return found
    slow = [pair for pair in speeds if _is_slow(pair, speeds)]
    others = [pair for pair in speeds if pair not in slow]
    found.insert(0, _alike(others, wanted))
    found[1:1] = [_slower(pair, others, wanted) for pair in slow]
    return [*found, *_kernels(speeds)]


def _is_slow(pair: tuple[Node, TrialSpeed], speeds: Sequence[tuple[Node, TrialSpeed]]) -> bool:
    others = [speed.per_second for node, speed in speeds if node is not pair[0]]
    return bool(others) and pair[1].per_second < _SLOW * statistics.median(others)


def _alike(speeds: Sequence[tuple[Node, TrialSpeed]], wanted: Wanted) -> Finding:
    rates = [speed.per_second for _, speed in speeds]
    least, most = f"{min(rates):,.0f}", f"{max(rates):,.0f}"
    between = most if least == most else f"{least} to {most}"
    text = f"{wanted.trial}: {between} {wanted.trial_unit} a second"
    busy = [node for node, _ in speeds if _is_busy(node)]
    if len(busy) == len(speeds):
        text += ", busy with other work"
    elif busy:
        text += f"; busy with other work: {', '.join(names(busy))}"
    return Finding("trial", "ok", text, names(node for node, _ in speeds))


def _slower(
    pair: tuple[Node, TrialSpeed], others: Sequence[tuple[Node, TrialSpeed]], wanted: Wanted
) -> Finding:
    node, speed = pair
    usual = statistics.median(other.per_second for _, other in others)
    text = (
        f"{wanted.trial}: {speed.per_second:,.0f} {wanted.trial_unit} a second, where the others "
        f"have {usual:,.0f}"
    )
    if _is_busy(node):
        return Finding("trial", "note", f"{text}; it is busy with other work", names([node]))
    return Finding(
        "trial",
        "warning",
        text,
        names([node]),
        "look for other programs, a low CPU frequency, or fewer real CPUs than Ray counts there; "
        "its runs take as much longer",
    )


def _kernels(speeds: Sequence[tuple[Node, TrialSpeed]]) -> list[Finding]:
    """Compiled now, they are kept: a sweep does not have to wait for them there."""
    compiled = [
        (node, speed.kernels_s)
        for node, speed in speeds
        if speed.are_compiled and speed.kernels_s is not None
    ]
    if not compiled:
        return []
    longest_s = max(seconds for _, seconds in compiled)
    text = f"RSO's kernels were compiled, in up to {longest_s:.0f} s; they are kept for the sweep"
    return [Finding("kernels", "note", text, names(node for node, _ in compiled))]


def _is_busy(node: Node) -> bool:
    if node.cpus_free < node.cpus:
        return True
    machine = node.machine
    # what was examined is itself a part of the load
    return machine is not None and machine.load is not None and machine.load > machine.n_cpus
