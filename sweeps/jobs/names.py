"""The names of jobs: readable, and each given once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

_LONGEST = 40


def new_name(sweep: str, now: datetime, token: str) -> str:
    """The name of a sweep's first job, such as mine-1127-4f2a.

    Args:
        sweep: the sweep's name, of letters, digits, '-', '_' and '.'.
        now: month and day are part of the name.
        token: what tells it from all others, of letters and digits.
    """
    # one that began with a dash would be taken for an option of the next command
    readable = sweep.strip("-.")[:_LONGEST].rstrip("-.") or "sweep"
    return f"{readable}-{now:%m%d}-{token}"


def next_name(first: str, taken: Iterable[str]) -> str:
    """The name of the job that goes on with a sweep: that of its first one, numbered from 2."""
    names = set(taken)
    number = 2
    while f"{first}-{number}" in names:
        number += 1
    return f"{first}-{number}"
