"""The Optuna study as a journal in the run folder, written by one process, a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from sweeps.storage.append_log import AppendLog


class Journal(BaseJournalBackend):
    """Optuna's journal, line for line as its own file backend writes it.

    What is appended is seen at once, and is on the disk after `flush`: all that belongs together
    is there after a crash, or nothing of it. Optuna's own backend locks, opens and syncs the file
    for every line; here a single process writes, as the driver's lock ensures.

    Args:
        log: whole lines only; see `AppendLog.repair`.
    """

    def __init__(self, log: AppendLog) -> None:
        self._log = log
        self._entries: list[dict[str, Any]] = [json.loads(line) for line in log.read()]
        self._first = 0
        self._waiting: list[bytes] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """See `BaseJournalBackend`; entries before `log_number_from` are not asked for again."""
        del self._entries[: log_number_from - self._first]
        self._first = log_number_from
        return list(self._entries)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """See `BaseJournalBackend`; on the disk after `flush`."""
        lines = [json.dumps(entry, separators=(",", ":")) for entry in logs]
        self._waiting += [line.encode() for line in lines]
        self._entries += [json.loads(line) for line in lines]

    def flush(self) -> None:
        """Writes what was appended since the last time; it is on the disk when this returns.

        Raises:
            StorageFailed: it cannot be written.
        """
        if self._waiting:
            self._log.append(self._waiting)
            self._waiting = []
