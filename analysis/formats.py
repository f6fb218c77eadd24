"""How figures are written: rounded to what their interval supports, in the unit that suits them."""

from __future__ import annotations

import math

import pandas as pd

from analysis.statistics import t_margin
from analysis.wording import MISSING, counted

_BUDGETS = {"cycles": "cycle", "images": "image", "updates": "update a weight"}
MOST_DECIMALS = 2
"""Of per cent: 10,000 test images tell no finer ones apart."""


def format_accuracy(mean: float, std: float, n_seeds: int) -> str:
    """A share as per cent with half of its 95 % interval (Student's t), as `91.5 ± 0.4`.

    Without a deviation it says what it rests on: `91.52 (1 seed)`.
    """
    if pd.isna(std) or n_seeds < 2:
        return format_estimate(mean, math.nan, math.nan, n_seeds)
    margin = float(t_margin(std, n_seeds))
    return format_estimate(mean, mean - margin, mean + margin, n_seeds)


def format_estimate(
    value: float, low: float, high: float, n_seeds: int, *, scale: float = 100
) -> str:
    """A figure with its interval: `91.5 ± 0.4`, or `91.5 [90.9, 91.8]` where it is lopsided.

    Without an interval it says what it rests on: `91.52 (1 seed)`.

    Args:
        value: the figure; NaN if there is none.
        low: the lower end of its interval; NaN if there is none.
        high: the upper end.
        n_seeds: the seeds that it rests on.
        scale: what the figures are multiplied by; 100 makes per cent of a share.
    """
    if pd.isna(value):
        return MISSING
    figure, rest = estimate_parts(value, low, high, n_seeds, scale=scale)
    return f"{figure} {rest}"


def estimate_parts(
    value: float, low: float, high: float, n_seeds: int, *, scale: float = 100
) -> tuple[str, str]:
    """The two parts of `format_estimate`: the figure, and what it rests on."""
    most = MOST_DECIMALS if scale == 100 else 4
    if pd.isna(low) or pd.isna(high):
        return _fixed(scale * value, most), f"({counted(int(n_seeds), 'seed')})"
    below, above = scale * (value - low), scale * (high - value)
    decimals = supported_decimals(max(below, above), most)
    figure = _fixed(scale * value, decimals)
    if math.isclose(below, above, rel_tol=1e-6, abs_tol=1e-9):
        return figure, f"± {_fixed(above, decimals)}"
    return figure, f"[{_fixed(scale * low, decimals)}, {_fixed(scale * high, decimals)}]"


def format_difference(value: float, low: float, high: float) -> str:
    """A difference of shares in points with its interval, as `−1.6 [−5.1, +1.9]`."""
    return " ".join(part for part in difference_parts(value, low, high) if part)


def difference_parts(value: float, low: float, high: float) -> tuple[str, str]:
    """The two parts of `format_difference`; the second is empty where there is no interval."""
    if pd.isna(value):
        return MISSING, ""
    if pd.isna(low) or pd.isna(high):
        return _signed(100 * value, MOST_DECIMALS), ""
    decimals = supported_decimals(100 * max(high - value, value - low))
    figure, *ends = (_signed(100 * each, decimals) for each in (value, low, high))
    return figure, f"[{', '.join(ends)}]"


def supported_decimals(margin: float, most: int = MOST_DECIMALS) -> int:
    """The decimals that an error of that size leaves a meaning, at most `most`.

    Of the error two digits are kept if they are below 36, else one (the rule of the Particle Data
    Group, Review of Particle Physics, introduction 5.3).
    """
    if pd.isna(margin) or margin <= 0 or math.isinf(margin):
        return most
    power = math.floor(math.log10(margin))
    decimals = (1 if margin / 10**power < 3.55 else 0) - power
    return max(0, min(decimals, most))


def settled(number: float) -> float:
    """A number to 12 digits, to be rounded: means that were added up in other orders look alike."""
    return float(f"{number:.12g}")


def format_metric(metric: str, value: float) -> str:
    """A figure of a run with its unit: `91.52 %`, `12.5 min`, `0.3120 nats`; a count has none."""
    if pd.isna(value):
        return MISSING
    if metric.endswith("_accuracy"):
        return f"{100 * value:.2f} %"
    if metric == "training_s":
        return format_seconds(value)
    return f"{value:.4f} nats" if metric.endswith("_loss") else f"{round(value):,}"


def format_seconds(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if pd.isna(seconds):
        return MISSING
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h"


def format_count(number: float) -> str:
    """A count with thousands separators; from a million on with its name: `12.1 million`."""
    if pd.isna(number):
        return MISSING
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{round(number):,}"


def format_budget(kind: str, amount: float) -> str:
    """An amount of a kind of budget: `3 cycles`, `12.1 million images`, `1.53 s`."""
    if pd.isna(amount):
        return MISSING
    if kind == "seconds":
        return format_seconds(amount)
    number, noun = format_count(amount), _BUDGETS[kind]
    if number == "1":
        return f"1 {noun}"
    return f"{number} {noun.replace(noun.split()[0], noun.split()[0] + 's', 1)}"


def format_used(kind: str, *amounts: float) -> str:
    """What several used of a kind of budget, without its name: `12.1 million / 30,000`."""
    if kind == "seconds":
        return " / ".join(format_seconds(amount) for amount in amounts)
    return " / ".join(format_count(amount) for amount in amounts)


def format_p_value(p_value: float) -> str:
    """`0.032`, `<0.001`; two digits."""
    if pd.isna(p_value):
        return MISSING
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}" if p_value < 0.1 else f"{p_value:.2f}"


def format_share(share: float) -> str:
    """A share as whole per cent: `93 %`."""
    return MISSING if pd.isna(share) else f"{100 * share:.0f} %"


def _fixed(number: float, decimals: int, sign: str = "") -> str:
    return f"{settled(number):{sign}.{decimals}f}"


def _signed(points: float, decimals: int) -> str:
    text = _fixed(points, decimals, "+")
    text = text.replace("-", "+") if float(text) == 0 else text
    return text.replace("-", "−")
