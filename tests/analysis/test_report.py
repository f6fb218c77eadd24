"""The report: its files and its page."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml

from analysis import UnreadableRunFolder, write_report
from analysis.page_scripts import asset

CSS = asset("report.css")


def _has_latex() -> bool:
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    packages = ["kpsewhich", "booktabs.sty", "siunitx.sty"]
    found = subprocess.run(packages, capture_output=True, text=True, check=False)
    return len(found.stdout.split()) == 2


@pytest.fixture(scope="module")
def report(whole_sweep, tmp_path_factory):
    return write_report(whole_sweep, tmp_path_factory.mktemp("report"))


class Page(HTMLParser):
    """A page's elements, the text outside scripts, and what stands in scripts and as data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.data: dict[str, list[Any]] = {}
        """By the class of their elements."""
        self.words = ""
        self._inside, self._kind = "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside, self._kind = tag, dict(attrs).get("class") or ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script" and self._kind:
            self.data.setdefault(self._kind, []).append(json.loads(data))
        elif self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.words += data


def test_every_table_and_chart_is_a_file(report):
    out = report.html.parent
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == {path.relative_to(out).as_posix() for path in report.paths} | {"files.json"}
    assert report.paths[0] == report.html
    for table in report.tables:
        assert {f"tables/{table.name}.{ending}" for ending in ("md", "csv", "tex")} <= written
        assert f"tables/{table.name}.parquet" in written
    for name in ("accuracy_by_cycle", "accuracy_by_images", "accuracy_by_seconds"):
        assert {f"charts/{name}.{ending}" for ending in ("svg", "png", "pdf")} <= written
    main = report.tables[0]
    assert (out / "tables" / f"{main.name}.md").read_text() == main.to_markdown()


def test_the_page_loads_nothing(report):
    page = Page(report.html.read_text())
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "srcset", "data", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
    style = report.html.read_text().split("<style>")[1].split("</style>")[0]
    assert "@import" not in style
    assert "url(" not in style
    assert not re.search('"(url|href)":', json.dumps(page.data["charts"]))
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_the_page_tells_what_was_asked_what_came_out_and_how_it_was_run(report):
    words = Page(report.html.read_text()).words
    for expected in (
        "rso-against-sgd",
        "RSO and SGD on one_conv and two_conv",
        "highest validation accuracy",
        "rso.perturbation_std",
        "RSO had the higher mean test accuracy in none of the 4 pairs",
        "rso-sweep run sweep.yaml",
        "3.11.2",
        "32.0 GiB",
    ):
        assert expected in words
    assert "Unfinished" not in words


def test_every_link_of_the_page_leads_somewhere_on_it(report):
    elements = Page(report.html.read_text()).elements
    places = [attributes["id"] for _, attributes in elements if "id" in attributes]
    links = [attributes["href"].removeprefix("#") for tag, attributes in elements if tag == "a"]
    assert len(links) > 2 * len(report.tables)
    assert set(links) <= set(places)
    assert len(places) == len(set(places))


def test_tables_and_figures_are_numbered_as_they_come(report):
    text = report.html.read_text()
    for kind, n_least in (("table", len(report.tables)), ("figure", 4)):
        numbers = re.findall(rf'<figure class="of-\w+" id="{kind}-(\d+)">', text)
        assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
        assert len(numbers) >= n_least


def test_the_page_holds_the_charts_as_data(report):
    figures = Page(report.html.read_text()).data["charts"]
    curves = next(figure for figure in figures if len(figure) > 3 and "Against" in str(figure))
    assert curves[0]["specification"]["facet"]["sort"] == ["one_conv", "two_conv"]
    assert "config" not in curves[0]["specification"]
    choices = [tuple(chart["choices"].items()) for chart in curves]
    assert len(set(choices)) == len(choices)


def test_the_page_holds_the_tables_to_be_copied(report):
    copies = Page(report.html.read_text()).data["files"]
    tables = {table.to_markdown(): table for table in report.tables if len(table.frame)}
    assert {copy["Markdown"] for copy in copies} == set(tables)
    for copy in copies:
        table = tables[copy["Markdown"]]
        assert copy["CSV"] == table.to_csv()
        assert copy["LaTeX"] == table.to_latex()


def test_the_page_tells_how_to_run_it_again(report, whole_sweep):
    shown_part, _, _ = report.html.read_text().partition("</main>")
    blocks = re.findall(r"<pre[^>]*>(.*?)</pre>", shown_part, re.DOTALL)
    shown = [html.unescape(block) for block in blocks]
    assert f"rso-sweep resume {shlex.quote(str(whole_sweep))}" in shown
    assert "rso-sweep run sweep.yaml" in shown
    assert yaml.safe_load(shown[-1])["space"]["rso.perturbation_std"] == [0.5, 1.0]


