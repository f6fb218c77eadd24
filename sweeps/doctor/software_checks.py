"""Whether nodes run what the driver runs."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.requirements import Requirement

from sweeps.doctor.facts import Node, Software
from sweeps.doctor.findings import Finding, Status, alike, names

REQUIRED = ("ray[default]>=2.50", "torch>=2.9", "numba>=0.61", "numpy>=2.0", "optuna>=4.5")
"""As pyproject.toml has them; where the project is sent along with a job nothing else knows."""

_WHY: dict[str, tuple[Status, str]] = {
    "ray": ("fault", "actors and driver cannot be relied on to understand each other"),
    "python": ("fault", "what is sent from one to the other may not be readable"),
    "torch": ("warning", "its runs may give other numbers"),
    "numba": ("warning", "its runs may give other numbers"),
    "numpy": ("warning", "its runs may give other numbers"),
    "optuna": ("note", "only the driver uses it"),
}


def software_findings(driver: Software, nodes: Sequence[Node]) -> list[Finding]:
    """Versions and the project's own code, of nodes that have answered.

    Args:
        driver: what the driver's machine runs.
        nodes: whose `software` is known.
    """
    return [*_ranges(driver), *_versions(driver, nodes), *_code(driver, nodes)]


def _ranges(driver: Software) -> list[Finding]:
    """The driver's own packages; those of the nodes are held against them."""
    found = []
    for written in REQUIRED:
        requirement = Requirement(written)
        version = driver.versions.get(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            found.append(
                Finding(
                    "versions",
                    "fault",
                    f"the driver has {_version(requirement.name, version)}, "
                    f"and needs {requirement.name}{requirement.specifier}",
                    remedy=f"pip install '{written}' on all machines",
                )
            )
    return found


def _versions(driver: Software, nodes: Sequence[Node]) -> list[Finding]:
    def differing(node: Node) -> tuple[tuple[str, str | None, str | None], ...]:
        there = _software(node)
        pairs: list[tuple[str, str | None, str | None]] = [("python", there.python, driver.python)]
        pairs += [
            (name, there.versions.get(name), driver.versions[name]) for name in driver.versions
        ]
        return tuple(pair for pair in pairs if pair[1] != pair[2])

    found = []
    for differences, group in alike(nodes, differing).items():
        if not differences:
            all_of_them = [("Python", driver.python), *driver.versions.items()]
            same = ", ".join(f"{name} {version}" for name, version in all_of_them)
            found.append(Finding("versions", "ok", f"{same}, as the driver has them", names(group)))
        for name, there, here in differences:
            found.append(_difference(name, there, here, names(group)))
    return found


def _difference(
    name: str, there: str | None, here: str | None, of_nodes: tuple[str, ...]
) -> Finding:
    status, why = _WHY[name]
    if there is None and status != "note":
        status, why = "fault", "no run can be trained there"
    if name == "python" and there and here and _minor(there) == _minor(here):
        status, why = "note", "which is near enough"
    text = f"{_version(name, there)}, and the driver has {_version(name, here)}: {why}"
    if status not in ("warning", "fault"):
        return Finding("versions", status, text, of_nodes)
    if name == "python":
        remedy = f"start Ray there with Python {_minor(here or '')}, as the driver's"
    else:
        remedy = f"pip install '{name}=={here}' there, and start Ray there again"
    return Finding("versions", status, text, of_nodes, remedy)


def _code(driver: Software, nodes: Sequence[Node]) -> list[Finding]:
    found = []
    for code, group in alike(nodes, lambda node: _software(node).code).items():
        if code is None:
            found.append(
                Finding(
                    "code",
                    "fault",
                    "rso-sweep cannot be imported",
                    names(group),
                    "install it there (pip install), or let `rso-sweep submit` send it along",
                )
            )
        elif code != driver.code:
            found.append(
                Finding(
                    "code",
                    "fault",
                    "another rso-sweep than the driver's, whatever its version says",
                    names(group),
                    "install the same checkout there, or let `rso-sweep submit` send the "
                    "driver's along",
                )
            )
        else:
            found.append(Finding("code", "ok", "the same rso-sweep as the driver's", names(group)))
    return found


def _software(node: Node) -> Software:
    assert isinstance(node.software, Software)
    return node.software


def _version(name: str, version: str | None) -> str:
    return f"no {name}" if version is None else f"{name} {version}"


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])
