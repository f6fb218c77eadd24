"""Short jobs on the head node that look something up there."""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rso_core.errors import InvalidInput
from sweeps.jobs.answers import answered
from sweeps.jobs.cargo import environment
from sweeps.jobs.client import LostConnection
from sweeps.jobs.interpreter import on_head
from sweeps.jobs.server import JobServer

_MODULE = "sweeps.jobs.head"
_ANSWER_S = 180.0
_BETWEEN_LOOKS_S = 0.25
_WATCHED_S = 30.0
_MARK = "rso_sweep_question"
_OVER = ("STOPPED", "SUCCEEDED", "FAILED")


def ask(
    server: JobServer,
    question: str,
    details: Mapping[str, Any],
    runtime_env: Mapping[str, Any] | None = None,
    within_s: float = _ANSWER_S,
) -> Mapping[str, Any]:
    """What the head node answers to a question; see `sweeps.jobs.head` for those that it knows.

    Args:
        server: of the cluster.
        question: its name.
        details: of the question, for JSON.
        runtime_env: in which it is answered; None for this project without a user's own modules.
        within_s: seconds that the answer may take.

    Raises:
        InvalidInput: the faults that it found, or it cannot answer.
    """
    with asked(server, question, details, runtime_env) as name:
        deadline = time.monotonic() + within_s
        while True:
            status, message = server.status(name)
            if status in _OVER:
                return answered(server.log(name), message)
            if time.monotonic() > deadline:
                raise InvalidInput(
                    f"the head node has not answered within {within_s:.0f} s, its job '{name}' is "
                    f"{status}; look into the cluster's dashboard, and try again"
                )
            time.sleep(_BETWEEN_LOOKS_S)


@contextmanager
def asked(
    server: JobServer,
    question: str,
    details: Mapping[str, Any],
    runtime_env: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """Within it a job runs on the head node that answers the question; it has this name."""
    name = f"rso-sweep-{question}-{secrets.token_hex(4)}"
    command = on_head(_MODULE, question, shlex.quote(json.dumps(details)))
    server.submit(name, command, runtime_env or environment(), {_MARK: question})
    try:
        yield name
    finally:
        with contextlib.suppress(LostConnection, InvalidInput):
            _end(server, name)


def _end(server: JobServer, name: str) -> None:
    """Sees to it that the job ends, and takes those before it from the cluster's list.

    Ray's own watch over a job ends a little later than the job: of one that is taken from the list
    at once it would make a new entry, for a job that has failed.
    """
    if server.status(name)[0] not in _OVER:
        server.stop(name)
    for old in server.old_jobs(_MARK, _WATCHED_S):
        server.forget(old)
