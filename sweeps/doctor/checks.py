"""From the facts of an examination to its findings."""

from __future__ import annotations

from sweeps.doctor.clock_checks import clock_findings
from sweeps.doctor.cluster_checks import cluster_findings
from sweeps.doctor.facts import Examination, Failure
from sweeps.doctor.findings import Finding, names
from sweeps.doctor.machine_checks import machine_findings
from sweeps.doctor.reach_checks import reach_findings
from sweeps.doctor.room_checks import room_findings
from sweeps.doctor.software_checks import software_findings
from sweeps.doctor.trial_checks import trial_findings


def findings(examination: Examination) -> list[Finding]:
    """All that is to be said, in the order in which a reader should look at it."""
    nodes, wanted = examination.nodes, examination.wanted
    answering = [node for node in nodes if not isinstance(node.software, Failure)]
    found = cluster_findings(examination.cluster, examination.driver)
    for node in nodes:
        if isinstance(node.software, Failure):
            found.append(
                Finding(
                    "nodes",
                    "fault",
                    f"cannot be examined: {node.software.reason}",
                    names([node]),
                    "see `ray status`, and the logs in /tmp/ray/session_latest/logs there; then "
                    "start Ray there again, or take the node out",
                )
            )
    found += software_findings(examination.driver, answering)
    found += machine_findings(answering, wanted)
    found += clock_findings(answering)
    found += reach_findings(answering, wanted, examination.output_fault)
    found += trial_findings(answering, wanted)
    found += room_findings(nodes, wanted, examination.cluster.growth)
    return found
