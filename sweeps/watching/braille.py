"""Figures as braille dots: small charts for a terminal, two dots wide and four high a character."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_BLANK = 0x2800
_BITS = np.array([[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]])
"""Of a character's two columns of dots, each from the bottom."""
DOTS_HIGH, DOTS_WIDE = 4, 2
"""Dots of a character."""


def braille_chart(
    values: Sequence[float],
    *,
    low: float,
    high: float,
    n_characters: int,
    n_lines: int = 1,
    n_steps: int | None = None,
) -> list[str]:
    """A line through values at equal steps, as lines of text from the top.

    Between two values the line is straight, and steep parts are drawn without gaps; where a value
    is missing there is one. Every value has a dot, in the column that is nearest, unless a later
    value has that column. What is below `low` or above `high` is drawn there.

    Args:
        values: NaN or infinite where one is missing.
        low: the value of the lowest dot.
        high: the value of the highest one; if it is that of the lowest, the line is in the middle.
        n_characters: of a line.
        n_lines: that it is high.
        n_steps: values for which there is room; None for those that there are.
    """
    figures = np.array(values, dtype="float64")
    figures[~np.isfinite(figures)] = np.nan
    n_columns, n_dots = DOTS_WIDE * n_characters, DOTS_HIGH * n_lines
    line = _line(figures, n_columns, max(n_steps or 0, len(figures), 2))
    dots = _dots(_heights(line, low, high, n_dots), n_dots)
    # from the top line to the bottom one, each with its dots from the bottom
    parts = dots.reshape(n_characters, DOTS_WIDE, n_lines, DOTS_HIGH).transpose(2, 0, 1, 3)[::-1]
    characters = _BLANK + (parts * _BITS).sum(axis=(2, 3))
    return ["".join(map(chr, of_a_line)) for of_a_line in characters]


def _line(
    figures: npt.NDArray[np.float64], n_columns: int, n_steps: int
) -> npt.NDArray[np.float64]:
    """The value of each column of dots; NaN for none."""
    line = np.full(n_columns, np.nan)
    if not figures.size or not n_columns:
        return line
    at = np.linspace(0, n_steps - 1, n_columns)
    line = np.interp(at, np.arange(len(figures)), figures, right=np.nan)
    # or a peak between two columns would be cut off, and a value between two gaps not be there
    known = np.flatnonzero(np.isfinite(figures))
    line[np.rint(known * (n_columns - 1) / (n_steps - 1)).astype(int)] = figures[known]
    return line


def _heights(
    line: npt.NDArray[np.float64], low: float, high: float, n_dots: int
) -> npt.NDArray[np.int64]:
    """The dots of each column, counted from the bottom; 0 for none."""
    share = (line - low) / (high - low) if high > low else np.where(np.isnan(line), np.nan, 0.5)
    dots = 1 + np.rint(np.clip(share, 0, 1) * (n_dots - 1))
    return np.where(np.isnan(dots), 0, dots).astype("int64")


def _dots(heights: npt.NDArray[np.int64], n_dots: int) -> npt.NDArray[np.bool_]:
    """Which dots are drawn, from the bottom, of each column: those from the one before it on."""
    before = np.r_[heights[:1], heights[:-1]]
    before = np.where(before == 0, heights, before)
    lowest = np.where(before < heights, before + 1, heights)
    highest = np.where(before > heights, before - 1, heights)
    numbers = np.arange(1, n_dots + 1)
    is_drawn = (lowest[:, None] <= numbers) & (numbers <= highest[:, None])
    return is_drawn & (heights > 0)[:, None]
