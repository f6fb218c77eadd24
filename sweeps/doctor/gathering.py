"""Asks all living nodes of the Ray cluster that this process is in for the facts."""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import ray
from ray._private import state as ray_state
from ray.exceptions import RayError

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import reason
from sweeps.doctor import probe
from sweeps.doctor.clocks import Exchange, clock_of
from sweeps.doctor.cluster_facts import cluster_facts
from sweeps.doctor.facts import (
    PACKAGES,
    Clock,
    DataRead,
    Examination,
    Failure,
    Machine,
    Node,
    Software,
    TrialSpeed,
    Wanted,
)
from sweeps.doctor.output_probe import driver_fault, reached_outputs
from sweeps.doctor.probes import ANSWER_S, Probes
from sweeps.ray_crew import with_arrays
from sweeps.ray_losses import loss

PROJECT = ("rso_core", "sweeps")
"""The packages that an actor imports."""
_LONG_S = 240.0
"""How long a node may take to read the data, or for a trial, with kernels to be compiled before."""
_MEASURED_S = 1.0
_N_EXCHANGES = 12


@dataclass(frozen=True)
class Brought:
    """What the driver brings along for the nodes to try."""

    data: Dataset
    configuration: Configuration
    """For the trial: more cycles than a second is enough for."""
    n_threads: int
    references: tuple[tuple[str, str], ...] = ()
    """Fields of the sweep file, and the user's own code that they name."""
    output: str | None = None
    """The address of the run folder; None if none was named."""
    is_own: bool = False
    """Whether Ray was started on this machine for the examination."""


def gather(wanted: Wanted, brought: Brought, say: Callable[[str], None]) -> Examination:
    """Examines the cluster; takes some ten seconds, or a minute where kernels are compiled.

    Nodes need no free CPU for it. What a node cannot answer is a `Failure` among its facts.

    Args:
        wanted: goes into the result.
        brought: what the nodes are to try.
        say: is told what is being done, a few words each time.
    """
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    living = [node for node in listed if node["Alive"]]
    with Probes(living) as probes:
        say("looking at the nodes")
        nodes = _looked_at(living, probes)
        able = [each for each, node in nodes.items() if not isinstance(node.software, Failure)]
        say("reading the nodes' clocks")
        for each in able:
            nodes[each] = replace(nodes[each], clock=_clock(probes.actors[each]))
        say("sending the data")
        arrays, digest = _arrays(brought.data)
        reference = _put(arrays)
        for each, read in _reads(reference, digest, able, probes).items():
            nodes[each] = replace(nodes[each], data=read)
        output_fault = None if brought.output is None else driver_fault(brought.output)
        if brought.output is not None and output_fault is None:
            say("trying the output")
            for each, reach in reached_outputs(brought.output, able, probes).items():
                nodes[each] = replace(nodes[each], output=reach)
        # as the actors that train do
        probes.ask("extend_path", dict.fromkeys(able, (sys.path,)), ANSWER_S)
        if brought.references:
            say("importing modules")
            tried = dict.fromkeys(able, (brought.references,))
            for each, modules in probes.call("imports", tried, ANSWER_S).items():
                nodes[each] = replace(nodes[each], modules=modules)
        say("training for a second on each node")
        hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in living}
        ready = {each: hosts[each] for each in able if _can_train(nodes[each])}
        for each, trial in _trials(reference, brought, ready, probes).items():
            nodes[each] = replace(nodes[each], trial=trial)
        cluster = cluster_facts(brought.is_own, listed, probes)
    return Examination(own_software(), cluster, tuple(nodes.values()), wanted, output_fault)


def own_software() -> Software:
    """What this machine runs."""
    return Software(**probe.software(list(PACKAGES), list(PROJECT)))


