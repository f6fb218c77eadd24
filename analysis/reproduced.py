"""What a sweep has reproduced: its figures beside the published ones of the same configuration."""

from __future__ import annotations

import pandas as pd

from analysis import comparisons
from analysis.frames import Frames
from analysis.published import published_figures
from analysis.published_settings import is_made_as_published
from analysis.statistics import prediction_margin, t_margin
from analysis.tables import Column, Table
from analysis.wording import INTERVAL

_KEYS = ["dataset", "architecture", "optimizer", "batch_size", "cycles"]
_FIGURES = ["test_accuracy", "test_loss", "training_s"]


def reproduced(frames: Frames) -> pd.DataFrame:
    """The configurations of which there is a published figure, each beside it.

    The same configuration is one with the same data set, network, optimiser, batch size, cycles and
    `published_settings`; of several the best. A figure of a table goes before one that was read off
    a curve.

    Returns:
        `sweep`, `dataset`, `architecture`, `optimizer`, `batch_size`, `cycles`, `trial`, `n_seeds`;
        of each of `test_accuracy`, `test_loss` and `training_s` its `_mean` and `_std` over the
        seeds, and `published_test_accuracy` and so on, missing where none is stated; `difference`
        of the accuracies with `difference_low` and `difference_high`, within which that of one more
        run would lie (95 %, Student's t; missing for one seed), `is_within_spread` (whether 0 does,
        so that the published figure might be a run of the sweep), `speedup` (how many times the
        published time is longer) and `publication`.
    """
    runs = comparisons.finished(frames.runs)
    publications = runs[_KEYS].merge(_published(), on=_KEYS, how="left")["publication"]
    runs = runs.assign(publication=publications.to_numpy()).dropna(subset="publication")
    runs = runs[is_made_as_published(runs)].drop(columns="publication")
    within = ["architecture", "batch_size", "cycles"]
    best = comparisons.best_configurations(
        runs, within=within, direction=frames.sweeps[0].direction
    )
    own = runs[runs["configuration"].isin(best["configuration"])]
    groups = own.groupby("configuration")
    best = best.assign(dataset=best["configuration"].map(groups["dataset"].first()))
    table = best[["sweep", *_KEYS, "trial", "n_seeds", "configuration"]]
    for figure in _FIGURES:
        # a seed without the figure leaves the configuration without it
        is_whole = groups[figure].count().eq(groups.size())
        for name in ("mean", "std"):
            values = groups[figure].agg(name).where(is_whole)
            table = table.assign(**{f"{figure}_{name}": table["configuration"].map(values)})
    table = table.drop(columns="configuration").merge(_published(), on=_KEYS)
    n_seeds = table["n_seeds"].astype("float64").where(table["n_seeds"] > 1)
    difference = table["test_accuracy_mean"] - table["published_test_accuracy"]
    margin = prediction_margin(table["test_accuracy_std"], n_seeds)
    is_known = difference.notna() & margin.notna()
    return table.assign(
        difference=difference,
        difference_low=difference - margin,
        difference_high=difference + margin,
        is_within_spread=(difference.abs() <= margin).astype("boolean").where(is_known, pd.NA),
        speedup=table["published_training_s"] / table["training_s_mean"],
    )


def reproduced_table(frames: Frames) -> Table | None:
    """The table of `reproduced`; None where nothing is published of what was run."""
    frame = reproduced(frames)
    if frame.empty:
        return None
    margin = t_margin(frame["test_loss_std"], frame["n_seeds"].where(frame["n_seeds"] > 1))
    frame = frame.assign(
        test_loss_low=frame["test_loss_mean"] - margin,
        test_loss_high=frame["test_loss_mean"] + margin,
        published_test_loss=frame["published_test_loss"].round(4),
        spread=frame["is_within_spread"].map({True: "within", False: "outside"}).astype("string"),
    )
    several = frame["optimizer"].nunique() > 1
    columns = [
        Column("Network", "text", ("architecture",)),
        *((Column("Optimiser", "optimizer", ("optimizer",)),) if several else ()),
        Column("Batch", "number", ("batch_size",)),
        Column("Cycles", "number", ("cycles",)),
        Column("Test %", "accuracy", ("test_accuracy_mean", "test_accuracy_std", "n_seeds")),
        Column("Published %", "percent", ("published_test_accuracy",)),
        Column("Difference", "difference", ("difference", "difference_low", "difference_high")),
        Column("Spread", "text", ("spread",)),
    ]
    if frame["published_test_loss"].notna().any():
        of_loss = ("test_loss_mean", "test_loss_low", "test_loss_high", "n_seeds")
        columns += [
            Column("Test loss", "figure", of_loss),
            Column("Published loss", "number", ("published_test_loss",)),
        ]
    if frame["published_training_s"].notna().any():
        columns += [
            Column("Time", "seconds", ("training_s_mean",)),
            Column("Published time", "seconds", ("published_training_s",)),
            Column("Times faster", "count", ("speedup",)),
        ]
    columns.append(Column("Seeds", "number", ("n_seeds",)))
    return Table(
        name="reproduced_figures",
        title="Published figures, reproduced",
        caption=_caption(frame),
        frame=frame,
        columns=tuple(columns),
    )


def _published() -> pd.DataFrame:
    figures = published_figures()
    # a curve last, so that a table's figure of the same configuration stays
    figures = figures.sort_values("is_curve", kind="stable").drop_duplicates(_KEYS)
    names = {name: f"published_{name}" for name in _FIGURES}
    return figures.dropna(subset=_KEYS)[[*_KEYS, *_FIGURES, "publication"]].rename(columns=names)


def _caption(frame: pd.DataFrame) -> str:
    publications = ", ".join(dict.fromkeys(frame["publication"]))
    caption = (
        f"Each configuration of the sweep of which a figure is published ({publications}), with "
        "the settings and the data of that publication, and that figure, which is of a single run "
        "where its source says nothing else. Difference: in points, with the interval in which one "
        "more run would differ from the published figure (95 %, Student’s t); the published figure "
        f"is within the spread over the seeds where it holds 0. {INTERVAL}"
    )
    if frame["published_training_s"].notna().any():
        caption += " Time: of a run, without evaluation, on other hardware than the published one."
    return caption
