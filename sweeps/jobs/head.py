"""What the head node is asked, a program there: `python -m sweeps.jobs.head QUESTION DETAILS`.

It writes one line with the answer, in JSON, among whatever else stands in its job's log. Nothing
but the standard library is imported before it is known that there is more.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeps.jobs.answers import ANSWER
from sweeps.jobs.cargo import order_in
from sweeps.jobs.output import folder_on_head

_WORKING_DIRECTORY = Path.cwd()


def main(arguments: Sequence[str]) -> None:
    """Answers the question."""
    question, details = arguments[0], json.loads(arguments[1])
    # relative paths go out from there, as they do for a driver
    os.chdir(Path.home())
    if question == "pack":
        from sweeps.jobs.packing import write_archive

        write_archive(details["folder"], has_checkpoints=details["has_checkpoints"])
        return
    answer = _answer(_QUESTIONS[question], details)
    print(f"{ANSWER}{json.dumps(answer)}", flush=True)


def _answer(
    find: Callable[[Mapping[str, Any]], Mapping[str, Any]], details: Mapping[str, Any]
) -> Mapping[str, Any]:
    from rso_core.errors import InvalidInput

    try:
        return find(details)
    except InvalidInput as error:
        return {"problems": list(error.problems)}
    except ImportError as error:
        return {
            "problems": [
                f"the Python of the cluster's head node, {sys.executable}, lacks what this program "
                f"needs ({error}); install its dependencies on all machines of the cluster"
            ]
        }


def _new(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whether a sweep can begin: its folder, what its file names, what is installed."""
    from rso_core.errors import InvalidInput
    from sweeps.provenance import versions

    missing = [name for name in details["variables"] if name not in os.environ]
    if missing:
        raise InvalidInput(
            *(
                f"'study.storage' names the environment variable {name}, which is not set where "
                "Ray was started on the head node; export it there before `ray start`: secrets do "
                "not travel with a job"
                for name in missing
            )
        )
    from sweeps import ray_executor  # noqa: F401  whether all that a driver needs is installed
    from sweeps.output_address import check_output
    from sweeps.sweep_file import parse_sweep

    _, sweep = order_in(_WORKING_DIRECTORY)
    parse_sweep(sweep.read_text(encoding="utf-8"), "the sweep file on the head node")
    folder = folder_on_head(
        details["job"], details["out"], details["output"], os.environ, str(Path.home())
    )
    check_output(folder)
    if "://" not in folder:
        _check_writable(Path(folder))
    return {"folder": folder, "versions": versions()}


def _resumable(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whether a sweep can be gone on with."""
    from sweeps.going_on import check_resumable
    from sweeps.provenance import versions

    check_resumable(details["folder"], details["overrides"])
    return {"versions": versions()}


def _status(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """The lines of `rso-sweep status`."""
    from sweeps.report_cli import told_status

    return {"lines": told_status(details["folder"])}


def _doctor(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `rso-sweep doctor` finds out about the cluster."""
    from sweeps.doctor.command import diagnosis
    from sweeps.progress_console import progress_console

    sweep = str(order_in(_WORKING_DIRECTORY)[1]) if details["has_sweep"] else None
    found = diagnosis(sweep, (), details["out"], "auto", progress_console())
    return {
        "lines": found.lines(),
        "document": found.as_json(),
        "is_sound": found.is_sound,
    }


def _check_writable(folder: Path) -> None:
    from rso_core.errors import InvalidInput

    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InvalidInput(
            f"'--out' must be a folder that can be written on the head node, got '{folder}', "
            f"where '{existing}' cannot be; name another"
        )


_QUESTIONS: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "doctor": _doctor,
    "new": _new,
    "resumable": _resumable,
    "status": _status,
}

if __name__ == "__main__":
    main(sys.argv[1:])
