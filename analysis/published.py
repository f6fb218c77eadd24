"""Figures that others have published, as one frame, and those of a sweep beside them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pandas as pd

from analysis import comparisons
from analysis.formats import settled, supported_decimals
from analysis.frames import Frames
from analysis.run_folder import SweepMetadata
from analysis.statistics import t_margin
from analysis.tables import Column, Table
from analysis.wording import INTERVAL, listed, metric_label

_DTYPES = {
    "dataset": "string",
    "architecture": "string",
    "network": "string",
    "optimizer": "string",
    "n_parameters": "Int64",
    "batch_size": "Int64",
    "cycles": "Int64",
    "test_accuracy": "float64",
    "test_loss": "float64",
    "training_s": "float64",
    "publication": "string",
    "source": "string",
    "note": "string",
    "is_curve": "boolean",
}
_NOTEBOOK = "github.com/HeesooSong/STMOZOO, notebook/RSO.jl"
_OTHERS = "github.com/mattresnick/Gradient-Free-Optimization-for-Deep-Learning"
_IN_JULIA = (
    "Julia, Flux; 60,000 training images, pixels from 0 to 1; hardware and seeds not stated; "
)
_RSO_OF_THE_NOTEBOOK = f"{_IN_JULIA}RSO from Glorot weights, without annealing"
_SGD_OF_THE_NOTEBOOK = f"{_IN_JULIA}SGD plain, with learning rate 0.01"
_AUTHORS = "Tripathi & Singh"
_OWN_NETWORKS = {"one_conv": 7890, "two_conv": 10330, "original": 12122, "paper_mnist": 12016}
"""Trainable parameters of the networks that are built here as they were published."""
_AUTHORS_BATCH_SIZE = 5000
"""Images a batch on MNIST in the code of the paper's authors."""
_MOST_OWN = 24
"""Rows of a sweep beyond which only those stand in the table that have a counterpart."""

Row = dict[str, Any]


def published_figures() -> pd.DataFrame:
    """What others have published of RSO and of what it is compared with.

    Returns:
        A row for each figure, and for each cycle of a curve:

        - `dataset`; `architecture` (the name of the network here; missing where it is not built
          here) and `network` (its name, or what is known of it); `optimizer` (rso, sgd or the
          method's own name); `n_parameters`;
        - `batch_size`; `cycles` (rounds, epochs, or updates of each weight); missing where they
          are not stated;
        - `test_accuracy` (share of 1), `test_loss` (nats) and `training_s`, of a single run where
          nothing else is stated;
        - `publication` (a short name), `source` (where to find it), `note` (what was different or
          is not stated) and `is_curve` (whether it is one cycle of a curve).
    """
    rows = [*_of_the_paper(), *_of_the_notebook(), *_of_its_curves(), *_of_others()]
    figures = pd.DataFrame(rows, columns=list(_DTYPES))
    numbers = [name for name, dtype in _DTYPES.items() if dtype in ("Int64", "float64")]
    # by way of float64, to which the texts of the files can be cast
    return figures.astype(dict.fromkeys(numbers, "float64")).astype(_DTYPES)


def published_curves(frames: Frames) -> pd.DataFrame:
    """The published curves of configurations that a sweep has run, cycle by cycle.

    Those of the same data set, network, optimiser and batch size.

    Returns:
        Rows of `published_figures`.
    """
    keys = ["dataset", "architecture", "optimizer", "batch_size"]
    figures = published_figures()
    run = comparisons.finished(frames.runs)[keys].drop_duplicates()
    return figures[figures["is_curve"].astype(bool)].merge(run, on=keys)


def published_table(frames: Frames) -> Table | None:
    """The best configurations of a sweep beside the published figures of the same networks.

    On MNIST those of the paper's own network stand at the end, whatever the networks of the sweep.
    None where nothing is published of its data set and networks, or it has no finished run.
    """
    rows = [
        row
        for sweep, dataset, runs in _by_data_set(frames)
        for row in _beside(runs, sweep, dataset).to_dict("records")
    ]
    if not rows:
        return None
    frame = _rounded(pd.DataFrame(rows, columns=list(_SHOWN)).astype(_SHOWN))
    several = (Column("Sweep", "text", ("sweep",)),) if frame["sweep"].nunique() > 1 else ()
    return Table(
        name="published_figures",
        title="Beside published figures",
        caption=_caption(frame, frames),
        frame=frame,
        columns=(
            *several,
            Column("Network", "text", ("network",)),
            Column("Optimiser", "optimizer", ("optimizer",)),
            Column("Batch", "number", ("batch_size",)),
            Column("From", "text", ("origin",)),
            Column("Cycles", "number", ("cycles",)),
            Column("Test %", "number", ("test_accuracy_percent",)),
            Column("±", "number", ("margin_percent",)),
            Column("Seeds", "count", ("n_seeds",)),
            Column("Test loss", "number", ("test_loss_shown",)),
            Column("Training", "seconds", ("training_s",)),
        ),
    )


