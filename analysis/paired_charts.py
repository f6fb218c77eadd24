"""The optimisers seed by seed: the runs of their best settings, joined by their seeds."""

from __future__ import annotations

import altair as alt
import pandas as pd

from analysis import comparisons
from analysis.chart_axes import metric_axis
from analysis.chart_parts import (
    Chart,
    faceted,
    optimizer_colour,
    printable,
    records,
    shown_optimizer,
    spread_out,
)
from analysis.drawings import NamedChart
from analysis.frames import Frames
from analysis.wording import format_number, metric_label, optimizer_label, setting_text

_METRIC = "test_accuracy"
_MOST_BATCHES = 10
"""Batch sizes of a network that are drawn: more have no room beside each other."""
_WORDS_HEIGHT = 26
_KEYS = ["architecture", "batch_size"]


def paired_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """One chart; none where the first two optimisers have no network and batch size in common."""
    pairs = paired_runs(frames)
    if pairs.empty:
        return ()
    first, second = (optimizer_label(name) for name in comparisons.optimizers(frames.runs)[:2])
    caption = (
        f"For each network and batch size the best setting of each optimiser by mean "
        f"{metric_label(frames.sweeps[0].metric)}. A point is a run; a line joins two runs with "
        "the same seed; the bar is the mean over the seeds, and the figure above the difference "
        f"of the means in percentage points, {first} less {second}."
    )
    n_batches = _common(frames.runs).groupby("architecture").size().max()
    if n_batches > _MOST_BATCHES:
        caption += f" At most {_MOST_BATCHES} of up to {n_batches:,} batch sizes are drawn."
    chart = paired_chart(frames.runs, pairs)
    title = f"{first} against {second}, seed by seed"
    return (NamedChart("paired_seeds", title, caption, chart, "paired_seeds"),)


def paired_runs(frames: Frames) -> pd.DataFrame:
    """The runs of the first two optimisers at their best settings.

    Only where both have a setting with a test accuracy for every seed.

    Returns:
        `architecture`, `n_parameters`, `batch_size`, `optimizer`, `trial`, `setting` (in words),
        `seed`, `test_accuracy`, `mean` (over the seeds) and `n_seeds`.
    """
    runs, direction = frames.runs, frames.sweeps[0].direction
    best = comparisons.best_configurations(runs, within=_KEYS, direction=direction)
    names = comparisons.optimizers(runs)[:2]
    best = best[best["optimizer"].isin(names) & best[f"{_METRIC}_mean"].notna()]
    n_optimizers = best.groupby(["sweep", *_KEYS])["optimizer"].transform("nunique")
    best = best[n_optimizers == 2].drop_duplicates([*_KEYS, "optimizer"])
    best = best[_is_drawn(best)]
    done = comparisons.finished(runs)
    # repetitions of a configuration are trials of their own
    done = done[done["configuration"].isin(best["configuration"])]
    told = [name for name in comparisons.varied(runs) if name not in _KEYS]
    settings = [setting_text(record, told) for record in done[told].to_dict("records")]
    identity = [*_KEYS, "optimizer", "seed"]
    groups = done.assign(setting=settings).groupby(identity, sort=False)
    pairs = groups[["n_parameters", "trial", "setting"]].first()
    pairs[_METRIC] = groups[_METRIC].mean().astype("float64")
    pairs = pairs.reset_index()
    of_a_side = pairs.groupby(identity[:-1])[_METRIC]
    return pairs.assign(mean=of_a_side.transform("mean"), n_seeds=of_a_side.transform("size"))


