"""Optimisers against each other, each at its best setting: to their end, and at equal budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from analysis import comparisons
from analysis.budgets import (
    BUDGET_KINDS,
    Budget,
    BudgetKind,
    common_budget,
    cumulative_cycles,
    runs_within,
    used_within,
)
from analysis.comparing import compare
from analysis.comparisons import METRICS
from analysis.frames import Frames, configuration_numbers
from analysis.objectives import Direction
from analysis.targets import common_target, median_needed, needed_for

_SHOWN = ("mean", "low", "high", "std", "mark")


def optimizers_by_architecture_and_batch_size(
    runs: pd.DataFrame, *, direction: Direction = "maximize"
) -> pd.DataFrame:
    """The optimisers side by side, each at its best setting, for every network and batch size.

    The setting is chosen by the mean objective (`comparisons.best_configurations`).

    Returns:
        `sweep`, `architecture`, `batch_size`; for each optimiser, RSO first, `rso_trial`,
        `rso_n_seeds`, `rso_n_candidates`, and `_mean`, `_low` and `_high` (95 % interval), `_std`
        and `_mark` of both accuracies, such as `rso_test_accuracy_mean`; and with two optimisers
        or more, how the test accuracies of the first two differ, seed by seed: `difference` and
        the rest of `compare`'s.
    """
    return _side_by_side(runs, ["sweep", "architecture", "batch_size"], direction)


def optimizers_at_equal_budget(
    frames: Frames,
    budgets: Sequence[BudgetKind | Budget] = BUDGET_KINDS,
    *,
    cycles: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The optimisers side by side at equal budgets, for every network.

    Each is at the setting with the best mean objective at that budget, whatever its batch size.

    Args:
        frames: of one or more sweeps.
        budgets: budgets, or kinds of them. Of a kind it is the amount that the settings that came
            out best in the end all used up (`common_budget`), for each network its own.
        cycles: `cumulative_cycles(frames)`, where there it is at hand.

    Returns:
        `sweep`, `architecture`, `budget` (its kind), `amount`, and for each optimiser and the
        differences the columns of `optimizers_by_architecture_and_batch_size`, with `rso_used`:
        what of the budget its runs used on average. No row where fewer than two optimisers have
        results within the budget.
    """
    cycles = cumulative_cycles(frames) if cycles is None else cycles
    rows = ["sweep", "architecture", "budget", "amount"]
    held, order = [], []
    for part, own, chosen in _by_network(frames, cycles):
        groups = [list(each.index) for _, each in chosen.groupby("optimizer")]
        for wanted in budgets if len(groups) > 1 else ():
            budget = wanted if isinstance(wanted, Budget) else common_budget(own, wanted, groups)
            if budget is not None:
                used = used_within(own, budget).reindex(part.runs.index)
                runs = runs_within(part, budget, own)
                held.append(runs.assign(budget=budget.kind, amount=budget.amount, used=used))
                order.append(held[-1][rows].head(1))
    if not held:
        return pd.DataFrame(columns=rows)
    runs = pd.concat(held, ignore_index=True)
    # the same configuration at two budgets is two
    alone = runs.drop(columns=["used", "configuration"])
    alone = alone.assign(configuration=configuration_numbers(alone))
    table = _side_by_side(alone, rows, _direction(frames), runs["used"])
    table = pd.concat(order).drop_duplicates().merge(table, on=rows)
    figures = [f"{name}_test_accuracy_mean" for name in comparisons.optimizers(runs)]
    return table[table[figures].notna().sum(axis="columns") > 1].reset_index(drop=True)


