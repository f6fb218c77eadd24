"""The picture that `rso-sweep watch` shows: where room is short, the parts that are needed most."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from sweeps.watching.head import head
from sweeps.watching.moment import Moment
from sweeps.watching.parts import (
    Part,
    best_parts,
    comparison_part,
    curves_part,
    ended_part,
    failed_part,
    training_part,
)
from sweeps.watching.standing import Standing
from sweeps.watching.tables import line_of, plain

_ROOMY = 30
"""Lines with which there is a blank one between two parts."""


def view(
    standing: Standing, moment: Moment, *, folder: str, width: int, height: int | None = None
) -> RenderableType:
    """A sweep as it stands, to be printed or shown live.

    Args:
        standing: the sweep by its records.
        moment: what is seen of it now.
        folder: the run folder as the user gave it, for the commands that are told.
        width: characters of a line.
        height: lines that there are; None for as many as it takes.
    """
    lines = head(standing, moment, folder, width)
    training, comparison = training_part(standing, moment, width), comparison_part(standing, width)
    best, curves = best_parts(standing, width), curves_part(standing, width)
    ended, failed = ended_part(standing), failed_part(standing)
    as_shown = [training, comparison, *best, curves, ended, failed]
    as_needed = [comparison, training, *best, failed, curves, ended]
    if comparison is None:
        lines.append(line_of("No run has finished yet, so there is nothing to compare.", "dim"))
    n_lines = None if height is None else height - len(lines)
    gap = 1 if n_lines is None or n_lines >= _ROOMY else 0
    room = _room([part for part in as_needed if part is not None], n_lines, 1 + gap)
    drawn: list[RenderableType] = []
    for part in as_shown:
        if part is not None and part in room:
            title = Rule(plain(part.title, "bold"), align="left", style="dim")
            drawn += [*([Text()] * gap), title, part.draw(room[part])]
    return Group(*lines, *drawn)


def _room(parts: Sequence[Part], n_lines: int | None, n_of_title: int) -> dict[Part, int]:
    """The lines of each part that is shown, those of its title not among them.

    All get the least that they need, as far as there is room, and then the first ones more.

    Args:
        parts: the one that is needed most first.
        n_lines: that there are; None for as many as they can use.
        n_of_title: lines of each title, with what keeps it from the part above.
    """
    if n_lines is None:
        return {part: part.most for part in parts}
    room: dict[Part, int] = {}
    left = n_lines
    for part in parts:
        if n_of_title + part.least <= left:
            room[part] = part.least
            left -= n_of_title + part.least
    for part in parts:
        if part in room:
            more = min(left, part.most - part.least)
            room[part] += more
            left -= more
    return room
