"""Where the Optuna study of a sweep is kept: its journal in the run folder, or a database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage, JournalStorage

from rso_core.errors import InvalidInput, reason
from sweeps.storage.append_log import AppendLog
from sweeps.storage.failures import StorageFailed
from sweeps.storage.journal import Journal
from sweeps.storage.redaction import redacted
from sweeps.storage.study_storage import open_study_storage, storage_errors


@dataclass(frozen=True, slots=True)
class StudyStore:
    """A storage, and the study's name in it."""

    storage: BaseStorage
    study_name: str
    flush: Callable[[], None]
    """Returns when all that was written is durable."""

    def has_study(self) -> bool:
        """Whether the study is there."""
        try:
            self.storage.get_study_id_from_name(self.study_name)
        except KeyError:
            return False
        return True


def open_study_store(address: str | None, study_name: str, journal: AppendLog | None) -> StudyStore:
    """Opens the storage of a study that may or may not be there yet.

    Args:
        address: `study.storage` of the sweep file; None for the journal.
        study_name: the study's name.
        journal: the journal's log, repaired; not needed if there is an address.

    Raises:
        InvalidInput: the address cannot be used.
        StorageFailed: the journal cannot be read.
    """
    if address is None:
        assert journal is not None
        backend = Journal(journal)
        return StudyStore(_replayed(backend, journal.address), study_name, backend.flush)
    storage = optuna.storages.get_storage(open_study_storage(address))
    return StudyStore(storage, study_name, _nothing)


def check_new_study(store: StudyStore, address: str) -> None:
    """Refuses to mix a new sweep into a study that is there already.

    Raises:
        InvalidInput: a study of that name is in the storage.
    """
    with storage_errors():
        is_there = store.has_study()
    if is_there:
        raise InvalidInput(
            f"'study.name' must be new in its storage, got '{store.study_name}', which "
            f"{redacted(address)} has; name another, or `rso-sweep resume` the sweep's run folder"
        )


def _replayed(backend: Journal, address: str) -> JournalStorage:
    try:
        return JournalStorage(backend)
    except Exception as error:  # whatever a line makes optuna stumble over, also an assertion
        raise StorageFailed(
            f"'{address}' has a line that is none of Optuna's ({reason(error)}); "
            "restore it from a copy"
        ) from error


def _nothing() -> None:
    """A database has it on its disk already."""