_SHOWN = {
    "sweep": "string",
    "origin": "string",
    "network": "string",
    "optimizer": "string",
    "batch_size": "Int64",
    "trial": "Int64",
    "n_parameters": "Int64",
    "cycles": "Int64",
    "test_accuracy": "float64",
    "margin": "float64",
    "n_seeds": "Int64",
    "test_loss": "float64",
    "training_s": "float64",
    "publication": "string",
    "source": "string",
    "note": "string",
}


def _of_the_paper() -> Iterator[Row]:
    for row in _rows("paper.csv"):
        name, method = row["network"], row["method"]
        epochs = re.search(r"\((\d+) epochs\)", row["source"])
        is_theirs = name in ("paper_mnist", "paper_cifar10")
        of_the_code = (name, method) == ("paper_mnist", "rso")
        yield {
            "dataset": row["dataset"],
            "architecture": name if is_theirs else None,
            "network": name,
            "optimizer": method,
            "n_parameters": _OWN_NETWORKS.get(name),
            "batch_size": _AUTHORS_BATCH_SIZE if of_the_code else None,
            "cycles": epochs[1] if epochs else row["updates_per_weight"],
            "test_accuracy": row["accuracy"],
            "publication": _AUTHORS if is_theirs else "WANN",
            "source": row["source"].replace("arXiv ", "arXiv:"),
            "note": "hardware, time and seeds not stated"
            + ("; the batch size is that of the authors’ code" if of_the_code else ""),
            "is_curve": False,
        }


def _of_the_notebook() -> Iterator[Row]:
    for row in _rows("stmozoo_notebook.csv"):
        twice = "; softmax before a cross entropy that expects logits"
        yield {
            "dataset": "mnist",
            "architecture": row["architecture"],
            "network": row["architecture"],
            "optimizer": "rso",
            "n_parameters": row["parameters"],
            "batch_size": row["batch_size"],
            "cycles": row["rounds"],
            "test_accuracy": row["accuracy"],
            "test_loss": row["loss"],
            "training_s": row["seconds"],
            "publication": "STMOZOO, table",
            "source": f"{_NOTEBOOK}, table of results",
            "note": _RSO_OF_THE_NOTEBOOK + (twice if row["architecture"] == "original" else ""),
            "is_curve": False,
        }


def _of_its_curves() -> Iterator[Row]:
    for row in _rows("stmozoo_rso_vs_sgd.csv"):
        for optimizer, of_each in (("rso", _RSO_OF_THE_NOTEBOOK), ("sgd", _SGD_OF_THE_NOTEBOOK)):
            yield {
                "dataset": "mnist",
                "architecture": "one_conv",
                "network": "one_conv",
                "optimizer": optimizer,
                "n_parameters": _OWN_NETWORKS["one_conv"],
                "batch_size": 32,
                "cycles": row["round"],
                "test_accuracy": row[f"{optimizer}_accuracy"],
                "publication": "STMOZOO, figure",
                "source": f"{_NOTEBOOK}, figure “RSO vs. SGD”",
                "note": f"read off a figure by eye, ±0.003; {of_each}",
                "is_curve": True,
            }


def _of_others() -> Iterator[Row]:
    for row in _rows("other_rso_implementations.csv"):
        yield {
            "dataset": "mnist",
            "network": "not stated",
            "optimizer": row["method"],
            "batch_size": 5000,
            "test_accuracy": row["accuracy"],
            "publication": "mattresnick",
            "source": _OTHERS,
            "note": f"PyTorch; {row['minutes_per_cycle']} minutes a cycle, cycles not stated; one "
            "batch a cycle, a standard deviation that grows tenfold, one perturbation a layer, "
            "softmax before the cross entropy",
            "is_curve": False,
        }


def _rows(name: str) -> Iterator[Row]:
    """The rows of a file of published figures; what is not stated is None."""
    text = resources.files("analysis.published_data").joinpath(name).read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for row in csv.DictReader(lines):
        yield {column: value or None for column, value in row.items()}


def _by_data_set(frames: Frames) -> Iterator[tuple[SweepMetadata, str, pd.DataFrame]]:
    """The runs of each sweep and data set."""
    for sweep in frames.sweeps:
        runs = frames.runs[frames.runs["sweep"] == sweep.name]
        for dataset, own in runs.groupby("dataset"):
            yield sweep, str(dataset), own


