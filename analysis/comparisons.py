"""Comparisons: pure functions from a runs frame to a frame of means, deviations and seeds.

Only finished runs count. What a row rests on is always told: `n_seeds` and `n_configurations`.
Two rules keep the numbers honest:

- A configuration whose figure is missing for one of its seeds (it diverged) has no mean: the
  other seeds alone would flatter it.
- Within a row, only the configurations with the most finished seeds count, so that a setting
  with one lucky seed is not set against settings that had to hold for all. Seeds beyond those
  that the sweep asks for are a gain in precision alone: no configuration needs them to count.

A choice among settings is made by the objective and never by the test figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analysis.frames import option_columns
from analysis.objectives import Direction

METRICS = ("validation_accuracy", "test_accuracy")
_CONFIGURATION = ("sweep", "architecture", "batch_size", "optimizer", "cycles")


def compare(
    runs: pd.DataFrame,
    *,
    rows: Sequence[str],
    columns: Sequence[str] = (),
    metric: str = "validation_accuracy",
) -> pd.DataFrame:
    """Mean, deviation and number of seeds of a metric for each combination of some columns.

    All other dimensions are averaged within each seed, every distinct configuration with the same
    weight; the deviation is then that of the seeds' averages.

    Args:
        runs: `Frames.runs`.
        rows: columns of `runs`; a row for each combination that was tried. Runs that lack one of
            them (an option of another optimiser) are left out.
        columns: columns of `runs` whose values are laid side by side.
        metric: a numeric column of `runs`.

    Returns:
        The row columns, then `mean`, `std` (ddof 1; missing for one seed, and where the seeds did
        not all average the same configurations), `n_seeds` and `n_configurations`; with `columns`,
        these four for each combination of their values, named `rso_mean` and so on. A combination
        that was tried and has no result has no mean and `n_seeds` 0.
    """
    keys = [*rows, *columns]
    values = _values(runs.dropna(subset=keys), metric, keys)
    by_seed = values.groupby([*keys, "seed"])["value"].mean()
    by_configuration = values.groupby([*keys, "configuration"])["value"].mean()
    n_seeds, n_values = by_seed.groupby(keys).size(), values.groupby(keys).size()
    n_configurations = by_configuration.groupby(keys).size()
    statistics = pd.DataFrame(
        {
            "mean": by_configuration.groupby(keys).mean(),
            "std": by_seed.groupby(keys).std().where(n_seeds * n_configurations == n_values),
            "n_seeds": n_seeds,
            "n_configurations": n_configurations,
        }
    )
    tried = runs[keys].dropna().drop_duplicates()
    table = tried.merge(statistics.reset_index(), on=keys, how="left") if len(values) else tried
    table = table.reindex(columns=[*keys, *statistics.columns])
    counts = ["n_seeds", "n_configurations"]
    table[counts] = table[counts].fillna(0).astype("Int64")
    table[["mean", "std"]] = table[["mean", "std"]].astype("float64")
    table = _in_order(table, runs)
    return _side_by_side(table, list(rows), list(columns)) if columns else table


def effect_of(runs: pd.DataFrame, dimension: str) -> pd.DataFrame:
    """Validation and test accuracy for each value of a dimension and each optimiser.

    The other dimensions are averaged as `compare` does; `varied` names them.

    Returns:
        `sweep`, the dimension, `optimizer`, `n_parameters` (for the architecture), then for each
        metric its `_mean`, `_std` and `_n_seeds`, and `n_configurations`.
    """
    keys = ["sweep", dimension, "optimizer"]
    validation, test = (compare(runs, rows=keys, metric=metric) for metric in METRICS)
    table = test[keys].copy()
    if dimension == "architecture":
        table = _with_size(table, runs)
    for metric, part in zip(METRICS, (validation, test), strict=True):
        for statistic in ("mean", "std", "n_seeds"):
            table[f"{metric}_{statistic}"] = part[statistic]
    table["n_configurations"] = test["n_configurations"]
    return table


def varied(runs: pd.DataFrame) -> list[str]:
    """The dimensions that take more than one value among the runs of some optimiser."""
    names = ["architecture", "batch_size", "cycles", *option_columns(runs)]
    known = runs.dropna(subset=["optimizer"])
    counts = known.groupby("optimizer")[names].nunique() if len(known) else pd.DataFrame()
    return [name for name in names if len(counts) and (counts[name] > 1).any()]


def is_balanced(runs: pd.DataFrame, dimension: str) -> bool:
    """Whether every value of a dimension was run with the same settings of all the others.

    Only then is a difference between the rows of `effect_of` the effect of that dimension alone.
    """
    rest = [name for name in varied(runs) if name != dimension]
    done = finished(runs).dropna(subset=[dimension])
    for _, part in done.groupby(["sweep", "optimizer"]):
        settings = {
            value: frozenset(own[rest].astype("string").fillna("").itertuples(index=False))
            for value, own in part.groupby(dimension)
        }
        if len(set(settings.values())) > 1:
            return False
    return True


def configurations(runs: pd.DataFrame) -> pd.DataFrame:
    """One row for each distinct configuration with a finished run, over its seeds.

    Returns:
        `sweep`, `architecture`, `batch_size`, `optimizer`, `cycles`, every option, `n_parameters`,
        `trial` (the first with that configuration), `n_seeds`, `n_seeds_compared` (those that it
        needs to count beside others), and `_mean` and `_std` of `objective`,
        `validation_accuracy` and `test_accuracy`.
    """
    keys = [*_CONFIGURATION, *option_columns(runs)]
    done = finished(runs)
    groups = done.groupby("configuration")
    table = groups.head(1).set_index("configuration")[[*keys, "n_parameters", "trial"]]
    table["n_seeds"] = groups["seed"].nunique().astype("Int64")
    table["n_seeds_compared"] = _compared(table["n_seeds"], groups["most_compared"].min())
    for metric in ("objective", *METRICS):
        by_seed = _complete(done, metric).groupby(["configuration", "seed"])[metric].mean()
        over_seeds = by_seed.groupby("configuration")
        table[f"{metric}_mean"] = over_seeds.mean()
        table[f"{metric}_std"] = over_seeds.std()
    return table.reset_index(drop=True)


def best_configurations(
    runs: pd.DataFrame, *, within: Sequence[str] = (), direction: Direction = "maximize"
) -> pd.DataFrame:
    """The configuration of each optimiser with the best mean objective.

    Args:
        runs: `Frames.runs`.
        within: columns of `configurations`: the best for each combination of them as well.
        direction: the objective's.

    Returns:
        Rows of `configurations`, with `n_candidates`: the configurations that it was chosen from.
        Where nothing tells them apart, because no objective was measured, there is no row, unless
        there is only one to choose from. Equal objectives go to the earlier trial.
    """
    keys = ["sweep", *within, "optimizer"]
    table = configurations(runs)
    groups = table.groupby(keys)
    table["n_candidates"] = groups["trial"].transform("size").astype("Int64")
    most = table["n_seeds_compared"] == groups["n_seeds_compared"].transform("max")
    only = table["n_candidates"] == 1
    eligible = table[only | (most & table["objective_mean"].notna())]
    ascending = [direction == "minimize", True]
    ranked = eligible.sort_values(["objective_mean", "trial"], ascending=ascending, kind="stable")
    return _in_order(ranked.groupby(keys).head(1), runs, first=keys)


def optimizers_by_architecture_and_batch_size(
    runs: pd.DataFrame, *, direction: Direction = "maximize"
) -> pd.DataFrame:
    """The optimisers side by side, each at its best setting, for every network and batch size.

    The setting is chosen by the mean objective (`best_configurations`).

    Returns:
        `sweep`, `architecture`, `batch_size`; for each optimiser, RSO first, `rso_trial`,
        `rso_n_seeds`, `rso_n_candidates` and `_mean` and `_std` of both accuracies; and with two
        optimisers or more, `difference`: the mean test accuracy of the first less that of the
        second, with its 95 % interval (Welch) `difference_low` and `difference_high`, which needs
        two seeds of each.
    """
    keys = ["sweep", "architecture", "batch_size"]
    best = best_configurations(runs, within=keys[1:], direction=direction)
    table = _in_order(runs[keys].dropna().drop_duplicates(), runs)
    names = optimizers(runs)
    statistics = [f"{metric}_{part}" for metric in METRICS for part in ("mean", "std")]
    for name in names:
        own = best.loc[
            best["optimizer"] == name, [*keys, "trial", "n_seeds", "n_candidates", *statistics]
        ]
        table = table.merge(_prefixed(own, name, keys), on=keys, how="left")
        counts = [f"{name}_n_seeds", f"{name}_n_candidates"]
        table[counts] = table[counts].fillna(0).astype("Int64")
    if len(names) > 1:
        first, second = (
            [table[f"{name}_{part}"] for part in ("test_accuracy_mean", "test_accuracy_std")]
            + [table[f"{name}_n_seeds"]]
            for name in names[:2]
        )
        table["difference"] = first[0] - second[0]
        margin = _welch_margin(first[1], first[2], second[1], second[2])
        table["difference_low"] = table["difference"] - margin
        table["difference_high"] = table["difference"] + margin
    return table


def cost(runs: pd.DataFrame) -> pd.DataFrame:
    """What a finished run cost on average, for each optimiser and network.

    Returns:
        `sweep`, `optimizer`, `architecture`, `n_parameters`, `n_runs`, and the mean of a run's
        `n_cycles`, `training_s`, `evaluation_s`, `n_images_passed` and `n_visited`.
    """
    keys = ["sweep", "optimizer", "architecture"]
    means = ["n_cycles", "training_s", "evaluation_s", "n_images_passed", "n_visited"]
    groups = finished(runs).groupby(keys)
    table = groups[means].mean().astype("float64")
    table.insert(0, "n_runs", groups.size().astype("Int64"))
    table = _in_order(table.reset_index(), runs, first=keys)
    return _with_size(table[[*keys, "n_runs", *means]], runs)


def failures(runs: pd.DataFrame) -> pd.DataFrame:
    """The failed and the pruned runs, failed ones first; no rows where there are none.

    Of a pruned run that was never begun, since its trial was pruned by the seeds before it, the
    reason says so.

    Returns:
        `sweep`, `state`, `trial`, `seed`, `architecture`, `batch_size`, `optimizer`, `n_cycles`
        and `reason`.
    """
    columns = ["sweep", "state", "trial", "seed", "architecture", "batch_size", "optimizer"]
    lost = runs[runs["state"].isin(["failed", "pruned"])]
    order = ["sweep", "state", "trial", "seed"]
    reasons = lost["reason"].mask(is_not_begun(lost), "not begun: the seeds before it decided")
    lost = lost.assign(reason=reasons).sort_values(order)
    return lost[[*columns, "n_cycles", "reason"]].reset_index(drop=True)


def is_not_begun(runs: pd.DataFrame) -> pd.Series:
    """Which runs ended before they began, when their trial was pruned."""
    no_attempt = (runs["n_attempts"] == 0).fillna(False).astype(bool)
    return no_attempt & (runs["state"] == "pruned") & (runs["n_cycles"] == 0)


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished runs, with `configuration`: a number for each distinct configuration.

    And with `most_compared`: the seeds with which its trial is as good as complete, those that
    the sweep asks for less those that failed or were pruned; missing where it does not say.
    """
    done = runs[runs["state"] == "finished"].sort_values(["sweep", "trial", "seed"])
    keys = [*_CONFIGURATION, *option_columns(runs)]
    nothing_asked = pd.Series(pd.NA, done.index, dtype="Int64")
    lost = runs["state"].isin(["failed", "pruned"]).groupby([runs["sweep"], runs["trial"]])
    return done.assign(
        configuration=done.groupby(keys, dropna=False, sort=False).ngroup(),
        most_compared=done.get("n_seeds_asked", nothing_asked) - lost.transform("sum"),
    )


