"""Any comparison: a metric by rows and columns, with intervals, paired differences and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.budgets import Budget, runs_within
from analysis.frames import Frames
from analysis.objectives import Direction, Objective
from analysis.paired import Difference, marks, paired_difference
from analysis.statistics import Statistic, Test, estimate, holm

STATISTICS = ("low", "high", "std", "n_seeds", "n_configurations", "mark")
"""What stands beside each mean (median, iqm) of `compare`."""
DIFFERENCE = ("difference", "low", "high", "n_pairs", "p_value", "probability")
_PAIR = ["data", "seed"]


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
) -> pd.DataFrame:
    """A metric for each combination of some columns, over the seeds.

    All other dimensions are averaged within each seed, every distinct configuration with the same
    weight; the interval and the deviation are then those of the seeds' averages. What stands side
    by side is compared pair by pair: two runs are a pair if they had the same data, the same seed
    and the same value of every other dimension that both sides tried.

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

    Returns:
        The row columns, then the statistic under its name, `low` and `high` (its 95 % interval;
        missing where there is none, for one seed, and where the seeds did not all average the same
        configurations), `std` (ddof 1, likewise), `n_seeds`, `n_configurations` and `mark`
        ("best" of all rows, "tied" if it cannot be told apart from that). With `columns`, these for
        each combination of their values, named `rso_mean` and so on, where the mark is that within
        the row; and if there are two, `difference` (the first less the second), its
        `difference_low`, `difference_high`, `n_pairs`, `p_value`, `p_holm` and `probability` (that
        a run of the first is better than one of the second). A combination that was tried and has
        no result has `n_seeds` 0.

    Raises:
        TypeError: `at` is given with runs alone, which do not say what they were before their end.
    """
    frame = _runs(runs, at)
    aim = direction or Objective.of(metric).direction
    keys = [*rows, *columns]
    values = comparisons.seed_values(frame.dropna(subset=keys), metric, keys)
    tried = frame[keys].dropna().drop_duplicates()
    samples = {_key(key): own for key, own in values.groupby(keys)} if len(values) else {}
    empty = values.iloc[:0]
    table = comparisons.in_order(tried.reset_index(drop=True), frame)
    cells = [samples.get(_key(key), empty) for key in table[keys].itertuples(index=False)]
    figures = pd.DataFrame([cell_statistics(own, statistic) for own in cells])
    figures.index = table.index
    table = pd.concat([table, figures.reindex(columns=[statistic, *STATISTICS[:-1]])], axis=1)
    table = _typed(table, statistic)
    pairing = Pairing(tuple(keys), aim, statistic, test)
    if not columns:
        found = pairing.marks([list(table[statistic])], [cells])[0] if cells else []
        return table.assign(mark=pd.array(found, dtype="string"))
    laid = comparisons.in_order(frame[list(columns)].dropna().drop_duplicates(), frame)
    labels = {
        _key(key): "_".join(str(value) for value in _key(key))
        for key in laid.itertuples(index=False)
    }
    return _side_by_side(table, cells, list(rows), list(columns), labels, pairing)


def cell_statistics(values: pd.DataFrame, statistic: Statistic = "mean") -> dict[str, float]:
    """The statistics of one cell, from its rows of `comparisons.seed_values`."""
    by_seed = values.groupby(_PAIR)["value"].mean()
    by_configuration = values.groupby("configuration")["value"].mean()
    result = estimate(by_seed.to_numpy("float64"), statistic)
    is_balanced = len(values) == len(by_seed) * len(by_configuration)
    std = float(by_seed.std()) if is_balanced and len(by_seed) > 1 else np.nan
    # a mean weighs every configuration alike, also where some lack a seed
    value = float(by_configuration.mean()) if statistic == "mean" and len(values) else result.value
    return {
        statistic: value,
        "low": result.low if is_balanced else np.nan,
        "high": result.high if is_balanced else np.nan,
        "std": std,
        "n_seeds": len(by_seed),
        "n_configurations": len(by_configuration),
    }


@dataclass(frozen=True, slots=True)
class Pairing:
    """How cells are compared: what tells them apart, what is better, and by which test."""

    keys: tuple[str, ...]
    """The columns that tell the cells apart."""
    direction: Direction = "maximize"
    statistic: Statistic = "mean"
    test: Test = "t"

    def difference(self, first: pd.DataFrame, second: pd.DataFrame) -> Difference:
        """How much larger the first cell is, pair by pair, averaged within each seed.

        Args:
            first: rows of `comparisons.seed_values`.
            second: those to subtract.
        """
        shared = _shared_dimensions([first, second], self.keys)
        own, other = (_paired_figures(part, shared) for part in (first, second))
        both = own.index.intersection(other.index)
        within = [_by_seed(part.loc[both]) for part in (own, other)]
        return paired_difference(
            *within, direction=self.direction, statistic=self.statistic, test=self.test
        )

    def marks(
        self, figures: Sequence[Sequence[float]], cells: Sequence[Sequence[pd.DataFrame]]
    ) -> list[list[str | None]]:
        """`paired.marks` of groups of cells, from the figures that are shown of them."""
        return marks(
            figures,
            lambda group, best, place: (
                self.difference(cells[group][best], cells[group][place]).p_value
            ),
            self.direction,
        )


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


_NOTHING = pd.Series(
    [], index=pd.MultiIndex.from_arrays([[], []], names=_PAIR), dtype="float64", name="value"
)


def _paired_figures(values: pd.DataFrame, shared: Sequence[str]) -> pd.Series:
    """One figure for each pair's key: the data, the seed and the shared dimensions."""
    return values.groupby([*_PAIR, *shared])["value"].mean() if len(values) else _NOTHING


