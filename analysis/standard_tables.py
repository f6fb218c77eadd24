"""The tables of a report: the comparisons with their titles, captions and formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis import comparisons
from analysis.ablations import ablation_table
from analysis.budgets import Budget, cumulative_cycles
from analysis.comparison_tables import (
    best_table,
    equal_budget_table,
    main_table,
    settings_table,
    target_table,
)
from analysis.cost_tables import cost_table, failures_table, interruptions_table
from analysis.effect_tables import effect_tables
from analysis.frames import Frames
from analysis.importances import importance_table
from analysis.pareto_tables import pareto_table
from analysis.published import published_table
from analysis.reproduced import reproduced_table
from analysis.tables import Column, Table


def standard_tables(
    frames: Frames, budgets: Sequence[Budget] = (), target: float | None = None
) -> tuple[Table, ...]:
    """The tables that the records support, the main comparison first.

    With several sweeps every table has a row for each of them; a choice of the best setting goes
    by the objective of the first sweep, of several objectives by the first.

    Args:
        frames: of one or more sweeps.
        budgets: to hold the optimisers to; those that all of them can meet if none is given.
        target: the test accuracy to tell the way to; one that all reached if not given.
    """
    cycles = cumulative_cycles(frames)
    compared = replace(frames, runs=comparisons.comparable(frames.runs))
    pareto = pareto_table(compared)
    several = len(frames.sweeps[0].objectives) > 1
    tables = [
        main_table(compared),
        pareto if several else None,
        settings_table(compared),
        equal_budget_table(compared, budgets, cycles),
        target_table(compared, target, cycles),
        reproduced_table(frames),  # it reads all options
        published_table(compared),
        best_table(frames),
        ablation_table(compared),
        *effect_tables(compared),
        importance_table(compared),
        None if several or pareto.frame.empty else pareto,
        cost_table(frames),
        failures_table(frames),
        interruptions_table(frames),
    ]
    found = [table for table in tables if table is not None]
    return tuple(_with_sweep(table) for table in found)


def _with_sweep(table: Table) -> Table:
    shown = [name for column in table.columns for name in column.fields]
    if "sweep" in shown or table.frame["sweep"].nunique() < 2:
        return table
    return replace(table, columns=(Column("Sweep", "text", ("sweep",)), *table.columns))