def test_a_best_configuration_can_be_copied_as_yaml(report):
    blocks = re.findall(r"<pre[^>]*>(# RSO.*?)</pre>", report.html.read_text(), re.DOTALL)
    values = yaml.safe_load(blocks[0])
    assert values == {
        "architecture": "two_conv",
        "batch_size": 1024,
        "optimizer": "rso",
        "perturbation_std": 0.5,
        "annealing": "linear",
        "weight_decay": 0.0,
    }


@pytest.mark.parametrize("look", ["light", "dark"])
def test_words_stand_out_from_the_page_in_both_looks(look):
    variables = {
        match["name"]: match["value"]
        for block in re.findall(r":root[^{]*\{[^}]*color-scheme: (?:light|dark);[^}]*\}", CSS)
        if f"color-scheme: {look};" in block
        for match in re.finditer(r"--(?P<name>[a-z-]+): (?P<value>#[0-9a-f]{6});", block)
    }
    for words, ground in (
        ("ink", "page"),
        ("soft", "page"),
        ("ink", "hover"),
        ("ink", "inset"),
        ("soft", "inset"),
        ("accent", "page"),
        ("note", "note-page"),
    ):
        assert contrast(variables[words], variables[ground]) >= 4.5, (words, ground)


def test_both_ways_to_the_dark_look_give_the_same():
    blocks = re.findall(r"\{\s*color-scheme: dark;([^}]*)\}", CSS)
    assert len(blocks) == 2
    assert blocks[0].split() == blocks[1].split()


@pytest.mark.usefixtures("without_charts")
def test_writing_it_again_gives_the_same_files(build):
    builder = build()
    builder.add_run(0, state="failed", reason="out of memory")
    builder.add_run(1, state="pruned")
    report = write_report(builder.write())
    before = {path: path.read_bytes() for path in report.paths}
    again = write_report(builder.folder)
    assert again.paths == report.paths
    changed = [path.name for path in again.paths if path.read_bytes() != before[path]]
    assert changed == []
    assert not list(report.html.parent.rglob(".*"))


def test_a_sweep_without_a_finished_run_has_a_report_that_says_so(build):
    builder = build()
    builder.add_run(0, state="failed", reason="out of memory")
    builder.add_run(1, state=None)
    report = write_report(builder.write())
    page = Page(report.html.read_text())
    assert "Unfinished." in page.words
    assert "No run has finished, so there is nothing to compare." in page.words
    assert "out of memory" in page.words
    assert "charts" not in page.data
    assert not any("vega" in script for script in page.scripts)
    assert report.html == builder.folder / "report" / "report.html"


def test_a_sweep_that_has_just_begun_has_a_report(build):
    report = write_report(build().write())
    assert "No run has been recorded yet." in report.html.read_text()
    assert report.tables[0].frame.empty


@pytest.mark.usefixtures("without_charts")
def test_only_name_and_objective_are_needed(build):
    builder = build("bare")
    builder.add_run(0, optimizer="sgd")
    for name in set(builder.specification) - {"name", "objective"}:
        del builder.specification[name]
    assert write_report(builder.write()).html.exists()


def test_a_table_that_no_longer_applies_is_removed(build):
    builder = build()
    builder.add_run(0, state="failed", reason="out of memory")
    out = write_report(builder.write()).html.parent
    assert (out / "tables" / "failures.md").exists()
    (out / "tables" / "notes.md").write_text("mine")
    builder.run_rows.clear()
    builder.cycle_rows.clear()
    write_report(builder.write())
    assert not (out / "tables" / "failures.md").exists()
    assert (out / "tables" / "notes.md").exists()


def test_a_folder_that_is_no_run_folder_writes_nothing(tmp_path):
    with pytest.raises(UnreadableRunFolder):
        write_report(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not _has_latex(), reason="needs pdflatex with siunitx")
def test_the_tables_compile_with_booktabs_and_siunitx_alone(report, tmp_path):
    tables = "".join(table.to_latex() for table in report.tables)
    packages = "\\usepackage{booktabs,siunitx}"
    source = f"\\documentclass{{article}}{packages}\\begin{{document}}{tables}"
    (tmp_path / "t.tex").write_text(source + "\\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()[-2000:]


def contrast(one: str, other: str) -> float:
    """Of two colours such as `#a0b0c0`, from 1 to 21 (WCAG 2.2, contrast ratio)."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
