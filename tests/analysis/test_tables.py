"""Tables as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis.standard_tables import standard_tables
from analysis.tables import Column, Table, format_accuracy, format_seconds
from analysis.wording import counted, format_number, listed, setting_text

NASTY = '<script>alert("1")</script> & 5% of a_b #1 | {x} \\ ~^$'


def table_of(*names: str) -> Table:
    frame = pd.DataFrame(
        {
            "architecture": list(names),
            "mean": [0.91523] * len(names),
            "std": [0.0031] * len(names),
            "n_seeds": [2] * len(names),
            "n_visited": [1234567] * len(names),
        }
    )
    columns = (
        Column("Network", "text", ("architecture",)),
        Column("Test %", "accuracy", ("mean", "std", "n_seeds")),
        Column("Visits", "count", ("n_visited",)),
    )
    return Table("a_table", "A title", "A caption.", frame, columns)


def tables_of(builder):
    tables = standard_tables(analysis.load(builder.write()))
    return {table.name: table for table in tables}


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ((0.91523, 0.0031, 2), "91.52 ± 0.31"),
        ((0.5, float("nan"), 1), "50.00 (1 seed)"),
        ((0.5, float("nan"), 2), "50.00 (2 seeds)"),
        ((float("nan"), float("nan"), 0), "—"),
    ],
)
def test_an_accuracy_tells_what_it_rests_on(cell, shown):
    assert format_accuracy(*cell) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.123, "0.12 s"),
        (45.26, "45.3 s"),
        (750, "12.5 min"),
        (86400, "24.0 h"),
        (float("nan"), "—"),
    ],
)
def test_seconds_have_the_unit_that_suits_them(seconds, shown):
    assert format_seconds(seconds) == shown


def test_numbers_are_as_short_as_they_can_be():
    assert [format_number(n) for n in (1.0, 0.1 + 0.2, 1024, 1e-5, True, None, "linear")] == [
        "1",
        "0.3",
        "1024",
        "1e-05",
        "True",
        "—",
        "linear",
    ]


def test_words_are_put_together_as_one_would():
    assert [listed(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert [counted(n, "run") for n in (0, 1, 1200)] == ["0 runs", "1 run", "1,200 runs"]
    assert setting_text({"a": 0.5, "b": None, "c": "x"}, "abc") == "a=0.5, c=x"


def test_markdown_columns_are_aligned():
    lines = table_of("one_conv", "a much longer name").to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 4
    assert len({len(row) for row in rows}) == 1
    bars = {tuple(m.start() for m in re.finditer(r"\|", row)) for row in rows}
    assert len(bars) == 1
    assert "91.52 ± 0.31 | 1,234,567 |" in rows[2]


def test_the_tables_of_a_usual_sweep_fit_a_terminal(whole_sweep):
    for table in standard_tables(analysis.load(whole_sweep)):
        assert max(len(line) for line in table.to_markdown().splitlines()) <= 120


def test_markdown_keeps_a_cell_in_its_cell():
    row = table_of("a|b\nc").to_markdown().splitlines()[4]
    assert row.startswith(r"| a\|b c ")


def test_csv_has_the_raw_numbers():
    rows = list(csv.DictReader(io.StringIO(table_of(NASTY).to_csv())))
    assert rows[0]["architecture"] == NASTY
    assert (float(rows[0]["mean"]), rows[0]["n_seeds"]) == (0.91523, "2")


def test_latex_is_escaped():
    text = table_of(NASTY).to_latex()
    row = next(line for line in text.splitlines() if "script" in line)
    assert r"$<$script$>$" in row
    for escaped in (r"\&", r"\%", r"a\_b", r"\#1", "$|$", r"\{x\}", r"\textbackslash{}", r"\$"):
        assert escaped in row
    assert r"91.52 $\pm$ 0.31" in row


@given(st.text(max_size=40))
@settings(deadline=None, max_examples=50)
def test_no_text_leaves_a_special_character_in_latex(text):
    cell = table_of(text).to_latex().split("\\midrule\n    ")[1].split(" & ")[0]
    cell = re.sub(r"^\{\}(?=[\[*])", "", cell)  # nothing, before what a line break would take
    plain = re.sub(r"\\text\w+\{\}|\\dots\{\}|\\[&%$#_{}]|\$(?:<|>|\||-|\\pm|\\times)\$", "", cell)
    assert not set(plain) & set("&%$#_{}~^\\<>|")
    assert plain.isascii()


class Cells(HTMLParser):
    """The tags and the texts of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


