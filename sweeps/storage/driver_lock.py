"""One driver for a run folder: a lock where the file system has one, a lease elsewhere."""

from __future__ import annotations

import contextlib
import errno
import time
from types import TracebackType

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from sweeps.storage.failures import failure
from sweeps.storage.holder import (
    HOLDER_FILE,
    Holder,
    HolderRecord,
    driven_by,
    read_holder,
    write_holder,
)
from sweeps.storage.lease import Lease
from sweeps.storage.local_place import LocalPlace
from sweeps.storage.places import Place, StorageFailed

__all__ = ["DriverLock", "Holder"]

_LOCK_FILE = "driver.lock"
_NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)
_STARTING_S = 1.0


class DriverLock:
    """Makes sure that one process drives a sweep; `with` acquires and releases it.

    On this machine's file systems it is a lock, which falls with its process however that ends.
    Object stores, and the few file systems without locks, have a `Lease`.

    Attributes:
        predecessor: once acquired, the driver before this one if it died without releasing it.
    """

    def __init__(
        self,
        place: Place,
        holder: Holder,
        *,
        renew_s: float = 20.0,
        stale_s: float = 90.0,
        settle_s: float = 2.0,
    ) -> None:
        """Reads and writes nothing yet.

        Args:
            place: the run folder, which must exist.
            holder: this process.
            renew_s: of a lease, see `Lease`.
            stale_s: of a lease.
            settle_s: of a lease.
        """
        self.predecessor: Holder | None = None
        self._place = place
        self._holder = holder
        self._lease = Lease(place, holder, renew_s, stale_s, settle_s)
        self._lock: BaseFileLock | None = None
        self._is_leased = False

    def acquire(self) -> None:
        """Takes the sweep, for this process alone.

        Raises:
            InvalidInput: another process drives it; the line says which.
            StorageFailed: the folder cannot be read or written.
        """
        if isinstance(self._place, LocalPlace):
            self._lock = self._locked(self._place)
        if self._lock is None:
            self.predecessor = self._lease.acquire()
            self._is_leased = True
            return
        try:
            found = read_holder(self._place)
            if found is not None and found.token and not self._lease.is_stale(found):
                # of a machine to which this file system, or its address, offers no locks
                raise driven_by(self._place, found.holder, self._holder.host)
            write_holder(self._place, HolderRecord(self._holder))
        except BaseException:
            self._lock.release()
            self._lock = None
            raise
        self.predecessor = found.holder if found else None

    def check(self) -> None:
        """Makes sure that this process may go on; a lock cannot be lost, a lease can.

        Raises:
            StorageFailed: another process has taken over.
        """
        if self._is_leased:
            self._lease.check()

    def release(self) -> None:
        """Lets others drive the sweep. Without effect if it is not held."""
        if self._is_leased:
            self._lease.release()
            self._is_leased = False
        if self._lock is not None:
            with contextlib.suppress(StorageFailed):  # what is left of it names a dead process
                self._place.delete(HOLDER_FILE)
            self._lock.release()
            self._lock = None

    def __enter__(self) -> DriverLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _locked(self, place: LocalPlace) -> BaseFileLock | None:
        """The lock, acquired; None if the file system has no locks."""
        # a soft lock, a file that is there or not, would outlive its process
        lock: BaseFileLock = FileLock(
            place.path / _LOCK_FILE, timeout=0, thread_local=False, fallback_to_soft=False
        )
        if isinstance(lock, SoftFileLock):  # on a machine that has no other
            return None
        try:
            lock.acquire()
        except Timeout:
            raise self._refusal() from None
        except NotImplementedError:
            return None
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:
                return None
            raise failure(place.address_of(_LOCK_FILE), "locked", error) from error
        return lock

    def _refusal(self) -> Exception:
        """Who has the lock; its file still names the driver before, until that has written it."""
        until = time.monotonic() + _STARTING_S
        while True:
            found = read_holder(self._place)
            holder = found.holder if found else None
            if holder is not None and not holder.has_died_on(self._holder.host):
                return driven_by(self._place, holder, self._holder.host)
            if time.monotonic() > until:
                return driven_by(self._place, None, self._holder.host)
            time.sleep(0.05)
