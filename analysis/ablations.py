"""What each change to a baseline does, where a sweep changes one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from analysis import comparisons
from analysis.frames import Frames
from analysis.paired import paired_difference
from analysis.run_folder import SweepMetadata
from analysis.statistics import holm
from analysis.tables import Column, Table
from analysis.wording import INTERVAL, METHOD, format_number, listed

_NOTHING = "nothing: the baseline"

Row = dict[str, Any]


def ablations(frames: Frames) -> pd.DataFrame:
    """Each configuration that differs from its sweep's baseline in one dimension, and by how much.

    The baseline is what a constraint of the sweep requires with one exception (`exceptions: 1`).
    Configurations are compared with the baseline that has the same values of all other dimensions.

    Returns:
        `sweep`, `architecture`, `batch_size`, `optimizer`, `changed` (the dimension; missing for
        the baseline) and `value`, `n_seeds`, `test_accuracy_mean` and `test_accuracy_std`, and the
        difference of the test accuracy to the baseline's, seed by seed: `difference`, its 95 %
        interval `difference_low` and `difference_high`, `p` and `p_holm` (adjusted over all rows).
    """
    rows = [row for sweep in frames.sweeps for row in _of_sweep(sweep, frames.runs)]
    table = pd.DataFrame(rows, columns=list(_DTYPES)).astype(_DTYPES)
    return table.assign(p_holm=holm(table["p"].to_numpy("float64")))


def ablation_table(frames: Frames) -> Table | None:
    """The table of `ablations`; None where no sweep has changed one thing at a time."""
    frame = ablations(frames)
    if frame["changed"].isna().all():
        return None
    shown = [
        _NOTHING if pd.isna(changed) else change_text(changed, value)
        for changed, value in zip(frame["changed"], frame["value"], strict=True)
    ]
    batches = (Column("Batch", "number", ("batch_size",)),)
    optimisers = (Column("Optimiser", "optimizer", ("optimizer",)),)
    return Table(
        name="one_change_at_a_time",
        title="One change at a time",
        caption="Each change to the baseline by itself, "
        f"which is {_baseline_in_words(frames)}. Difference: of the test accuracy to that of the "
        f"baseline, in points, seed by seed, with its 95 % interval. {INTERVAL} p: the probability "
        f"of a difference as large if the change did nothing. {METHOD}",
        frame=frame.assign(change=shown),
        columns=(
            Column("Network", "text", ("architecture",)),
            *(batches if frame["batch_size"].nunique() > 1 else ()),
            *(optimisers if frame["optimizer"].nunique() > 1 else ()),
            Column("Changed", "text", ("change",)),
            Column("Test %", "accuracy", ("test_accuracy_mean", "test_accuracy_std", "n_seeds")),
            Column("Difference", "difference", ("difference", "difference_low", "difference_high")),
            Column("p", "p_value", ("p_holm",)),
            Column("Seeds", "number", ("n_seeds",)),
        ),
    )


def change_text(changed: str, value: str) -> str:
    """A change in words: `annealing = none`."""
    return f"{changed} = {value}"


_DTYPES = {
    "sweep": "string",
    "architecture": "string",
    "batch_size": "Int64",
    "optimizer": "string",
    "changed": "string",
    "value": "string",
    "n_seeds": "Int64",
    "test_accuracy_mean": "float64",
    "test_accuracy_std": "float64",
    "difference": "float64",
    "difference_low": "float64",
    "difference_high": "float64",
    "p": "float64",
}


def _of_sweep(sweep: SweepMetadata, runs: pd.DataFrame) -> Iterator[Row]:
    baseline = _baseline(sweep)
    own = comparisons.finished(runs[runs["sweep"] == sweep.name])
    names = [name for name in baseline if name in comparisons.varied(own)]
    if not names:
        return
    table = comparisons.configurations(own)
    changed = pd.DataFrame({name: _differs(table[name], baseline[name]) for name in names})
    table = table.assign(n_changed=changed.sum(axis="columns"))
    rest = [n for n in comparisons.varied(own) if n not in (*names, "architecture", "batch_size")]
    keys = ["architecture", "batch_size", "optimizer", *rest]
    for _, group in comparisons.in_order(table, own, first=keys).groupby(
        keys, sort=False, dropna=False
    ):
        bases = group[group["n_changed"] == 0]
        if len(bases) != 1:
            continue
        base = bases.iloc[0]
        yield _row(base, None, None, {})
        for name in names:
            for _, variant in group[group["n_changed"] == 1].sort_values("trial").iterrows():
                if _differs(pd.Series([variant[name]]), baseline[name]).iloc[0]:
                    found = _difference(variant["configuration"], base["configuration"], own)
                    yield _row(variant, name, format_number(variant[name]), found)


def _row(
    configuration: pd.Series,
    changed: str | None,
    value: str | None,
    difference: Mapping[str, float],
) -> Row:
    names = ["sweep", "architecture", "batch_size", "optimizer", "n_seeds"]
    names += ["test_accuracy_mean", "test_accuracy_std"]
    return {
        **{name: configuration[name] for name in names},
        "changed": changed,
        "value": value,
        **difference,
    }


def _difference(variant: int, base: int, runs: pd.DataFrame) -> dict[str, float]:
    """By the seeds that both have."""
    by_seed = runs.groupby(["configuration", "seed"])["test_accuracy"].mean()
    pairs = pd.concat([by_seed[variant], by_seed[base]], axis="columns", keys=["own", "base"])
    pairs = pairs.astype("float64").dropna()
    found = paired_difference(pairs["own"].to_numpy(), pairs["base"].to_numpy())
    return {
        "difference": found.value,
        "difference_low": found.low,
        "difference_high": found.high,
        "p": found.p_value,
    }


def _differs(values: pd.Series, baseline: object) -> pd.Series:
    """Where a dimension is there and has another value than the baseline's."""
    return values.notna() & (values != baseline).fillna(False).astype(bool)


def _baseline(sweep: SweepMetadata) -> dict[str, Any]:
    """By the columns of the frames: what a constraint requires with one exception."""
    constraints = sweep.specification.get("constraints")
    found: dict[str, Any] = {}
    for constraint in constraints if isinstance(constraints, list | tuple) else ():
        required = constraint.get("require") if isinstance(constraint, dict) else None
        if not isinstance(required, dict) or constraint.get("exceptions") != 1:
            continue
        for name, value in required.items():
            if not isinstance(value, list | dict):
                found[str(name).rpartition(".")[2]] = value
    return found


def _baseline_in_words(frames: Frames) -> str:
    settings = {
        name: value for sweep in frames.sweeps[:1] for name, value in _baseline(sweep).items()
    }
    return listed([f"{name} {format_number(value)}" for name, value in settings.items()])
