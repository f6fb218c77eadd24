"""Slices: the objective of every configuration against each dimension that was varied."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.chart_axes import dimension_axis, dimension_title, metric_axis
from analysis.chart_dimensions import (
    has_room,
    is_number,
    judged_configurations,
    ordered_values,
)
from analysis.chart_parts import (
    PANEL_WIDTH,
    Chart,
    faceted,
    optimizer_colour,
    packed,
    printable,
    shown_optimizer,
    spread_out,
)
from analysis.drawings import NamedChart, file_stem
from analysis.escaping import printable_text
from analysis.frames import Frames
from analysis.objectives import Objective
from analysis.wording import (
    dimension_label,
    format_number,
    metric_label,
    setting_text,
)

MOST_POINTS = 1000
"""Configurations that are drawn in one chart."""
_MOST_IN_ALL = 3500
_FEW_VALUES = 6
"""Values of a number up to which each has a column of its own, with room for its points."""
_GOLDEN = 0.6180339887498949


def slice_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """A chart for each dimension that was varied among the finished runs."""
    runs, objective = frames.runs, frames.sweeps[0].objectives[0]
    configurations = _judged(runs, objective)
    varied = [name for name in comparisons.varied(runs) if has_room(configurations[name])]
    most = min(MOST_POINTS, _MOST_IN_ALL // max(1, len(varied)))
    charts = []
    for name in varied:
        own = _of_those_with_several(configurations, name)
        if own.empty:
            continue
        rest = np.flatnonzero(~own["is_best"])
        kept = np.union1d(rest[spread_out(len(rest), most)], np.flatnonzero(own["is_best"]))
        drawn = own.iloc[kept]
        metric, label = metric_label(objective.metric), dimension_label(name)
        caption = (
            f"A point is a configuration, its mean {metric} over the seeds; what else was varied "
            "differs from point to point. Ringed: the best of each optimiser and network."
        )
        if _is_in_columns(own[name]):
            caption += " Points of one value are spread sideways."
        if len(drawn) < len(own):
            caption += f" {len(drawn):,} of the {len(own):,} configurations are drawn."
        charts.append(
            NamedChart(
                file_stem(f"slice_{name}"),
                f"{metric.capitalize()} by {label}",
                caption,
                slice_chart(runs, drawn, name, objective),
                "slices",
                {"Dimension": printable_text(label)},
            )
        )
    return tuple(charts)


def slice_chart(
    runs: pd.DataFrame, configurations: pd.DataFrame, dimension: str, objective: Objective
) -> Chart:
    """The objective against a dimension, a panel for each network.

    Args:
        runs: `Frames.runs`.
        configurations: rows of `judged_configurations`, with `is_best` and without
            missing values of the dimension.
        dimension: one of the columns.
        objective: what is drawn upwards.
    """
    y = metric_axis(objective.metric, configurations["objective_mean"])
    told = [name for name in comparisons.varied(runs) if name != "architecture"]
    own = configurations.assign(
        setting=[setting_text(each, told) for each in configurations[told].to_dict("records")],
        value=configurations["objective_mean"] / y.per,
        panel="" if dimension == "architecture" else configurations["architecture"],
    )
    own = printable(own, ["architecture", "panel", "setting", "optimizer"])
    offset: alt.XOffset | alt.UndefinedType = alt.Undefined
    if _is_in_columns(own[dimension]):
        names = ordered_values(own, dimension)
        columns = {name: printable_text(format_number(name)) for name in names}
        own = own.assign(across=own[dimension].map(columns), spread=_spread(own, dimension))
        x = alt.X(
            "across:O",
            title=dimension_title(dimension),
            sort=list(dict.fromkeys(columns.values())),
            axis=alt.Axis(labelAngle=0, labelLimit=PANEL_WIDTH // len(columns), domain=False),
        )
        offset = alt.XOffset("spread:Q", scale=alt.Scale(domain=[-1.25, 1.25]))
    else:
        axis = dimension_axis(dimension, own[dimension])
        own = own.assign(across=own[dimension].astype("float64"), spread=0)
        x = axis.x("across")
    own = own.assign(optimizer=own["optimizer"].map(shown_optimizer))
    panels = [""] if dimension == "architecture" else comparisons.architectures(own)
    points = ["trial", "across", "spread", "value", "n_seeds", "setting", "is_best"]
    base = alt.Chart().encode(
        x=x,
        y=y.y("value"),
        color=optimizer_colour(runs, list(own["optimizer"].unique()), "circle"),
        tooltip=[
            alt.Tooltip("trial:Q"),
            y.tooltip("value"),
            alt.Tooltip("optimizer:N", title="optimiser"),
            alt.Tooltip("architecture:N", title="network"),
            alt.Tooltip("setting:N"),
            alt.Tooltip("n_seeds:Q", title="seeds"),
        ],
        xOffset=offset,
    )
    layers = [
        base.transform_filter("!datum.is_best").mark_point(
            filled=True, size=36, opacity=1, fillOpacity=0.6
        ),
        base.transform_filter("datum.is_best").mark_point(
            filled=True, size=85, opacity=1, strokeWidth=1.5, style="best"
        ),
    ]
    values = packed(own, points, ["panel", "architecture", "optimizer"])
    return faceted(layers, "panel", panels, values, lists=points)


def _judged(runs: pd.DataFrame, objective: Objective) -> pd.DataFrame:
    """The configurations with an objective, and which are the best of optimiser and network."""
    table = judged_configurations(runs)
    best = comparisons.best_configurations(
        runs, within=["architecture"], direction=objective.direction
    )
    chosen = pd.MultiIndex.from_frame(best[["sweep", "trial"]])
    return table.assign(is_best=pd.MultiIndex.from_frame(table[["sweep", "trial"]]).isin(chosen))


def _of_those_with_several(configurations: pd.DataFrame, dimension: str) -> pd.DataFrame:
    """Without the optimisers that had only one value: they have nothing to show of it."""
    known = configurations.dropna(subset=[dimension])
    return known[known.groupby("optimizer")[dimension].transform("nunique") > 1]


def _is_in_columns(values: pd.Series) -> bool:
    return not is_number(values) or values.nunique() <= _FEW_VALUES


def _spread(own: pd.DataFrame, dimension: str) -> pd.Series:
    """Where in its column a point stands, from -1 to 1: the optimisers side by side."""
    names = sorted(own["optimizer"].unique())
    side = own["optimizer"].map({name: place for place, name in enumerate(names)})
    # multiples of the golden ratio fill the width evenly, however many there are
    rank = own.groupby([dimension, "panel", "optimizer"]).cumcount()
    share = (0.5 + rank * _GOLDEN) % 1
    return (side + 0.15 + 0.7 * share) * 2 / len(names) - 1
