"""Two dimensions against each other: the mean objective of each combination as a heat map."""

from __future__ import annotations

import itertools

import altair as alt
import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.chart_axes import dimension_title, metric_axis
from analysis.chart_dimensions import has_room, is_number, judged_configurations
from analysis.chart_parts import (
    PANEL_WIDTH,
    Chart,
    faceted,
    printable,
    records,
)
from analysis.drawings import NamedChart, file_stem
from analysis.escaping import printable_text
from analysis.formats import settled
from analysis.frames import Frames
from analysis.objectives import COST_METRICS, Objective
from analysis.wording import (
    MISSING,
    dimension_label,
    format_number,
    listed,
    metric_label,
    optimizer_label,
)

MOST_RANGES = 8
"""Values of a number up to which each has a row of its own; more are put into so many ranges."""
_MOST_MAPS = 3
"""Pairs of dimensions of one optimiser that have a map."""
_FIRST = ("batch_size", "perturbation_std", "learning_rate")
"""Dimensions that come before the others."""
_ROW_HEIGHT = 34
_FROM_DARK_TO_LIGHT = 0.45
"""Where along viridis black words begin to be easier to read than white ones."""


def heat_maps(frames: Frames) -> tuple[NamedChart, ...]:
    """Maps of pairs of dimensions that an optimiser varied, those of RSO first.

    Batch size against the perturbations' standard deviation (or the learning rate) comes first.
    """
    runs = frames.runs
    found = []
    for name in comparisons.optimizers(runs):
        own = runs[runs["optimizer"] == name]
        varied = [each for each in comparisons.varied(own) if each != "architecture"]
        # a stable sort: the other dimensions stay in their order
        varied.sort(key=lambda each: _FIRST.index(each) if each in _FIRST else len(_FIRST))
        configurations = judged_configurations(own)
        pairs = itertools.combinations([each for each in varied if has_room(own[each])], 2)
        for across, up in itertools.islice(pairs, _MOST_MAPS):
            cells = heat_cells(own, configurations, across, up)
            if cells["mean"].notna().any():
                found.append((name, across, up, cells))
    return tuple(_named(frames, *each) for each in found)


def heat_cells(
    runs: pd.DataFrame, configurations: pd.DataFrame, across: str, up: str
) -> pd.DataFrame:
    """The mean objective for each combination of two dimensions that was tried.

    The mean is over the seeds and over the configurations that differ in the remaining dimensions,
    each with the same weight; of a cell's configurations those with the most seeds count. A number
    with many values is put into ranges with about as many runs each.

    Args:
        runs: of one optimiser, in any state.
        configurations: of `judged_configurations`.
        across: a dimension, that of the columns.
        up: that of the rows.

    Returns:
        `architecture`, `n_parameters`, `across` and `up` (texts), `across_rank` and `up_rank`
        (their order), `mean` (missing where nothing finished), `n_seeds`, `n_configurations`.
    """
    levels = {"across": _levels(runs[across]), "up": _levels(runs[up])}
    tables = []
    for frame in (runs, configurations):
        placed = frame[["architecture"]].copy()
        for (side, own), name in zip(levels.items(), (across, up), strict=True):
            placed[f"{side}_rank"] = frame[name].map(own["rank"]).astype("Int64")
        tables.append(placed)
    keys = ["architecture", "across_rank", "up_rank"]
    tried = tables[0].dropna().drop_duplicates()
    placed = tables[1].assign(
        mean=configurations["objective_mean"], n_seeds=configurations["n_seeds_compared"]
    )
    placed = placed.dropna(subset=keys)
    most = placed.groupby(keys)["n_seeds"].transform("max")
    groups = placed[placed["n_seeds"] == most].groupby(keys)
    figures = groups[["mean"]].mean()
    figures["n_seeds"], figures["n_configurations"] = groups["n_seeds"].max(), groups.size()
    cells = tried.merge(figures.reset_index(), on=keys, how="left")
    cells["mean"] = cells["mean"].astype("float64")
    sizes = runs.groupby("architecture")["n_parameters"].max()
    cells["n_parameters"] = cells["architecture"].map(sizes)
    for side, own in levels.items():
        texts = own.drop_duplicates("rank").set_index("rank")["text"]
        cells[side] = cells[f"{side}_rank"].map(texts)
    counts = ["n_seeds", "n_configurations"]
    cells[counts] = cells[counts].fillna(0).astype("Int64")
    return cells.sort_values(keys).reset_index(drop=True)