def _by_seed(figures: pd.Series) -> pd.Series:
    return figures.groupby(level=_PAIR).mean() if len(figures) else _NOTHING


def _runs(runs: pd.DataFrame | Frames, at: Budget | None) -> pd.DataFrame:
    if isinstance(runs, Frames):
        return runs.runs if at is None else runs_within(runs, at)
    if at is not None:
        raise TypeError("'at' needs the frames, since runs do not say what they were before")
    return runs


def _key(key: object) -> tuple[object, ...]:
    return tuple(key) if isinstance(key, tuple) else (key,)


def _shared_dimensions(cells: Sequence[pd.DataFrame], keys: Sequence[str]) -> list[str]:
    """The dimensions of which all cells with results tried some of the same values."""
    held = [own for own in cells if len(own)]
    if len(held) < 2:
        return []
    names = [
        name
        for name in held[0].columns
        if name not in (*keys, *_PAIR, "configuration", "value", "sweep")
    ]
    shared = []
    for name in names:
        tried = [set(own[name].dropna()) for own in held]
        if all(own[name].notna().all() for own in held) and set.intersection(*tried):
            shared.append(name)
    return shared


def _side_by_side(
    table: pd.DataFrame,
    cells: Sequence[pd.DataFrame],
    rows: list[str],
    columns: list[str],
    labels: Mapping[tuple[object, ...], str],
    pairing: Pairing,
) -> pd.DataFrame:
    wide = table[rows].drop_duplicates().reset_index(drop=True)
    places = {_key(key): place for place, key in enumerate(wide.itertuples(index=False))}
    empty = cells[0].iloc[:0] if cells else pd.DataFrame()
    laid = [dict.fromkeys(labels.values(), empty) for _ in places]
    shown = [dict.fromkeys(labels.values(), float("nan")) for _ in places]
    row_of = [places[_key(key)] for key in table[rows].itertuples(index=False)]
    label_of = [labels[_key(key)] for key in table[columns].itertuples(index=False)]
    for place, label, own, figure in zip(
        row_of, label_of, cells, table[pairing.statistic], strict=True
    ):
        laid[place][label], shown[place][label] = own, figure
    found = pairing.marks(
        [list(own.values()) for own in shown], [list(own.values()) for own in laid]
    )
    for number, label in enumerate(labels.values()):
        here = [place for place, own in enumerate(label_of) if own == label]
        part = table.iloc[here][[pairing.statistic, *STATISTICS[:-1]]]
        part.index = pd.Index([row_of[place] for place in here])
        part = part.reindex(wide.index)
        for name in part.columns:
            wide[f"{label}_{name}"] = part[name].fillna(0) if name.startswith("n_") else part[name]
        wide[f"{label}_mark"] = pd.array([own[number] for own in found], dtype="string")
    if len(labels) == 2:
        pairs = [pairing.difference(*own.values()) for own in laid]
        wide = wide.assign(**difference_columns(pairs))
    return wide


def _typed(table: pd.DataFrame, statistic: str) -> pd.DataFrame:
    counts = ["n_seeds", "n_configurations"]
    table[counts] = table[counts].fillna(0).astype("Int64")
    figures = [statistic, "low", "high", "std"]
    table[figures] = table[figures].astype("float64")
    return table
