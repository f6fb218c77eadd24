"""Any comparison: a metric by rows and columns, with intervals, paired differences and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis import comparisons
from analysis.budgets import Budget, runs_within
from analysis.cells import Cell, Pairing, cells_of
from analysis.frames import Frames
from analysis.objectives import Direction, Objective
from analysis.paired import Difference
from analysis.statistics import Statistic, Test, holm

BESIDE = ("low", "high", "std", "n_seeds", "n_configurations")
"""What stands beside each mean (median, iqm) of `compare`, and its mark."""


def compare(
    runs: pd.DataFrame | Frames,
    *,
    rows: Sequence[str],
    columns: Sequence[str] = (),
    metric: str = "validation_accuracy",
    at: Budget | None = None,
    statistic: Statistic = "mean",
    direction: Direction | None = None,
    test: Test = "t",
    within: Sequence[str] = (),
) -> pd.DataFrame:
    """A metric for each combination of some columns, over the seeds.

    All other dimensions are averaged within each seed, every distinct configuration with the same
    weight; the interval and the deviation are then those of the seeds' averages. What stands side
    by side is compared pair by pair: two runs are a pair if they had the same data, the same seed
    and the same value of every other dimension of which both sides tried some of the same values.

    Args:
        runs: `Frames.runs`, or frames where there is a budget.
        rows: columns of `runs`; a row for each combination that was tried. Runs that lack one of
            them (an option of another optimiser) are left out.
        columns: columns of `runs` whose values are laid side by side.
        metric: a numeric column of `runs`.
        at: a budget that all runs are held to; None for all that they did.
        statistic: mean, median or iqm (interquartile mean), over the seeds.
        direction: which figures are the better ones; that of the metric if not given.
        test: of the pairs; its p values are corrected over the rows (Holm).
        within: row columns; without `columns`, rows are compared that have the same values of them.

    Returns:
        The row columns, then the statistic under its name, `low` and `high` (its 95 % interval;
        missing where there is none, for one seed, and where the seeds did not all average the same
        configurations), `std` (ddof 1, likewise), `n_seeds`, `n_configurations` and `mark`
        ("best" of the rows compared, "tied" if it cannot be told apart from that). With `columns`,
        these for each combination of their values, named `rso_mean` and so on, where the mark is
        that within the row; and if there are two, `difference` (the first less the second), its
        `difference_low`, `difference_high`, `n_pairs`, `p_value`, `p_holm` and `probability` (that
        a run of the first is better than one of the second). A combination that was tried and has
        no result has `n_seeds` 0.

    Raises:
        TypeError: `at` is given with runs alone, which do not say what they were before their end.
    """
    frame = _runs(runs, at)
    keys = [*rows, *columns]
    values = comparisons.seed_values(frame.dropna(subset=keys), metric, keys)
    tried = frame[keys].dropna().drop_duplicates()
    table = comparisons.in_order(tried.reset_index(drop=True), frame)
    found = cells_of(values, keys)
    cells = [found.get(key, Cell.empty()) for key in table[keys].itertuples(index=False, name=None)]
    statistics = [cell.statistics(statistic) for cell in cells]
    for name in (statistic, *BESIDE):
        table[name] = _column(name, [own[name] for own in statistics])
    pairing = Pairing(direction or Objective.of(metric).direction, statistic, test)
    if not columns:
        return table.assign(mark=_row_marks(table, cells, list(within), pairing))
    laid = comparisons.in_order(frame[list(columns)].dropna().drop_duplicates(), frame)
    labels = {
        key: "_".join(str(value) for value in key)
        for key in laid.itertuples(index=False, name=None)
    }
    return _side_by_side(table, cells, list(rows), list(columns), labels, pairing)


def difference_columns(found: Sequence[Difference]) -> dict[str, pd.Series]:
    """The columns of the differences of a table's rows, corrected over all of them."""
    p_values = [each.p_value for each in found]
    return {
        "difference": pd.Series([each.value for each in found], dtype="float64"),
        "difference_low": pd.Series([each.low for each in found], dtype="float64"),
        "difference_high": pd.Series([each.high for each in found], dtype="float64"),
        "n_pairs": pd.Series([each.n_pairs for each in found], dtype="Int64"),
        "p_value": pd.Series(p_values, dtype="float64"),
        "p_holm": pd.Series(holm(p_values), dtype="float64"),
        "probability": pd.Series([each.probability for each in found], dtype="float64"),
    }


def _runs(runs: pd.DataFrame | Frames, at: Budget | None) -> pd.DataFrame:
    if isinstance(runs, Frames):
        return runs.runs if at is None else runs_within(runs, at)
    if at is not None:
        raise TypeError("'at' needs the frames, since runs do not say what they were before")
    return runs


def _row_marks(
    table: pd.DataFrame, cells: Sequence[Cell], within: list[str], pairing: Pairing
) -> pd.Series:
    marked = pd.Series(pd.NA, table.index, dtype="string")
    groups = list(table.groupby(within, sort=False).indices.values()) if within else [table.index]
    figures = table[pairing.statistic].to_numpy("float64")
    found = pairing.marks(
        [list(figures[group]) for group in groups],
        [[cells[place] for place in group] for group in groups],
    )
    for group, own in zip(groups, found, strict=True):
        marked.iloc[group] = own
    return marked


def _side_by_side(
    table: pd.DataFrame,
    cells: Sequence[Cell],
    rows: list[str],
    columns: list[str],
    labels: Mapping[tuple[object, ...], str],
    pairing: Pairing,
) -> pd.DataFrame:
    wide = table[rows].drop_duplicates().reset_index(drop=True)
    row_of = {key: place for place, key in enumerate(wide.itertuples(index=False, name=None))}
    laid = [dict.fromkeys(labels.values(), Cell.empty()) for _ in row_of]
    places = [row_of[key] for key in table[rows].itertuples(index=False, name=None)]
    headings = [labels[key] for key in table[columns].itertuples(index=False, name=None)]
    for place, heading, cell in zip(places, headings, cells, strict=True):
        laid[place][heading] = cell
    names = (pairing.statistic, *BESIDE)
    shown = [
        {heading: cell.statistics(pairing.statistic) for heading, cell in own.items()}
        for own in laid
    ]
    marked = pairing.marks(
        [[own[heading][pairing.statistic] for heading in labels.values()] for own in shown],
        [list(own.values()) for own in laid],
    )
    added: dict[str, pd.Series] = {}
    for number, heading in enumerate(labels.values()):
        for name in names:
            added[f"{heading}_{name}"] = _column(name, [own[heading][name] for own in shown])
        added[f"{heading}_mark"] = pd.Series([own[number] for own in marked], dtype="string")
    if len(labels) == 2:
        pairs = [pairing.difference(*own.values()) for own in laid]
        added |= difference_columns(pairs)
    return pd.concat([wide, pd.DataFrame(added, index=wide.index)], axis="columns")


def _column(name: str, figures: list[float]) -> pd.Series:
    return pd.Series(figures, dtype="Int64" if name.startswith("n_") else "float64")
