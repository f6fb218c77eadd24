"""The Optuna study as a journal in the run folder, written by one process, a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from sweeps.storage.append_log import AppendLog

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_PLAIN = (str, int, float, bool, type(None))


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
        for entry in logs:
            line = _ENCODER.encode(entry)
            self._waiting.append(line.encode())
            # what is replayed now is what would be read later; plain values come back as they are
            is_plain = all(type(value) in _PLAIN for value in entry.values())
            self._entries.append(dict(entry) if is_plain else json.loads(line))

    def flush(self) -> None:
        """Writes what was appended since the last time; it is on the disk when this returns.

        Raises:
            StorageFailed: it cannot be written.
        """
        if self._waiting:
            self._log.append(self._waiting)
            self._waiting = []
