"""Stopping a job as Ctrl-C stops a sweep, and waiting for that."""

from __future__ import annotations

from collections.abc import Callable

from sweeps.jobs.following import followed, said_so_far
from sweeps.jobs.job import Job
from sweeps.jobs.server import JobServer

_SAID_FIRST, _SAID_LAST = "stopping: ", "interrupted; "
"""By a driver that is stopped: before its runs write their checkpoints, and after that."""


def stopped(server: JobServer, job: Job, write: Callable[[str], None]) -> str:
    """Stops a job, and waits until its driver has ended.

    Ray sends its driver SIGTERM, which for a driver is what Ctrl-C is, and kills it only after the
    time that the job itself has asked for (see `cargo.STOP_WAIT_S`).

    Args:
        server: of the cluster.
        job: one that is not over.
        write: receives the lines that the driver writes from now on.

    Returns:
        How it ended, in words.
    """
    n_known = sum(1 for _ in said_so_far(server, job))
    server.stop(job.name)
    lines: list[str] = []
    for index, line in enumerate(followed(server, job)):
        if index >= n_known:
            lines.append(line)
            write(line)
    now = server.job(job.name)
    if now.status != "STOPPED":
        return now.state()  # it was quicker
    if any(_SAID_LAST in line for line in lines):
        return "stopped; its runs have written their checkpoints"
    if any(_SAID_FIRST in line for line in lines):
        return "killed while its runs wrote their checkpoints; what was complete is kept"
    return "stopped while it trained nothing: before its first run, or after its last"
