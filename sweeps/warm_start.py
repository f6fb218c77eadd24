"""Results of other sweeps, for a sampler to begin with."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.markup import escape

from rso_core.errors import InvalidInput
from sweeps.objectives import mean_values
from sweeps.records import Records
from sweeps.run_folder import SWEEP_FILE, RunFolder
from sweeps.runs import run_name
from sweeps.spec import SweepSpec
from sweeps.storage.places import StorageFailed, open_place
from sweeps.storage.redaction import redacted
from sweeps.study_trials import WarmTrial
from sweeps.sweep_file import parse_sweep


def warm_trials(spec: SweepSpec, say: Callable[[str], object]) -> list[WarmTrial]:
    """The finished trials of the sweeps under `warm_start` that are points of this one's space.

    Each has the objectives of this sweep, the mean over its seeds, after as many cycles as this
    sweep's runs have, or after all of its own if they are fewer.

    Args:
        spec: the sweep that is to begin.
        say: told, for each folder, how many trials were taken, and of what does not compare.

    Raises:
        InvalidInput: a folder that is no run folder or cannot be read.
    """
    found: list[WarmTrial] = []
    for address in spec.warm_start:
        shown = redacted(address)
        try:
            folder = RunFolder(open_place(address))
            if not folder.place.exists(SWEEP_FILE):
                raise InvalidInput(
                    f"'warm_start' must list run folders, got '{shown}', which has no {SWEEP_FILE}"
                )
            other = parse_sweep(folder.sweep_text(), folder.place.address_of(SWEEP_FILE))
            # one cycle of a run is enough for it to be looked at
            records = folder.records(spec.objective, n_cycles=1)
        except StorageFailed as error:
            raise InvalidInput(
                f"'warm_start' must list run folders that can be read, got '{shown}': {error}"
            ) from error
        if other.data != spec.data:
            say(
                f"[yellow]warm start: {escape(shown)} was trained on other data, "
                f"{escape(other.data.name)}[/]"
            )
        taken = _taken(spec, records, shown)
        n_finished = sum(1 for number in records.parameters if _is_finished(records, number))
        say(_summary(len(taken), n_finished - len(taken), escape(shown)))
        found += taken
    return found


def _summary(n_taken: int, n_left: int, source: str) -> str:
    trials = "1 trial" if n_taken == 1 else f"{n_taken:,} trials"
    line = f"warm start: {trials} of {source}"
    return f"{line}; {n_left:,} more are of no use to this sweep's space" if n_left else line


def _taken(spec: SweepSpec, records: Records, address: str) -> list[WarmTrial]:
    taken = []
    for number, parameters in sorted(records.parameters.items()):
        if not (_is_finished(records, number) and spec.space.has(parameters)):
            continue
        runs = [records.run(run_name(number, seed)) for seed in records.seeds[number]]
        values = mean_values([run.values[: spec.cycles_of(parameters)][-1] for run in runs])
        if all(map(math.isfinite, values)):
            taken.append(WarmTrial(address, parameters, values))
    return taken


def _is_finished(records: Records, number: int) -> bool:
    seeds = records.seeds.get(number, ())
    return bool(seeds) and all(
        records.run(run_name(number, seed)).state == "finished" for seed in seeds
    )
