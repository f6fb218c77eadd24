"""Parallel coordinates: every configuration as a line through the values of its dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from analysis import comparisons
from analysis.chart_axes import DECADE, dimension_title, linear_ticks, log_ticks, metric_axis
from analysis.chart_dimensions import (
    has_room,
    is_number,
    judged_configurations,
    ordered_values,
)
from analysis.chart_parts import Chart, packed, records, spread_out, styled
from analysis.drawings import NamedChart, file_stem
from analysis.escaping import printable_text
from analysis.frames import Frames
from analysis.objectives import Objective
from analysis.wording import format_number, metric_label, optimizer_label, setting_text

MOST_LINES = 300
_MOST_AXES = 8
"""Dimensions that have an axis; the objective has one more."""
_FEW_VALUES = 8
"""Values up to which each is labelled, and lines through the same one are spread a little."""
_SPREAD = 0.06
_CLOSEST_LABELS = 0.05
_WIDTH, _HEIGHT, _WIDEST, _NARROWEST = 640, 300, 860, 420


def parallel_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """A chart for each optimiser, or one for all where they have the same options.

    None for an optimiser that varied fewer than two dimensions, or has fewer than two
    configurations with an objective.
    """
    runs, objective = frames.runs, frames.sweeps[0].objectives[0]
    table = judged_configurations(runs)
    charts = []
    for label, own, dimensions in _groups(runs, table):
        if len(own) < 2 or len(dimensions) < 2:
            continue
        shown = dimensions[:_MOST_AXES]
        lines = parallel_lines(own, shown, objective)
        metric = metric_label(objective.metric)
        caption = (
            f"A line is a configuration, from one of its values to the next and on to its mean "
            f"{metric} over the seeds, which is its colour as well; the thick one is the best. "
            "Lines through the same value are spread a little, the better ones above."
        )
        if len(lines) < len(own):
            caption += f" {len(lines):,} of the {len(own):,} configurations are drawn."
        if len(dimensions) > len(shown):
            caption += f" {len(shown)} of the {len(dimensions)} dimensions have an axis."
        title = f"{label}: configurations by {metric}" if label else f"Configurations by {metric}"
        charts.append(
            NamedChart(
                file_stem(f"parallel_coordinates_{label}" if label else "parallel_coordinates"),
                title,
                caption,
                parallel_chart(lines, shown, objective),
                "parallel_coordinates",
                {"Optimiser": printable_text(label)} if label else {},
            )
        )
    return tuple(charts)


def parallel_lines(
    configurations: pd.DataFrame, dimensions: list[str], objective: Objective
) -> pd.DataFrame:
    """The configurations whose lines are drawn, the worst first and the best last.

    Args:
        configurations: rows of `judged_configurations`.
        dimensions: columns of them.
        objective: by which they are sorted, and sampled evenly if there are too many.

    Returns:
        Those rows with `setting` (in words) and `is_best`, of the last one.
    """
    rises = objective.direction == "maximize"
    ranked = configurations.sort_values(
        ["objective_mean", "trial"], ascending=[rises, False], kind="stable"
    )
    drawn = ranked.iloc[spread_out(len(ranked), MOST_LINES)].reset_index(drop=True)
    settings = [setting_text(each, dimensions) for each in drawn[dimensions].to_dict("records")]
    return drawn.assign(
        setting=[printable_text(text) for text in settings], is_best=drawn.index == len(drawn) - 1
    )


def parallel_chart(lines: pd.DataFrame, dimensions: list[str], objective: Objective) -> Chart:
    """The rows of `parallel_lines`: an axis for each dimension, and the objective's at the end."""
    scales = [_scale(lines, name) for name in dimensions]
    scales.append(_objective_scale(lines, objective))
    n_axes, room = len(scales), _WIDTH // len(scales)
    at = np.column_stack([scale.positions.to_numpy("float64") for scale in scales]).round(4)
    own = lines.assign(value=lines["objective_mean"]).reset_index(names="line")
    of_a_line = ["line", "trial", "value", "setting", "n_seeds", "is_best"]
    values = packed(own, [], of_a_line)
    for record, positions in zip(values, at.tolist(), strict=True):
        known = [place for place, position in enumerate(positions) if math.isfinite(position)]
        record |= {"axis": known, "at": [positions[place] for place in known]}
    y = alt.Y("at:Q", scale=alt.Scale(domain=[-_SPREAD, 1 + _SPREAD]), axis=None)
    x = alt.X(
        "axis:O", scale=alt.Scale(domain=list(range(n_axes)), type="point", padding=0.5), axis=None
    )
    axis = metric_axis(objective.metric, own["value"])
    base = (
        alt.Chart(alt.NamedData("lines"))
        .transform_flatten(["axis", "at"])
        .encode(
            x=x,
            y=y,
            detail="line:N",
            tooltip=[
                alt.Tooltip("trial:Q"),
                alt.Tooltip("value:Q", title=axis.tooltip_title, format=axis.tooltip_format),
                alt.Tooltip("setting:N"),
                alt.Tooltip("n_seeds:Q", title="seeds"),
            ],
        )
    )
    colour = alt.Color(
        "value:Q",
        scale=alt.Scale(
            type="log" if axis.is_log else "linear", reverse=objective.direction == "minimize"
        ),
        legend=None,
    )
    heads = pd.DataFrame({"axis": range(n_axes), "text": [scale.title for scale in scales]})
    ticks = pd.DataFrame(
        [
            {"axis": place, "at": tick, "text": text}
            for place, scale in enumerate(scales)
            for tick, text in scale.ticks
        ]
    )
    data = {
        "lines": values,
        "heads": records(heads, ["axis", "text"]),
        "ticks": records(ticks, ["axis", "at", "text"]),
    }
    head = alt.Chart(alt.NamedData("heads")).encode(x=x)
    label = alt.Chart(alt.NamedData("ticks")).encode(x=x, y=y, text="text:N")
    inner, last = (
        label.transform_filter(f"datum.axis {sign} {n_axes - 1}") for sign in ("<", "===")
    )
    sides: list[tuple[alt.Chart, Literal["right", "left"], int]] = [
        (inner, "right", -7),
        (last, "left", 7),
    ]
    texts = [
        part.mark_text(style=style, align=align, dx=dx, limit=room - 12)
        for part, align, dx in sides
        for style in ("halo", "words")
    ]
    panel = alt.layer(
        head.mark_rule(strokeWidth=1).encode(y=alt.value(0), y2=alt.value("height")),
        base.transform_filter("!datum.is_best")
        .mark_line(strokeWidth=1.25, strokeOpacity=0.75 if len(own) <= 60 else 0.45)
        .encode(color=colour),
        base.transform_filter("datum.is_best").mark_line(strokeWidth=3.5, style="best_line"),
        *texts,
        head.mark_text(style="words", fontWeight=600, limit=room - 6).encode(
            y=alt.value(-12), text="text:N"
        ),
    ).properties(width=_WIDTH, height=_HEIGHT)
    return styled(alt.concat(panel, columns=1), data, widest=_WIDEST, narrowest=_NARROWEST)


