"""The lines that the charts draw: runs averaged over their seeds, cycle by cycle."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.chart_parts import spread_out
from analysis.frames import Frames
from analysis.statistics import t_margin
from analysis.wording import setting_text

CURVE_METRICS = ("test_accuracy", "validation_accuracy", "test_loss", "training_loss")
MOST_FAINT = 80
"""Lines beside the best ones that are drawn: more make a page heavy and a chart grey."""
_MOST_POINTS = 60
"""Points that a line keeps: more make a page heavy and no line clearer."""
_MOST_IN_ALL = 1600
_COSTS = {
    "n_images_passed": "cumulative_images_passed",
    "training_s": "cumulative_training_s",
}


def learning_curves(frames: Frames) -> pd.DataFrame:
    """Accuracies and losses of finished configurations after each cycle, over their seeds.

    Every configuration that is the best of its optimiser and network, by mean objective, and a
    sample of the others that is spread over all networks, optimisers and objectives. A mean has
    all seeds of its configuration: where one has no record, or no finite figure, there is none.

    Returns:
        `line` (a number for each configuration), `trial`, `architecture`, `n_parameters`,
        `optimizer`, `setting` (in words), `is_best`, `cycle`, `n_images_passed` and `training_s`
        (cumulative, mean over the seeds), `n_seeds`, and for each of `CURVE_METRICS` its mean
        under its name, `_low` and `_high` (the 95 % interval of the mean by Student's t, clipped
        to what is possible; missing for one seed).
    """
    runs = _drawn(comparisons.finished(frames.runs), frames)
    cycles = frames.cycles[frames.cycles["trial"].isin(runs["trial"])].merge(
        runs[["sweep", "run", "line", "n_runs"]], on=["sweep", "run"]
    )
    keys = ["line", "cycle"]
    sources = {metric: metric for metric in CURVE_METRICS} | _COSTS
    figures = cycles[[*keys, "n_runs"]].assign(
        **{name: _finite(cycles[source]) for name, source in sources.items()}
    )
    groups = figures.groupby(keys)
    curves = pd.DataFrame({"n_seeds": groups["n_runs"].first().astype("int64")})
    is_whole = groups.size() == curves["n_seeds"]
    means, deviations, counts = groups.mean(), groups.std(), groups.count()
    for name in _COSTS:
        curves[name] = means[name]
    for metric in CURVE_METRICS:
        mean = means[metric].where(counts[metric] == curves["n_seeds"])
        margin = t_margin(deviations[metric], curves["n_seeds"].where(curves["n_seeds"] > 1))
        curves[metric] = mean
        curves[f"{metric}_low"] = (mean - margin).clip(lower=0)
        highest = 1 if metric.endswith("_accuracy") else None
        curves[f"{metric}_high"] = (mean + margin).clip(upper=highest)
    described = ["line", "trial", "architecture", "n_parameters", "optimizer", "setting", "is_best"]
    lines = runs.drop_duplicates("line")[described]
    return _thinned(curves[is_whole].reset_index().merge(lines, on="line"))


def layer_curves(frames: Frames) -> pd.DataFrame:
    """Accepted visits and sigma by layer, of the best RSO configuration of each network.

    Returns:
        `line`, `trial`, `architecture`, `n_parameters`, `setting`, `layer`, `depth` (grows
        from the input to the output, as far as the order of the visits tells), `cycle`,
        `accepted_share` and `sigma` (means over the seeds).
    """
    done = comparisons.finished(frames.runs)
    runs = _drawn(done[done["optimizer"] == "rso"], frames)
    runs = runs[runs["is_best"]]
    # visits go from the output to the input unless the option says otherwise
    forwards = runs["layer_order"].eq("first_to_last") if "layer_order" in runs else False
    runs = runs.assign(sign=np.where(pd.Series(forwards, runs.index).fillna(False), 1, -1))
    described = ["line", "trial", "architecture", "n_parameters", "setting"]
    layers = frames.layers[frames.layers["trial"].isin(runs["trial"])].drop(columns="trial")
    layers = layers.merge(runs[["sweep", "run", "sign", *described]], on=["sweep", "run"])
    layers["depth"] = _depth(layers)
    keys = [*described, "layer", "depth", "cycle"]
    figures = layers[keys].assign(
        accepted_share=_finite(layers["accepted_share"]), sigma=_finite(layers["sigma"])
    )
    means = figures.groupby(keys, as_index=False, dropna=False).mean()
    means["is_best"] = True
    return _thinned(means.dropna(subset=["accepted_share"])).drop(columns="is_best")


def _drawn(done: pd.DataFrame, frames: Frames) -> pd.DataFrame:
    """The finished runs whose lines are drawn, with the number and the words of each line."""
    direction = frames.sweeps[0].direction
    best = comparisons.best_configurations(
        frames.runs, within=["architecture"], direction=direction
    )
    is_best = done["configuration"].isin(best["configuration"])
    others = done[~is_best].groupby("configuration")[["architecture", "optimizer", "objective"]]
    means = others.agg({"architecture": "first", "optimizer": "first", "objective": "mean"})
    ranked = means.sort_values(["architecture", "optimizer", "objective"], kind="stable").index
    sampled = ranked[spread_out(len(ranked), MOST_FAINT)]
    drawn = done[is_best | done["configuration"].isin(sampled)]
    told = [name for name in comparisons.varied(frames.runs) if name != "architecture"]
    return drawn.assign(
        line=drawn["configuration"],
        n_runs=drawn.groupby("configuration")["run"].transform("size").astype("int64"),
        is_best=is_best,
        setting=[setting_text(record, told) for record in drawn[told].to_dict("records")],
    )


def _depth(layers: pd.DataFrame) -> pd.Series:
    """A number that grows from the input to the output, and from a layer's weight to its bias."""
    place = layers["layer_index"].astype("int64")
    module = layers["layer"].str.replace(r"\.[^.]*$", "", regex=True)
    first = place.groupby([layers["line"], module]).transform("min")
    return first * layers["sign"] + (place - first) / (place.max() + 1)


def _finite(figures: pd.Series) -> pd.Series:
    values = figures.astype("float64")
    return values.where(values.abs() < np.inf)


def _thinned(curves: pd.DataFrame) -> pd.DataFrame:
    """Every line with a limited number of its cycles: the first, the last and some between."""
    if curves.empty:
        return curves
    final = curves["cycle"] == curves.groupby("line")["cycle"].transform("max")
    is_kept = final.astype(bool)
    for is_best in (True, False):
        own = curves["is_best"] == is_best
        n_lines = max(1, curves.loc[own, "line"].nunique())
        n_points = _MOST_POINTS if is_best else max(10, min(_MOST_POINTS, _MOST_IN_ALL // n_lines))
        kept = _kept_cycles(int(curves["cycle"].max()), n_points)
        is_kept |= own & curves["cycle"].isin(kept)
    return curves[is_kept].reset_index(drop=True)


def _kept_cycles(last: int, n_points: int) -> set[int]:
    if last <= n_points:
        return set(range(last + 1))
    # half of them evenly, half crowded towards the start, where curves bend
    even = np.linspace(1, last, n_points // 2)
    early = np.geomspace(1, last, n_points - n_points // 2)
    return {int(cycle) for cycle in np.concatenate([even, early]).round()}
