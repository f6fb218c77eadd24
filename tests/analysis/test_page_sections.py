"""The order of the page: each table and figure once, in its section, numbered in that order."""

from __future__ import annotations

import altair as alt
import pandas as pd
import pytest

from analysis.drawings import Drawing, NamedChart
from analysis.page_sections import NumberedTable, Section, sections
from analysis.picturing import Picture
from analysis.tables import Table


def table(name: str) -> Table:
    return Table(name, name, "", pd.DataFrame(), ())


def drawing(name: str, family: str) -> Drawing:
    return Drawing(NamedChart(name, name, "", alt.concat(), family), {}, Picture("", b"", b""))


def names(found: list[Section]) -> dict[str, list[str]]:
    """What each section that has something has, a figure by its family."""
    return {
        section.identifier: [
            part.table.name if isinstance(part, NumberedTable) else part.drawings[0].chart.family
            for part in section.parts
        ]
        for section in found
        if section.parts
    }


def test_tables_and_figures_stand_together_by_what_they_are_about():
    found = sections(
        [table("cost"), table("optimizers_by_network"), table("optimizers_at_equal_budget")],
        [drawing("a", "learning_curves"), drawing("b", "paired_seeds"), drawing("c", "heat_maps")],
    )
    assert names(found) == {
        "comparison": ["optimizers_by_network", "paired_seeds"],
        "curves": ["learning_curves"],
        "further": ["optimizers_at_equal_budget", "heat_maps"],
        "cost": ["cost"],
    }


def test_what_no_section_names_comes_last_among_the_further_comparisons():
    found = sections([table("new"), table("effect_of_x")], [drawing("a", "newer")])
    assert names(found) == {"further": ["effect_of_x", "new", "newer"]}


@pytest.mark.parametrize("option", ["cost", "history", "*", "[", "importance"])
def test_the_name_of_an_option_moves_no_table(option):
    assert names(sections([table(f"effect_of_{option}")], [])) == {
        "further": [f"effect_of_{option}"]
    }


def test_charts_of_a_family_are_one_figure_and_all_are_numbered_in_their_order():
    drawings = [drawing(name, family) for name, family in ("ax", "bx", "cy")]
    found = sections([table("cost"), table("new"), table("optimizers_by_x")], drawings)
    numbered = [part for section in found for part in section.parts]
    tables = [part for part in numbered if isinstance(part, NumberedTable)]
    figures = [part for part in numbered if not isinstance(part, NumberedTable)]
    assert [part.number for part in tables] == [1, 2, 3]
    assert [part.table.name for part in tables] == ["optimizers_by_x", "new", "cost"]
    assert [part.number for part in figures] == [1, 2]
    assert [[each.chart.name for each in part.drawings] for part in figures] == [["a", "b"], ["c"]]
