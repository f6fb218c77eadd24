"""What a job's driver says: `logs`, and what is said while a job stops."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sweeps.jobs.job import Job
from sweeps.jobs.server import JobServer

_OF_RAY = re.compile(
    r"Running entrypoint for job "
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+\s+INFO job_manager\.py:\d+ -- Runtime env is setting up"
)


def said_so_far(server: JobServer, job: Job) -> Iterator[str]:
    """The lines that the driver has written, with their ends."""
    return _of_the_driver([server.log(job.name)])


def followed(server: JobServer, job: Job) -> Iterator[str]:
    """The lines that the driver writes, from the beginning to the end of the job."""
    return _of_the_driver(server.follow(job.name))


def _of_the_driver(pieces: Iterable[str]) -> Iterator[str]:
    """Whole lines, without those that Ray puts before the driver's first."""
    waiting = ""
    is_head = True
    for piece in pieces:
        *lines, waiting = f"{waiting}{piece}".split("\n")
        for line in lines:
            is_head = is_head and _OF_RAY.match(line) is not None
            if not is_head:
                yield f"{line}\n"
    if waiting:
        yield f"{waiting}\n"
