"""How optimisers, dimensions, settings and values are written for readers."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

MISSING = "—"

_OPTIMIZERS = {"rso": "RSO", "sgd": "SGD", "adam": "Adam"}
_DIMENSIONS = {
    "architecture": "network",
    "batch_size": "batch size",
    "optimizer": "optimiser",
}

_COSTS = {
    "training_s": "training time",
    "n_images_passed": "images passed",
    "n_visited": "weight visits",
}
INTERVAL = "±: half of the 95\N{NO-BREAK SPACE}% interval over the seeds."
"""What the captions say of the figures behind ±."""
MARKS = (
    "Bold: the best; italic: not to be told apart from it (paired by seed, 5\N{NO-BREAK SPACE}%)."
)
METHOD = (
    "Intervals are Student’s t, from 15 seeds on BCa bootstrap; a single seed has none. Tests are "
    "paired t tests by seed, with Holm’s correction over the table."
)
"""How the intervals and the marks of all tables are made."""


def optimizer_label(name: str) -> str:
    """`rso` as RSO; a user's own class as it is."""
    return _OPTIMIZERS.get(name, name)


def dimension_label(name: str) -> str:
    """`batch_size` as batch size; an option as it is, since that is what one writes."""
    return _DIMENSIONS.get(name, name)


def metric_label(metric: str) -> str:
    """`validation_accuracy` as validation accuracy, `training_s` as training time."""
    return _COSTS.get(metric, metric.replace("_", " "))


def setting_text(values: Mapping[Any, Any], names: Iterable[str]) -> str:
    """`perturbation_std=0.5, annealing=linear`, without what is missing."""
    return ", ".join(
        f"{name}={format_number(values[name])}" for name in names if pd.notna(values[name])
    )


def in_setting(varied: Iterable[str]) -> list[str]:
    """What a setting says: all that was varied and has no column of its own."""
    return [name for name in varied if name not in ("architecture", "batch_size")]


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`, `1,200 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def format_number(value: Any) -> str:
    """A setting's value: whole numbers whole, others with up to 6 digits."""
    if pd.isna(value):
        return MISSING
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def command_text(command: object) -> str | None:
    """A command as it may be typed again, from its text or its words."""
    if isinstance(command, list | tuple):
        return shlex.join(str(word) for word in command)
    return str(command) if command else None
