"""Whether every trial of a sweep has exactly one result, to go by all that was written of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from rso_core.errors import InvalidInput
from sweeps.bench_scheduler_trial import N_VALUES
from sweeps.storage.append_log import AppendLog
from sweeps.storage.journal_view import view_study
from sweeps.storage.local_place import LocalPlace

_MOST_NAMED = 5


def check_one_result_each(path: Path, n_trials: int) -> int:
    """Goes through the records and the study's journal of a sweep of one seed that has ended.

    Every trial has one row in the records, of a run that has finished, and one for each cycle;
    the study has it as complete, and its journal tells so once.

    Args:
        path: of the run folder.
        n_trials: that the sweep was to have, each with `N_VALUES` cycles.

    Returns:
        How many attempts at runs were cut short on the way.

    Raises:
        InvalidInput: a trial lacks something or has it twice; a line for each kind of fault.
    """
    place = LocalPlace(str(path))
    ended = Counter((row["trial"], row["state"]) for row in _rows(place, "records/runs.jsonl"))
    cycles = Counter((row["trial"], row["cycle"]) for row in _rows(place, "records/cycles.jsonl"))
    told = _times_told(place)
    numbers = range(n_trials)
    every_cycle = [(trial, cycle) for trial in numbers for cycle in range(1, N_VALUES + 1)]
    faults = [
        *_faults("rows of a run that has finished", ended, [(n, "finished") for n in numbers]),
        *_faults("rows of a cycle", cycles, every_cycle),
        *_faults("results in the study", told, [(n, "COMPLETE") for n in numbers]),
    ]
    if faults:
        raise InvalidInput(*faults)
    return len(_rows(place, "records/attempts.jsonl"))


def _faults(what: str, found: Counter[Any], expected: list[Any]) -> list[str]:
    """A line if there is not exactly one of each."""
    missing = [key for key in expected if key not in found]
    twice = [key for key, n in found.items() if n > 1]
    strange = list(found.keys() - set(expected))
    return [
        f"every trial must have exactly one result, got {len(keys)} {what} {fault}: "
        + ", ".join(f"trial {trial} {of}" for trial, of in sorted(keys)[:_MOST_NAMED])
        for fault, keys in (("missing", missing), ("twice", twice), ("too much", strange))
        if keys
    ]


def _times_told(place: LocalPlace) -> Counter[tuple[int, str]]:
    """How often the journal says of a trial that it has ended, and in which state."""
    storage, _ = view_study(place)
    ends = (
        (entry["trial_id"], TrialState(entry["state"]))
        for entry in _rows(place, "study.journal")
        if "trial_id" in entry and "state" in entry
    )
    return Counter(
        (storage.get_trial_number_from_id(trial), state.name)
        for trial, state in ends
        if state.is_finished()
    )


def _rows(place: LocalPlace, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in AppendLog(place, name).read()]
