"""A table of any metric by any columns, as `rso-sweep table` prints it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import pandas as pd

from analysis import comparisons
from analysis.budgets import Budget
from analysis.comparing import compare
from analysis.formats import format_budget
from analysis.frames import Frames, option_columns
from analysis.objectives import OBJECTIVE_METRICS
from analysis.statistics import Statistic
from analysis.tables import Column, Kind, Table
from analysis.wording import (
    INTERVAL,
    MARKS,
    METHOD,
    dimension_label,
    format_number,
    listed,
    metric_label,
    optimizer_label,
)

DIMENSIONS = ("sweep", "architecture", "batch_size", "optimizer", "cycles", "seed", "trial")
"""Columns that rows and columns may be, beside the options."""
TABLE_METRICS = ("objective", *OBJECTIVE_METRICS, "n_accepted", "evaluation_s", "n_cycles")
_STATISTICS = {"mean": "Mean", "median": "Median", "iqm": "Interquartile mean"}
_UNITS = {"accuracy": " (%)", "loss": " (nats)", "s": " (s)"}


class UnknownColumn(ValueError):  # noqa: N818  (it names what was wrong, as KeyError does not)
    """A row, column or metric that the runs do not have; the message is one line for the user."""


def comparison_table(
    frames: Frames,
    *,
    rows: Sequence[str],
    columns: Sequence[str] = (),
    metric: str = "test_accuracy",
    at: Budget | None = None,
    statistic: Statistic = "mean",
    where: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """A metric for each combination of some columns, with intervals and marks (`compare`).

    Args:
        frames: of one or more sweeps.
        rows: dimensions or options; a row for each combination of their values.
        columns: those whose values stand side by side.
        metric: `objective`, an accuracy, a loss or a cost.
        at: a budget that all runs are held to.
        statistic: mean, median or iqm (interquartile mean), over the seeds.
        where: values, as they are written, that dimensions or options of the runs must have.

    Raises:
        UnknownColumn: a name is none of these, or is given twice, or no run has such a value.
    """
    _check(frames, rows, columns, metric)
    frames = _only(frames, where)
    several = len(frames.sweeps) > 1 and "sweep" not in (*rows, *columns)
    keys = ["sweep", *rows] if several else list(rows)
    frame = compare(
        frames,
        rows=keys,
        columns=columns,
        metric=metric,
        at=at,
        statistic=statistic,
        direction=frames.sweeps[0].direction if metric == "objective" else None,
    )
    shown = frames.sweeps[0].metric if metric == "objective" else metric
    label = metric_label(shown)
    by = listed([dimension_label(name) for name in (*rows, *columns)])
    budget = f", within {format_budget(at.kind, at.amount)}" if at is not None else ""
    return Table(
        name=f"{metric}_by_{'_and_'.join([*rows, *columns])}",
        title=f"{label.capitalize()}{_unit(shown)} by {by}{budget}",
        caption=_caption(frames.runs, keys, columns, statistic, label),
        frame=frame,
        columns=(
            *(_heading(frame, name) for name in keys),
            *_figures(frame, _headings(frames.runs, columns), shown, statistic),
        ),
    )


def _check(frames: Frames, rows: Sequence[str], columns: Sequence[str], metric: str) -> None:
    known = [*DIMENSIONS, *option_columns(frames.runs)]
    for argument, names in (("rows", rows), ("columns", columns)):
        for name in names:
            if name not in known:
                raise UnknownColumn(_unknown(argument, "a column of the runs", name, known))
    both = [*rows, *columns]
    for name in both:
        if both.count(name) > 1:
            raise UnknownColumn(f"'rows' and 'columns' must name each column once, got {name!r}")
    if not rows:
        raise UnknownColumn("'rows' must name at least one column, such as architecture, got none")
    if metric not in TABLE_METRICS:
        raise UnknownColumn(_unknown("metric", "a figure of a run", metric, list(TABLE_METRICS)))


def _only(frames: Frames, where: Mapping[str, str]) -> Frames:
    """The frames with the runs that have the given values."""
    runs = frames.runs
    known = [*DIMENSIONS, *option_columns(runs)]
    for name, value in where.items():
        if name not in known:
            raise UnknownColumn(_unknown("where", "a column of the runs", name, known))
        written = runs[name].map(format_number, na_action="ignore")
        chosen = written == format_number(_number(value))
        if not chosen.any():
            values = ", ".join(dict.fromkeys(written.dropna()))
            raise UnknownColumn(
                f"'where' must be a value of '{name}' ({values or 'it has none'}), got {value!r}"
            )
        runs = runs[chosen.fillna(False).astype(bool)]
    return replace(frames, runs=runs)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _unknown(argument: str, what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"'{argument}' must be {what} ({', '.join(known)}), got {name!r}{hint}"


def _caption(
    runs: pd.DataFrame, rows: Sequence[str], columns: Sequence[str], statistic: str, label: str
) -> str:
    averaged = [
        dimension_label(name) for name in comparisons.varied(runs) if name not in (*rows, *columns)
    ]
    if runs["optimizer"].nunique() > 1 and "optimizer" not in (*rows, *columns):
        averaged.append(dimension_label("optimizer"))
    caption = f"{_STATISTICS[statistic]} over the seeds of the {label}" + (
        f", averaged over {listed(averaged)}, every distinct configuration with the same weight."
        if averaged
        else "."
    )
    caption += f" {INTERVAL} {MARKS}"
    if len(columns) and runs[list(columns)].drop_duplicates().dropna().shape[0] == 2:
        caption += " p: of no difference within a row."
    return f"{caption} {METHOD}"


def _heading(frame: pd.DataFrame, name: str) -> Column:
    if name == "optimizer":
        return Column("Optimiser", "optimizer", (name,))
    label = dimension_label(name)
    kind: Kind = "number" if pd.api.types.is_numeric_dtype(frame[name]) else "text"
    return Column(label if name in frame and label == name else label.capitalize(), kind, (name,))


def _headings(runs: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    """What stands above each combination of the columns, by the name that `compare` gives it."""
    names = list(columns)
    laid = comparisons.in_order(runs[names].dropna().drop_duplicates(), runs)
    return {
        "_".join(str(value) for value in values): ", ".join(
            optimizer_label(str(value))
            if name == "optimizer"
            else str(value)
            if name in ("architecture", "sweep")
            else f"{dimension_label(name)} {format_number(value)}"
            for name, value in zip(names, values, strict=True)
        )
        for values in (laid.itertuples(index=False, name=None) if names else ())
    }


def _unit(metric: str) -> str:
    return next((unit for ending, unit in _UNITS.items() if metric.endswith(f"_{ending}")), "")


def _figures(
    frame: pd.DataFrame, headings: Mapping[str, str], metric: str, statistic: str
) -> list[Column]:
    kind: Kind = "estimate" if metric.endswith("_accuracy") else "figure"
    if not headings:
        alone = (statistic, "low", "high", "n_seeds")
        header = f"{metric_label(metric).capitalize()}{_unit(metric)}"
        return [
            Column(header, kind, alone, mark="mark"),
            Column("Seeds", "number", ("n_seeds",)),
            Column("Configurations", "count", ("n_configurations",)),
        ]
    shown = []
    for heading, label in headings.items():
        fields = tuple(f"{heading}_{part}" for part in (statistic, "low", "high", "n_seeds"))
        shown.append(Column(label, kind, fields, mark=f"{heading}_mark"))
    if "difference" in frame:
        ends = ("difference", "difference_low", "difference_high")
        if kind == "estimate":
            shown.append(Column("Difference", "difference", ends))
        shown.append(Column("p", "p_value", ("p_holm",)))
    seeds = tuple(f"{heading}_n_seeds" for heading in headings)
    return [*shown, Column("Seeds", "seeds", seeds)]
