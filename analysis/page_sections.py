"""The order of a report's page: which tables and figures stand in which of its sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby

from analysis.drawings import Drawing
from analysis.tables import Table


@dataclass(frozen=True)
class NumberedTable:
    """A table with its number in the page."""

    number: int
    table: Table


@dataclass(frozen=True)
class NumberedFigure:
    """The charts of one family with their number in the page; the first one is shown at first."""

    number: int
    drawings: tuple[Drawing, ...]


Part = NumberedTable | NumberedFigure


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    identifier: str
    heading: str
    parts: tuple[Part, ...]


_SECTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # a heading, and patterns for the names of the tables and of the families of charts beneath it,
    # in the order in which they are read
    "comparison": (
        "The comparison",
        ("optimizers_by_*", "one_change_*", "paired*", "chosen_settings"),
    ),
    "curves": ("Learning curves", ("learning_curves",)),
    "further": ("Further comparisons", ("optimizers_*", "heat_map*", "effect_of_*", "*")),
    "trade-offs": ("Trade-offs", ("pareto*",)),
    "best": ("The best configurations", ("best_configurations",)),
    "published": ("Beside published figures", ("reproduced*", "published*")),
    "importance": ("What mattered", ("importance", "slices", "parallel*")),
    "cost": ("What it cost", ("cost",)),
    "layers": ("What RSO did", ("layers",)),
    "search": ("The search", ("history", "every_trial")),
    "failures": ("What went wrong", ("failures", "interruptions")),
}


def sections(tables: Sequence[Table], drawings: Sequence[Drawing]) -> list[Section]:
    """All sections in the order of the page, with their tables and figures numbered through.

    Charts of one family that come one after the other are one figure. A section may be without
    tables and figures.
    """
    families = [tuple(own) for _, own in groupby(drawings, lambda each: each.chart.family)]
    placed: list[tuple[tuple[str, int], Table | tuple[Drawing, ...]]] = [
        *((_place(table.name), table) for table in tables),
        *((_place(family[0].chart.family), family) for family in families),
    ]
    n_tables = n_figures = 0
    found = []
    for identifier, (heading, _) in _SECTIONS.items():
        own = [(place, part) for (section, place), part in placed if section == identifier]
        parts: list[Part] = []
        for _, part in sorted(own, key=lambda each: each[0]):
            if isinstance(part, Table):
                n_tables += 1
                parts.append(NumberedTable(n_tables, part))
            else:
                n_figures += 1
                parts.append(NumberedFigure(n_figures, part))
        found.append(Section(identifier, heading, tuple(parts)))
    return found


def _place(name: str) -> tuple[str, int]:
    """The section of a name, and the place of its pattern there."""
    patterns = [
        (pattern, section, place)
        for section, (_, patterns) in _SECTIONS.items()
        for place, pattern in enumerate(patterns)
    ]
    # any other pattern says more than the one that fits all
    patterns.sort(key=lambda each: each[0] == "*")
    fitting = (each for each in patterns if fnmatchcase(name, each[0]))
    _, section, place = next(fitting)
    return section, place
