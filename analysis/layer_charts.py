"""What RSO does layer by layer: where weights still move, and by how much they are perturbed."""

from __future__ import annotations

import altair as alt
import pandas as pd

from analysis import comparisons
from analysis.chart_axes import metric_axis
from analysis.chart_parts import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    Chart,
    n_columns,
    packed,
    printable,
    styled,
)
from analysis.curves import layer_curves
from analysis.drawings import NamedChart
from analysis.frames import Frames
from analysis.wording import metric_label

_MOST_MARKED = 25
_DASH = [5, 3]
_FIGURES = {
    "accepted_share": (
        "accepted_by_layer",
        "Accepted visits",
        "How often RSO moved a weight, by layer",
        "Share of visits that moved the weight",
    ),
    "sigma": (
        "sigma_by_layer",
        "Sigma",
        "How far RSO tried to move a weight, by layer",
        "Standard deviation of the perturbations",
    ),
}


def layer_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """A chart of the accepted visits and one of sigma; none where RSO has finished no run."""
    layers = layer_curves(frames)
    sweep = frames.sweeps[0]
    several = len(sweep.objectives) > 1
    chosen_by = f"mean {metric_label(sweep.metric)}" if several else "mean objective"
    charts = []
    for figure, (name, choice, title, what) in _FIGURES.items():
        measured = layers.dropna(subset=[figure])
        if measured.empty:
            continue
        caption = (
            f"{what}, for each parameter tensor of RSO’s best configuration by {chosen_by} of "
            "each network, from the input (dark) to the output, biases dashed; mean over the seeds."
        )
        chart = layer_chart(measured, figure)
        charts.append(NamedChart(name, title, caption, chart, "layers", {"Figure": choice}))
    return tuple(charts)


def layer_chart(layers: pd.DataFrame, figure: str) -> Chart:
    """A figure by layer over the cycles; a panel for each network.

    Args:
        layers: of `layer_curves`.
        figure: `accepted_share` or `sigma`, in every row.
    """
    own = printable(layers, ["architecture", "layer", "setting"]).assign(value=layers[figure])
    x, y = metric_axis("cycle", own["cycle"]), metric_axis(figure, own["value"])
    panels, data = [], {}
    for place, architecture in enumerate(comparisons.architectures(own)):
        part = own[own["architecture"] == architecture].sort_values("depth", kind="stable")
        is_marked = part["cycle"].nunique() <= _MOST_MARKED
        points = ["cycle", "value"]
        data[f"panel_{place}"] = packed(part, points, ["layer", "trial", "setting"])
        base = (
            alt.Chart(alt.NamedData(f"panel_{place}"), title=architecture)
            .transform_flatten([*points])
            .encode(
                x=x.x("cycle"),
                y=y.y("value"),
                color=alt.Color(
                    "layer:O",
                    title=None,
                    sort=list(part["layer"].unique()),
                    legend=alt.Legend(columns=2, orient="bottom"),
                ),
                tooltip=[
                    alt.Tooltip("layer:N"),
                    alt.Tooltip("cycle:Q"),
                    y.tooltip("value"),
                    alt.Tooltip("trial:Q"),
                    alt.Tooltip("setting:N"),
                ],
            )
        )
        dash = alt.condition("test(/\\bbias$/, datum.layer)", alt.value(_DASH), alt.value([1, 0]))
        marks = [base.mark_point(size=28, filled=True, opacity=1)] if is_marked else []
        panels.append(
            alt.layer(base.mark_line(strokeWidth=2).encode(strokeDash=dash), *marks).properties(
                width=PANEL_WIDTH, height=PANEL_HEIGHT
            )
        )
    # the layers of one network are not those of another: each panel names its own
    chart = alt.concat(*panels, columns=n_columns(len(panels)))
    return styled(chart.resolve_scale(color="independent"), data)
