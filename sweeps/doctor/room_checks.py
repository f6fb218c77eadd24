"""How many runs of the sweep have room at once, and which have none."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.capacity import Capacity
from sweeps.doctor.facts import Growth, Node, RunKind, Wanted
from sweeps.doctor.findings import Finding
from sweeps.doctor.sizes import amount
from sweeps.resources import Needs


def room_findings(nodes: Sequence[Node], wanted: Wanted, growth: Growth | None) -> list[Finding]:
    """A line for each kind of run, and one for what others hold at the moment.

    Args:
        nodes: all that live.
        wanted: what the sweep asks for its runs.
        growth: what an autoscaler may add; None if nothing.
    """
    capacity = Capacity([(node.cpus, node.gpus) for node in nodes])
    found = [_of_kind(kind, capacity, nodes, wanted, growth) for kind in wanted.kinds]
    held = sum(node.cpus - node.cpus_free for node in nodes)
    if held > 0.5:
        all_cpus = sum(node.cpus for node in nodes)
        text = f"{held:g} of {all_cpus:g} CPUs are held by others at the moment"
        found.append(Finding("room", "note", text))
    return found


def _of_kind(
    kind: RunKind,
    capacity: Capacity,
    nodes: Sequence[Node],
    wanted: Wanted,
    growth: Growth | None,
) -> Finding:
    needs = kind.needs
    n_runs = capacity.n_of(needs)
    what = needs_words(needs)
    if kind.example:
        more = kind.n_configurations - 1
        like = f" and {more:,} more" if more > 0 else ""
        what += f" ({kind.example}{like})"
    if n_runs > 0:
        n_nodes = sum(_holds_worker(node, needs) for node in nodes)
        where = "one node" if n_nodes == 1 else f"{n_nodes} nodes"
        runs = "1 run at a time" if n_runs == 1 else f"{n_runs} runs at once"
        text = f"{runs} with {what}, on {where}"
        if wanted.concurrency is not None and wanted.concurrency < n_runs:
            text += f"; resources.concurrency asks for {wanted.concurrency}"
        if growth is not None:
            text += "; the autoscaler may add more"
        return Finding("room", "ok", text)
    if growth is not None and not growth.types:
        text = (
            f"no room yet for runs with {what}: the autoscaler may add a machine, of what size is "
            "not told"
        )
        return Finding("room", "note", text)
    fitting = [] if growth is None else _fitting_types(needs, growth)
    if fitting:
        text = f"no room yet for runs with {what}: the autoscaler adds {', '.join(fitting)}"
        return Finding("room", "note", text)
    most_cpus = max((node.cpus for node in nodes), default=0.0)
    most_gpus = max((node.gpus for node in nodes), default=0.0)
    has = f"no node has more than {amount(most_cpus, 'CPU')} or {amount(most_gpus, 'GPU')}"
    if needs.workers > 1:
        all_cpus = sum(node.cpus for node in nodes)
        has += f", nor all together more than {amount(all_cpus, 'CPU')}"
    none_added = "" if growth is None else ", and the autoscaler has no type that holds it"
    return Finding(
        "room",
        "fault",
        f"no room for runs with {what}: {has}{none_added}",
        remedy=f"add a machine that holds it, or ask for less ({_keys(needs)}; or resources.rules)",
    )


def needs_words(needs: Needs) -> str:
    """What a run is given, such as `2 CPUs and half a GPU in each of 4 workers`."""
    words = amount(needs.cpus, "CPU")
    if needs.gpus:
        words += f" and {amount(needs.gpus, 'GPU')}"
    return words if needs.workers == 1 else f"{words} in each of {needs.workers} workers"


def _holds_worker(node: Node, needs: Needs) -> bool:
    alone = Needs(needs.cpus, needs.gpus, 1)
    return Capacity([(node.cpus, node.gpus)]).n_of(alone) > 0


def _fitting_types(needs: Needs, growth: Growth) -> list[str]:
    """Types of machines of which some hold such a run, be it beside others of their type."""
    return [
        name
        for name, machine in growth.types.items()
        if Capacity([machine] * needs.workers).n_of(needs) > 0
    ]


def _keys(needs: Needs) -> str:
    keys = ["resources.cpus_per_run"]
    if needs.gpus:
        keys.append("gpus_per_run")
    if needs.workers > 1:
        keys.append("workers_per_run")
    return ", ".join(keys)
