"""Facts of nodes in which all is well, to be changed by the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sweeps.doctor.checks import findings
from sweeps.doctor.facts import (
    Clock,
    Cluster,
    DataRead,
    Examination,
    Machine,
    Node,
    RunKind,
    Software,
    TrialSpeed,
    Wanted,
)
from sweeps.doctor.findings import Finding
from sweeps.resources import Needs

GB = 10**9

SOFTWARE = Software(
    "3.11.9",
    {"ray": "2.60.0", "torch": "2.14.1", "numba": "0.68.1", "numpy": "2.4.6", "optuna": "5.0.0"},
    "c0de",
)
MACHINE = Machine(
    n_cpus=8,
    load=0.5,
    memory_bytes=64 * GB,
    memory_free_bytes=48 * GB,
    shm_bytes=32 * GB,
    disk_bytes=500 * GB,
    disk_free_bytes=300 * GB,
)
NODE = Node(
    name="node",
    cpus=8.0,
    gpus=0.0,
    cpus_free=8.0,
    object_store_bytes=20 * GB,
    software=SOFTWARE,
    machine=MACHINE,
    clock=Clock(0.0004, 0.0011),
    data=DataRead(0.1, is_same=True),
    output="shared",
    modules={"mine:network": None},
    trial=TrialSpeed(30_000.0, 1.0, are_compiled=False),
)
CLUSTER = Cluster(
    is_own=False,
    address="10.0.0.1:6379",
    asks_for_token=True,
    dashboard="127.0.0.1:8265",
    is_dashboard_open=False,
    growth=None,
)
WANTED = Wanted(
    sweep="mine",
    data="mnist",
    data_bytes=19 * 10**6,
    kinds=(RunKind(Needs(), "rso one_conv, batch 256", 12),),
    concurrency=None,
    trial="rso one_conv, batch 256",
    trial_unit="visits",
    output="/shared/mine",
)


class Cases:
    """Makes examinations in which all is well but for what a test changes."""

    software, machine, node, cluster, wanted = SOFTWARE, MACHINE, NODE, CLUSTER, WANTED

    def nodes(self, n: int, **changed: Any) -> list[Node]:
        """So many nodes, named a, b, c, ..."""
        return [replace(NODE, name=chr(ord("a") + index), **changed) for index in range(n)]

    def examination(
        self,
        nodes: Sequence[Node],
        *,
        cluster: Cluster = CLUSTER,
        wanted: Wanted = WANTED,
        driver: Software = SOFTWARE,
        output_fault: str | None = None,
    ) -> Examination:
        """Of these nodes."""
        return Examination(driver, cluster, tuple(nodes), wanted, output_fault)

    def findings(self, nodes: Sequence[Node], **rest: Any) -> list[Finding]:
        """What is found in them."""
        return findings(self.examination(nodes, **rest))

    def bad(self, nodes: Sequence[Node], **rest: Any) -> list[Finding]:
        """The same without what is well."""
        return [finding for finding in self.findings(nodes, **rest) if finding.status != "ok"]


@pytest.fixture(scope="session")
def cases() -> Cases:
    """Makes examinations."""
    return Cases()


Only = Callable[[list[Finding]], Finding]


@pytest.fixture(scope="session")
def only() -> Only:
    """The single finding of a list."""

    def single(found: list[Finding]) -> Finding:
        assert len(found) == 1, found
        return found[0]

    return single
