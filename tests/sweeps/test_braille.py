"""Curves in text: the dots of braille characters."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sweeps.watching.braille import braille_chart


def plain_heights(
    values: list[Fraction], n_columns: int, n_dots: int, n_steps: int
) -> list[Fraction | None]:
    """How high the line through values from 0 to 1 is in each column, in dots, to be rounded."""
    line: list[Fraction | None] = []
    for column in range(n_columns):
        at = Fraction(column * (n_steps - 1), n_columns - 1)
        nearest = [
            value
            for step, value in enumerate(values)
            if abs(column - Fraction(step * (n_columns - 1), n_steps - 1)) < Fraction(1, 2)
        ]
        left = at.numerator // at.denominator
        if nearest:
            line.append(nearest[-1] * (n_dots - 1))
        elif left + 1 < len(values):
            step = values[left + 1] - values[left]
            line.append((values[left] + (at - left) * step) * (n_dots - 1))
        else:
            line.append(None)
    return line


def plain_dots(heights: list[int | None]) -> set[tuple[int, int]]:
    """The dots of a line of these heights, from the left and the bottom."""
    dots = set()
    for column, here in enumerate(heights):
        if here is not None:
            dots.add((column, here))
            before = heights[column - 1] if column else None
            before = here if before is None else before
            between = range(before + 1, here) if here > before else range(here + 1, before)
            dots |= {(column, height) for height in between}
    return dots


def dots_of(lines: list[str]) -> set[tuple[int, int]]:
    """The dots of a chart, from the left and the bottom."""
    order = [(0, 3), (0, 2), (0, 1), (1, 3), (1, 2), (1, 1), (0, 0), (1, 0)]
    return {
        (2 * place + across, 4 * line + up)
        for line, text in enumerate(reversed(lines))
        for place, character in enumerate(text)
        for bit, (across, up) in enumerate(order)
        if (ord(character) - 0x2800) >> bit & 1
    }


def is_tie(number: Fraction) -> bool:
    """Whether it is half way between two whole numbers."""
    return number.denominator == 2


@settings(max_examples=50)
@given(
    st.lists(st.fractions(0, 1, max_denominator=99), min_size=1, max_size=9),
    *(st.integers(1, most) for most in (9, 4)),
    st.integers(0, 3),
)
def test_a_curve_has_the_dots_of_its_line(
    values: list[Fraction], n_characters: int, n_lines: int, more: int
) -> None:
    n_columns, n_dots, n_steps = 2 * n_characters, 4 * n_lines, max(len(values) + more, 2)
    line = plain_heights(values, n_columns, n_dots, n_steps)
    assume(not any(height is not None and is_tie(height) for height in line))
    steps = range(len(values))
    assume(not any(is_tie(Fraction(step * (n_columns - 1), n_steps - 1)) for step in steps))
    drawn = braille_chart(
        [2 + 3 * float(value) for value in values],
        low=2, high=5, n_characters=n_characters, n_lines=n_lines, n_steps=n_steps,
    )  # fmt: skip
    assert [len(text) for text in drawn] == [n_characters] * n_lines
    expected = plain_dots([None if height is None else round(height) for height in line])
    assert dots_of(drawn) == expected


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, np.nan, np.inf]), max_size=7), st.integers(0, 3))
def test_a_curve_with_gaps_has_a_dot_for_each_value(values: list[float], more: int) -> None:
    drawn = braille_chart(
        values, low=0, high=1, n_characters=20, n_lines=2, n_steps=len(values) + more
    )
    dots = dots_of(drawn)
    last = max(len(values) + more, 2) - 1
    for step, value in enumerate(values):
        if np.isfinite(value):
            assert (round(39 * step / last), round(7 * value)) in dots or value == 0.5
    assert bool(dots) == any(np.isfinite(values))


def test_a_curve_that_is_level_is_in_the_middle() -> None:
    assert braille_chart([3.0, 3.0], low=3, high=3, n_characters=2) == ["⠒⠒"]
