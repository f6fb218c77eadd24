"""The tables of what each dimension does: the rest averaged, and the rest held."""

from __future__ import annotations

import pandas as pd

from analysis import comparisons
from analysis.comparison_tables import OPTIMISER
from analysis.effects import effect_of, held_at
from analysis.frames import Frames, option_columns
from analysis.tables import Column, Table
from analysis.wording import (
    INTERVAL,
    MARKS,
    dimension_label,
    format_number,
    listed,
    optimizer_label,
    setting_text,
)

_MOST_VALUES = 10
"""Values of a number that have a row each; more are put together in ranges."""
_PRUNED = (
    "Pruned runs have no final figure and are left out, so a value whose runs were often pruned "
    "looks better than it is."
)


def effect_tables(frames: Frames) -> list[Table]:
    """A table for each dimension that was varied."""
    runs = frames.runs
    best = comparisons.best_configurations(runs, direction=frames.sweeps[0].direction)
    return [_effect(runs, dimension, best) for dimension in comparisons.varied(runs)]


def _effect(runs: pd.DataFrame, dimension: str, best: pd.DataFrame) -> Table:
    options = option_columns(runs)
    numeric = pd.api.types.is_numeric_dtype(runs[dimension])
    in_ranges = numeric and runs[dimension].nunique() > _MOST_VALUES
    frame = (_effect_of_ranges if in_ranges else _effect_of)(runs, dimension, best)
    shown = runs[runs["optimizer"].isin(frame["optimizer"])]
    label = dimension_label(dimension)
    # a single value of a range's quarter has nothing beside it when the rest is held
    is_held = not in_ranges and bool((frame["held_n_seeds"] > 0).sum() > 1)
    held = (_estimate("Test %, rest held", "held"),) if is_held else ()
    size = (Column("Parameters", "count", ("n_parameters",)),)
    return Table(
        name=f"effect_of_{dimension}",
        title=f"The effect of {label}" if dimension in options else f"The effect of the {label}",
        caption=_caption(runs, shown, dimension, best, in_ranges=in_ranges, is_held=is_held),
        frame=frame,
        columns=(
            Column(
                label if dimension in options else label.capitalize(),
                "number" if numeric and not in_ranges else "text",
                (dimension,),
            ),
            *(size if dimension == "architecture" else ()),
            OPTIMISER,
            _estimate("Validation %", "validation_accuracy"),
            _estimate("Test %", "test_accuracy"),
            *held,
            Column("Seeds", "number", ("test_accuracy_n_seeds",)),
            Column("Configurations", "count", ("n_configurations",)),
        ),
    )


def _caption(
    runs: pd.DataFrame,
    shown: pd.DataFrame,
    dimension: str,
    best: pd.DataFrame,
    *,
    in_ranges: bool,
    is_held: bool,
) -> str:
    averaged = [dimension_label(n) for n in comparisons.varied(shown) if n != dimension]
    caption = "Mean over the seeds" + (
        f" of the average over {listed(averaged)}, every distinct configuration with the same "
        "weight."
        if averaged
        else "; nothing else was varied."
    )
    if is_held and averaged:
        held = _held(shown, dimension, best)
        caption += f" Rest held: at the optimiser’s best configuration, {held}."
    if in_ranges:
        caption += " The values that were tried are put together in four ranges."
    if not comparisons.is_balanced(shown, dimension):
        caption += (
            " The values were not all run with the same settings of the rest, so that a "
            f"difference between rows need not be due to the {dimension_label(dimension)}."
        )
    if (runs["state"] == "pruned").any():
        caption += f" {_PRUNED}"
    return f"{caption} {INTERVAL} {MARKS} Compared are the values of each optimiser."


def _held(runs: pd.DataFrame, dimension: str, best: pd.DataFrame) -> str:
    """`RSO: batch size=64, ...; SGD: ...`, of the first sweep."""
    shown = best[best["optimizer"].isin(runs["optimizer"].unique())]
    first = shown[shown["sweep"] == shown["sweep"].iloc[0]]
    settings = []
    for held in held_at(runs, dimension, first):
        values = {dimension_label(str(name)): value for name, value in held.items()}
        names = [name for name in values if name not in ("sweep", dimension_label("optimizer"))]
        optimizer = optimizer_label(held["optimizer"])
        settings.append(f"{optimizer}: {setting_text(values, names)}")
    return "; ".join(settings)


def _effect_of(runs: pd.DataFrame, dimension: str, best: pd.DataFrame) -> pd.DataFrame:
    frame = effect_of(runs, dimension, best=best)
    if dimension not in option_columns(runs):
        return frame
    # an optimiser that had one value of an option has no effect of it to show
    several = frame.groupby("optimizer")[dimension].transform("nunique") > 1
    return frame[several].reset_index(drop=True)


def _effect_of_ranges(runs: pd.DataFrame, dimension: str, best: pd.DataFrame) -> pd.DataFrame:
    """`effect_of` a dimension drawn from a continuum: a row for each quarter of its values."""
    values = runs[dimension].astype("float64")
    ranged = f"range of {dimension}"
    number = pd.qcut(values, 4, labels=False, duplicates="drop").astype("Int64")
    frame = _effect_of(runs.assign(**{ranged: number}), ranged, best)
    ends = values.groupby(number).agg(["min", "max"])
    texts = {i: f"{format_number(e.min())} to {format_number(e.max())}" for i, e in ends.iterrows()}
    return frame.assign(**{ranged: frame[ranged].map(texts)}).rename(columns={ranged: dimension})


def _estimate(header: str, prefix: str) -> Column:
    fields = tuple(f"{prefix}_{part}" for part in ("mean", "low", "high", "n_seeds"))
    return Column(header, "estimate", fields, mark=f"{prefix}_mark")
