"""Run folders as tidy pandas frames: trials, runs, cycles, layers, attempts and drivers.

`COLUMNS` says what each frame holds. Text is `string`, whole numbers are `Int64` (missing: NA),
the rest `float64` (missing: NaN). Accuracies are shares of 1, losses nats.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from analysis.columns import COLUMNS, CONFIGURATION, COSTS, METRICS
from analysis.dominance import judged_trials
from analysis.run_folder import (
    Row,
    RunFolder,
    SweepMetadata,
    UnreadableRunFolder,
    read_run_folder,
)
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
    cycles = _cycles(parts)
    runs = _runs(parts, cycles)
    return Frames(
        trials=_trials(parts, runs),
        runs=runs,
        cycles=cycles,
        layers=_layers(parts),
        attempts=_attempts(parts),
        drivers=_drivers(parts),
        sweeps=tuple(part.metadata for part in parts),
    )


def option_columns(runs: pd.DataFrame) -> list[str]:
    """The columns of a runs or trials frame that hold options: all that `COLUMNS` does not name."""
    known = COLUMNS["runs"].keys() | COLUMNS["trials"].keys()
    return [name for name in runs.columns if name not in known]


def _distinctly_named(parts: list[RunFolder]) -> list[RunFolder]:
    counts: Counter[str] = Counter()
    named = []
    for part in parts:
        name = part.metadata.name
        counts[name] += 1
        if counts[name] > 1:
            name = f"{name} ({counts[name]})"
        named.append(replace(part, metadata=replace(part.metadata, name=name)))
    return named


def _cycles(parts: list[RunFolder]) -> pd.DataFrame:
    rows = [{**row, "sweep": part.metadata.name} for part in parts for row in part.cycle_rows]
    cycles = _frame(rows, "cycles").sort_values(["sweep", "trial", "seed", "run", "cycle"])
    by_run = cycles.groupby(["sweep", "run"], sort=False)
    cycles["cumulative_images_passed"] = by_run["n_images_passed"].cumsum()
    cycles["cumulative_training_s"] = by_run["training_s"].cumsum()
    return cycles.reset_index(drop=True)


def _layers(parts: list[RunFolder]) -> pd.DataFrame:
    rows = [
        {
            **{name: row.get(name) for name in ("trial", "run", "seed", "cycle")},
            **{name: layer.get(name) for name in ("n_visited", "n_accepted", "sigma")},
            "sweep": part.metadata.name,
            "layer": layer.get("name"),
            "layer_index": index,
        }
        for part in parts
        for row in part.cycle_rows
        for index, layer in enumerate(row.get("layers") or ())
    ]
    layers = _frame(rows, "layers")
    visited = layers["n_visited"].astype("float64")
    layers["accepted_share"] = layers["n_accepted"].astype("float64") / visited.where(visited > 0)
    order = ["sweep", "trial", "seed", "run", "cycle", "layer_index"]
    return layers.sort_values(order).reset_index(drop=True)


def _attempts(parts: list[RunFolder]) -> pd.DataFrame:
    rows = [
        {**row, "sweep": part.metadata.name, "resumed_from_cycle": _cycle(row.get("resumed_from"))}
        for part in parts
        for row in part.attempt_rows
    ]
    attempts = _frame(rows, "attempts")
    order = ["sweep", "trial", "seed", "run", "attempt"]
    return attempts.sort_values(order).reset_index(drop=True)


def _cycle(state: object) -> object:
    return state.get("cycle") if isinstance(state, dict) else None


def _drivers(parts: list[RunFolder]) -> pd.DataFrame:
    rows = [{**row, "sweep": part.metadata.name} for part in parts for row in part.driver_rows]
    for row in rows:
        row["command"] = command_text(row.get("command"))
    return _frame(rows, "drivers")


def _runs(parts: list[RunFolder], cycles: pd.DataFrame) -> pd.DataFrame:
    rows = [row for part in parts for row in _run_rows(part)]
    options = _option_frame([row.pop("options") for row in rows])
    runs = _frame(rows, "runs")
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
    return runs.sort_values(["sweep", "trial", "seed", "run"]).reset_index(drop=True)


def _run_rows(part: RunFolder) -> list[Row]:
    """The rows of the ended runs, and one for each run that has cycles and has not ended."""
    ended = [{**row, "sweep": part.metadata.name} for row in part.run_rows]
    names = {row["run"] for row in ended}
    configuration = {
        row["trial"]: {name: row.get(name) for name in _OF_A_TRIAL} for row in part.run_rows
    }
    running = {
        row["run"]: {
            **configuration.get(row["trial"], {}),
            **{name: row.get(name) for name in ("trial", "run", "seed")},
            "sweep": part.metadata.name,
            "state": "running",
        }
        for row in part.cycle_rows
        if row["run"] not in names
    }
    rows = [*ended, *running.values()]
    for row in rows:
        row["options"] = _options(row.get("options"))
    return rows


_OF_A_TRIAL = (*CONFIGURATION, "options", "n_parameters", "n_training_images")


def _options(options: object) -> Row:
    """Options by the name of their column; one that would hide another column is renamed."""
    known = COLUMNS["runs"].keys() | COLUMNS["trials"].keys()
    return {
        f"options.{name}" if name in known else str(name): value
        for name, value in (options.items() if isinstance(options, dict) else ())
    }


def _option_frame(rows: list[Row]) -> pd.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _option_column([row.get(name) for row in rows]) for name in names}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))


def _option_column(values: list[object]) -> pd.Series:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if kinds == {int}:
        return pd.Series(values, dtype="Int64")
    if kinds and kinds <= {int, float}:
        return pd.Series(values, dtype="float64")
    return pd.Series([None if v is None else _text(v) for v in values], dtype="string")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _trials(parts: list[RunFolder], runs: pd.DataFrame) -> pd.DataFrame:
    identity = ["sweep", "trial"]
    configuration = [*CONFIGURATION, "n_parameters", *option_columns(runs)]
    by_trial = runs.groupby(identity)
    finished = runs[runs["state"] == "finished"].groupby(identity)
    trials = by_trial[configuration].first()
    trials.insert(0, "state", by_trial["state"].agg(_trial_state).astype("string"))
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


def _trial_state(states: pd.Series) -> str:
    present = set(states)
    return next(s for s in ("failed", "pruned", "running", "finished") if s in present)


def _frame(rows: Iterable[Row], name: str) -> pd.DataFrame:
    """Rows as a frame with the documented columns; what a row lacks is missing."""
    rows = list(rows)
    return pd.DataFrame(
        {
            column: _column([row.get(column) for row in rows], dtype, f"'{column}' of the {name}")
            for column, (dtype, _) in COLUMNS[name].items()
        }
    )


def _column(values: list[object], dtype: str, place: str) -> pd.Series:
    try:
        if dtype.startswith("datetime"):
            moments = pd.to_datetime(pd.Series(values, dtype="object"), utc=True, format="ISO8601")
            return moments.dt.as_unit("us")
        return pd.Series(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        kind = {"string": "text", "Int64": "whole numbers", "float64": "numbers"}.get(
            dtype, "times"
        )
        raise UnreadableRunFolder(f"{place} must be {kind} in every row of the records") from error
