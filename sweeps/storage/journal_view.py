"""The study's journal, for those who look on: it is read as it grows, and never written."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from rso_core.errors import reason
from sweeps.storage.append_log import AppendLog, part_name
from sweeps.storage.places import Place, StorageFailed

_FRESH_FOR_S = 0.5
_FRESH_FOR_S_FROM_AFAR = 5.0
"""Reading a part at an address may cost a request and a megabyte."""


class ReadOnlyJournal(RuntimeError):  # noqa: N818  (it names what was found)
    """Somebody wants to write through a view."""


class JournalView(BaseJournalBackend):
    """An `AppendLog` with the entries of Optuna's journal, as far as its writer has come.

    Nothing is locked, and a line that is not whole yet is left for the next time. A writer whose
    append fails takes back what it had written of it. Where that had been read already, the view
    is outdated, as the study made from it is: both are to be made anew.

    Attributes:
        is_outdated: whether what was read is no longer what the journal begins with.
    """

    def __init__(self, place: Place, name: str, fresh_for_s: float | None = None) -> None:
        """Reads nothing yet.

        Args:
            place: where the journal is kept.
            name: of its first part.
            fresh_for_s: how long what was read is taken for all there is; None for a time that
                suits the place.
        """
        self._place = place
        self._name = name
        if fresh_for_s is None:
            fresh_for_s = _FRESH_FOR_S if place.is_local else _FRESH_FOR_S_FROM_AFAR
        self._fresh_for_s = fresh_for_s
        self._read_at = float("-inf")
        self._entries: list[dict[str, Any]] = []
        self._first = 0
        self._part = 1
        self._n_bytes = 0
        self._last = b""
        self.is_outdated = False

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """See `BaseJournalBackend`; entries before `log_number_from` are not asked for again.

        Raises:
            StorageFailed: the journal cannot be read, or the view is outdated.
        """
        if time.monotonic() - self._read_at >= self._fresh_for_s:
            self._catch_up()
            self._read_at = time.monotonic()
        del self._entries[: log_number_from - self._first]
        self._first = log_number_from
        return list(self._entries)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuses it.

        Raises:
            ReadOnlyJournal: always.
        """
        raise ReadOnlyJournal(
            f"'{self._place.address_of(self._name)}' is only looked at: its sweep alone writes it"
        )

    def _catch_up(self) -> None:
        while True:
            try:
                content = self._place.read(part_name(self._name, self._part))
            except FileNotFoundError:
                content = b""  # as before the first batch
            self._take(content)
            is_read_to_its_end = self._n_bytes == len(content)
            # a part that is there is followed by another only where a storage cannot append
            following = part_name(self._name, self._part + 1)
            if not (content and is_read_to_its_end and self._place.exists(following)):
                return
            self._part, self._n_bytes, self._last = self._part + 1, 0, b""

    def _take(self, content: bytes) -> None:
        """Adds the whole lines of the part that were not there before."""
        if not content[: self._n_bytes].endswith(self._last) or len(content) < self._n_bytes:
            self.is_outdated = True
            raise StorageFailed(
                f"'{self._place.address_of(self._name)}' was written anew; it is read again"
            )
        *ended, _unended = content[self._n_bytes :].split(b"\n")
        for line in ended:
            entry = _entry(line)
            if entry is None:
                return
            self._entries.append(entry)
            self._last = line + b"\n"
            self._n_bytes += len(self._last)


def view_study(place: Place, name: str = "study.journal") -> tuple[JournalStorage, JournalView]:
    """A storage of Optuna's that follows the journal in a run folder, and what it reads through.

    Raises:
        StorageFailed: the journal is damaged, or cannot be read.
    """
    AppendLog(place, name).read()  # the view would stop before a damage without a word
    view = JournalView(place, name)
    try:
        return JournalStorage(view), view
    except StorageFailed:
        raise
    except Exception as error:  # whatever a line makes optuna stumble over, also an assertion
        raise StorageFailed(
            f"'{place.address_of(name)}' has a line that is none of Optuna's ({reason(error)}); "
            "restore it from a copy"
        ) from error


def _entry(line: bytes) -> dict[str, Any] | None:
    """What stands in a line; None if it is torn."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