@dataclass(frozen=True)
class _Scale:
    """Where the lines cross an axis, from 0 to 1, and what is written along it."""

    title: str
    positions: pd.Series
    ticks: list[tuple[float, str]]


def _groups(runs: pd.DataFrame, table: pd.DataFrame) -> list[tuple[str, pd.DataFrame, list[str]]]:
    """For each chart its optimiser, its configurations and the dimensions that they vary."""
    names = comparisons.optimizers(table)
    own = {name: table[table["optimizer"] == name] for name in names}
    varied = {
        name: [
            each
            for each in comparisons.varied(runs[runs["optimizer"] == name])
            if has_room(own[name][each])
        ]
        for name in names
    }
    if len({tuple(dimensions) for dimensions in varied.values()}) > 1:
        return [(optimizer_label(name), own[name], varied[name]) for name in names]
    several = ["optimizer"] if len(names) > 1 else []
    return [("", table, [*several, *varied[name]]) for name in names[:1]]


def _scale(lines: pd.DataFrame, name: str) -> _Scale:
    values = lines[name]
    distinct = ordered_values(lines, name)
    distinct = distinct[::-1] if name == "optimizer" else distinct
    title = "Optimiser" if name == "optimizer" else dimension_title(name)
    if not is_number(values):
        last = max(1, len(distinct) - 1)
        places = {value: place / last for place, value in enumerate(distinct)}
        words = optimizer_label if name == "optimizer" else format_number
        ticks = [(place, printable_text(words(value))) for value, place in places.items()]
        return _Scale(title, _spread(values.map(places).astype("float64"), places), ticks)
    numbers = values.astype("float64")
    low, high = float(numbers.min()), float(numbers.max())
    is_log = low > 0 and high / low >= DECADE
    if len(distinct) <= _FEW_VALUES:
        ends = [float(value) for value in distinct]
    else:
        ends = log_ticks(low, high) if is_log else linear_ticks(low, high)
    places = dict(zip(ends, _placed(pd.Series(ends), low, high, is_log), strict=True))
    positions = _placed(numbers, low, high, is_log)
    if len(distinct) <= _FEW_VALUES:
        positions = _spread(positions, places)
    ticks = [(place, format_number(value)) for value, place in places.items()]
    return _Scale(title, positions, _apart(ticks))


def _objective_scale(lines: pd.DataFrame, objective: Objective) -> _Scale:
    axis = metric_axis(objective.metric, lines["objective_mean"])
    values = lines["objective_mean"].astype("float64") / axis.per
    low, high = float(values.min()), float(values.max())
    ticks = log_ticks(low, high) if axis.is_log else linear_ticks(low, high)
    places = _placed(pd.Series(ticks), low, high, axis.is_log)
    is_share = objective.metric.endswith("_accuracy")
    texts = [f"{100 * tick:.4g}%" if is_share else f"{tick:,.6g}" for tick in ticks]
    positions = _placed(values, low, high, axis.is_log)
    title = axis.title.removesuffix(", log scale")
    return _Scale(title, positions, _apart(list(zip(places, texts, strict=True))))


def _placed(values: pd.Series, low: float, high: float, is_log: bool) -> pd.Series:
    if low == high:
        return pd.Series(0.5, values.index).where(values.notna())
    if is_log:
        logarithms: pd.Series = np.log(values / low)
        return logarithms / math.log(high / low)
    return (values - low) / (high - low)


def _spread(positions: pd.Series, places: Mapping[Any, float]) -> pd.Series:
    """A little apart where they are the same; the lines are in the order of the objective."""
    nearest = min(np.diff(sorted(places.values())), default=1.0)
    half = min(_SPREAD, 0.35 * float(nearest))
    groups = positions.groupby(positions)
    rank, size = groups.cumcount(), groups.transform("size")
    share = (rank + 0.5) / size * 2 - 1
    return positions + half * share


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Without labels that would stand on one another."""
    kept: list[tuple[float, str]] = []
    for place, text in sorted(ticks):
        if not kept or place - kept[-1][0] >= _CLOSEST_LABELS:
            kept.append((place, text))
    return kept