def _looked_at(living: Sequence[Mapping[str, Any]], probes: Probes) -> dict[str, Node]:
    """By Ray's identifier, with what can be seen at once."""
    free = ray_state.available_resources_per_node()  # type: ignore[no-untyped-call]
    asked = {
        node["NodeID"]: (list(PACKAGES), list(PROJECT), node["Resources"].get("GPU", 0) > 0)
        for node in living
    }
    answers = probes.ask("look", asked, ANSWER_S)
    named = _names(living)
    nodes = {}
    for node in living:
        identifier, resources = node["NodeID"], node["Resources"]
        answer = answers[identifier]
        is_known = not isinstance(answer, Failure)
        nodes[identifier] = Node(
            name=named[identifier],
            cpus=resources.get("CPU", 0.0),
            gpus=resources.get("GPU", 0.0),
            cpus_free=free.get(identifier, {}).get("CPU", 0.0),
            object_store_bytes=int(resources.get("object_store_memory", 0)),
            software=Software(**answer["software"]) if is_known else answer,
            machine=Machine(**answer["machine"]) if is_known else None,
        )
    return nodes


def _names(living: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Hosts, with the beginning of Ray's identifier where several nodes share one."""
    hosts = Counter(node["NodeManagerHostname"] for node in living)
    return {
        node["NodeID"]: node["NodeManagerHostname"]
        if hosts[node["NodeManagerHostname"]] == 1
        else f"{node['NodeManagerHostname']}-{node['NodeID'][:6]}"
        for node in living
    }


def _clock(actor: Any) -> Clock | Failure:
    exchanges = []
    try:
        for _ in range(_N_EXCHANGES):
            sent = time.time()
            received, answered = ray.get(actor.now.remote(), timeout=ANSWER_S)
            exchanges.append(Exchange(sent, received, answered, time.time()))
    except RayError as error:
        return Failure(loss(error))
    return clock_of(exchanges[1:])  # the first also opens the connection


def _arrays(data: Dataset) -> tuple[dict[str, Any], str]:
    """The arrays of the data set by name, and their digest."""
    members = ((item.name, getattr(with_arrays(data), item.name)) for item in fields(data))
    arrays = {name: value for name, value in members if isinstance(value, np.ndarray)}
    return arrays, probe.digest_of(arrays)


def _put(arrays: dict[str, Any]) -> Any:
    """A reference to them in the object store, or why they have none."""
    try:
        return ray.put(arrays)
    except RayError as error:  # the store is too small, or full
        return Failure(f"the driver cannot put it into the object store ({reason(error)[:200]})")


def _reads(
    reference: Any, digest: str, able: Sequence[str], probes: Probes
) -> dict[str, DataRead | Failure]:
    if isinstance(reference, Failure):
        return dict.fromkeys(able, reference)
    found: dict[str, DataRead | Failure] = {}
    answers = probes.ask("read", {each: ([reference],) for each in able}, _LONG_S)
    for each, answer in answers.items():
        if isinstance(answer, Failure):
            found[each] = answer
        elif isinstance(answer, str):
            found[each] = Failure(answer)
        else:
            found[each] = DataRead(answer[0], is_same=answer[1] == digest)
    return found


def _trials(
    reference: Any, brought: Brought, hosts: Mapping[str, str], probes: Probes
) -> dict[str, TrialSpeed | Failure]:
    """Nodes of one host have their trials one after the other, since they share its CPUs."""
    by_host: dict[str, list[str]] = {}
    for each, host in hosts.items():
        by_host.setdefault(host, []).append(each)
    what = (brought.data.name, brought.data.n_classes)
    arguments = (what, [reference], brought.configuration, brought.n_threads, _MEASURED_S)
    found: dict[str, TrialSpeed | Failure] = {}
    for turn in itertools.zip_longest(*by_host.values()):
        tried = {each: arguments for each in turn if each is not None}
        for each, answer in probes.call("trial", tried, _LONG_S).items():
            found[each] = answer if isinstance(answer, Failure) else TrialSpeed(**answer)
    return found


def _can_train(node: Node) -> bool:
    """Whether a trial can say anything that is not said already."""
    is_missing = isinstance(node.software, Software) and node.software.code is None
    modules = node.modules
    has_modules = not isinstance(modules, Failure) and not any((modules or {}).values())
    return not is_missing and has_modules and isinstance(node.data, DataRead)
