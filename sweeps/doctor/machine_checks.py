"""Whether nodes have what Ray counts, and room for the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sweeps.capacity import Capacity
from sweeps.doctor.facts import Machine, Node, Wanted
from sweeps.doctor.findings import Finding, alike, names
from sweeps.doctor.sizes import amount, size

_FULL = 0.95
"""Of a disk; from there on Ray writes no objects to it (`local_fs_capacity_threshold`)."""
_NO_DISK, _LITTLE_DISK = 2**28, 2 * 2**30
_PROCESS = 2**29
"""Memory of an actor without its data: Python, torch and the kernels."""


def machine_findings(nodes: Sequence[Node], wanted: Wanted) -> list[Finding]:
    """GPUs, CPUs, disk, memory and object store of nodes that have answered."""
    known = [(node, node.machine) for node in nodes if node.machine is not None]
    found = [*_gpus(known), *_cpus(known)]
    found += _joined([*_disks(known), *_stores(known, wanted), *_memory(known, wanted)])
    good = {node.name for node, _ in known} - {
        name for each in found if each.status != "ok" for name in each.nodes
    }
    sound = [(node, machine) for node, machine in known if node.name in good]
    if sound:
        found.insert(0, _sound(sound))
    return found


def _sound(known: Sequence[tuple[Node, Machine]]) -> Finding:
    parts = []
    for words, amounts in (
        ("memory", [machine.memory_free_bytes for _, machine in known]),
        ("object store", [node.object_store_bytes for node, _ in known]),
        ("disk", [machine.disk_free_bytes for _, machine in known]),
    ):
        least = min((amount for amount in amounts if amount is not None), default=None)
        if least is not None:
            parts.append(f"{words} {size(least)}")
    text = ", ".join(parts)
    of_many = "at the least " if len(known) > 1 else ""
    return Finding("machine", "ok", f"free: {of_many}{text}", names(node for node, _ in known))


def _gpus(known: Iterable[tuple[Node, Machine]]) -> list[Finding]:
    asked = [(node, m) for node, m in known if node.gpus and m.n_gpus is not None]
    machines = {node.name: machine for node, machine in asked}
    found = []
    groups = alike(
        [node for node, _ in asked],
        lambda n: (n.gpus, machines[n.name].n_gpus, machines[n.name].gpu_words),
    )
    for (counted, seen, words), group in groups.items():
        said = f" ({words})" if words else ""
        if seen is not None and seen >= counted:
            text = f"{amount(counted, 'GPU')} that Ray counts, and torch sees{said}"
            found.append(Finding("gpus", "ok", text, names(group)))
            continue
        found.append(
            Finding(
                "gpus",
                "fault",
                f"Ray counts {amount(counted, 'GPU')}, and torch sees {seen}{said}",
                names(group),
                "see that `nvidia-smi` lists them and that torch is a build for them "
                "(https://pytorch.org/get-started), or start Ray there with "
                f"--num-gpus={seen}",
            )
        )
    return found


def _cpus(known: Iterable[tuple[Node, Machine]]) -> list[Finding]:
    short = {node.name: machine.n_cpus for node, machine in known if node.cpus > machine.n_cpus}
    groups = alike(
        (node for node, _ in known if node.name in short), lambda n: (n.cpus, short[n.name])
    )
    return [
        Finding(
            "cpus",
            "warning",
            f"Ray counts {amount(counted, 'CPU')}, and a process may use {usable}: runs share them",
            names(group),
            f"start Ray there with --num-cpus={usable}",
        )
        for (counted, usable), group in groups.items()
    ]


def _disks(known: Iterable[tuple[Node, Machine]]) -> list[Finding]:
    found = []
    for node, machine in known:
        total, free = machine.disk_bytes, machine.disk_free_bytes
        if not total or free is None:
            continue
        remedy = "make room there, or give Ray another disk (`ray start --temp-dir`)"
        left = f"{size(free)} of {size(total)} are free on the disk of Ray's session"
        if free < _NO_DISK:
            text = f"{left}: Ray can hardly write its logs"
            found.append(Finding("disk", "fault", text, names([node]), remedy))
        elif free < (1 - _FULL) * total:
            text = (
                f"{left}: to one that is {_FULL:.0%} full Ray moves nothing for which the object "
                "store has no room"
            )
            found.append(Finding("disk", "warning", text, names([node]), remedy))
        elif free < _LITTLE_DISK:
            text = f"{left}: logs and objects that are moved to it may fill it"
            found.append(Finding("disk", "warning", text, names([node]), remedy))
    return found


def _stores(known: Iterable[tuple[Node, Machine]], wanted: Wanted) -> list[Finding]:
    found = []
    for node, machine in known:
        if wanted.data_bytes > node.object_store_bytes:
            found.append(
                Finding(
                    "object store",
                    "fault",
                    f"{size(node.object_store_bytes)}, and the data set takes "
                    f"{size(wanted.data_bytes)}",
                    names([node]),
                    "start Ray there with --object-store-memory of "
                    f"{wanted.data_bytes * 3 // 2} bytes or more, or use less of the data "
                    "(data.train_size)",
                )
            )
        elif machine.shm_bytes is not None and machine.shm_bytes < node.object_store_bytes:
            found.append(
                Finding(
                    "object store",
                    "warning",
                    f"/dev/shm has {size(machine.shm_bytes)}, less than the object store's "
                    f"{size(node.object_store_bytes)}: it lies on a disk, which is slow",
                    names([node]),
                    "enlarge /dev/shm there (in a container: --shm-size)",
                )
            )
    return found


def _memory(known: Iterable[tuple[Node, Machine]], wanted: Wanted) -> list[Finding]:
    """What as many runs as there is room for take at the least; and may take at the most."""
    found = []
    for node, machine in known:
        if machine.memory_free_bytes is None or machine.memory_bytes is None:
            continue
        capacity = Capacity([(node.cpus, node.gpus)])
        n_runs = max(
            (capacity.n_of(replace(kind.needs, workers=1)) for kind in wanted.kinds), default=0
        )
        n_runs = min(n_runs, wanted.concurrency or n_runs)
        least = n_runs * _PROCESS
        # those that train already have theirs
        if node.cpus_free == node.cpus and least > machine.memory_free_bytes:
            found.append(
                Finding(
                    "memory",
                    "warning",
                    f"{size(machine.memory_free_bytes)} are free, and the {n_runs} runs for which "
                    f"it has CPUs take {size(least)} or more",
                    names([node]),
                    "start Ray there with a smaller --num-cpus, or give runs more of them "
                    "(resources.cpus_per_run)",
                )
            )
        elif n_runs * wanted.engine_bytes > machine.memory_bytes:
            text = (
                f"of {size(machine.memory_bytes)} the {n_runs} runs may keep up to "
                f"{size(n_runs * wanted.engine_bytes)} of their batches; "
                "engine_memory_gib bounds that"
            )
            found.append(Finding("memory", "note", text, names([node])))
    return found


def _joined(found: Iterable[Finding]) -> list[Finding]:
    """Equal lines of several nodes as one."""
    joined: dict[Finding, list[str]] = {}
    for each in found:
        key = Finding(each.topic, each.status, each.text, (), each.remedy)
        joined.setdefault(key, []).extend(each.nodes)
    return [
        Finding(each.topic, each.status, each.text, tuple(of), each.remedy)
        for each, of in joined.items()
    ]
