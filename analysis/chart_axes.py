"""Axes of charts: titles with their units, logarithms where they are due, round ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import altair as alt
import pandas as pd

from analysis.escaping import printable_text
from analysis.objectives import COST_METRICS
from analysis.wording import dimension_label, metric_label

COST_LOG_FROM = 30
"""An axis of costs is logarithmic where its largest value is this many times its smallest."""
DECADE = 10
"""The same for losses and for options."""
_TITLES = {"n_images_passed": "Images passed forwards", "n_visited": "Weight visits"}
_FIGURES = {"accepted_share": ("Accepted visits", ".2%"), "sigma": ("Sigma", ".3~g")}
_NO_OPTIONS = ("architecture", "batch_size", "cycles")
_MOST_CYCLES = 12
_MOST_TICKS = 7


@dataclass(frozen=True, slots=True)
class Axis:
    """How figures of one kind are drawn along an axis, and told in a tooltip."""

    title: str
    scale: alt.Scale
    axis: alt.Axis
    tooltip_title: str
    tooltip_format: str
    per: float = 1.0
    """What the figures are divided by before they are drawn: 60 where the title says minutes."""

    @property
    def is_log(self) -> bool:
        """Whether the scale is logarithmic."""
        return self.scale.to_dict().get("type") == "log"

    def x(self, field: str) -> alt.X:
        """The horizontal position of a field."""
        return alt.X(f"{field}:Q", title=self.title, scale=self.scale, axis=self.axis)

    def y(self, field: str) -> alt.Y:
        """The vertical position of a field."""
        return alt.Y(f"{field}:Q", title=self.title, scale=self.scale, axis=self.axis)

    def tooltip(self, field: str) -> alt.Tooltip:
        """What a tooltip says of a field."""
        return alt.Tooltip(f"{field}:Q", title=self.tooltip_title, format=self.tooltip_format)


def metric_axis(metric: str, values: pd.Series, *, padding: int = 8) -> Axis:
    """The axis of a metric or a cost of `Frames.runs`, of `cycle`, or of a figure of its layers.

    Args:
        metric: its name.
        values: finite figures to be drawn, at least one; seconds for `training_s`.
        padding: pixels between the outermost figures and the ends of the axis.
    """
    low, high = float(values.min()), float(values.max())
    if metric == "cycle":
        return _cycles(low, high)
    label = metric_label(metric)
    if metric.endswith("_accuracy"):
        axis = alt.Axis(format="~%", tickCount=6)
        return Axis(label.capitalize(), _linear(low, high, padding), axis, label, ".2%")
    if metric in _FIGURES:
        title, number = _FIGURES[metric]
        if number.endswith("%"):
            axis = alt.Axis(format="~%", tickCount=6)
            return Axis(title, _linear(low, high, padding), axis, title.lower(), number)
        return _numbers(title, low, high, DECADE, ",~f", title.lower(), number, padding)
    if metric not in COST_METRICS:
        title = f"{label.capitalize()} (nats)"
        return _numbers(title, low, high, DECADE, ",~f", f"{label} (nats)", ".4~g", padding)
    if metric == "training_s":
        per, unit = time_unit(low, high)
        title = f"{label.capitalize()} ({unit})"
        told, ends = title.lower(), (low / per, high / per)
        own = _numbers(title, *ends, COST_LOG_FROM, ",~f", told, ",.4~g", padding)
        return replace(own, per=per)
    title = _TITLES[metric]
    return _numbers(title, low, high, COST_LOG_FROM, "~s", title.lower(), ",.0f", padding)


def trial_axis(low: int, high: int) -> Axis:
    """The axis of the numbers of trials."""
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=_MOST_TICKS)
    return Axis("Trial", _linear(low, high, 8), axis, "trial", "d")


def dimension_axis(name: str, values: pd.Series, *, padding: int = 12) -> Axis:
    """The axis of a dimension with numbers; logarithmic where they span a decade or more."""
    low, high = float(values.min()), float(values.max())
    title = dimension_title(name)
    return _numbers(
        title, low, high, DECADE, ",~f", printable_text(dimension_label(name)), "~g", padding
    )


def dimension_title(name: str) -> str:
    """The title of an axis of a dimension; an option is written as it is."""
    label = printable_text(dimension_label(name))
    return label.capitalize() if name in _NO_OPTIONS else label


def time_unit(low: float, high: float) -> tuple[float, str]:
    """The unit for seconds from `low` to `high`: how many seconds it has, and its name.

    Seconds up to some thousand of them, then minutes, then hours; a smaller unit where the
    smallest value would be less than a hundredth.
    """
    units = [(1.0, "s"), (60.0, "min"), (3600.0, "h")]
    largest = 0 if high < 3000 else 1 if high < 36_000 else 2
    while largest and 0 < low < units[largest][0] / 100:
        largest -= 1
    return units[largest]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`: powers of ten, and more where these are too few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        # a negative power of ten is not exact: 3 * 10.0**-1 has more digits than 0.3
        every = (float(f"{factor}e{power}") for power in decades for factor in factors)
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) >= 3:
            break
    step = math.ceil(len(ticks) / _MOST_TICKS)
    return ticks[::step] if len(ticks) >= 2 else [low, high]


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, evenly spaced; the ends where there are none."""
    if low == high:
        return [low]
    rough = (high - low) / (most - 1)
    power = math.floor(math.log10(rough))
    step = next(f for f in (1, 2, 5, 10) if f * 10.0**power >= rough * (1 - 1e-9))
    size = float(f"{step}e{power}")
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    ticks = [float(f"{place * size:.12g}") for place in range(first, last + 1)]
    return ticks if len(ticks) >= 2 else [low, high]


def _numbers(
    title: str,
    low: float,
    high: float,
    log_from: float,
    number: str,
    tooltip_title: str,
    tooltip_format: str,
    padding: int,
) -> Axis:
    if low > 0 and high / low >= log_from:
        scale = alt.Scale(type="log", domain=[low, high], nice=False, padding=padding)
        # elsewhere Vega takes the digits of "g" from the distance of the ticks, and writes 1e+2
        axis = alt.Axis(format="~g" if number == ",~f" else number, values=log_ticks(low, high))
        return Axis(f"{title}, log scale", scale, axis, tooltip_title, tooltip_format)
    axis = alt.Axis(format=number, tickCount=5)
    return Axis(title, _linear(low, high, padding), axis, tooltip_title, tooltip_format)


def _linear(low: float, high: float, padding: int) -> alt.Scale:
    if low == high:
        # a domain without extent has no middle: Vega would draw at its end
        margin = abs(low) / 20 or 0.5
        low, high = low - margin, high + margin
    return alt.Scale(domain=[low, high], zero=False, nice=False, padding=padding)


def _cycles(low: float, high: float) -> Axis:
    axis = alt.Axis(format="d", tickCount=_MOST_TICKS)
    if high - low < _MOST_CYCLES:
        # Vega would put some between the cycles and print them rounded
        axis.values = list(range(int(low), int(high) + 1))
    scale = alt.Scale(domain=[low, high], nice=False, padding=6)
    return Axis("Cycle (SGD: epoch)", scale, axis, "cycle", "d")