def heat_map(cells: pd.DataFrame, across: str, up: str, objective: Objective) -> Chart:
    """The rows of `heat_cells`: a panel for each network, light where the objective is good."""
    columns, rows = (
        list(cells.sort_values(f"{side}_rank")[side].unique()) for side in ("across", "up")
    )
    own = _drawn(cells, objective)
    architectures = comparisons.architectures(own)
    axis = metric_axis(objective.metric, own["mean"].dropna())
    is_crowded = len(columns) * max(len(text) for text in columns) * 7 > PANEL_WIDTH
    x = alt.X(
        "across:O",
        title=dimension_title(across),
        sort=columns,
        axis=alt.Axis(labelAngle=-35 if is_crowded else 0, domain=False, ticks=False),
    )
    y = alt.Y(
        "up:O",
        title=dimension_title(up),
        sort=rows[::-1],
        axis=alt.Axis(grid=False),
    )
    colour = alt.Color(
        "mean:Q",
        title=axis.title.removesuffix(", log scale"),
        scale=alt.Scale(
            domain=_domain(own["mean"]),
            reverse=objective.direction == "minimize",
        ),
        legend=alt.Legend(
            format=axis.axis.format, gradientLength=180, gradientThickness=10, tickCount=4
        ),
    )
    tooltip = [
        alt.Tooltip("architecture:N", title="network"),
        alt.Tooltip("across:N", title=printable_text(dimension_label(across))),
        alt.Tooltip("up:N", title=printable_text(dimension_label(up))),
        axis.tooltip("mean"),
        alt.Tooltip("n_configurations:Q", title="configurations"),
        alt.Tooltip("n_seeds:Q", title="seeds"),
    ]
    base = alt.Chart().encode(x=x, y=y, tooltip=tooltip)
    words = base.encode(text="figure:N")
    layers = [
        base.transform_filter("isValid(datum.mean)").mark_rect().encode(color=colour),
        words.transform_filter("datum.ink === 'light'").mark_text(style="on_dark_cell"),
        words.transform_filter("datum.ink === 'dark'").mark_text(style="on_light_cell"),
        words.transform_filter("!isValid(datum.mean)").mark_text(style="soft"),
    ]
    height = max(2, len(rows)) * _ROW_HEIGHT
    described = ["architecture", "across", "up", "mean", "figure", "ink"]
    values = records(own, [*described, "n_seeds", "n_configurations"])
    return faceted(layers, "architecture", architectures, values, height=height)


def _named(frames: Frames, name: str, across: str, up: str, cells: pd.DataFrame) -> NamedChart:
    sweep = frames.sweeps[0]
    own = frames.runs[frames.runs["optimizer"] == name]
    averaged = [
        dimension_label(each)
        for each in comparisons.varied(own)
        if each not in ("architecture", across, up)
    ]
    label, pair = optimizer_label(name), f"{dimension_label(across)} × {dimension_label(up)}"
    over = "over the seeds" + (f" and over {listed(averaged)}" if averaged else "")
    unit = ", in per cent" if sweep.metric.endswith("_accuracy") else ""
    caption = f"{label}: each cell is the mean {metric_label(sweep.metric)}{unit}, {over}; the "
    caption += "lighter the better. Where there is no cell, nothing was tried."
    if cells["mean"].isna().any():
        caption += f" {MISSING}: tried, and nothing finished."
    ranged = [dimension_label(each) for each in (across, up) if _is_ranged(own[each])]
    if ranged:
        caption += f" The values of {listed(ranged)} are put into {MOST_RANGES} ranges."
    if (own["state"] == "pruned").any():
        caption += " Pruned runs have no part in it."
    return NamedChart(
        file_stem(f"heat_map_{name}_{across}_{up}"),
        f"{label}: {metric_label(sweep.metric)} by {dimension_label(across)} and "
        f"{dimension_label(up)}",
        caption,
        heat_map(cells, across, up, sweep.objectives[0]),
        "heat_maps",
        {"Dimensions": printable_text(f"{label}: {pair}")},
    )


def _levels(values: pd.Series) -> pd.DataFrame:
    """`rank` and `text` of every distinct value, which is the index."""
    known = values.dropna()
    distinct = pd.Index(sorted(known.unique()))
    if not _is_ranged(values):
        texts = [printable_text(format_number(value)) for value in distinct]
        return pd.DataFrame({"rank": range(len(distinct)), "text": texts}, index=distinct)
    numbers = known.astype("float64")
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, MOST_RANGES + 1)))
    points = distinct.to_numpy("float64")
    ranks = np.clip(np.searchsorted(edges, points, side="right") - 1, 0, max(0, len(edges) - 2))
    own = pd.DataFrame({"rank": ranks, "point": points}, index=distinct)
    ends = own.groupby("rank")["point"].agg(["min", "max"])
    ranges = {rank: _range_text(end["min"], end["max"]) for rank, end in ends.iterrows()}
    return own.assign(text=own["rank"].map(ranges))[["rank", "text"]]


def _range_text(low: float, high: float) -> str:
    ends = [f"{end:.3g}" if abs(end) < 1000 else f"{end:,.0f}" for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]}–{ends[1]}"


def _is_ranged(values: pd.Series) -> bool:
    return is_number(values) and values.nunique() > MOST_RANGES


def _drawn(cells: pd.DataFrame, objective: Objective) -> pd.DataFrame:
    """With the figure that is printed in each cell, and the ink that is easy to read there."""
    low, high = _domain(cells["mean"])
    share = (cells["mean"] - low) / (high - low)
    if objective.direction == "minimize":
        share = 1 - share
    ink = pd.Series("light", cells.index).mask(share >= _FROM_DARK_TO_LIGHT, "dark")
    texts = _figures(cells["mean"], objective.metric)
    return printable(cells.assign(figure=texts, ink=ink.where(share.notna(), "")), ["architecture"])


def _figures(means: pd.Series, metric: str) -> list[str]:
    shown = means * 100 if metric.endswith("_accuracy") else means
    extent = shown.max() - shown.min()
    if metric in COST_METRICS:
        return [MISSING if pd.isna(value) else f"{value:,.3g}" for value in shown]
    # one digit more than it takes to tell most cells apart
    digits = int(np.clip(1 - np.floor(np.log10(extent / 4)), 1, 4)) if extent > 0 else 2
    digits = min(digits, 2) if metric.endswith("_accuracy") else digits
    return [MISSING if pd.isna(value) else f"{settled(value):.{digits}f}" for value in shown]


def _domain(means: pd.Series) -> list[float]:
    low, high = float(means.min()), float(means.max())
    return [low, high] if low < high else [low - 0.5, high + 0.5]
