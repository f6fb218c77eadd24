"""Plain values as the typed columns that `COLUMNS` documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.columns import COLUMNS
from analysis.errors import UnreadableRunFolder

_KINDS = {"string": "text", "Int64": "whole numbers", "float64": "numbers"}


def frame_of(rows: Sequence[dict[str, Any]], name: str) -> pd.DataFrame:
    """Rows as a frame with the documented columns; what a row lacks is missing.

    Raises:
        UnreadableRunFolder: a value is not what its column holds.
    """
    return pd.DataFrame(
        {
            column: typed_column([row.get(column) for row in rows], column, name)
            for column in COLUMNS[name]
        }
    )


def typed_column(values: Sequence[object], column: str, name: str) -> pd.Series:
    """Values as that column of the frame of that name.

    Raises:
        UnreadableRunFolder: they are not what it holds.
    """
    dtype, _ = COLUMNS[name][column]
    try:
        return _series(list(values), dtype)
    except (TypeError, ValueError, OverflowError) as error:
        kind = _KINDS.get(dtype, "times")
        raise UnreadableRunFolder(
            f"'{column}' of the {name} must be {kind} in every row of the records"
        ) from error


def _series(values: list[Any], dtype: str) -> pd.Series:
    if dtype.startswith("datetime"):
        moments = pd.to_datetime(pd.Series(values, dtype="object"), utc=True, format="ISO8601")
        return moments.dt.as_unit("us")
    with np.errstate(invalid="ignore"):  # a number too large for its column is an error already
        series = pd.Series(values, dtype=dtype)
    if str(series.dtype) != dtype:  # of lists of the same length pandas keeps the lists
        raise TypeError(f"not {dtype}")
    return series
