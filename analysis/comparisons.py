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
import numpy.typing as npt
import pandas as pd

from analysis.frames import configuration_numbers, option_columns
from analysis.objectives import Direction

METRICS = ("validation_accuracy", "test_accuracy")
_ABOUT_THE_MACHINE = ("reason", "host", "n_threads", "started_at", "ended_at")
_CONFIGURATION = ("sweep", "architecture", "batch_size", "optimizer", "cycles")


def varied(runs: pd.DataFrame) -> list[str]:
    """The dimensions that take more than one value among the runs of some optimiser."""
    names = ["architecture", "batch_size", "cycles", *option_columns(runs)]
    of_optimizer = pd.factorize(runs["optimizer"])[0]
    return [name for name in names if _is_varied(pd.factorize(runs[name])[0], of_optimizer)]


def comparable(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs without the columns that no comparison reads, which take long to copy.

    These are the options that were not varied, and where and when runs ran.
    """
    kept = set(varied(runs))
    dropped = [name for name in option_columns(runs) if name not in kept]
    return runs.drop(columns=[*dropped, *_ABOUT_THE_MACHINE], errors="ignore")


def is_balanced(runs: pd.DataFrame, dimension: str) -> bool:
    """Whether every value of a dimension was run with the same settings of all the others.

    Only then is a difference between the rows of `effect_of` the effect of that dimension alone.
    """
    keys, rest = ["sweep", "optimizer"], [n for n in varied(runs) if n != dimension]
    done = finished(runs).dropna(subset=[dimension])
    codes = np.column_stack([pd.factorize(done[name])[0] for name in (*keys, *rest)])
    setting = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1)
    pairs = done[[*keys, dimension]].assign(setting=setting).drop_duplicates().groupby(keys)
    # the sets are the same if every value was run with every setting that any was run with
    return bool((pairs.size() == pairs[dimension].nunique() * pairs["setting"].nunique()).all())


def configurations(runs: pd.DataFrame) -> pd.DataFrame:
    """One row for each distinct configuration with a finished run, over its seeds.

    Returns:
        `configuration`, `sweep`, `architecture`, `batch_size`, `optimizer`, `cycles`, every option,
        `n_parameters`, `trial` (the first with that configuration), `n_seeds`, `n_seeds_compared`
        (those that it needs to count beside others), and `_mean` and `_std` of `objective`,
        `validation_accuracy` and `test_accuracy`.
    """
    done = finished(runs)
    table = _described(done)
    return table.join(_statistics(done, ("objective", *METRICS))).reset_index()


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
    done = finished(runs)
    table = _described(done)
    table = table.join(_statistics(done, ("objective",)))
    groups = table.groupby(keys)
    table["n_candidates"] = groups["trial"].transform("size").astype("Int64")
    most = table["n_seeds_compared"] == groups["n_seeds_compared"].transform("max")
    only = table["n_candidates"] == 1
    eligible = table[only | (most & table["objective_mean"].notna())]
    ascending = [direction == "minimize", True]
    ranked = eligible.sort_values(["objective_mean", "trial"], ascending=ascending, kind="stable")
    best = ranked.groupby(keys).head(1)
    counts = best.pop("n_candidates")
    best = best.join(_statistics(done[done["configuration"].isin(best.index)], METRICS))
    best["n_candidates"] = counts
    return in_order(best.reset_index(), runs, first=keys)


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
    table = in_order(table.reset_index(), runs, first=keys)
    return with_size(table[[*keys, "n_runs", *means]], runs)


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
    numbered = runs.assign(configuration=_configuration(runs))
    done = numbered[runs["state"] == "finished"].sort_values(["sweep", "trial", "seed"])
    nothing_asked = pd.Series(pd.NA, done.index, dtype="Int64")
    lost = runs["state"].isin(["failed", "pruned"]).groupby([runs["sweep"], runs["trial"]])
    return done.assign(
        most_compared=done.get("n_seeds_asked", nothing_asked) - lost.transform("sum")
    )


def is_of(runs: pd.DataFrame, chosen: pd.DataFrame) -> pd.Series:
    """Which runs, in whatever state, are of some configurations (rows of `configurations`)."""
    return _configuration(runs).isin(chosen["configuration"])


def optimizers(runs: pd.DataFrame) -> list[str]:
    """The optimisers of the runs: RSO, SGD, then the rest by name."""
    names = [str(name) for name in runs["optimizer"].dropna().unique()]
    return sorted(names, key=_optimizer_rank)


def architectures(runs: pd.DataFrame) -> list[str]:
    """The networks of the runs, from the smallest to the largest."""
    sizes: dict[str, float] = {}
    known = runs[["architecture", "n_parameters"]].drop_duplicates()
    for name, size in known.itertuples(index=False):
        if pd.notna(name):
            own = float("inf") if pd.isna(size) else float(size)
            sizes[str(name)] = min(own, sizes.get(str(name), own))
    return sorted(sizes, key=lambda name: (sizes[name], name))


def _described(done: pd.DataFrame) -> pd.DataFrame:
    """The configurations of finished runs by their number, and how many seeds each has."""
    groups = done.groupby("configuration")
    options = [name for name in option_columns(done) if name != "most_compared"]
    keys = [*_CONFIGURATION, *options]
    table = groups.head(1).set_index("configuration")[[*keys, "n_parameters", "trial"]]
    table["n_seeds"] = groups["seed"].nunique().astype("Int64")
    most = groups["most_compared"].min().reindex(table.index)
    table["n_seeds_compared"] = _compared(table["n_seeds"], most)
    return table


def _statistics(done: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """`_mean` and `_std` of metrics over the seeds of finished runs, by configuration."""
    columns = {}
    for metric in metrics:
        by_seed = _complete(done, metric).groupby(["configuration", "seed"])[metric].mean()
        over_seeds = by_seed.groupby("configuration")
        columns[f"{metric}_mean"] = over_seeds.mean()
        columns[f"{metric}_std"] = over_seeds.std()
    return pd.DataFrame(columns)


def _configuration(runs: pd.DataFrame) -> pd.Series:
    return runs["configuration"] if "configuration" in runs else configuration_numbers(runs)


def _is_varied(values: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]) -> bool:
    """Whether a group has two different values; -1 is neither a value nor a group."""
    known = (values >= 0) & (groups >= 0)
    size = int(values.max(initial=0)) + 1
    distinct = np.unique(groups[known] * size + values[known])
    return distinct.size > np.unique(distinct // size).size


def _complete(done: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Without the configurations that lack the metric for one of their runs."""
    missing = done[metric].isna().groupby(done["configuration"]).transform("any")
    return done.loc[~missing.astype(bool)]


def seed_values(runs: pd.DataFrame, metric: str, keys: Sequence[str]) -> pd.DataFrame:
    """The figure of each configuration and seed that counts within a combination of `keys`.

    Of the configurations of a combination those with the most seeds count, and of these the ones
    that have the figure for every seed.

    Args:
        runs: `Frames.runs`.
        metric: a numeric column of it.
        keys: columns of it.

    Returns:
        The keys, `configuration` (a number), `data`, `seed`, `value`, and every dimension that
        was varied.
    """
    done = _complete(finished(runs), metric)
    done = done.assign(data=done["data"].fillna("") if "data" in done else "")
    identity = list(dict.fromkeys([*keys, "configuration", "data", "seed"]))
    others = [name for name in varied(runs) if name not in identity]
    groups = done.groupby(identity)
    means = groups[metric].mean().astype("float64").rename("value")
    by_seed = groups[others].first().join(means).reset_index()
    n_seeds = by_seed.groupby([*keys, "configuration"])["seed"].transform("size")
    compared = _compared(
        n_seeds, by_seed["configuration"].map(done.groupby("configuration")["most_compared"].min())
    )
    most = compared.groupby([by_seed[key] for key in keys]).transform("max")
    return by_seed[compared == most].reset_index(drop=True)


def _compared(n_seeds: pd.Series, most: pd.Series) -> pd.Series:
    """The seeds of a configuration, as far as they decide whether it counts."""
    return n_seeds.where(~(n_seeds > most).fillna(False).astype(bool), most).astype("Int64")


def with_size(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """With `n_parameters` after the leading columns, as any run of that network has it."""
    keys = ["sweep", "architecture"]
    sizes = runs.groupby(keys, as_index=False)["n_parameters"].max()
    table = table.merge(sizes, on=keys, how="left")
    place = list(table.columns).index("optimizer") + 1
    place = max(place, list(table.columns).index("architecture") + 1)
    table.insert(place, "n_parameters", table.pop("n_parameters"))
    return table


def in_order(table: pd.DataFrame, runs: pd.DataFrame, first: Sequence[str] = ()) -> pd.DataFrame:
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
