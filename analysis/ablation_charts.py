"""What each change to a baseline does, as points with their intervals."""

from __future__ import annotations

import altair as alt
import pandas as pd

from analysis.ablations import ablations, change_text
from analysis.chart_parts import Chart, faceted, printable, records
from analysis.drawings import NamedChart
from analysis.frames import Frames
from analysis.wording import optimizer_label

_ROW_HEIGHT = 19
_SIGNED = "datum.value == 0 ? '0' : format(datum.value, '+~f')"
_POINTS = "Difference in test accuracy (points)"


def ablation_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """One chart; none where no sweep has changed one thing at a time over several seeds."""
    changes = ablations(frames)
    changes = changes[changes["changed"].notna() & changes["difference_low"].notna()]
    if changes.empty:
        return ()
    name = "one_change_at_a_time"
    caption = (
        "The difference of the test accuracy to that of the baseline, seed by seed: its mean and "
        "its 95 % interval (Student’s t), not adjusted for the number of changes."
    )
    return (NamedChart(name, "One change at a time", caption, ablation_chart(changes), name),)


def ablation_chart(changes: pd.DataFrame) -> Chart:
    """The changes of `ablations`, without the baselines: a panel for each baseline."""
    own = changes.assign(
        change=list(map(change_text, changes["changed"], changes["value"])),
        panel=_panels(changes),
        mean=100 * changes["difference"],
        low=100 * changes["difference_low"],
        high=100 * changes["difference_high"],
    )
    own = printable(own, ["change", "panel"])
    order, panels = list(dict.fromkeys(own["change"])), list(dict.fromkeys(own["panel"]))
    down = alt.Y("change:N", title=None, sort=order, axis=alt.Axis(labelLimit=240, grid=True))
    across = alt.X(
        "mean:Q",
        title=_POINTS,
        scale=alt.Scale(zero=True, nice=True),
        axis=alt.Axis(labelExpr=_SIGNED, tickCount=6, grid=False),
    )
    told = [
        alt.Tooltip("change:N"),
        alt.Tooltip("mean:Q", title="points", format="+.2f"),
        alt.Tooltip("low:Q", title="from", format="+.2f"),
        alt.Tooltip("high:Q", title="to", format="+.2f"),
        alt.Tooltip("n_seeds:Q", title="seeds"),
    ]
    base = alt.Chart().encode(y=down)
    layers = [
        alt.Chart().mark_rule(strokeDash=[4, 3]).encode(x=alt.datum(0)),
        base.mark_rule(strokeWidth=2, opacity=0.7).encode(
            alt.X("low:Q", title=_POINTS), alt.X2("high:Q"), tooltip=told
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(across, tooltip=told),
    ]
    rows = records(own, ["panel", "change", "mean", "low", "high", "n_seeds"])
    return faceted(layers, "panel", panels, rows, height=_ROW_HEIGHT * len(order))


def _panels(changes: pd.DataFrame) -> list[str]:
    """The network of each, with what else tells the baselines apart."""
    several = {name: changes[name].nunique() > 1 for name in ("batch_size", "optimizer")}
    return [
        ", ".join(
            part
            for part in (
                f"{optimizer_label(each['optimizer'])} {each['architecture']}"
                if several["optimizer"]
                else str(each["architecture"]),
                f"batch {each['batch_size']}" if several["batch_size"] else "",
            )
            if part
        )
        for each in changes.to_dict("records")
    ]