def optimizers_to_target(
    frames: Frames,
    target: float | None = None,
    *,
    metric: str = "test_accuracy",
    cycles: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What each optimiser needs to reach a target, for every network.

    At the setting with the best mean objective in the end; all its runs count, also those that
    failed or were pruned. The amounts are medians over the runs in which one that did not reach
    the target counts as needing more than it had (`targets`).

    Args:
        frames: of one or more sweeps.
        target: the figure to reach; None for one that all reached on average in the end
            (`common_target`), for each network its own.
        metric: an accuracy or a loss of `Frames.cycles`.
        cycles: `cumulative_cycles(frames)`, where there it is at hand.

    Returns:
        `sweep`, `architecture`, `target`, `optimizer`, `trial`, `n_runs`, `n_reached`, and the
        medians `cycles`, `images`, `seconds` and `updates`, missing where too few reached it.
    """
    cycles = cumulative_cycles(frames) if cycles is None else cycles
    rows = []
    for part, own, chosen in _by_network(frames, cycles):
        names = comparisons.optimizers(chosen)
        groups = {name: chosen[chosen["optimizer"] == name] for name in names}
        finals = [each[each["state"] == "finished"][metric] for each in groups.values()]
        aim = common_target(finals, metric) if target is None else target
        if aim is None or len(groups) < 2:
            continue
        needed: dict[str, pd.DataFrame] = {
            kind: needed_for(part, aim, metric=metric, kind=kind, cycles=own)
            for kind in BUDGET_KINDS
        }
        for name, each in groups.items():
            of_it = {kind: amounts.loc[each.index] for kind, amounts in needed.items()}
            reached = of_it["cycles"]["is_reached"]
            rows.append(
                {
                    "sweep": each["sweep"].iloc[0],
                    "architecture": each["architecture"].iloc[0],
                    "target": aim,
                    "optimizer": name,
                    "trial": each["trial"].iloc[0],
                    "n_runs": int(reached.notna().sum()),
                    "n_reached": int(reached.fillna(False).sum()),
                    **{
                        kind: median_needed(amounts["needed"], amounts["is_reached"])
                        for kind, amounts in of_it.items()
                    },
                }
            )
    return pd.DataFrame(rows, columns=[*_TARGET_COLUMNS, *BUDGET_KINDS])


_TARGET_COLUMNS = (
    *("sweep", "architecture", "target", "optimizer", "trial"),
    *("n_runs", "n_reached"),
)


def _side_by_side(
    runs: pd.DataFrame, rows: list[str], direction: Direction, used: pd.Series | None = None
) -> pd.DataFrame:
    best = comparisons.best_configurations(runs, within=rows[1:], direction=direction)
    chosen = _only(runs, best)
    names = comparisons.optimizers(runs)
    table = comparisons.in_order(runs[rows].dropna().drop_duplicates(), runs)
    wide = {
        metric: compare(chosen, rows=rows, columns=["optimizer"], metric=metric)
        for metric in METRICS
    }
    for name in names:
        own = best.loc[best["optimizer"] == name, [*rows, "trial", "n_seeds", "n_candidates"]]
        counts = [f"{name}_n_seeds", f"{name}_n_candidates"]
        own.columns = pd.Index([*rows, f"{name}_trial", *counts])
        table = table.merge(own, on=rows, how="left")
        table[counts] = table[counts].fillna(0).astype("Int64")
        for metric in METRICS:
            figures = wide[metric][[*rows, *(f"{name}_{shown}" for shown in _SHOWN)]]
            figures.columns = pd.Index([*rows, *(f"{name}_{metric}_{shown}" for shown in _SHOWN)])
            table = table.merge(figures, on=rows, how="left")
        if used is not None:
            of_it = chosen[(chosen["optimizer"] == name) & (chosen["state"] == "finished")]
            amounts = of_it[rows].assign(**{f"{name}_used": used.reindex(of_it.index)})
            table = table.merge(amounts.groupby(rows, as_index=False).mean(), on=rows, how="left")
    if len(names) > 2:
        wide[METRICS[-1]] = compare(
            chosen[chosen["optimizer"].isin(names[:2])],
            rows=rows,
            columns=["optimizer"],
            metric=METRICS[-1],
        )
    compared = wide[METRICS[-1]]
    if "difference" not in compared:
        return table
    start = list(compared.columns).index("difference")
    return table.merge(compared[[*rows, *compared.columns[start:]]], on=rows, how="left")


def _only(runs: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """The runs, of which only those of the given configurations count as finished."""
    counts = (runs["state"] != "finished") | comparisons.is_of(runs, best)
    return runs.assign(state=runs["state"].where(counts, "not chosen"))


def _by_network(
    frames: Frames, cycles: pd.DataFrame
) -> Iterator[tuple[Frames, pd.DataFrame, pd.DataFrame]]:
    """Of each sweep and network its frames, its cycles, and the runs of the best settings.

    These are all runs of each optimiser's best setting in the end, in whatever state.
    """
    keys = ["sweep", "architecture"]
    order = comparisons.in_order(frames.runs[keys].dropna().drop_duplicates(), frames.runs)
    for sweep, architecture in order.itertuples(index=False):
        runs = frames.runs
        own = runs[(runs["sweep"] == sweep) & (runs["architecture"] == architecture)]
        of_it = tuple(each for each in frames.sweeps if each.name == sweep)
        part = replace(frames, runs=own, sweeps=of_it)
        best = comparisons.best_configurations(own, direction=_direction(part))
        chosen = own[comparisons.is_of(own, best)]
        yield part, cycles[cycles["row"].isin(own.index)], chosen


def _direction(part: Frames) -> Direction:
    return part.sweeps[0].direction if part.sweeps else "maximize"