@given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40))
@settings(deadline=None, max_examples=50)
def test_no_text_becomes_markup_in_html(text):
    cells = Cells()
    cells.feed(table_of(text).to_html())
    assert set(cells.tags) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert text in "".join(cells.texts)


def test_an_empty_table_says_so(build):
    tables = tables_of(build())
    assert "No results yet." in tables["best_configurations"].to_markdown()
    assert "No results yet." in tables["best_configurations"].to_latex()


def test_the_main_comparison_comes_first(whole_sweep):
    tables = standard_tables(analysis.load(whole_sweep))
    assert tables[0].name == "optimizers_by_architecture_and_batch_size"
    assert tables[0].title == "RSO against SGD by network and batch size"
    assert len(tables[0].frame) == 4


def test_there_is_an_effect_for_every_varied_dimension(whole_sweep):
    names = [t.name for t in standard_tables(analysis.load(whole_sweep))]
    dimensions = ("architecture", "batch_size", "perturbation_std", "learning_rate")
    assert [n for n in names if n.startswith("effect")] == [f"effect_of_{d}" for d in dimensions]


def test_an_effect_says_what_was_averaged(whole_sweep):
    tables = {t.name: t for t in standard_tables(analysis.load(whole_sweep))}
    caption = tables["effect_of_batch_size"].caption
    assert "average over network, perturbation_std and learning_rate" in caption
    assert "need not be due" not in caption


def test_an_unbalanced_effect_is_not_passed_off_as_one(build):
    builder = build()
    for trial, (batch, value) in enumerate([(64, 0.5), (64, 1.0), (256, 1.0)]):
        builder.add_run(trial, batch_size=batch, options={"perturbation_std": value})
    assert "need not be due to the batch size" in tables_of(builder)["effect_of_batch_size"].caption


def test_many_values_of_a_number_are_put_together_in_ranges(build):
    builder = build()
    for trial in range(20):
        value = round(0.1 * (trial + 1), 1)
        builder.add_run(trial, options={"perturbation_std": value}, validation=[0.5])
    table = tables_of(builder)["effect_of_perturbation_std"]
    assert [row[0] for row in table.rows()] == ["0.1 to 0.5", "0.6 to 1", "1.1 to 1.5", "1.6 to 2"]
    assert list(table.frame["n_configurations"]) == [5, 5, 5, 5]
    assert "four ranges" in table.caption


def test_an_option_shared_by_optimizers_shows_only_those_that_varied_it(build):
    builder = build()
    for trial, value in enumerate((0.0, 0.1)):
        builder.add_run(trial, options={"weight_decay": value})
    builder.add_run(2, optimizer="sgd", options={"weight_decay": 0.0})
    effect = tables_of(builder)["effect_of_weight_decay"].frame
    assert set(effect["optimizer"]) == {"rso"}


def test_failures_have_a_table_only_where_there_are_some(build, whole_sweep):
    builder = build()
    builder.add_run(0, state="failed", reason="boom\nat line 3")
    assert "boom at line 3" in tables_of(builder)["failures"].to_markdown()
    assert "failures" not in [t.name for t in standard_tables(analysis.load(whole_sweep))]


def test_pruned_runs_are_told_where_they_bias_an_average(build):
    builder = build()
    builder.add_run(0, batch_size=64)
    builder.add_run(1, batch_size=256, state="pruned")
    assert "Pruned runs" in tables_of(builder)["effect_of_batch_size"].caption


def test_several_sweeps_are_told_apart(build):
    first, second = build("a"), build("b")
    for builder in (first, second):
        builder.add_run(0)
    tables = standard_tables(analysis.load(first.write(), second.write()))
    assert [row[0] for row in tables[0].rows()] == ["a", "b"]
