"""Where a new sweep may be written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rso_core.errors import InvalidInput, reason
from sweeps.storage.places import Place, StorageFailed, open_place
from sweeps.storage.redaction import redacted

SWEEP_FILE = "sweep.yaml"
"""What makes a folder a run folder."""
FOLDERS = ("records", "checkpoints", "report")
"""Those that every run folder has."""
_LOCK_FILES = ("driver.lock", "driver.json")
_ONE_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")  # not C:/runs


def check_output(address: str) -> None:
    """Finds out whether a new sweep may be written there, without writing.

    What a driver leaves that was ended while it made the folder is no obstacle.

    Raises:
        InvalidInput: the address is a file, or a folder that is not empty.
    """
    shown = redacted(address)
    if not address.strip():
        raise InvalidInput(f"'--out' must be a folder, got '{address}'; name one, such as runs/x")
    if _ONE_SLASH.match(address):
        raise InvalidInput(
            f"'--out' must be a folder or an address, got '{shown}'; "
            f"did you mean '{shown.replace(':/', '://', 1)}'?"
        )
    try:
        place = open_place(address)
        if place.is_local and Path(address).exists() and not Path(address).is_dir():
            raise InvalidInput(f"'--out' must be a folder, got the file '{shown}'; name another")
        if place.exists(SWEEP_FILE):
            raise InvalidInput(
                f"'--out' must be a new or an empty folder, got '{shown}', which holds a sweep; "
                f"`rso-sweep resume {shown}` goes on with it, or name another, "
                f"such as '{redacted(free_name(address))}'"
            )
        if place.is_empty() or _is_unfinished(place):
            return
    except (StorageFailed, OSError) as error:
        why = str(error) if isinstance(error, StorageFailed) else reason(error)
        raise InvalidInput(
            f"'--out' must be a folder that can be read, got '{shown}': {why}"
        ) from error
    raise InvalidInput(
        f"'--out' must be a new or an empty folder, got '{shown}', which holds other files; "
        f"name another, such as '{redacted(free_name(address))}'"
    )


def free_name(address: str) -> str:
    """The address itself, or with the first of -2, -3, ... that does not exist yet.

    Raises:
        StorageFailed: it cannot be seen what is there.
    """
    candidate, number = address, 2
    while not open_place(candidate).is_empty() or Path(candidate).exists():
        candidate = f"{address.rstrip('/')}-{number}"
        number += 1
    return candidate


def _is_unfinished(place: Place) -> bool:
    """Whether there is nothing but what `RunFolder.create` makes before the sweep file."""
    logs = {"drivers.jsonl", "warm_start.jsonl"}
    return (
        set(place.names()) <= set(_LOCK_FILES)
        and set(place.names("records")) <= logs
        and not any(place.names(folder) for folder in FOLDERS[1:])
        and _has_only(place, FOLDERS)
    )


def _has_only(place: Place, folders: Sequence[str]) -> bool:
    if not place.is_local:
        return True
    found = {path.name for path in Path(place.address).iterdir() if path.is_dir()}
    return found <= set(folders)
