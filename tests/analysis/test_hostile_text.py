"""Whatever the texts of a run folder hold, a report shows them and does nothing else with them."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

import analysis
from analysis.chart_parts import theme
from analysis.escaping import csv_text, latex_cells, markdown_text

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


class Page(HTMLParser):
    """The elements of a page, their attributes, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.comments: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._inside = tag
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_comment(self, data):
        self.comments.append(data)

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.texts.append(data)


@pytest.fixture(scope="module")
def own(whole_sweep, tmp_path_factory):
    """The page of a sweep without such texts: what is on it is the page's own."""
    report = analysis.write_report(whole_sweep, tmp_path_factory.mktemp("own"))
    return Page(report.html.read_text())


@pytest.fixture(
    scope="module", params=[MARKUP, UNPRINTABLE, LATEX, BRACKETS, MARKDOWN, FORMULA], ids=repr
)
def text(request):
    """A text that would do something, somewhere, if it were let."""
    return request.param


@pytest.fixture(scope="module")
def report(text, run_folder_builder, tmp_path_factory):
    """The report of a sweep in which every text that a user has a say in is this one."""
    builder = run_folder_builder(tmp_path_factory.mktemp("hostile") / "sweep")
    return analysis.write_report(fill(builder, text).write())


def written(report, ending: str) -> dict[str, str]:
    """The report's files with an ending; line ends as they are."""
    return {p.name: p.read_bytes().decode() for p in report.paths if p.suffix == ending}


def test_no_text_becomes_markup_of_the_page(report, own):
    page = Page(report.html.read_text())
    assert page.tags.count("script") == own.tags.count("script") == 2
    assert page.tags.count("style") == own.tags.count("style") == 1
    assert page.tags.count("img") == page.tags.count("noscript") == 4
    assert set(page.tags) == set(own.tags)
    assert page.comments == own.comments
    assert {name for _, name, _ in page.attributes} == {name for _, name, _ in own.attributes}
    assert page.scripts[0] == own.scripts[0]
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (tag, value.partition(",")[0]) == ("img", "data:image/svg+xml;base64")


def test_the_page_shows_a_text_in_every_place_as_it_is(report, text):
    shown = "\n".join(Page(report.html.read_text()).texts)
    if text == MARKUP:
        assert shown.count(text) >= 12


def test_the_data_of_the_charts_stay_data(report):
    script = Page(report.html.read_text()).scripts[-1]
    (specifications,) = re.findall(r"^const specifications = (.*);$", script, re.MULTILINE)
    (themes,) = re.findall(r"^const themes = (.*);$", script, re.MULTILINE)
    assert not set(specifications + themes) & set("<>&'\u2028\u2029")
    assert len(json.loads(specifications)) == 4
    assert json.loads(themes)["dark"] == theme(dark=True)


def test_no_text_becomes_markup_of_a_picture(report):
    pictures = written(report, ".svg")
    assert len(pictures) == 4
    for picture in pictures.values():
        for element in ET.fromstring(picture).iter():
            assert element.tag.rpartition("}")[2] not in ("script", "image", "foreignObject", "a")
            assert not any(name.lower().startswith("on") for name in element.attrib)
            assert not any("href" in name for name in element.attrib)


def test_no_text_becomes_a_command_of_latex(report):
    commands = {
        *("begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule"),
        *("textbackslash", "textasciitilde", "textasciicircum", "pm", "times", "dots"),
    }
    for table in written(report, ".tex").values():
        assert set(re.findall(r"\\([A-Za-z]+)", table)) <= commands
        assert not re.search(r"(?<!\\)[%#_^~]", table)
        assert not re.search(r"(?:\\\\|rule)\s*[\[*]", table)
        assert table.isascii()


def test_latex_shows_what_is_special_to_it():
    assert latex_cells([r"\input{/etc/passwd} $ % _"]) == [
        r"\textbackslash{}input\{/etc/passwd\} \$ \% \_"
    ]
    assert latex_cells(["[x]", "[y]", "*"]) == ["{}[x]", "[y]", "*"]


def test_no_text_becomes_markup_of_markdown(report):
    for table in written(report, ".md").values():
        assert not re.search(r"(?<!\\)<", table)
        assert not re.search(r"(?<!\\)\][(\[:]", table)
        assert len(re.findall("^#", table, re.MULTILINE)) == 1
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_markdown_shows_what_is_special_to_it():
    assert markdown_text("a|b `c` <d>\n*e*") == r"a\|b \`c\` \<d> \*e\*"
    assert markdown_text("![x](http://e) [−1, 2]") == r"![x\](http://e) [−1, 2]"


def test_no_text_is_computed_by_a_spreadsheet(report, text):
    cells = []
    for table in written(report, ".csv").values():
        cells += [cell for row in csv.reader(io.StringIO(table)) for cell in row]
    for cell in cells:
        if cell.lstrip().startswith(("=", "+", "-", "@")):
            assert float(cell) < 0
    assert (f"'{text}" in cells) == (text == FORMULA)


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


def test_numbers_of_a_table_stay_numbers(report):
    rows = csv.DictReader(io.StringIO(written(report, ".csv")["effect_of_x.csv"]))
    assert {float(row["x"]) for row in rows} == {1.5, -2.5}


def fill(builder, text: str):
    """Fills a sweep in which every text that a user has a say in is this one."""
    builder.specification |= {"name": text, "data": {"name": text}, "sampler": {text: text}}
    builder.specification |= {"space": {text: [text]}, "study": {"storage": text}}
    builder.specification["provenance"] = {
        "started_at": text,
        "command": ["rso-sweep", text],
        "versions": {text: text},
        "machine": {text: text},
    }
    for trial, optimizer in enumerate(("rso", text, "sgd")):
        for value in (text, f"{text}2"):
            builder.add_run(
                2 * trial + value.endswith("2"),
                architecture=text,
                optimizer=optimizer,
                options={"note": value, text: value, "x": 1.5 if value == text else -2.5},
                layer_names=[text, "b"],
            )
    builder.add_run(9, state="failed", reason=text, architecture=text)
    builder.add_attempt(9, reason=text, host=text)
    for row in builder.run_rows:
        row["host"] = text
    builder.add_driver("rso-sweep run", host=text)
    builder.add_driver(text, host=text)
    return builder
