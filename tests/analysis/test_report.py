"""The report: its files and its page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import yaml

from analysis import UnreadableRunFolder, write_report

NASTY = '<script>alert("1")</script> & 5% of a_b #1'


@pytest.fixture(scope="module")
def report(whole_sweep, tmp_path_factory):
    return write_report(whole_sweep, tmp_path_factory.mktemp("report"))


class Page(HTMLParser):
    """A page's elements, the text outside scripts, and the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.words += data


def test_every_table_and_chart_is_a_file(report):
    out = report.html.parent
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == {path.relative_to(out).as_posix() for path in report.paths}
    assert report.paths[0] == report.html
    for table in report.tables:
        assert {f"tables/{table.name}.{ending}" for ending in ("md", "csv", "tex")} <= written
    for name in ("accuracy_by_cycle", "accuracy_by_images", "accuracy_by_seconds"):
        assert {f"charts/{name}.svg", f"charts/{name}.png"} <= written
    main = report.tables[0]
    assert (out / "tables" / f"{main.name}.md").read_text() == main.to_markdown()


def test_the_page_loads_nothing(report):
    page = Page(report.html.read_text())
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
    style = report.html.read_text().split("<style>")[1].split("</style>")[0]
    assert "@import" not in style
    assert "url(" not in style
    own = page.scripts[-1]
    assert "fetch(" not in own
    assert '"url"' not in own
    assert "http" not in own
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


def test_the_page_holds_the_charts_as_data(report):
    script = Page(report.html.read_text()).scripts[-1]
    found = re.search(r"^const specifications = (.*);$", script, re.MULTILINE)
    specifications = json.loads(found.group(1))
    assert len(specifications) == 4
    assert specifications[0]["facet"]["sort"] == ["one_conv", "two_conv"]


def test_a_best_configuration_can_be_copied_as_yaml(report):
    blocks = re.findall(r"<pre>(# RSO.*?)</pre>", report.html.read_text(), re.DOTALL)
    values = yaml.safe_load(blocks[0])
    assert values == {
        "architecture": "two_conv",
        "batch_size": 1024,
        "optimizer": "rso",
        "perturbation_std": 0.5,
        "annealing": "linear",
        "weight_decay": 0.0,
    }


def test_writing_it_again_gives_the_same_tables(whole_sweep, report):
    before = {path: path.read_bytes() for path in report.paths}
    again = write_report(whole_sweep, report.html.parent)
    assert again.paths == report.paths
    changed = [path.name for path in again.paths if path.read_bytes() != before[path]]
    assert changed == []
    assert not list(report.html.parent.rglob(".*"))


def test_nothing_from_a_run_folder_becomes_markup(build):
    builder = build()
    builder.specification |= {"name": NASTY, "data": {"name": NASTY}, "sampler": NASTY}
    builder.specification["provenance"] = {"command": ["a", NASTY], "versions": {NASTY: NASTY}}
    builder.add_run(0, architecture=NASTY, options={"note": NASTY}, layer_names=[NASTY])
    builder.add_run(1, architecture=NASTY, optimizer=NASTY, options={"note": "</script>"})
    builder.add_run(2, state="failed", reason=NASTY)
    report = write_report(builder.write())
    text = report.html.read_text()
    page = Page(text)
    assert text.count("<script") == 2
    assert "<script>alert" not in text
    assert page.words.count(NASTY) >= 5
    for path in report.paths:
        if path.suffix in (".svg", ".tex"):
            assert "<script" not in path.read_text()


def test_a_sweep_without_a_finished_run_has_a_report_that_says_so(build):
    builder = build()
    builder.add_run(0, state="failed", reason="out of memory")
    builder.add_run(1, state=None)
    report = write_report(builder.write())
    page = Page(report.html.read_text())
    assert "Unfinished." in page.words
    assert "No run has finished, so there is nothing to compare." in page.words
    assert "out of memory" in page.words
    assert page.scripts == []
    assert report.html == builder.folder / "report" / "report.html"


def test_a_sweep_that_has_just_begun_has_a_report(build):
    report = write_report(build().write())
    assert "No run has been recorded yet." in report.html.read_text()
    assert report.tables[0].frame.empty


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


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_tables_compile_with_booktabs_alone(report, tmp_path):
    tables = "".join(table.to_latex() for table in report.tables)
    source = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{tables}"
    (tmp_path / "t.tex").write_text(source + "\\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()[-2000:]