def paired_chart(runs: pd.DataFrame, pairs: pd.DataFrame) -> Chart:
    """The rows of `paired_runs`: a panel for each network, a group for each batch size."""
    names = [shown_optimizer(name) for name in comparisons.optimizers(runs)[:2]]
    own = printable(pairs, ["architecture", "optimizer", "setting"])
    own = own.assign(
        optimizer=own["optimizer"].map(shown_optimizer),
        batch=own["batch_size"].map(format_number),
    ).rename(columns={_METRIC: "value"})
    architectures = comparisons.architectures(own)
    batches = list(own.sort_values("batch_size")["batch"].unique())
    y = metric_axis(_METRIC, own["value"], padding=_WORDS_HEIGHT)
    described = ["architecture", "batch", "optimizer", "trial", "setting", "n_seeds"]
    means = own.drop_duplicates(["architecture", "batch", "optimizer"]).assign(is_mean=True)
    values = [
        *records(own, [*described, "seed", "value"]),
        *records(means.assign(value=means["mean"]), [*described, "is_mean", "value"]),
        *_differences(own, names),
    ]
    told = [
        alt.Tooltip("trial:Q"),
        alt.Tooltip("optimizer:N", title="optimiser"),
        alt.Tooltip("setting:N"),
    ]
    value = y.tooltip("value")
    across = alt.X(
        "batch:O", title="Batch size", sort=batches, axis=alt.Axis(labelAngle=0, domain=False)
    )
    side = alt.XOffset("optimizer:N", sort=names, scale=alt.Scale(paddingOuter=0.35))
    base = alt.Chart().encode(x=across, y=y.y("value"))
    of_a_seed = base.transform_filter("isValid(datum.seed)")
    coloured = base.encode(xOffset=side, color=optimizer_colour(runs, names, "circle"))
    layers = [
        of_a_seed.mark_line(strokeWidth=1, strokeOpacity=0.55).encode(
            xOffset=side, detail=["batch:O", "seed:N"]
        ),
        coloured.transform_filter("isValid(datum.seed)")
        .mark_point(filled=True, size=36, fillOpacity=0.85)
        .encode(tooltip=[*told, alt.Tooltip("seed:Q"), value]),
        coloured.transform_filter("datum.is_mean")
        .mark_tick(orient="horizontal", thickness=3, size=20, opacity=1)
        .encode(tooltip=[*told, value, alt.Tooltip("n_seeds:Q", title="seeds")]),
        base.transform_filter("isValid(datum.difference)")
        .mark_text(dy=-12, style="words")
        .encode(text="difference:N"),
    ]
    return faceted(layers, "architecture", architectures, values)


def _differences(own: pd.DataFrame, names: list[str]) -> list[dict[str, object]]:
    """The difference of the means above the highest point of each group."""
    keys = ["architecture", "batch"]
    wide = own.drop_duplicates([*keys, "optimizer"]).pivot(
        index=keys, columns="optimizer", values="mean"
    )
    points = 100 * (wide[names[0]] - wide[names[1]])
    highest = own.groupby(keys)["value"].max()
    table = pd.DataFrame({"value": highest, "points": points}).dropna().reset_index()
    texts = [f"{each:+.2f}".replace("-", "−") for each in table["points"]]
    return records(table.assign(difference=texts), [*keys, "value", "difference"])


def _common(runs: pd.DataFrame) -> pd.DataFrame:
    """The networks and batch sizes that both of the first two optimisers finished runs of."""
    done = runs[(runs["state"] == "finished")]
    done = done[done["optimizer"].isin(comparisons.optimizers(runs)[:2])]
    n_optimizers = done.groupby(_KEYS)["optimizer"].nunique()
    return n_optimizers[n_optimizers == 2].reset_index()


def _is_drawn(best: pd.DataFrame) -> pd.Series:
    """Of every network a number of batch sizes that have room."""
    kept = pd.Series(False, best.index)
    for _, own in best.groupby("architecture"):
        sizes = sorted(own["batch_size"].unique())
        drawn = [sizes[place] for place in spread_out(len(sizes), _MOST_BATCHES)]
        kept |= (best["architecture"] == own["architecture"].iloc[0]) & best["batch_size"].isin(
            drawn
        )
    return kept
