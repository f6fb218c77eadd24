"""How much each dimension of a sweep tells about its results: fANOVA and PED-ANOVA, by Optuna."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.columns import CONFIGURATION
from analysis.frames import Frames, option_columns
from analysis.objectives import Direction
from analysis.tables import Column, Table
from analysis.wording import dimension_label, listed, metric_label, optimizer_label

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.importance import BaseImportanceEvaluator
    from optuna.study import Study

_DTYPES = {
    "sweep": "string",
    "optimizer": "string",
    "dimension": "string",
    "fanova": "float64",
    "ped_anova": "float64",
    "n_configurations": "Int64",
}
_FEWEST = 4
"""Configurations below which neither figure says anything."""
_MOST_VALUES = 8
"""Values of a number that count one by one; more are put together in ranges."""
_MOST_FOR_FANOVA = 300
_MOST_FOR_PED_ANOVA = 500
"""Configurations beyond which a sample of so many does: the cost of both grows with them."""
_MOST_DEPTH = 8


def importance(
    runs: pd.DataFrame, *, metric: str = "objective", direction: Direction
) -> pd.DataFrame:
    """How much each dimension tells about a figure, among all configurations and by optimiser.

    fANOVA (Hutter, Hoos and Leyton-Brown 2014) is the share of a figure's variance that a
    dimension accounts for by itself, each of its values with the same weight, in what a random
    forest predicts; what is lacking to 1 is due to dimensions together. PED-ANOVA (Watanabe,
    Bansal and Hutter 2023) is a dimension's share in what tells the best tenth of the
    configurations from all of them; it adds up to 1.

    A configuration counts by its mean over the seeds, if it has that of every seed, and as many
    seeds as the others. A number with more than eight values is put together in eight ranges with
    as many configurations each. The same runs give the same figures.

    Args:
        runs: `Frames.runs`.
        metric: objective, validation_accuracy or test_accuracy.
        direction: whether much or little of it is best.

    Returns:
        `sweep`, `optimizer`, `dimension`, `fanova`, `ped_anova` and `n_configurations`. Where a
        sweep has several optimisers the first rows are for all of them together (`optimizer` is
        missing), by the dimensions that they share; then each has its own varied ones, the one
        with the largest share first. Both shares are missing with fewer than four configurations,
        or where all have the same figure, or for an only dimension, which would have all of it.
    """
    table = comparisons.configurations(runs)
    figure = f"{metric}_mean"
    table = table[table[figure].abs().lt(np.inf)]
    rows = []
    for sweep, optimizer, group, names in _groups(table, option_columns(runs)):
        levels = pd.DataFrame({name: _levels(group[name]) for name in names})
        fanova, ped_anova = _shares(levels, group, group[figure], direction)
        found = [(sweep, optimizer, n, fanova.get(n), ped_anova.get(n), len(group)) for n in names]
        rows += sorted(found, key=lambda row: -(row[3] or 0.0))
    return pd.DataFrame(rows, columns=list(_DTYPES)).astype(_DTYPES)


def importance_table(frames: Frames) -> Table | None:
    """The importance of each dimension for the first objective; None where nothing is known."""
    parts = [
        importance(frames.runs[frames.runs["sweep"] == sweep.name], direction=sweep.direction)
        for sweep in frames.sweeps
    ]
    frame = pd.concat(parts, ignore_index=True).dropna(subset=["fanova"]).reset_index(drop=True)
    if frame.empty:
        return None
    frame = frame.assign(
        among=frame["optimizer"].map(optimizer_label, na_action="ignore").astype("string"),
        dimension_label=frame["dimension"].map(dimension_label),
        fanova_percent=(100 * frame["fanova"]).round(1),
        ped_anova_percent=(100 * frame["ped_anova"]).round(1),
    ).fillna({"among": "all"})
    several = (Column("Sweep", "text", ("sweep",)),) if frame["sweep"].nunique() > 1 else ()
    return Table(
        name="importance",
        title="The importance of each dimension",
        caption=_caption(frame, listed(_objectives(frames))),
        frame=frame,
        columns=(
            *several,
            Column("Among", "text", ("among",)),
            Column("Dimension", "text", ("dimension_label",)),
            Column("fANOVA %", "number", ("fanova_percent",)),
            Column("PED-ANOVA %", "number", ("ped_anova_percent",)),
            Column("Configurations", "count", ("n_configurations",)),
        ),
    )


def _caption(frame: pd.DataFrame, objective: str) -> str:
    caption = (
        f"fANOVA is the share of the variance of the mean {objective} between configurations "
        "that a dimension accounts for by itself, over the values tried, each with the same "
        "weight, as a random forest fitted to the configurations predicts it; what is lacking to "
        "100 % is due to dimensions together. PED-ANOVA is a dimension’s share in what tells the "
        "best 10 % of the configurations from all of them; it adds up to 100 %. Neither is a "
        "causal effect: both describe the values that were tried, the chance between seeds is in "
        "them, and with few configurations they are rough."
    )
    if frame["optimizer"].isna().any():
        caption += (
            " Among all the optimisers only the dimensions that they share are compared; the "
            "options that each has of its own vary unseen."
        )
    most = int(frame["n_configurations"].max())
    if most > _MOST_FOR_FANOVA:
        taken = f"a random sample of {_MOST_FOR_FANOVA:,} for fANOVA"
        if most > _MOST_FOR_PED_ANOVA:
            taken += f" and of {_MOST_FOR_PED_ANOVA:,} for PED-ANOVA"
        caption += f" Of more configurations {taken} was taken, always the same."
    return caption


def _objectives(frames: Frames) -> list[str]:
    return [metric_label(metric) for metric in dict.fromkeys(s.metric for s in frames.sweeps)]


def _groups(
    table: pd.DataFrame, options: list[str]
) -> Iterator[tuple[str, str | None, pd.DataFrame, list[str]]]:
    """Sweep, optimiser (None for all), the configurations and the dimensions that they vary."""
    for sweep, own in table.groupby("sweep"):
        names = comparisons.optimizers(own)
        parts: list[tuple[str | None, pd.DataFrame]] = [
            (name, own[own["optimizer"] == name]) for name in names
        ]
        if len(names) > 1:
            parts.insert(0, (None, own))
        for optimizer, part in parts:
            group = part[part["n_seeds_compared"] == part["n_seeds_compared"].max()]
            # of what each optimiser has one value of, the value is its name once more
            varied = comparisons.varied(group[[*CONFIGURATION, *options]])
            has_it = group[varied].notna().groupby(group["optimizer"]).any().all()
            is_compared = group["optimizer"].nunique() > 1
            shared = [name for name in varied if has_it[name]]
            yield str(sweep), optimizer, group, ["optimizer"] * is_compared + shared


def _levels(values: pd.Series) -> pd.Series:
    """The values by their rank, from 0: neither their scale nor their logarithm matters then.

    What is missing is a value as well. Those of a number that are too many make ranges.
    """
    if _is_number(values) and values.nunique() > _MOST_VALUES:
        values = pd.qcut(values.rank(), _MOST_VALUES, labels=False, duplicates="drop")
    codes, _ = pd.factorize(values, sort=True, use_na_sentinel=True)
    return pd.Series(codes + (codes < 0).any(), index=values.index)


def _is_number(values: pd.Series) -> bool:
    is_boolean = pd.api.types.is_bool_dtype(values.dtype)
    return pd.api.types.is_numeric_dtype(values.dtype) and not is_boolean


def _shares(
    levels: pd.DataFrame, group: pd.DataFrame, figures: pd.Series, direction: Direction
) -> tuple[dict[str, float], dict[str, float]]:
    """fANOVA and PED-ANOVA of each dimension; nothing where they say nothing."""
    if levels.shape[1] < 2:
        return {}, {}
    # to load it takes longer than all the rest of the analysis
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    counts = {str(name): int(levels[name].max()) + 1 for name in levels}
    # Optuna gives the ends of a range of integers half the weight, and weighs the impossible
    # combinations of a category's one-hot columns too: between these ends all levels are equal
    even = {name: FloatDistribution(-0.5, count - 0.5) for name, count in counts.items()}
    # of numbers those that are neighbours are alike
    natural = {
        name: IntDistribution(0, count - 1)
        if _is_number(group[name])
        else CategoricalDistribution(range(count))
        for name, count in counts.items()
    }
    with _quiet():
        forest = FanovaImportanceEvaluator(n_trees=_n_trees(levels), max_depth=_MOST_DEPTH, seed=0)
        study = _study(levels, figures, even, direction, _MOST_FOR_FANOVA)
        fanova = _evaluated(study, forest)
        study = _study(levels, figures, natural, direction, _MOST_FOR_PED_ANOVA)
        divergences = _evaluated(study, PedAnovaImportanceEvaluator())
    total = sum(divergences.values())
    ped_anova = {name: value / total for name, value in divergences.items()} if total else {}
    return fanova, ped_anova


def _n_trees(levels: pd.DataFrame) -> int:
    """Many where there are few configurations: the forest costs as much as it has leaves."""
    return min(32, max(16, 2500 // len(levels)))


def _study(
    levels: pd.DataFrame,
    figures: pd.Series,
    distributions: Mapping[str, BaseDistribution],
    direction: Direction,
    most: int,
) -> Study | None:
    """The configurations, or a sample of them, as a study; None where it would say nothing."""
    from optuna import create_study
    from optuna.trial import create_trial

    if len(levels) > most:
        kept = np.random.default_rng(0).choice(len(levels), most, replace=False)
        levels, figures = levels.iloc[np.sort(kept)], figures.iloc[np.sort(kept)]
    values = figures.to_numpy("float64")
    extent = np.ptp(values)
    if len(levels) < _FEWEST or extent == 0:
        return None
    # the squares of very small or large figures would not be told apart
    values = (values - values.min()) / extent
    study = create_study(direction=direction)
    rows = zip(levels.to_numpy().tolist(), values.tolist(), strict=True)
    study.add_trials(
        create_trial(
            params=dict(zip(distributions, row, strict=True)),
            distributions=dict(distributions),
            value=value,
        )
        for row, value in rows
    )
    return study


def _evaluated(study: Study | None, evaluator: BaseImportanceEvaluator) -> dict[str, float]:
    from optuna.importance import get_param_importances

    if study is None:
        return {}
    # normalised, what is due to dimensions together would be shared out among the single ones
    found = get_param_importances(study, evaluator=evaluator, normalize=False)
    return {name: float(value) for name, value in found.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's lines about a new study and about what it calls experimental."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
