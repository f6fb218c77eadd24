"""The right to drive a sweep where the storage cannot lock: a file that is kept fresh."""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
import time
from dataclasses import replace

from rso_core.errors import InvalidInput
from sweeps.storage.holder import (
    HOLDER_FILE,
    Holder,
    HolderRecord,
    driven_by,
    read_holder,
    write_holder,
)
from sweeps.storage.places import Place, StorageFailed


class Lease:
    """Held by one process at a time, which says in `driver.json` every `renew_s` that it is alive.

    A storage that can only read and write whole files cannot decide between two that start at the
    same moment. So each writes itself in, waits `settle_s` and looks who is there: the last writer
    wins, provided that no other took longer than that between looking and writing. Where one did,
    the other finds out at its next renewal, and `check` stops it.

    When a holder last renewed is told by its clock and judged by the reader's: clocks that differ
    by more than `stale_s` less `renew_s` may take a living holder for dead, which `check` tells it.
    """

    def __init__(
        self,
        place: Place,
        holder: Holder,
        renew_s: float = 20.0,
        stale_s: float = 90.0,
        settle_s: float = 2.0,
    ) -> None:
        """Reads and writes nothing yet.

        Args:
            place: the run folder.
            holder: this process.
            renew_s: how often it is renewed.
            stale_s: how long after a renewal a holder is taken for dead.
            settle_s: how long to wait for others that start at the same moment.
        """
        self._place = place
        self._mine = HolderRecord(holder, secrets.token_hex(16))
        self._renew_s = renew_s
        self._stale_s = stale_s
        self._settle_s = settle_s
        self._renewed_at = 0.0
        self._lost: str | None = None
        self._renewing = threading.Lock()
        self._released = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> Holder | None:
        """Takes the lease, and returns who held it and has died.

        Raises:
            InvalidInput: another process holds it, or has just taken it.
            StorageFailed: it cannot be read or written.
        """
        found = read_holder(self._place)
        if found is not None and not self.is_stale(found):
            raise self._refusal(found)
        try:
            self._write()
            time.sleep(self._settle_s)
            now = read_holder(self._place)
        except BaseException:
            self.release()
            raise
        if now is None or now.token != self._mine.token:
            raise self._refusal(now)
        self._thread = threading.Thread(target=self._keep, name="driver lease", daemon=True)
        self._thread.start()
        return found.holder if found else None

    def check(self) -> None:
        """Makes sure that this process may go on. It seldom reads: the lease is renewed beside it.

        Raises:
            StorageFailed: another process has taken over, or for long it could not be renewed.
        """
        # a process that was stopped for long must look before it writes anything
        if self._lost is None and time.time() - self._renewed_at > self._stale_s / 2:
            self._renew()
        if self._lost is not None:
            raise StorageFailed(self._lost)

    def release(self) -> None:
        """Gives the lease back. One that cannot be given back goes stale."""
        self._released.set()
        if self._thread is not None:
            self._thread.join()  # or its last renewal might come after the removal
        with contextlib.suppress(StorageFailed):
            now = read_holder(self._place)
            if now is not None and now.token == self._mine.token:
                self._place.delete(HOLDER_FILE)

    def is_stale(self, record: HolderRecord) -> bool:
        """Whether a holder has died or, where that cannot be known, has been silent for long."""
        holder, host = record.holder, self._mine.holder.host
        if holder.has_died_on(host):
            return True
        if not record.token and holder.host == host:  # it holds a lock, not a lease, and lives
            return False
        return self._silent_s(record) > self._stale_s

    def _silent_s(self, record: HolderRecord) -> float:
        return time.time() - record.renewed_at

    def _refusal(self, record: HolderRecord | None) -> InvalidInput:
        host = self._mine.holder.host
        if record is None:
            return driven_by(self._place, None, host)
        left_s = math.ceil(self._stale_s - self._silent_s(record))
        return driven_by(self._place, record.holder, host, left_s if record.token else None)

    def _keep(self) -> None:
        """What the thread does."""
        while self._lost is None and not self._released.wait(self._renew_s):
            with contextlib.suppress(StorageFailed):  # again next time; `check` tells if it lasts
                self._renew()

    def _renew(self) -> None:
        with self._renewing:
            now = read_holder(self._place)
            if now is not None and now.token == self._mine.token:
                self._write()
                return
            where = self._place.address_of()
            if now is None:
                self._lost = f"'{where}' is not driven from here any more: {HOLDER_FILE} is gone"
            else:
                self._lost = (
                    f"another driver has taken over '{where}': process {now.holder.pid} on host "
                    f"{now.holder.host}, since {now.holder.started_at}"
                )

    def _write(self) -> None:
        now = time.time()
        write_holder(self._place, replace(self._mine, renewed_at=now))
        self._renewed_at = now