def optimizers(runs: pd.DataFrame) -> list[str]:
    """The optimisers of the runs: RSO, SGD, then the rest by name."""
    names = [str(name) for name in runs["optimizer"].dropna().unique()]
    return sorted(names, key=_optimizer_rank)


def architectures(runs: pd.DataFrame) -> list[str]:
    """The networks of the runs, from the smallest to the largest."""
    sizes = runs.dropna(subset=["architecture"])[["architecture", "n_parameters"]]
    sizes = sizes.groupby("architecture", as_index=False).min()
    return [str(name) for name in sizes.sort_values(["n_parameters", "architecture"]).iloc[:, 0]]


def _complete(done: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Without the configurations that lack the metric for one of their runs."""
    missing = done[metric].isna().groupby(done["configuration"]).transform("any")
    return done.loc[~missing.astype(bool)]


def _values(runs: pd.DataFrame, metric: str, keys: list[str]) -> pd.DataFrame:
    """`value` for each configuration and seed; of those with the most seeds in their row."""
    done = _complete(finished(runs), metric)
    means = done.groupby([*keys, "configuration", "seed"])[metric].mean()
    by_seed = means.rename("value").reset_index()
    n_seeds = by_seed.groupby([*keys, "configuration"])["seed"].transform("size")
    compared = _compared(
        n_seeds, by_seed["configuration"].map(done.groupby("configuration")["most_compared"].min())
    )
    most = compared.groupby([by_seed[key] for key in keys]).transform("max")
    return by_seed[compared == most]


def _compared(n_seeds: pd.Series, most: pd.Series) -> pd.Series:
    """The seeds of a configuration, as far as they decide whether it counts."""
    return n_seeds.where(~(n_seeds > most).fillna(False).astype(bool), most).astype("Int64")


def _side_by_side(table: pd.DataFrame, rows: list[str], columns: list[str]) -> pd.DataFrame:
    wide = table[rows].drop_duplicates().reset_index(drop=True)
    for values, part in table.groupby(columns, sort=False):
        label = "_".join(str(value) for value in values)
        own = _prefixed(part.drop(columns=columns), label, rows)
        wide = wide.merge(own, on=rows, how="left")
        counts = [f"{label}_n_seeds", f"{label}_n_configurations"]
        wide[counts] = wide[counts].fillna(0)
    return wide


def _with_size(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """With `n_parameters` after the leading columns, as any run of that network has it."""
    keys = ["sweep", "architecture"]
    sizes = runs.groupby(keys, as_index=False)["n_parameters"].max()
    table = table.merge(sizes, on=keys, how="left")
    place = list(table.columns).index("optimizer") + 1
    place = max(place, list(table.columns).index("architecture") + 1)
    table.insert(place, "n_parameters", table.pop("n_parameters"))
    return table


def _prefixed(table: pd.DataFrame, prefix: str, keys: list[str]) -> pd.DataFrame:
    return table.rename(columns={c: f"{prefix}_{c}" for c in table.columns if c not in keys})


def _welch_margin(std_a: pd.Series, n_a: pd.Series, std_b: pd.Series, n_b: pd.Series) -> pd.Series:
    """Half of the 95 % interval of a difference of means (Welch); missing for a single seed."""
    count_a, count_b = (n.astype("float64").where(n > 1) for n in (n_a, n_b))
    variance_a, variance_b = std_a**2 / count_a, std_b**2 / count_b
    variance = variance_a + variance_b
    spread = variance_a**2 / (count_a - 1) + variance_b**2 / (count_b - 1)
    freedom = (variance**2 / spread.where(spread > 0)).fillna(count_a + count_b - 2)
    return pd.Series(stdtrit(freedom, 0.975), index=std_a.index) * np.sqrt(variance)


def _in_order(table: pd.DataFrame, runs: pd.DataFrame, first: Sequence[str] = ()) -> pd.DataFrame:
    """Sorted by its leading columns: networks by size, optimisers with RSO first."""
    keys = list(first) or [c for c in table.columns if c in runs.columns]
    ranks = {name: rank for rank, name in enumerate(architectures(runs))}

    def rank(column: pd.Series) -> pd.Series:
        if column.name == "architecture":
            return column.map(ranks)
        if column.name == "optimizer":
            order = {name: place for place, name in enumerate(optimizers(runs))}
            return column.map(order)
        return column

    return table.sort_values(keys, key=rank, kind="stable").reset_index(drop=True)


def _optimizer_rank(name: str) -> tuple[int, str]:
    return ({"rso": 0, "sgd": 1}.get(name, 2), name)
