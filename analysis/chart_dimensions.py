"""What charts of dimensions share: the configurations, and the order of a dimension's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis import comparisons

MOST_NAMES = 12
"""Names (of a schedule, say) for which an axis has room."""


def judged_configurations(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of `comparisons.configurations` that have a finite mean objective."""
    table = comparisons.configurations(runs)
    return table[table["objective_mean"].abs() < np.inf]


def is_number(values: pd.Series) -> bool:
    """Whether the values are numbers; whether something is done or not is none."""
    kinds = pd.api.types
    return kinds.is_numeric_dtype(values) and not kinds.is_bool_dtype(values)


def has_room(values: pd.Series) -> bool:
    """Whether there is more than one value, and not too many names of them."""
    n_values = values.nunique()
    return n_values > 1 and (is_number(values) or n_values <= MOST_NAMES)


def ordered_values(frame: pd.DataFrame, name: str) -> list[Any]:
    """The distinct values of a column: networks by size, optimisers RSO first, the rest sorted.

    Args:
        frame: with `architecture`, `n_parameters` and `optimizer`.
        name: one of its columns.
    """
    present = set(frame[name].dropna())
    if name == "architecture":
        return [each for each in comparisons.architectures(frame) if each in present]
    if name == "optimizer":
        return [each for each in comparisons.optimizers(frame) if each in present]
    return sorted(present)
