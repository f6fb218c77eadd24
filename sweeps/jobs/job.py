"""A sweep's job on a cluster: what its server knows of it, in this program's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from rso_core.errors import InvalidInput, nearest

Status = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
"""Ray's words."""

FINISHED, RUNS_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""What a driver ends with, as `rso-sweep run` does."""

_PREFIX = "rso_sweep_"


@dataclass(frozen=True, slots=True)
class About:
    """What a job carries of its sweep, visible to all who may see the cluster's jobs."""

    sweep: str
    """The sweep's name."""
    first: str
    """The name of the sweep's first job; jobs that go on with it share it."""
    folder: str
    """The run folder there: a path of the head node, or an address."""
    modules: str
    """The user's own modules that travelled, those at the top, with spaces between."""
    versions: str
    """Of this project, Python and Ray on the machine that submitted it."""

    def metadata(self) -> dict[str, str]:
        """As Ray keeps it."""
        return {f"{_PREFIX}{key}": value for key, value in asdict(self).items()}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> About | None:
        """What `metadata` gave; None for the job of another program."""
        try:
            return cls(**{key: metadata[f"{_PREFIX}{key}"] for key in cls.__dataclass_fields__})
        except KeyError:
            return None


@dataclass(frozen=True, slots=True)
class Job:
    """A job, at the moment when it was asked for."""

    name: str
    about: About
    status: Status
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    """Of the driver, if it has ended by itself."""
    message: str
    """What Ray says of a job that failed before its driver could."""

    @property
    def is_over(self) -> bool:
        """Whether its driver has ended, however it did."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")

    @property
    def outcome(self) -> int:
        """The exit status that `rso-sweep run` would have had; 0 for one that is not over."""
        if self.status == "STOPPED":
            return INTERRUPTED
        if self.status != "FAILED":
            return FINISHED
        known = (RUNS_FAILED, BAD_INPUT, INTERRUPTED)
        return self.exit_code if self.exit_code in known else RUNS_FAILED

    def state(self) -> str:
        """Its state in words."""
        if self.status == "PENDING":
            return "waiting to start"
        if self.status == "RUNNING":
            return "running"
        if self.outcome == INTERRUPTED:
            return "stopped"
        if self.outcome == FINISHED:
            return "finished"
        if self.outcome == BAD_INPUT:
            return "refused: `rso-sweep logs` says why"
        if self.exit_code == RUNS_FAILED:
            return "ended with a failure: `rso-sweep logs` says which"
        return f"failed{_reason(self.exit_code, self.message)}"


def sweeps_of(jobs: Iterable[Job]) -> list[Job]:
    """The latest job of each sweep, the latest of all first."""
    latest: dict[str, Job] = {}
    for job in sorted(jobs, key=_started):
        latest[job.about.first] = job
    return sorted(latest.values(), key=_started, reverse=True)


def found(name: str, jobs: Iterable[Job]) -> Job:
    """The job of that name; the name of a sweep's first job means its latest one.

    Raises:
        InvalidInput: there is none.
    """
    jobs = list(jobs)
    of_sweep = [job for job in jobs if job.about.first == name]
    if of_sweep:
        return max(of_sweep, key=_started)
    for job in jobs:
        if job.name == name:
            return job
    if not jobs:
        raise InvalidInput(
            f"'JOB' must be a sweep's job on the cluster, got '{name}', but there is none yet; "
            "`rso-sweep submit` sends one"
        )
    names = {job.name for job in jobs} | {job.about.first for job in jobs}
    raise InvalidInput(
        f"'JOB' must be a sweep's job on the cluster, got '{name}'; {nearest(name, names)}"
    )


def _started(job: Job) -> tuple[datetime, int]:
    # one that was submitted within the same millisecond has the longer number
    return job.started_at or datetime.max.replace(tzinfo=UTC), len(job.name)


def _reason(exit_code: int | None, message: str) -> str:
    if exit_code is not None and exit_code < 0:
        return f": its driver was killed by signal {-exit_code}"
    if exit_code is not None:
        return f": its driver ended with exit status {exit_code}"
    line = " ".join(message.split())
    return f": {line[:300]}" if line else ""
