"""How findings are shown."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sweeps.doctor.facts import Clock, Failure
from sweeps.doctor.printing import as_json, has_fault, lines


def _shown(cases: Any, nodes: list[Any], **rest: Any) -> list[str]:
    examination = cases.examination(nodes, **rest)
    return [line.plain for line in lines(examination, cases.findings(nodes, **rest))]


def test_a_sound_cluster_of_a_hundred_nodes_is_a_page(cases: Any) -> None:
    nodes = [replace(cases.node, name=f"node{number}") for number in range(100)]
    assert _shown(cases, nodes) == [
        "the cluster at 10.0.0.1:6379: 100 nodes, 800 CPUs, 0 GPUs; for the sweep mine",
        "ok      token      the cluster lets in only those who have its token",
        "ok      dashboard  at 127.0.0.1:8265, for its own machine alone (others go through SSH)",
        "ok      versions   all 100 nodes: Python 3.11.9, ray 2.60.0, torch 2.14.1, numba 0.68.1, "
        "numpy 2.4.6, optuna 5.0.0, as the driver has them",
        "ok      code       all 100 nodes: the same rso-sweep as the driver's",
        "ok      machine    all 100 nodes: free: at the least memory 48.0 GB, object store "
        "20.0 GB, disk 300 GB",
        "ok      clock      all 100 nodes: within 0.4 ms of the driver's, give or take 1.1 ms",
        "ok      data       all 100 nodes: mnist (19.0 MB) arrives from the object store in 0.10 s",
        "ok      output     all 100 nodes: '/shared/mine' is the driver's own folder: checkpoints "
        "are written straight to it",
        "ok      modules    all 100 nodes: mine:network can be imported",
        "ok      trial      all 100 nodes: rso one_conv, batch 256: 30,000 visits a second",
        "ok      room       800 runs at once with 1 CPU (rso one_conv, batch 256 and 11 more), "
        "on 100 nodes",
        "nothing stands in the way of a sweep",
    ]


def test_nodes_are_named_where_few_and_counted_where_many(cases: Any) -> None:
    nodes = cases.nodes(20)
    for index in range(6):
        nodes[index] = replace(nodes[index], output="elsewhere")
    nodes[7] = replace(nodes[7], clock=Clock(5.0, 0.1))
    shown = _shown(cases, nodes)
    assert any(line.startswith("note    output     6 nodes (a, b, ...): ") for line in shown)
    assert any(line.startswith("warning clock      h: 5.0 s ahead of") for line in shown)
    assert shown[-1] == "1 warning, 1 note"


def test_a_remedy_stands_beneath_its_finding(cases: Any) -> None:
    a, b = cases.nodes(2)
    shown = _shown(cases, [a, replace(b, clock=Clock(-5.0, 0.1))])
    at = next(index for index, line in enumerate(shown) if line.startswith("warning"))
    assert shown[at + 1] == (
        "                   -> let chrony or systemd-timesyncd set it (`timedatectl set-ntp true`)"
    )


def test_of_a_single_node_no_name_is_needed(cases: Any) -> None:
    cluster = replace(cases.cluster, is_own=True, dashboard=None)
    shown = _shown(cases, cases.nodes(1), cluster=cluster)
    assert shown[0] == "Ray on this machine: 1 node, 8 CPUs, 0 GPUs; for the sweep mine"
    assert "ok      clock     within 0.4 ms of the driver's, give or take 1.1 ms" in shown


@pytest.mark.parametrize("hostile", ["\x1b[2Jgone", "one\ntwo", "s3://me:secret@host/x"])
def test_what_a_node_says_can_do_nothing_to_the_terminal_and_has_no_secrets(
    cases: Any, hostile: str
) -> None:
    (a,) = cases.nodes(1)
    shown = _shown(cases, [replace(a, output=Failure(hostile))])
    assert not [line for line in shown if "\x1b" in line or "\n" in line or "secret" in line]


def test_as_json_all_facts_and_findings_are_there(cases: Any) -> None:
    a, b = cases.nodes(2)
    examination = cases.examination([a, replace(b, data=Failure("lost"))])
    found = cases.findings(examination.nodes)
    document = json.loads(json.dumps(as_json(examination, found)))
    assert document["is_sound"] is False
    assert has_fault(found)
    fault = next(each for each in document["findings"] if each["status"] == "fault")
    assert (fault["topic"], fault["nodes"]) == ("data", ["b"])
    assert document["nodes"][0]["software"]["versions"]["torch"] == "2.14.1"
    assert document["nodes"][1]["data"] == {"reason": "lost"}
    assert document["cluster"]["address"] == "10.0.0.1:6379"
