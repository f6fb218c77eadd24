"""Whatever the texts of a run folder hold, a report shows them and does nothing else with them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from html.parser import HTMLParser

import pytest
from vl_convert import vegalite_to_svg

import analysis
from analysis.chart_parts import theme
from analysis.charts import standard_charts
from analysis.drawings import Drawing, NamedChart
from analysis.escaping import csv_text, latex_cells, markdown_text
from analysis.page import render_page
from analysis.page_scripts import PROGRAMS, asset
from analysis.picturing import Picture
from analysis.standard_tables import standard_tables
from analysis.tables import Table

pytestmark = pytest.mark.long

MARKUP = (
    "<script>alert(1)</script>"
    "</style><style>*{display:none}"
    '"><img src=x onerror=alert(1)>'
    "'-alert(1)-'</script><svg onload=alert(1)><!--<script>{{ 7*7 }}{% raw %}"
)
UNPRINTABLE = "${alert(1)} \u2028\n\x1b[31m \x00 \ud7ff \ufffe"
LATEX = r"\input{/etc/passwd} $x$ 100% a_b ~^& #1"
BRACKETS = "[1ex] *x"
MARKDOWN = "a|b [here](javascript:alert(1)) ![](http://evil.example/x.png)\n# top"
FORMULA = '=HYPERLINK("http://evil.example")'
TEXTS = (MARKUP, UNPRINTABLE, LATEX, BRACKETS, MARKDOWN, FORMULA)
HARMLESS = ("one", "two", "three", "four", "five", "six")


class Page(HTMLParser):
    """The elements of a page, their attributes, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        """The kind of each, empty for a program, and what stands in it."""
        self.comments: list[str] = []
        self._inside = self._kind = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._inside, self._kind = tag, dict(attrs).get("type") or ""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_comment(self, data):
        self.comments.append(data)

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append((self._kind, data))
        elif self._inside != "style":
            self.texts.append(data)


@dataclass(frozen=True)
class Written:
    """What a report of a sweep says: its page, its tables and its charts."""

    page: Page
    tables: tuple[Table, ...]
    drawings: list[Drawing]


@pytest.fixture(scope="module")
def written(run_folder_builder, tmp_path_factory):
    """The report of a sweep in which every text that a user has a say in is one of those."""
    builder = run_folder_builder(tmp_path_factory.mktemp("hostile") / "sweep")
    frames = analysis.load(fill(builder, TEXTS).write())
    tables = standard_tables(frames)
    drawings = [_svg_alone(chart) for chart in standard_charts(frames)]
    return Written(Page(render_page(frames, tables, drawings)), tables, drawings)


def _svg_alone(chart: NamedChart) -> Drawing:
    specification = chart.chart.to_dict(validate=False)
    return Drawing(chart, specification, Picture(vegalite_to_svg(specification), b"", b""))


@pytest.fixture(scope="module")
def own(written, run_folder_builder, tmp_path_factory):
    """The page of the same sweep with harmless texts: what is on it is the page's own."""
    builder = run_folder_builder(tmp_path_factory.mktemp("own") / "sweep")
    frames = analysis.load(fill(builder, HARMLESS).write())
    drawings = [
        Drawing(replace(each.chart, title="A", caption="B", choices={}), {}, Picture("", b"", b""))
        for each in written.drawings
    ]
    return Page(render_page(frames, standard_tables(frames), drawings))


def test_no_text_becomes_markup_of_the_page(written, own):
    page, plain = written.page, own
    assert page.tags == plain.tags
    assert page.tags.count("style") == 1
    assert page.tags.count("img") == len({each.chart.family for each in written.drawings})
    assert page.comments == plain.comments
    assert {name for _, name, _ in page.attributes} == {name for _, name, _ in plain.attributes}
    assert programs(page) == programs(plain)
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "srcset", "action", "data", "poster"):
            assert (tag, value.partition(",")[0]) == ("img", "data:image/svg+xml;base64")
        if name == "href":
            assert re.fullmatch("#[a-z0-9-]+", value)


