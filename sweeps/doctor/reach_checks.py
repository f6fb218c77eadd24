"""Whether the data, the output and a user's own modules reach the nodes."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.doctor.facts import DataRead, Failure, Node, Wanted
from sweeps.doctor.findings import Finding, alike, names
from sweeps.doctor.sizes import size

_SLOW_BYTES_S = 10e6
"""Of the data set: below this a run waits noticeably before it begins."""
_WORTH_S = 5.0


def reach_findings(
    nodes: Sequence[Node], wanted: Wanted, output_fault: str | None = None
) -> list[Finding]:
    """Of nodes that have answered.

    Args:
        nodes: those nodes.
        wanted: what is to reach them.
        output_fault: why the driver itself cannot write the output.
    """
    outputs = _output(nodes, wanted)
    if output_fault is not None:
        remedy = "name another with --out, or let the driver's user write there"
        text = f"the driver itself cannot write it: {output_fault}"
        outputs.append(Finding("output", "fault", text, remedy=remedy))
    return [*_data(nodes, wanted), *outputs, *_modules(nodes)]


def _data(nodes: Sequence[Node], wanted: Wanted) -> list[Finding]:
    found = []
    good: list[tuple[Node, float]] = []
    what = f"{wanted.data} ({size(wanted.data_bytes)})"
    for node in nodes:
        read = node.data
        if isinstance(read, Failure):
            found.append(
                Finding(
                    "data",
                    "fault",
                    f"{what} does not arrive: {read.reason}",
                    names([node]),
                    "see that all ports between the nodes are open to each other, and that the "
                    "object store has room",
                )
            )
        elif isinstance(read, DataRead) and not read.is_same:
            found.append(
                Finding(
                    "data",
                    "fault",
                    f"{what} arrives as something else: the digests differ",
                    names([node]),
                    "test that machine's memory and network before any run there",
                )
            )
        elif isinstance(read, DataRead):
            if read.seconds > max(_WORTH_S, wanted.data_bytes / _SLOW_BYTES_S):
                found.append(
                    Finding(
                        "data",
                        "warning",
                        f"{what} takes {read.seconds:.1f} s to arrive, at "
                        f"{size(wanted.data_bytes / read.seconds)} a second",
                        names([node]),
                        "look at that machine's network; each of its runs waits so long at first",
                    )
                )
            else:
                good.append((node, read.seconds))
    if good:
        text = f"{what} arrives from the object store in {_between([s for _, s in good])}"
        found.insert(0, Finding("data", "ok", text, names(node for node, _ in good)))
    return found


def _between(seconds: Sequence[float]) -> str:
    least, most = f"{min(seconds):.2f}", f"{max(seconds):.2f}"
    return f"{most} s" if least == most else f"{least} to {most} s"


def _output(nodes: Sequence[Node], wanted: Wanted) -> list[Finding]:
    where = f"'{wanted.output}'"
    found = []
    asked = [node for node in nodes if node.output is not None]
    for output, group in alike(asked, lambda node: node.output).items():
        of_nodes = names(group)
        if output == "shared":
            text = f"{where} is the driver's own folder: checkpoints are written straight to it"
            found.append(Finding("output", "ok", text, of_nodes))
        elif output == "written":
            text = f"{where} can be written, read and deleted"
            found.append(Finding("output", "ok", text, of_nodes))
        elif output == "elsewhere":
            text = (
                f"{where} is not the driver's folder there: checkpoints travel to the driver's "
                "machine, which takes a little longer"
            )
            found.append(Finding("output", "note", text, of_nodes))
        elif wanted.is_output_local:
            assert isinstance(output, Failure)
            found.append(
                Finding(
                    "output",
                    "warning",
                    f"{where} is the driver's own folder, but cannot be written: {output.reason}",
                    of_nodes,
                    "let the user that runs Ray there write to it, or the runs leave no "
                    "checkpoints",
                )
            )
        else:
            assert isinstance(output, Failure)
            found.append(
                Finding(
                    "output",
                    "fault",
                    f"{where} cannot be used: {output.reason}",
                    of_nodes,
                    "install what it needs there (such as pip install 'rso-sweep[s3]'), and give "
                    "Ray the credentials in its environment or the machine's role",
                )
            )
    return found


def _modules(nodes: Sequence[Node]) -> list[Finding]:
    found = []
    failing: dict[str, list[Node]] = {}
    sound: list[Node] = []
    references: set[str] = set()
    for node in nodes:
        if isinstance(node.modules, Failure):
            failing.setdefault(node.modules.reason, []).append(node)
        elif node.modules:
            references |= set(node.modules)
            faults = [fault for fault in node.modules.values() if fault is not None]
            for fault in faults:
                failing.setdefault(fault, []).append(node)
            if not faults:
                sound.append(node)
    if sound:
        what = ", ".join(sorted(references))
        found.append(Finding("modules", "ok", f"{what} can be imported", names(sound)))
    for fault, group in failing.items():
        found.append(
            Finding(
                "modules",
                "fault",
                fault,
                names(group),
                "install the module there, put it into a shared folder and start from that, or "
                "let `rso-sweep submit` send it along",
            )
        )
    return found
