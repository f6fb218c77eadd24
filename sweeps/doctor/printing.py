"""What an examination has found, as lines for a terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from sweeps.doctor.facts import Examination
from sweeps.doctor.findings import STATUSES, Finding, Status
from sweeps.doctor.sizes import amount
from sweeps.storage.redaction import redacted, without_secrets

_STYLES: dict[Status, str] = {
    "ok": "green",
    "note": "cyan",
    "warning": "yellow",
    "fault": "bold red",
}
_MOST_NAMED = 4
"""Nodes of a line; of more the number is said, and the first ones."""


def lines(examination: Examination, found: Sequence[Finding]) -> list[Text]:
    """A heading, a line for each finding with its remedy beneath, and a summary."""
    nodes = examination.nodes
    width = max((len(finding.topic) for finding in found), default=0)
    shown = [_heading(examination)]
    for finding in found:
        line = Text.assemble(
            (f"{finding.status:<8}", _STYLES[finding.status]), f"{finding.topic:<{width}}  "
        )
        subject = _subject(finding, len(nodes))
        line.append(_printable(f"{subject}: {finding.text}" if subject else finding.text))
        shown.append(line)
        if finding.remedy is not None:
            shown.append(Text(f"{'':<8}{'':<{width}}  -> {_printable(finding.remedy)}", "dim"))
    shown.append(_summary(found))
    return shown


def as_json(examination: Examination, found: Sequence[Finding]) -> dict[str, Any]:
    """All facts and findings, in JSON's own types."""
    document: dict[str, Any] = without_secrets(
        {
            "is_sound": not has_fault(found),
            "findings": [
                {
                    "topic": finding.topic,
                    "status": finding.status,
                    "nodes": list(finding.nodes),
                    "text": finding.text,
                    "remedy": finding.remedy,
                }
                for finding in found
            ],
            "driver": asdict(examination.driver),
            "cluster": asdict(examination.cluster),
            "nodes": [asdict(node) for node in examination.nodes],
        }
    )
    return document


def has_fault(found: Sequence[Finding]) -> bool:
    """Whether a sweep cannot run so."""
    return any(finding.status == "fault" for finding in found)


def _heading(examination: Examination) -> Text:
    cluster, nodes = examination.cluster, examination.nodes
    where = "Ray on this machine" if cluster.is_own else f"the cluster at {cluster.address}"
    n_nodes = "1 node" if len(nodes) == 1 else f"{len(nodes):,} nodes"
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    sweep = examination.wanted.sweep
    line = Text.assemble(
        (where, "bold"), f": {n_nodes}, {amount(cpus, 'CPU')}, {amount(gpus, 'GPU')}"
    )
    return line if sweep is None else line.append(f"; for the sweep {sweep}")


def _subject(finding: Finding, n_nodes: int) -> str:
    """Of which nodes a line is, in few words."""
    of = finding.nodes
    if not of or n_nodes == 1:
        return ""
    if len(of) == n_nodes:
        return f"all {n_nodes} nodes"
    if len(of) <= _MOST_NAMED:
        return ", ".join(of)
    return f"{len(of)} nodes ({', '.join(of[:2])}, ...)"


def _summary(found: Sequence[Finding]) -> Text:
    counts = Counter(finding.status for finding in found)
    worst: Status = next((s for s in reversed(STATUSES) if counts[s]), "ok")
    parts = [
        f"{counts[status]} {status if counts[status] == 1 else status + 's'}"
        for status in ("fault", "warning", "note")
        if counts[status]
    ]
    if worst in ("ok", "note"):
        parts.insert(0, "nothing stands in the way of a sweep")
    return Text(", ".join(parts), _STYLES[worst])


def _printable(text: str) -> str:
    """On one line, without secrets and without what a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in redacted(text))
