"""Tables as HTML: what is sorted by what, what is marked, and what a long table keeps as data."""

from __future__ import annotations

import itertools
import json
import re

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.html_tables import FIRST_ROWS, MOST_WRITTEN_OUT, column_ranks, html_table, table_data
from analysis.tables import Column, Table

MARKUP = "</script><img src=x onerror=alert(1)> & 'quoted'"
values = st.lists(
    st.none()
    | st.floats(allow_nan=False)
    | st.text(alphabet="aB_10", max_size=4)
    | st.integers(0, 999).map(lambda number: f"conv{number}"),
    max_size=8,
)


def table_of(n_rows: int, caption: str = "A caption.") -> Table:
    frame = pd.DataFrame(
        {
            "name": [MARKUP if row == 1 else f"name {row}" for row in range(n_rows)],
            "value": [None if row == 2 else float(n_rows - row) for row in range(n_rows)],
            "mark": ["best" if row == 0 else "tied" if row == 1 else None for row in range(n_rows)],
        }
    )
    columns = (Column("Name", "text", ("name",)), Column("Value", "number", ("value",), "mark"))
    return Table("a_table", "A title", caption, frame, columns)


def compared(a: float | str, b: float | str) -> int:
    """The slow way: numbers before texts, and within a text number by number."""
    if isinstance(a, str) is not isinstance(b, str):
        return 1 if isinstance(a, str) else -1
    if isinstance(a, str) and isinstance(b, str):
        for one, other in itertools.zip_longest(pieces(a), pieces(b)):
            if one == other:
                continue
            if one is None or other is None:
                return -1 if one is None else 1
            if isinstance(one, int) is not isinstance(other, int):
                return 1 if isinstance(one, int) else -1
            return -1 if one < other else 1
        return 0
    return (a > b) - (a < b)


def pieces(text: str) -> list[int | str]:
    """Texts and numbers by turns, a text first, as in a name that begins with one."""
    found: list[int | str] = []
    for digits, group in itertools.groupby(text.lower(), str.isdigit):
        if digits and not found:
            found.append("")
        piece = "".join(group)
        found.append(int(piece) if digits else piece)
    return found


@given(values)
def test_ranks_order_values_as_comparing_them_one_by_one_does(drawn):
    ranks = column_ranks(drawn)
    known = [(value, rank) for value, rank in zip(drawn, ranks, strict=True) if rank is not None]
    assert [rank is None for rank in ranks] == [value is None for value in drawn]
    for (a, first), (b, second) in itertools.combinations(known, 2):
        assert (first > second) - (first < second) == compared(a, b)
    assert sorted({rank for _, rank in known}) == list(range(len({rank for _, rank in known})))


def test_numbers_within_names_count_as_numbers():
    names = ["conv10", "conv2", "Conv1", "fc", "9" * 5000]
    assert column_ranks(names) == [3, 2, 1, 4, 0]


def test_a_missing_number_has_no_rank():
    assert column_ranks([2.0, float("nan"), None, -1.0]) == [1, None, None, 0]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=12))
def test_the_data_of_a_table_give_back_its_rows(drawn):
    rows = [[text, f"{value:.1f}"] for text, value in drawn]
    ranks = [column_ranks([row[place] for row in drawn]) for place in range(2)]
    data = table_data(rows, ranks, [[None, "best"] for _ in rows])
    for place, column in enumerate(data["columns"]):
        cells = column.get("cells", range(data["n_rows"]))
        assert [column["texts"][cell] for cell in cells] == [row[place] for row in rows]
        assert [column["ranks"][cell] for cell in cells] == ranks[place]
    assert data["marks"] == {"best": [(row, 1) for row in range(len(rows))], "tied": []}


def test_a_short_table_is_written_out_with_the_order_of_its_cells():
    text = html_table(table_of(3))
    assert re.findall(r'<button type="button" disabled>(.*?)</button>', text) == ["Name", "Value"]
    assert '<td class="number" data-rank="1"><b title=' in text
    assert '<td class="number">—</td>' in text
    assert "<caption>A title</caption>" in text
    assert "<img" not in text
    assert "<script" not in text


def test_a_legend_says_what_the_marks_mean_unless_the_caption_does():
    assert 'class="legend"><b>Bold</b>: ' in html_table(table_of(2))
    assert "legend" not in html_table(table_of(2, caption="Bold: the best."))
    assert "Italic" not in html_table(table_of(1))


def test_a_long_table_is_data_of_which_the_first_rows_are_written_out():
    table = table_of(MOST_WRITTEN_OUT + 1)
    text, _, data = html_table(table).partition('<script type="application/json" class="rows">')
    assert text.count("<tr>") == 1 + FIRST_ROWS
    data = data.removesuffix("</script>")
    assert not set(data) & set("<>&'")
    assert json.loads(data)["n_rows"] == MOST_WRITTEN_OUT + 1
    assert json.loads(data)["columns"][0]["texts"] == [row[0] for row in table.rows()]


def test_a_table_without_rows_has_a_head():
    assert "<tbody>\n</tbody>" in html_table(table_of(0))
