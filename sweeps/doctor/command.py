"""What `rso-sweep doctor` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ray
from rich.console import Console

from sweeps.doctor.checks import findings
from sweeps.doctor.facts import Examination
from sweeps.doctor.findings import Finding
from sweeps.doctor.gathering import gather
from sweeps.doctor.printing import as_json, has_fault, lines
from sweeps.doctor.sweep_needs import sweep_needs
from sweeps.ray_connection import connect


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found out, and what it means."""

    examination: Examination
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether no finding is a fault."""
        return not has_fault(self.findings)

    def as_json(self) -> dict[str, object]:
        """All facts and findings, in JSON's own types."""
        return as_json(self.examination, self.findings)

    def lines(self) -> list[str]:
        """A line for each finding, with rich's markup."""
        return [line.markup for line in lines(self.examination, self.findings)]


def diagnosis(
    sweep: str | None,
    overrides: Sequence[str],
    out: str | None,
    address: str | None,
    console: Console,
) -> Diagnosis:
    """Examines a cluster, or this machine, and leaves it as it was.

    Args:
        sweep: a preset's name, or a sweep file; None for what any sweep needs.
        overrides: the values of `--set`.
        out: the run folder; None for that of the sweep file.
        address: of the cluster; None, or `local`, for Ray on this machine alone.
        console: where progress is shown.

    Raises:
        InvalidInput: a fault of the sweep, or no such cluster.
    """
    is_own = address in (None, "local")
    with console.status("reading the sweep and its data") as status:
        status.update("starting Ray" if is_own else "joining the cluster")
        wanted, brought = sweep_needs(sweep, overrides, out, is_own=is_own)
        connect(None if is_own else address)
        try:
            examination = gather(wanted, brought, status.update)
        finally:
            ray.shutdown()
    return Diagnosis(examination, tuple(findings(examination)))


def diagnosis_within_ray(
    sweep: str | None,
    overrides: Sequence[str] = (),
    out: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Diagnosis:
    """The same of the cluster in which this process is already; it stays in it."""
    wanted, brought = sweep_needs(sweep, overrides, out, is_own=False)
    examination = gather(wanted, brought, say)
    return Diagnosis(examination, tuple(findings(examination)))
