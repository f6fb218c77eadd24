"""`driver.json` in a run folder: which process drives its sweep."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from rso_core.errors import InvalidInput
from sweeps.storage.places import Place

HOLDER_FILE = "driver.json"

_N_READINGS = 5
_BETWEEN_READINGS_S = 0.05


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that drives a sweep."""

    host: str
    pid: int
    started_at: str
    """ISO 8601."""

    def has_died_on(self, host: str) -> bool:
        """Whether it ran on this host, which has that name, and runs no more."""
        if self.host != host:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            return False
        return False


@dataclass(frozen=True, slots=True)
class HolderRecord:
    """What `driver.json` says."""

    holder: Holder
    token: str = ""
    """Of a lease, which its holder alone knows; empty where the file system locks."""
    renewed_at: float = 0.0
    """Of a lease: when its holder last said that it is alive, in seconds since 1970."""


def write_holder(place: Place, record: HolderRecord) -> None:
    """Puts it in the place of what `driver.json` said.

    Raises:
        StorageFailed: it cannot be written.
    """
    content = asdict(record.holder)
    if record.token:
        content |= {"token": record.token, "renewed_at": record.renewed_at}
    place.write(HOLDER_FILE, json.dumps(content, indent=1).encode() + b"\n")


def read_holder(place: Place) -> HolderRecord | None:
    """What `driver.json` says; None if there is none, or one that says nothing.

    Raises:
        StorageFailed: it cannot be read.
    """
    for _ in range(_N_READINGS):
        try:
            content = place.read(HOLDER_FILE)
        except FileNotFoundError:
            return None
        record = _parsed(content)
        if record is not None:
            return record
        time.sleep(_BETWEEN_READINGS_S)  # some storages show a file that is being written
    return None


def driven_by(
    place: Place, holder: Holder | None, host: str, left_s: int | None = None
) -> InvalidInput:
    """The refusal of a second driver.

    Args:
        place: the run folder.
        holder: the first, if it is known.
        host: of the second.
        left_s: in how many seconds the first would be taken for dead, where time decides that.
    """
    if holder is None:
        return InvalidInput(f"'{place.address_of()}' is driven by another process: wait for it")
    there = "" if holder.host == host else " there"
    later = "" if left_s is None else f"; if it has died, try again in {left_s} s"
    return InvalidInput(
        f"'{place.address_of()}' is driven by process {holder.pid} on host {holder.host} since "
        f"{holder.started_at}: wait for it, or end it with `kill {holder.pid}`{there}{later}"
    )


def _parsed(content: bytes) -> HolderRecord | None:
    try:
        said: dict[str, Any] = json.loads(content)
        return HolderRecord(
            Holder(str(said["host"]), int(said["pid"]), str(said["started_at"])),
            str(said.get("token", "")),
            float(said.get("renewed_at", 0.0)),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
