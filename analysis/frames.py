"""Run folders as tidy pandas frames: trials, runs, cycles, layers, attempts and drivers.

`COLUMNS` says what each frame holds. Text is `string`, whole numbers are `Int64` (missing: NA),
the rest `float64` (missing: NaN). Accuracies are shares of 1, losses nats.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped, unused-ignore]

from analysis.columns import COLUMNS, CONFIGURATION, COSTS, DATA, METRICS
from analysis.cycle_frames import cycle_frames
from analysis.datasets import canonical_data, dataset_name
from analysis.dominance import judged_trials
from analysis.record_lines import Row
from analysis.run_folder import RunFolder, SweepMetadata, read_run_folder
from analysis.typed_columns import frame_of
from analysis.wording import command_text


@dataclass(frozen=True)
class Frames:
    """The records of one or more sweeps; `COLUMNS` documents the columns."""

    trials: pd.DataFrame
    runs: pd.DataFrame
    cycles: pd.DataFrame
    layers: pd.DataFrame
    attempts: pd.DataFrame
    drivers: pd.DataFrame
    sweeps: tuple[SweepMetadata, ...]
    """One for each folder, in the order given."""


def load(*folders: Path | str) -> Frames:
    """Reads run folders into frames.

    A folder is a path, or an address that fsspec knows, such as `s3://bucket/sweep`. A sweep may
    still be under way: a run that has not ended has the state "running", and the configuration of
    another run of its trial, if one has ended. Two folders whose sweeps have the same name are
    told apart as "name" and "name (2)".

    Raises:
        UnreadableRunFolder: a folder is not a run folder or cannot be reached, or one of its files
            is damaged.
    """
    parts = _distinctly_named([read_run_folder(folder) for folder in folders])
    cycles, layers = cycle_frames([(part.metadata.name, part.cycles) for part in parts])
    runs = _runs(parts, cycles)
    return Frames(
        trials=_trials(parts, runs),
        runs=runs,
        cycles=cycles,
        layers=layers,
        attempts=_attempts(parts),
        drivers=_drivers(parts),
        sweeps=tuple(part.metadata for part in parts),
    )


def option_columns(runs: pd.DataFrame) -> list[str]:
    """The columns of a runs or trials frame that hold options: all that `COLUMNS` does not name."""
    return [name for name in runs.columns if name not in _KNOWN]


def configuration_numbers(runs: pd.DataFrame) -> pd.Series:
    """A number for each distinct configuration of a runs frame, from 0 in the order of its rows.

    A configuration is all that `CONFIGURATION` and the options say, within a sweep.
    """
    keys = ["sweep", *CONFIGURATION, *option_columns(runs)]
    codes = np.column_stack([pd.factorize(runs[key])[0] for key in keys])
    texts = [row.tobytes() for row in codes]
    return pd.Series(pd.factorize(pd.Series(texts, dtype=object))[0], runs.index, dtype="Int64")


def _distinctly_named(parts: list[RunFolder]) -> list[RunFolder]:
    named: list[RunFolder] = []
    taken: set[str] = set()
    for part in parts:
        own = name = part.metadata.name
        for number in itertools.count(2):
            if name not in taken:
                break
            name = f"{own} ({number})"
        taken.add(name)
        named.append(replace(part, metadata=replace(part.metadata, name=name)))
    return named


def _attempts(parts: list[RunFolder]) -> pd.DataFrame:
    rows = [
        {**row, "sweep": part.metadata.name, "resumed_from_cycle": _cycle(row.get("resumed_from"))}
        for part in parts
        for row in part.attempt_rows
    ]
    attempts = frame_of(rows, "attempts")
    order = ["sweep", "trial", "seed", "run", "attempt"]
    return attempts.sort_values(order).reset_index(drop=True)


def _cycle(state: object) -> object:
    return state.get("cycle") if isinstance(state, dict) else None


def _drivers(parts: list[RunFolder]) -> pd.DataFrame:
    rows = [{**row, "sweep": part.metadata.name} for part in parts for row in part.driver_rows]
    for row in rows:
        row["command"] = command_text(row.get("command"))
    return frame_of(rows, "drivers")


def _runs(parts: list[RunFolder], cycles: pd.DataFrame) -> pd.DataFrame:
    rows = [row for part in parts for row in _run_rows(part)]
    options = _option_frame([row.pop("options") for row in rows])
    runs = frame_of(rows, "runs")
    by_run = cycles.groupby(["sweep", "run"])
    totals = by_run[list(COSTS)].sum().join(by_run.size().rename("n_cycles"))
    # `tail` and not `last`, which would reach back past a missing figure to an older one
    final = by_run.tail(1).set_index(["sweep", "run"])[list(METRICS)]
    measured = runs[["sweep", "run"]].join(totals.join(final), on=["sweep", "run"])
    for name in METRICS:
        runs[name] = measured[name].astype("float64")
    for name in (*COSTS, "n_cycles"):
        whole = COLUMNS["runs"][name][0] == "Int64"
        runs[name] = measured[name].fillna(0).astype("Int64" if whole else "float64")
    for sweep in (part.metadata for part in parts):
        here = runs["sweep"] == sweep.name
        runs.loc[here, "n_seeds_asked"] = sweep.n_seeds
        begun = here & (runs["n_cycles"] > 0)
        runs.loc[begun, "objective"] = runs.loc[begun, sweep.metric].astype("float64")
    runs = pd.concat([runs, options], axis="columns")
    runs = runs.sort_values(["sweep", "trial", "seed", "run"]).reset_index(drop=True)
    return runs.assign(configuration=configuration_numbers(runs))


def _run_rows(part: RunFolder) -> list[Row]:
    """The rows of the ended runs, and one for each run that has cycles and has not ended."""
    specification = part.metadata.specification
    of_the_sweep = {
        "sweep": part.metadata.name,
        "dataset": dataset_name(specification),
        "data": canonical_data(specification),
    }
    configuration = {
        row["trial"]: {name: row.get(name) for name in _OF_A_TRIAL} for row in part.run_rows
    }
    running = (
        {**configuration.get(row["trial"], {}), **row, "state": "running"} for row in _running(part)
    )
    return [
        {**row, **of_the_sweep, "options": _options(row.get("options"))}
        for row in (*part.run_rows, *running)
    ]


def _running(part: RunFolder) -> list[Row]:
    """`trial`, `run` and `seed` of the runs that have cycles and have not ended."""
    ended = {row["run"] for row in part.run_rows}
    names = [name for name in pc.unique(part.cycles["run"]).to_pylist() if name not in ended]
    own = part.cycles.select(["trial", "run", "seed"]).filter(
        pc.is_in(part.cycles["run"], pa.array(names, pa.string()))
    )
    return list({row["run"]: row for row in own.to_pylist()}.values())


_KNOWN = COLUMNS["runs"].keys() | COLUMNS["trials"].keys()
_OF_A_TRIAL = (*CONFIGURATION, "options", "n_parameters", "n_training_images")


def _options(options: object) -> Row:
    """Options by the name of their column; one that would hide another column is renamed."""
    return {
        f"options.{name}" if name in _KNOWN else str(name): value
        for name, value in (options.items() if isinstance(options, dict) else ())
    }


def _option_frame(rows: list[Row]) -> pd.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _option_column([row.get(name) for row in rows]) for name in names}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))


def _option_column(values: list[Any]) -> pd.Series:
    kinds = {type(value) for value in values if value is not None}
    try:
        if kinds == {bool}:
            return pd.Series(values, dtype="boolean")
        if kinds == {int}:
            return pd.Series(values, dtype="Int64")
        if kinds and kinds <= {int, float}:
            return pd.Series(values, dtype="float64")
    except (TypeError, OverflowError):  # too large a number
        pass
    return pd.Series([None if v is None else _text(v) for v in values], dtype="string")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _trials(parts: list[RunFolder], runs: pd.DataFrame) -> pd.DataFrame:
    identity = ["sweep", "trial"]
    configuration = [*DATA, *CONFIGURATION, "n_parameters", *option_columns(runs)]
    by_trial = runs.groupby(identity)
    finished = runs[runs["state"] == "finished"].groupby(identity)
    trials = by_trial[configuration].first()
    trials.insert(0, "state", _trial_states(runs).reindex(trials.index))
    n_runs, n_seeds = by_trial.size(), finished.size()
    statistics: dict[str, pd.Series] = {
        "n_runs": n_runs.astype("Int64"),
        "n_seeds": n_seeds.reindex(n_runs.index, fill_value=0).astype("Int64"),
    }
    for metric in ("objective", "test_accuracy"):
        # a seed without the figure leaves the trial without it: the rest alone would flatter it
        whole = finished[metric].count() == finished.size()
        statistics[f"{metric}_mean"] = finished[metric].mean().where(whole)
        statistics[f"{metric}_std"] = finished[metric].std().where(whole)
    trials = trials.join(pd.DataFrame(statistics, index=n_runs.index)).reset_index()
    trials["is_pareto"] = pd.Series(False, trials.index, dtype="boolean")
    for sweep in (part.metadata for part in parts):
        judged = judged_trials(runs[runs["sweep"] == sweep.name], sweep.objectives)
        best = judged.loc[judged["is_pareto"], "trial"]
        here = trials["sweep"] == sweep.name
        trials.loc[here & trials["trial"].isin(best), "is_pareto"] = True
    return trials[[*COLUMNS["trials"], *option_columns(runs)]]


def _trial_states(runs: pd.DataFrame) -> pd.Series:
    """Of each trial the first of these that one of its runs has."""
    ranks = {state: rank for rank, state in enumerate(("failed", "pruned", "running", "finished"))}
    first = runs["state"].map(ranks).groupby([runs["sweep"], runs["trial"]]).min()
    return first.map({rank: state for state, rank in ranks.items()}).astype("string")