def test_the_policy_of_the_page_lets_its_own_programs_run_and_nothing_else(written):
    page = written.page
    policies = [value for _, name, value in page.attributes if "script-src" in value]
    assert len(policies) == 1
    policy = dict(part.split(" ", 1) for part in policies[0].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["img-src"] == "data:"
    digests = [hashlib.sha256(script.encode()).digest() for script in programs(page)]
    assert policy["script-src"].split() == [
        f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests
    ]


def test_the_page_shows_a_text_in_every_place_as_it_is(written):
    shown = "\n".join(written.page.texts)
    assert shown.count(MARKUP) >= 12
    for text in (LATEX, BRACKETS, FORMULA):
        assert shown.count(text) >= 12


def test_the_data_of_the_page_stay_data(written):
    blocks = [json.loads(data) for kind, data in written.page.scripts if kind]
    assert len(blocks) > len(written.tables)
    for kind, data in written.page.scripts:
        if kind:
            assert kind == "application/json"
            assert not set(data) & set("<>&'\u2028\u2029")
    (themes,) = (block for block in blocks if "dark" in block)
    assert themes["dark"] == theme(dark=True)


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_of_the_page_makes_markup_or_code_of_a_text(name):
    source = asset(name)
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("):
        assert forbidden not in source
    for forbidden in ("Function(", 'setAttribute("on', "fetch(", "import(", "http", "</"):
        assert forbidden not in source


def test_no_text_becomes_markup_of_a_picture(written):
    assert len(written.drawings) > 10
    for drawing in written.drawings:
        for element in ET.fromstring(drawing.picture.svg).iter():
            assert element.tag.rpartition("}")[2] not in ("script", "image", "foreignObject", "a")
            assert not any(name.lower().startswith("on") for name in element.attrib)
            assert not any("href" in name for name in element.attrib)


def test_no_text_becomes_a_command_of_latex(written):
    commands = {
        *("begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule"),
        *("textbackslash", "textasciitilde", "textasciicircum", "pm", "times", "dots"),
        *("sisetup", "setlength", "tabcolsep", "small", "footnotesize", "vspace", "multicolumn"),
        *("cmidrule", "textbf", "textit", "bfseries", "itshape"),
    }
    for table in (each.to_latex() for each in written.tables):
        # what stands in a comment does nothing
        body = "\n".join(line for line in table.splitlines() if not line.startswith("%"))
        assert set(re.findall(r"\\([A-Za-z]+)", body)) <= commands
        # a tie before a sign of per cent is the table's own
        assert not re.search(r"(?<!\\)(?:[%#_^]|~(?!\\%))", body)
        assert not re.search(r"(?:\\\\|rule)\s*[\[*]", body)
        assert table.isascii()


def test_latex_shows_what_is_special_to_it():
    assert latex_cells([r"\input{/etc/passwd} $ % _"]) == [
        r"\textbackslash{}input\{/etc/passwd\} \$ \% \_"
    ]
    assert latex_cells(["[x]", "[y]", "*"]) == ["{}[x]", "[y]", "*"]


def test_no_text_becomes_markup_of_markdown(written):
    for table in (each.to_markdown() for each in written.tables):
        assert not re.search(r"(?<!\\)<", table)
        assert not re.search(r"(?<!\\)\][(\[:]", table)
        assert len(re.findall("^#", table, re.MULTILINE)) == 1
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_markdown_shows_what_is_special_to_it():
    assert markdown_text("a|b `c` <d>\n*e*") == r"a\|b \`c\` \<d> \*e\*"
    assert markdown_text("![x](http://e) [−1, 2]") == r"![x\](http://e) [−1, 2]"


def test_no_text_is_computed_by_a_spreadsheet(written):
    cells = []
    for table in (each.to_csv() for each in written.tables):
        cells += [cell for row in csv.reader(io.StringIO(table)) for cell in row]
    for cell in cells:
        if cell.lstrip().startswith(("=", "+", "-", "@")):
            assert float(cell) < 0
    assert f"'{FORMULA}" in cells
    assert MARKUP in cells


@pytest.mark.parametrize(
    "formula", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "＝1"]
)
def test_a_formula_stands_behind_an_apostrophe(formula):
    assert csv_text(formula) == f"'{formula}"


@pytest.mark.parametrize(
    "value", ["-0.5", "+3", "-1e-05", "-inf", "1.2.3", "a=b", "a-b", "", -1.5, None]
)
def test_numbers_and_other_text_stay_as_they_are(value):
    assert csv_text(value) == value


def test_numbers_of_a_table_stay_numbers(written):
    (table,) = (each for each in written.tables if each.name == "effect_of_x")
    rows = csv.DictReader(io.StringIO(table.to_csv()))
    assert {float(row["x"]) for row in rows} == {-0.5, 0.5}


def programs(page: Page) -> list[str]:
    return [script for kind, script in page.scripts if not kind]


def fill(builder, texts: tuple[str, ...]):
    """Fills a sweep in which every text that a user has a say in is one of these, or all."""
    everything = " ".join(texts)
    builder.specification |= {"name": everything, "data": {"name": everything}}
    builder.specification |= {"sampler": {text: text for text in texts}}
    builder.specification |= {"space": {text: [text] for text in texts}}
    builder.specification |= {"study": {"storage": everything}}
    builder.specification["provenance"] = {
        "started_at": everything,
        "command": ["rso-sweep", *texts],
        "versions": {text: text for text in texts},
        "machine": {text: text for text in texts},
    }
    # as a header each of two stands first, where a bracket and a formula mean something
    first, second = " ".join(texts[3:] + texts[:3]), " ".join(texts[5:] + texts[:5])
    for place, text in enumerate(texts):
        for trial, optimizer in enumerate(("rso", "rso", text)):
            builder.add_run(
                10 * place + trial,
                architecture=text,
                optimizer=optimizer,
                options={"note": texts[place - trial], first: text, second: text, "x": trial - 0.5},
                layer_names=[text, "b"],
            )
        builder.add_run(10 * place + 3, state="failed", reason=text, architecture=text)
        builder.add_attempt(10 * place + 3, reason=text, host=text)
        builder.add_driver(text, host=text)
    for row in builder.run_rows:
        row["host"] = everything
    return builder
