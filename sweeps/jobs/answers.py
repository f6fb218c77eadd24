"""How a program on the head node answers: in one line of its job's log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rso_core.errors import InvalidInput

ANSWER = "rso-sweep-answer "
"""Begins the line with an answer in a log, which has other lines, too."""


def answered(log: str, message: str) -> Mapping[str, Any]:
    """The answer in a log.

    Args:
        log: of the job.
        message: what Ray says of it, in case that it has not even begun.

    Raises:
        InvalidInput: the answer lists faults, or there is none.
    """
    for line in log.splitlines():
        if line.startswith(ANSWER):
            answer: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
            if answer.get("problems"):
                raise InvalidInput(*answer["problems"])
            return answer
    lines = [" ".join(line.split()) for line in (log.strip() or message).splitlines()]
    said = lines[-1][:500] if lines else "it said nothing"
    raise InvalidInput(
        f"the head node cannot run this program ({said}); the packages that it needs must be "
        "installed in the Python that runs Ray on all machines of the cluster"
    )
