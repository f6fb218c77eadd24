"""Tables as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import io
import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis.budgets import Budget
from analysis.comparison_tables import best_table
from analysis.cost_tables import failures_table
from analysis.effect_tables import effect_tables
from analysis.standard_tables import standard_tables
from analysis.tables import Column, Table
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


@pytest.fixture(scope="module")
def whole_tables(whole_sweep):
    """The tables of the finished sweep by their names."""
    return {table.name: table for table in standard_tables(analysis.load(whole_sweep))}


def tables_of(builder):
    frames = analysis.load(builder.write())
    tables = (best_table(frames), *effect_tables(frames), failures_table(frames))
    return {table.name: table for table in tables if table is not None}


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
    assert "91.5 ± 2.8 | 1,234,567 |" in rows[2]


def test_the_tables_of_a_usual_sweep_fit_a_terminal(whole_tables):
    for table in whole_tables.values():
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
    assert r"& 91.5 & $\pm$ 2.8 & 1234567 \\" in row


@given(st.text(max_size=40))
@settings(deadline=None, max_examples=50)
def test_no_text_leaves_a_special_character_in_latex(text):
    cell = table_of(text).to_latex().split("\\midrule\n    ")[1].split(" & ")[0]
    cell = re.sub(r"^\{\}(?=[\[*])", "", cell)  # nothing, before what a line break would take
    plain = re.sub(r"\\text\w+\{\}|\\dots\{\}|\\[&%$#_{}]|\$(?:<|>|\||-|\\pm|\\times)\$", "", cell)
    assert not set(plain) & set("&%$#_{}~^\\<>|")
    assert plain.isascii()


def test_an_empty_table_says_so(build):
    tables = tables_of(build())
    assert "No results yet." in tables["best_configurations"].to_markdown()
    assert "No results yet." in tables["best_configurations"].to_latex()


def marked(*marks: str | None) -> Table:
    frame = pd.DataFrame(
        {
            "batch_size": [64, 256, 1024][: len(marks)],
            "mean": [0.912, 0.905, 0.8][: len(marks)],
            "low": [0.908, 0.9, float("nan")][: len(marks)],
            "high": [0.916, 0.908, float("nan")][: len(marks)],
            "n_seeds": [3, 3, 1][: len(marks)],
            "mark": pd.array(marks, dtype="string"),
        }
    )
    fields = ("mean", "low", "high", "n_seeds")
    columns = (
        Column("Batch", "number", ("batch_size",)),
        Column("Test %", "estimate", fields, mark="mark"),
    )
    return Table("marked", "Marked", "", frame, columns)


def test_what_is_best_and_what_is_tied_is_told_in_every_form():
    table = marked("best", "tied", None)
    assert [row[1] for row in table.marks()] == ["best", "tied", None]
    markdown = table.to_markdown()
    assert "**91.2 ± 0.4**" in markdown
    assert "_90.5 [90.0, 90.8]_" in markdown
    assert " 80.00 (1 seed) |" in markdown
    latex = table.to_latex()
    assert r"64 & \bfseries 91.2 & \bfseries $\pm$ 0.4 \\" in latex
    assert r"256 & \itshape 90.5 & \itshape [90.0, 90.8] \\" in latex
    assert r"1024 & 80.00 & (1 seed) \\" in latex
    assert {"<b title", "<i title"} <= set(re.findall("<[bi] title", table.to_html()))


def test_figures_are_aligned_at_the_point_in_latex():
    assert (
        r"\begin{tabular}{S[table-format=4]S[table-format=2.2]@{\,}l}"
        in marked("best", "tied", None).to_latex()
    )


def test_a_long_table_is_cut_where_it_is_asked_for_and_says_so():
    lines = marked(None, None, None).to_markdown(most_rows=2)
    assert "The first 2 of 3 rows." in lines
    assert "1024" not in lines


def test_cells_are_sorted_by_their_figures_and_not_by_their_texts():
    table = marked("best", "tied", None)
    assert table.sort_values() == [[64.0, 0.912], [256.0, 0.905], [1024.0, 0.8]]
    assert table_of("b").sort_values() == [["b", 0.91523, 1234567.0]]


def test_parquet_keeps_figures_and_types():
    frame = pd.read_parquet(io.BytesIO(marked("best", "tied", None).to_parquet()))
    pd.testing.assert_frame_equal(frame, marked("best", "tied", None).frame)


def test_the_main_comparison_comes_first(whole_tables):
    tables = list(whole_tables.values())
    assert tables[0].name == "optimizers_by_architecture_and_batch_size"
    assert tables[0].title == "RSO against SGD by network and batch size"
    assert len(tables[0].frame) == 4


def test_there_is_an_effect_for_every_varied_dimension(whole_tables):
    names = list(whole_tables)
    dimensions = ("architecture", "batch_size", "perturbation_std", "learning_rate")
    assert [n for n in names if n.startswith("effect")] == [f"effect_of_{d}" for d in dimensions]


def test_an_effect_says_what_was_averaged(whole_tables):
    caption = whole_tables["effect_of_batch_size"].caption
    assert "average over network, perturbation_std and learning_rate" in caption
    assert "need not be due" not in caption


def test_optimizers_are_held_to_equal_budgets_and_to_a_target(whole_tables):
    budgets = whole_tables["optimizers_at_equal_budget"]
    assert [row[0] for row in budgets.rows()] == ["one_conv"] * 4 + ["two_conv"] * 4
    assert budgets.rows()[0][1] == "4 cycles"
    assert "largest that the best settings all used up" in budgets.caption
    target = whole_tables["optimizers_to_target"]
    # RSO reached the targets on average, by its better seed
    assert [row[3] for row in target.rows()] == ["1 of 2", "2 of 2"] * 2


def test_a_chosen_budget_and_target_are_not_called_common(whole_sweep):
    tables = standard_tables(analysis.load(whole_sweep), [Budget("cycles", 2)], 0.8)
    found = {table.name: table for table in tables}
    assert [row[1] for row in found["optimizers_at_equal_budget"].rows()] == ["2 cycles"] * 2
    assert "largest" not in found["optimizers_at_equal_budget"].caption
    assert [row[1] for row in found["optimizers_to_target"].rows()] == ["80"] * 4
    assert "highest half point" not in found["optimizers_to_target"].caption


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


def test_failures_have_a_table_only_where_there_are_some(build, whole_tables):
    builder = build()
    builder.add_run(0, state="failed", reason="boom\nat line 3")
    assert "boom at line 3" in tables_of(builder)["failures"].to_markdown()
    assert "failures" not in whole_tables


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
