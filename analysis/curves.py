"""The lines that the charts draw: runs averaged over their seeds, cycle by cycle."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.frames import Frames
from analysis.wording import setting_text

_MOST_POINTS = 60
"""Points that a line keeps: more make a page heavy and no line clearer."""
_MOST_IN_ALL = 4000


def accuracy_curves(frames: Frames) -> pd.DataFrame:
    """Test accuracy of every finished configuration after each cycle, over its seeds.

    Returns:
        `line` (a number for each configuration), `architecture`, `n_parameters`, `optimizer`,
        `setting` (in words), `is_best` (of its optimiser and network, by mean objective), `cycle`,
        `images` and `seconds` (cumulative, mean over the seeds), `accuracy` (mean), `low` and
        `high` (one standard deviation either side; missing for one seed) and `n_seeds`.
    """
    runs = _numbered(frames)
    cycles = frames.cycles.merge(runs, on=["sweep", "run"])
    missing = cycles["test_accuracy"].isna().groupby([cycles["line"], cycles["cycle"]])
    groups = cycles[~missing.transform("any").astype(bool)].groupby(["line", "cycle"])
    curves = pd.DataFrame(
        {
            "images": groups["cumulative_images_passed"].mean(),
            "seconds": groups["cumulative_training_s"].mean(),
            "accuracy": groups["test_accuracy"].mean(),
            "std": groups["test_accuracy"].std(),
            "n_seeds": groups.size(),
        }
    ).reset_index()
    curves["low"] = (curves["accuracy"] - curves["std"]).clip(lower=0)
    curves["high"] = (curves["accuracy"] + curves["std"]).clip(upper=1)
    described = runs.drop_duplicates("line").drop(columns=["sweep", "run"])
    return _thinned(curves.drop(columns="std").merge(described, on="line"))


def accepted_curves(frames: Frames) -> pd.DataFrame:
    """Share of accepted visits by layer, of the best RSO configuration of each network.

    Returns:
        `line`, `architecture`, `setting`, `layer`, `layer_index`, `cycle`, `accepted_share` and
        `sigma` (means over the seeds).
    """
    runs = _numbered(frames)
    shown = runs[runs["is_best"] & (runs["optimizer"] == "rso")]
    layers = frames.layers.merge(shown, on=["sweep", "run"])
    layers = layers.assign(layer_index=layers["layer_index"].astype("int64"))
    keys = ["line", "architecture", "n_parameters", "setting", "layer", "layer_index", "cycle"]
    means = layers.groupby(keys, as_index=False, dropna=False)[["accepted_share", "sigma"]].mean()
    return _thinned(means.dropna(subset=["accepted_share"]))


def _numbered(frames: Frames) -> pd.DataFrame:
    """The finished runs with the number and the words of their line."""
    done = comparisons.finished(frames.runs)
    direction = frames.sweeps[0].direction
    best = comparisons.best_configurations(
        frames.runs, within=["architecture"], direction=direction
    )
    chosen = done.merge(best[["sweep", "trial"]], on=["sweep", "trial"])["configuration"]
    told = [name for name in comparisons.varied(frames.runs) if name != "architecture"]
    done = done.assign(
        line=done["configuration"],
        is_best=done["configuration"].isin(chosen),
        setting=[setting_text(record, told) for record in done.to_dict("records")],
    )
    described = ["architecture", "n_parameters", "optimizer", "setting", "is_best"]
    return done[["sweep", "run", "line", *described]]


def _thinned(curves: pd.DataFrame) -> pd.DataFrame:
    """Every line with a limited number of its cycles: the first, the last and some between."""
    if curves.empty:
        return curves
    n_points = max(10, min(_MOST_POINTS, _MOST_IN_ALL // curves["line"].nunique()))
    last = int(curves["cycle"].max())
    if last <= n_points:
        return curves
    # half of them evenly, half crowded towards the start, where curves bend
    even = np.linspace(1, last, n_points // 2)
    early = np.geomspace(1, last, n_points - n_points // 2)
    kept = {int(cycle) for cycle in np.concatenate([even, early]).round()}
    final = curves["cycle"] == curves.groupby("line")["cycle"].transform("max")
    return curves[curves["cycle"].isin(kept) | final]
