"""What is seen of a sweep at one moment beside its records: its driver, its study, the time."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sweeps.durations import duration
from sweeps.storage.holder import Holder, read_holder
from sweeps.storage.lease import Lease
from sweeps.storage.places import Place, StorageFailed
from sweeps.watching.study import Points


@dataclass(frozen=True, slots=True)
class DriverSeen:
    """Whether a sweep has a driver."""

    words: str | None
    """Which process it is, or why that is not known; None for none."""
    is_alive: bool
    """As far as can be told: one on another machine's disk may have died unseen."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A sweep at one moment."""

    now: datetime
    driver: DriverSeen
    points: Points = field(default_factory=dict)
    """The trials that its study has under way."""
    last_record_at: datetime | None = None
    """When the last record was written; None for none, or where the storage cannot say."""
    note: str | None = None
    """Why the records could not be read this time; what is shown is older then."""


def driver_of(place: Place) -> DriverSeen:
    """The driver of the sweep in a run folder, which may be dead."""
    try:
        record = read_holder(place)
    except StorageFailed as error:
        return DriverSeen(str(error), is_alive=True)
    if record is None or record.holder.has_died_on(platform.node()):
        return DriverSeen(None, is_alive=False)
    words = f"process {record.holder.pid} on {record.holder.host}"
    watcher = Holder(platform.node(), os.getpid(), "")
    # where the file system does not lock, a driver that is silent for long is taken for dead
    if record.token and Lease(place, watcher).is_stale(record):
        silent_s = time.time() - record.renewed_at
        return DriverSeen(f"{words}, silent for {duration(silent_s)}", is_alive=False)
    return DriverSeen(words, is_alive=True)


Stamps = Mapping[str, datetime | None]
"""When each file was last written, by its name; None where the storage cannot say."""


def record_stamps(place: Place) -> Stamps:
    """When the files were written that say how a sweep stands.

    Raises:
        StorageFailed: they cannot be looked at.
    """
    names = ["sweep.yaml", *(f"records/{name}" for name in place.names("records"))]
    return {name: place.modified_at(name) for name in names}


def last_written(stamps: Stamps) -> datetime | None:
    """When the last record was written."""
    known = [at for name, at in stamps.items() if at is not None and name.startswith("records/")]
    return max(known, default=None)


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)