def _beside(runs: pd.DataFrame, sweep: SweepMetadata, dataset: str) -> pd.DataFrame:
    """The rows of one sweep and data set, in the order in which they are shown."""
    own = _own(runs, sweep)
    figures = published_figures()
    figures = figures[figures["dataset"] == dataset]
    networks = comparisons.architectures(runs)
    is_same = figures["architecture"].isin(own["network"])
    of_the_paper = (figures["publication"] == _AUTHORS) & (dataset == "mnist")
    if own.empty or not (is_same | of_the_paper).any():
        return figures.head(0)
    figures = _without_most_of_the_curves(figures[is_same | of_the_paper], own)
    own = _with_a_counterpart(own, figures)
    figures = figures.assign(
        sweep=sweep.name, origin="published: " + figures["publication"], is_published=True
    )
    table = pd.DataFrame([*own.to_dict("records"), *figures.to_dict("records")])
    ranks = {name: rank for rank, name in enumerate(networks)}
    order = {name: rank for rank, name in enumerate(comparisons.optimizers(table))}
    return table.assign(
        # a network that the sweep lacks comes last
        network_rank=table["network"].map(ranks).fillna(len(ranks)),
        optimizer_rank=table["optimizer"].map(order),
    ).sort_values(
        ["network_rank", "network", "optimizer_rank", "batch_size", "is_published", "cycles"],
        kind="stable",
    )


def _own(runs: pd.DataFrame, sweep: SweepMetadata) -> pd.DataFrame:
    """The best configuration of each optimiser for every network and batch size."""
    within = ["architecture", "batch_size"]
    best = comparisons.best_configurations(runs, within=within, direction=sweep.direction)
    of_each = comparisons.best_configurations(
        runs, within=["architecture"], direction=sweep.direction
    )
    by_trial = comparisons.finished(runs).groupby("trial")[["training_s", "test_loss"]]
    # a seed without the figure leaves the trial without it, as the accuracies have it
    means = by_trial.mean().where(by_trial.count().eq(by_trial.size(), axis="index"))
    several = best["n_seeds"].astype("float64").where(best["n_seeds"] > 1)
    # without the options, one of which might have the name of a column that is shown
    return best[
        ["sweep", *within, "optimizer", "cycles", "trial", "n_parameters", "n_seeds"]
    ].assign(
        network=best["architecture"],
        test_accuracy=best["test_accuracy_mean"],
        margin=t_margin(best["test_accuracy_std"], several),
        test_loss=best["trial"].map(means["test_loss"]),
        training_s=best["trial"].map(means["training_s"]),
        is_best=best["trial"].isin(of_each["trial"]),
        origin="this sweep",
        is_published=False,
    )


def _without_most_of_the_curves(figures: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Of a curve the cycle that the sweep trained for, and the last one unless it is in a table."""
    keys = ["architecture", "optimizer", "batch_size"]
    trained = own.set_index(["network", "optimizer", "cycles"]).index
    is_alike = figures.set_index(["architecture", "optimizer", "cycles"]).index.isin(trained)
    last = figures.groupby(keys, dropna=False)["cycles"].transform("max")
    stated = figures[~figures["is_curve"].astype(bool)].set_index([*keys, "cycles"]).index
    is_stated = figures.set_index([*keys, "cycles"]).index.isin(stated)
    is_wanted = (is_alike | (figures["cycles"] == last).fillna(False)) & ~is_stated
    return figures[~figures["is_curve"].astype(bool) | is_wanted.astype(bool)]


def _with_a_counterpart(own: pd.DataFrame, figures: pd.DataFrame) -> pd.DataFrame:
    """The best of each optimiser and network, and as many of the rest as a table can hold.

    Those are of networks with published figures; where there are many, of their batch sizes too.
    """
    keys = ["architecture"] if len(own) <= _MOST_OWN else ["architecture", "batch_size"]
    published = figures[keys].dropna().drop_duplicates().assign(is_alike=True)
    is_alike = own[keys].merge(published, on=keys, how="left")["is_alike"].notna()
    return own[own["is_best"] | is_alike.to_numpy()]


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """With both parts of the accuracy in per cent, as its interval supports or as published."""
    decimals = [supported_decimals(100 * margin) for margin in frame["margin"]]
    percent = {
        f"{name}_percent": [
            round(settled(100 * value), places)
            for value, places in zip(frame[name], decimals, strict=True)
        ]
        for name in ("test_accuracy", "margin")
    }
    return frame.assign(**percent, test_loss_shown=frame["test_loss"].round(4))


def _caption(frame: pd.DataFrame, frames: Frames) -> str:
    images = sorted(frames.runs["n_training_images"].dropna().unique())
    trained = f", trained on {listed([f'{n:,}' for n in images])} images" if images else ""
    metrics = listed([metric_label(m) for m in dict.fromkeys(s.metric for s in frames.sweeps)])
    caption = (
        "This sweep: for each network, optimiser and batch size the configuration with the best "
        f"mean {metrics}{trained}; the time is that of one run. {INTERVAL} The published figures "
        "are as their sources state them, without seeds or intervals. They are from other "
        "hardware and software and from data prepared in other ways, so that neither the times "
        "nor small differences in accuracy say which is better."
    )
    for publication, own in frame.dropna(subset=["publication"]).groupby("publication"):
        sources = dict.fromkeys(re.sub(r" \(.*?\)", "", source) for source in own["source"])
        notes = dict.fromkeys(part for note in own["note"] for part in note.split("; "))
        caption += f" {publication}: {'; '.join(sources)} ({'; '.join(notes)})."
    return caption
