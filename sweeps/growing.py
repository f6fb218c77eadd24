"""Making of the sweep in a run folder a larger one, all at once, whenever its driver may die."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from sweeps.driving import study_name, study_store
from sweeps.growth import (
    begun_points,
    check_growth,
    grown_study,
    has_failed,
    needs_new_study,
    trials_of,
    with_earlier,
)
from sweeps.run_folder import SWEEP_FILE, RunFolder
from sweeps.spec import SweepSpec
from sweeps.storage.studies import StudyStore
from sweeps.storage.study_storage import storage_errors
from sweeps.sweep_file import parse_sweep

_SUPERSEDED = "superseded"
"""In a grown sweep's provenance, until it is done: of what the records are to be rid."""
_LONGEST_NAME = 100


def grown(
    folder: RunFolder,
    before: SweepSpec,
    after: SweepSpec,
    about: Mapping[str, Any],
    retries_failed: bool,
    say: Callable[[str], object],
) -> tuple[SweepSpec, Mapping[str, Any]]:
    """Makes of the sweep in a folder the larger one, which it is once its file is replaced.

    Args:
        folder: its run folder.
        before: as it was.
        after: as it is to be.
        about: its provenance.
        retries_failed: whether failed trials run again.
        say: is told what there was not to do.

    Returns:
        The larger sweep, with the study that it has now, and its provenance.

    Raises:
        InvalidInput: a change that would make its results another sweep's.
        StorageFailed, StudyUnreachable: it is the sweep that it was, or the larger one.
    """
    store = study_store(before, folder.journal)
    records = folder.records(before.objective, before.budget.cycles)
    with storage_errors():
        trials = trials_of(store) if store.has_study() else []
        begun = begun_points(trials, before.space, records)
        check_growth(before, after, begun)
        if retries_failed and not has_failed(trials, records):
            say("no trial has failed: none is tried again")
            retries_failed = False
        if trials and (retries_failed or needs_new_study(before, after)):
            name = _free_study_name(store, study_name(before))
            of_name = {"study": after.study.model_copy(update={"name": name})}
            after = after.model_copy(update=of_name)
            new = StudyStore(store.storage, name, store.flush)
            grown_study(store, new, before, after, records, retries_failed=retries_failed)
    about = with_earlier(about, before, after, len(begun))
    gets_cycles = after.budget != before.budget
    if gets_cycles or retries_failed:
        about = {**about, _SUPERSEDED: {"cycles": gets_cycles, "failed": retries_failed}}
    if after != before:
        folder.replace_sweep(after, about)  # from here on it is the larger one
    return after, _with_superseded_set_aside(folder, after, about)


def with_growth_completed(
    folder: RunFolder, text: str, about: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Does what an earlier driver was ended in: what it had grown is all there then.

    Args:
        folder: the run folder.
        text: of its sweep file.
        about: the sweep's provenance.

    Returns:
        The provenance as it is now.
    """
    if _SUPERSEDED not in about:
        return about
    spec = parse_sweep(text, folder.place.address_of(SWEEP_FILE))
    return _with_superseded_set_aside(folder, spec, about)


def _with_superseded_set_aside(
    folder: RunFolder, spec: SweepSpec, about: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Takes what the grown sweep counts no more out of its records, and the note of it."""
    superseded = about.get(_SUPERSEDED)
    if not isinstance(superseded, dict):
        return about
    n_cycles = spec.budget.cycles if superseded.get("cycles") else None
    folder.set_aside(n_cycles, failed=bool(superseded.get("failed")))
    about = {key: value for key, value in about.items() if key != _SUPERSEDED}
    folder.replace_sweep(spec, about)
    return about


def _free_study_name(store: StudyStore, name: str) -> str:
    """NAME.2, NAME.3, ...: the first that no study has."""
    stem, dot, number = name.rpartition(".")
    if not (dot and stem and number.isdecimal()):
        stem, number = name, "1"
    for following in itertools.count(int(number) + 1):
        ending = f".{following}"
        candidate = stem[: _LONGEST_NAME - len(ending)] + ending
        if not StudyStore(store.storage, candidate, store.flush).has_study():
            return candidate
    raise AssertionError("numbers do not end")
