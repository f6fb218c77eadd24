"""Where a sweep that runs as a job is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

VARIABLE = "RSO_SWEEP_OUTPUT"
_FOLDER = "rso-sweep-runs"


def folder_on_head(
    job: str, out: str | None, output: str | None, environment: Mapping[str, str], home: str
) -> str:
    """The run folder of a new job; never below the directory in which Ray runs jobs.

    Args:
        job: its name.
        out: the value of `--out`, which wins.
        output: what the sweep file says; the head node's `RSO_SWEEP_OUTPUT` wins over it.
        environment: the head node's.
        home: the home directory there, from which a relative path goes out.
    """
    base = environment.get(VARIABLE)
    if out is not None:
        chosen = out
    elif base:
        chosen = f"{base.rstrip('/')}/{job}"
    else:
        chosen = output if output is not None else f"~/{_FOLDER}/{job}"
    if "://" in chosen:
        return chosen
    if chosen == "~" or chosen.startswith("~/"):
        chosen = chosen[2:] or "."
    return str(PurePosixPath(home) / chosen)
