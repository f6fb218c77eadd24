"""How published figures were made, as far as their sources state it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pandas as pd

Settings = Mapping[str, str | float]

_MNIST: Settings = {"n_training_images": 60_000, "standardise": False}
_RSO_OF_THE_NOTEBOOK: Settings = {
    **_MNIST,
    "initialisation": "glorot",
    "sigma": "pooled",
    "perturbation_std": 1.0,
    "sampler": "normal",
    "annealing": "none",
    "weight_decay": 0.0,
    "layer_order": "last_to_first",
    "visit_biases": True,
    "visit_batch_norm": True,
    "batch_drawing": "with_replacement",
    "double_softmax": False,
}
_SGD_OF_THE_NOTEBOOK: Settings = {
    **_MNIST,
    "initialisation": "glorot",
    "learning_rate": 0.01,
    "schedule": "constant",
    "momentum": 0.0,
    "weight_decay": 0.0,
}
_OF_THE_PAPER: Settings = {"n_training_images": 60_000, "standardise": True}
"""Its text and its authors' code differ in the rest."""
_NOTEBOOK = "STMOZOO, "


def published_settings(publication: str, optimizer: str, architecture: str) -> Settings:
    """Columns of `Frames.runs`, and `standardise`, with their values in a publication.

    Source: the notebook's code, and Algorithm 1 of arXiv:2005.05955.

    Args:
        publication: as `published_figures` has it.
        optimizer: rso or sgd.
        architecture: the name of the network here.
    """
    if not publication.startswith(_NOTEBOOK):
        return _OF_THE_PAPER
    if optimizer != "rso":
        return _SGD_OF_THE_NOTEBOOK
    return {**_RSO_OF_THE_NOTEBOOK, "double_softmax": architecture == "original"}


def is_made_as_published(runs: pd.DataFrame) -> pd.Series:
    """Which runs have the settings of the publication that stands beside them.

    Args:
        runs: rows of `Frames.runs` with `publication`.
    """
    standardise = [json.loads(data).get("standardise", True) for data in runs["data"]]
    runs = runs.assign(standardise=standardise)
    is_alike = pd.Series(False, runs.index)
    for keys, own in runs.groupby(["publication", "optimizer", "architecture"]):
        settings = published_settings(*map(str, keys))
        have = [
            own[name].eq(value).fillna(False).astype(bool)
            for name, value in settings.items()
            if name in own
        ]
        if len(have) == len(settings):
            is_alike[own.index] = pd.concat(have, axis=1).all(axis=1)
    return is_alike
