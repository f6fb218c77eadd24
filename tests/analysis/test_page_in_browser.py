"""The page of a report as a browser shows it: tables, charts, both looks, paper and no scripts."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.drawings import Drawing, NamedChart
from analysis.page import render_page
from analysis.tables import Column, Table

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path"),
]

WIDE = {"width": 1280, "height": 900}
LIGHT, DARK = "rgb(255, 254, 251)", "rgb(23, 24, 27)"
N_TRIALS = 10_000
MARKUP = "<img src=x onerror=alert(1)> </script><b>" + "long " * 20
COSTS = (("a", 10.0), ("b", 9.0), ("c", 100.0), ("d", None), ("e", 0.5), ("f", -3.0))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        started = running.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(run_folder_builder: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of a pruned run: `report.html` has a bit of everything, `long.html` a long table."""
    folder = tmp_path_factory.mktemp("in-browser")
    builder = run_folder_builder(folder / "a-sweep")
    builder.add_run(0, state="pruned")
    frames = analysis.load(builder.write())
    drawings = [Drawing.of(chart) for chart in _charts()]
    for name, page in (
        ("report", render_page(frames, (_costs(), _marked(), _trials(150)), drawings)),
        ("long", render_page(frames, (_trials(N_TRIALS),), [])),
    ):
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def opened(browser: Any, folder: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page in a context of its own; at the end, nothing was fetched or complained of."""
    contexts, told, requests = [], [], []

    def opened(name: str = "report", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": WIDE, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.set_default_timeout(10_000)
        page.goto((folder / f"{name}.html").as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert told == []
    fetched = {url for url in requests if not url.startswith(("data:", "blob:"))}
    assert fetched <= {(folder / f"{name}.html").as_uri() for name in ("report", "long")}


@pytest.fixture(scope="module")
def page(opened: Callable[..., Any]) -> Any:
    """The page on a wide light screen; a test leaves it as it found it."""
    return opened(permissions=["clipboard-read", "clipboard-write"])


def test_a_table_sorts_by_value_up_down_and_back(page):
    table = page.locator("#table-1")
    heads = {name: table.get_by_role("button", name=name, exact=True) for name in ("Name", "Cost")}
    original = [name for name, _ in COSTS]
    assert _column(table, 0) == original

    heads["Cost"].click()
    assert _column(table, 0) == ["f", "e", "b", "a", "c", "d"]
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    heads["Cost"].click()
    assert _column(table, 0) == ["c", "a", "b", "e", "f", "d"]
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    heads["Cost"].click()
    assert _column(table, 0) == original
    assert table.locator("th[aria-sort]").count() == 0

    heads["Cost"].click()
    heads["Name"].focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert _column(table, 0) == original[::-1]
    page.keyboard.press("Enter")
    assert _column(table, 0) == original


def test_the_marks_of_cells_are_told_below_them(page):
    table = page.locator("#table-2")
    assert table.locator("td b").all_inner_texts() == ["90.10 (1 seed)"]
    assert table.locator("td i").all_inner_texts() == ["90.00 (1 seed)"]
    assert table.locator(".legend").inner_text().startswith("Bold: the best of those")
    assert page.locator("#table-1 .legend").count() == 0


def test_a_filter_leaves_the_rows_that_hold_all_words(page):
    table = page.locator("#table-2")
    search, told = table.get_by_role("searchbox"), table.locator("output")
    assert told.get_attribute("aria-live") == "polite"
    assert told.inner_text() == "12 rows"
    for query, batches in (
        ("two_conv", ["128", "256", "512", "1,024"] * 1),
        ("two_conv batch>=512", ["512", "1,024"]),
        ("network:one batch<256 ", ["128"]),
        ("nowhere", []),
    ):
        search.fill(query)
        rows = [row for row in _column(table, 1) if row]
        assert rows == batches
        assert told.inner_text() == f"{len(batches)} of 12 rows match"
    assert table.locator("tbody").inner_text() == "No row matches."
    search.fill("")
    assert len(_column(table, 1)) == 12


@pytest.mark.parametrize(
    ("query", "cells", "matches"),
    [
        ("test>=91.5", "rso|91.52 ± 0.31|64", True),
        ("test>91.52", "rso|91.52 ± 0.31|64", False),
        ("test<0", "rso|−1.62 [−5.10, +1.86]|64", True),
        ("batch>=1000", "rso|—|1,024", True),
        ("test<1", "rso|—|64", False),
        ("test>600", "rso|12.5 min|64", True),
        ("test<0.01", "rso|< 0.001|64", True),
        ("batch>2000000", "rso|1|12.1 million", True),
        ("setting:linear", "annealing=linear|1|2", True),
        ("annealing=linear", "std=1, annealing=linear|1|2", True),
        ("std>=0.5 std<=1", "momentum=3, std=1|1|2", True),
        ("std>1", "momentum=3, std=1|1|2", False),
        ("'two words'", "two words|1|2", True),
        ("'two words'", "words two|1|2", False),
        ("batch!=64", "rso|1|64", False),
        ("setting=rso", "RSO|1|64", True),
        ("x>1", "x>1|1|2", True),
        (">=", "rso|1|2", False),
    ],
)
def test_a_query_asks_for_words_columns_and_options(page, query, cells, matches):
    found = page.evaluate(
        """([query, cells]) => filtering.predicate(query, ["Setting", "Test %", "Batch"])(
            (column) => column === undefined ? cells.join("\\n").toLowerCase() : cells[column])""",
        [query, cells.split("|")],
    )
    assert found is matches


def test_ten_thousand_rows_answer_within_a_second(opened):
    page = opened("long")
    table = page.locator("#table-1")
    assert table.locator("tbody tr").count() == 50
    timed = """(figure, [act, query]) => {
        const button = figure.querySelectorAll("th button")[1];
        const input = figure.querySelector("input");
        const start = performance.now();
        if (act === "sort") button.click();
        else { input.value = query; input.dispatchEvent(new Event("input")); }
        figure.getBoundingClientRect();
        return performance.now() - start;
    }"""
    order = np.argsort(_accuracies(N_TRIALS), kind="stable")
    assert table.evaluate(timed, ["sort", ""]) < 1000
    assert _column(table, 0) == [str(trial) for trial in order[:50]]
    assert table.evaluate(timed, ["sort", ""]) < 1000
    assert _column(table, 0) == [str(trial) for trial in order[::-1][:50]]
    assert table.evaluate(timed, ["sort", ""]) < 1000
    assert table.evaluate(timed, ["filter", "trial>=9990 sgd"]) < 1000
    assert _column(table, 0) == ["9991", "9993", "9995", "9997", "9999"]
    assert table.evaluate(timed, ["filter", ""]) < 1000

    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert table.locator("output").inner_text() == "rows 1 to 1,000 of 10,000"
    assert table.locator("tbody tr").count() == 1000
    assert "tables/every_trial.csv" in table.inner_text()
    assert table.get_by_text("Copy as").count() == 0


def test_a_long_table_comes_in_pages(page):
    table = page.locator("#table-3")
    written = table.locator("tbody").inner_html()
    previous, following, everything, fewer = (
        table.get_by_role("button", name=name, exact=True)
        for name in ("Previous", "Next", "Show all 150", "Show 50")
    )
    assert previous.is_disabled()
    following.click()
    assert table.locator("output").inner_text() == "rows 51 to 100 of 150"
    assert _column(table, 0)[0] == "50"
    following.click()
    assert following.is_disabled()
    previous.click()
    previous.click()
    assert _plain(table.locator("tbody").inner_html()) == _plain(written)
    everything.click()
    assert _column(table, 0) == [str(trial) for trial in range(150)]
    fewer.click()
    assert len(_column(table, 0)) == 50


def test_charts_are_drawn_when_they_come_near(page):
    page.set_viewport_size({"width": 1280, "height": 200})
    page.goto(page.url)
    assert page.locator("#figure-3 svg").count() == 0
    for figure in page.locator("figure.of-chart").all():
        figure.scroll_into_view_if_needed()
        playwright.expect(figure.locator("svg .mark-symbol path").first).to_be_visible()
    page.set_viewport_size(WIDE)


def test_the_reader_chooses_among_the_charts_of_a_family(page):
    figure = page.locator("#figure-1")

    def expect_axis(title: str) -> None:
        axis = figure.locator("svg .role-axis-title").get_by_text(title).first
        playwright.expect(axis).to_be_visible()

    figure.scroll_into_view_if_needed()
    expect_axis("accuracy")
    assert figure.get_by_role("radio").count() == 4
    assert figure.get_by_role("group", name="Figure").count() == 1

    figure.get_by_role("radio", name="images").check()
    expect_axis("images")
    assert "Figure 1. accuracy against images. Words of it." in figure.inner_text()
    assert figure.locator(".chart").get_attribute("aria-label") == "accuracy against images"

    # there is no chart of the loss against images
    figure.get_by_role("radio", name="loss").check()
    expect_axis("cycles")
    assert figure.get_by_role("radio").count() == 2
    assert page.evaluate("document.activeElement.value") == "loss"
    page.keyboard.press("ArrowLeft")
    expect_axis("accuracy")
    assert figure.get_by_role("radio").count() == 4


def test_a_chart_answers_the_pointer(page):
    figure = page.locator("#figure-2")
    figure.scroll_into_view_if_needed()
    figure.locator("svg .mark-symbol path").first.hover(force=True)
    tip = page.locator("#vg-tooltip-element.visible")
    playwright.expect(tip).to_contain_text("cycles")
    page.mouse.move(0, 0)


def test_the_look_follows_the_system_and_the_switch(page):
    figure = page.locator("#figure-2")
    figure.scroll_into_view_if_needed()
    ink = figure.locator("svg .role-axis-label text").first
    light_ink, switch = ink.get_attribute("fill"), page.get_by_role("button", name="Dark page")
    assert (_background(page), switch.get_attribute("aria-pressed")) == (LIGHT, "false")
    page.emulate_media(color_scheme="dark")
    assert (_background(page), switch.get_attribute("aria-pressed")) == (DARK, "true")
    playwright.expect(ink).not_to_have_attribute("fill", light_ink)
    switch.click()
    assert (_background(page), switch.get_attribute("aria-pressed")) == (LIGHT, "false")
    playwright.expect(ink).to_have_attribute("fill", light_ink)
    page.reload()
    assert _background(page) == LIGHT
    page.evaluate("sessionStorage.clear()")
    page.reload()
    assert _background(page) == DARK
    page.emulate_media(color_scheme="light")


def test_a_phone_has_no_need_to_scroll_sideways(page):
    page.set_viewport_size({"width": 360, "height": 740})
    for figure in page.locator("figure.of-chart").all():
        figure.scroll_into_view_if_needed()
        playwright.expect(figure.locator("svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    wide = page.locator("#table-3 .wide")
    assert wide.evaluate("place => place.scrollWidth > place.clientWidth")
    page.set_viewport_size(WIDE)


def test_paper_has_all_charts_in_the_light_look_and_no_controls(opened):
    page = opened(color_scheme="dark", viewport={"width": 1280, "height": 200})
    page.evaluate(
        """window.addEventListener("beforeprint", () => { window.onPaper = {
            rows: document.querySelectorAll("#table-3 tbody tr").length,
            unfolded: document.querySelector("main details:not(.menu)").open,
        }; })"""
    )
    assert page.pdf().startswith(b"%PDF")
    assert page.locator(".chart svg").count() == 3
    assert page.evaluate("window.onPaper") == {"rows": 150, "unfolded": True}
    assert page.locator("#table-3 tbody tr").count() == 50
    page.emulate_media(media="print")
    assert _background(page) == LIGHT
    for control in (".switch", ".contents", ".copier", "input", ".selector"):
        assert not page.locator(control).first.is_visible()
    assert page.locator("#table-3 output").is_visible()


def test_without_scripts_there_are_tables_and_pictures(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("#table-3 tbody tr").count() == 50
    assert "Without JavaScript the first 50 are shown" in page.locator("#table-3").inner_text()
    pictures = page.locator("figure.of-chart img")
    assert pictures.count() == 3
    assert all(picture.bounding_box()["height"] > 150 for picture in pictures.all())
    assert page.get_by_role("button", disabled=False).count() == 0
    assert page.get_by_role("searchbox").count() == 0
    assert "charts/loss_cycles.svg" in page.locator("#figure-1").inner_text()


def test_tables_and_texts_can_be_copied(page):
    table = page.locator("#table-1")
    copied = {}
    for form in ("Markdown", "LaTeX", "CSV"):
        table.get_by_text("Copy as").click()
        table.get_by_role("button", name=f"Copy Table 1 as {form}").click()
        playwright.expect(page.locator("div[role=status]")).to_have_text("Copied")
        copied[form] = page.evaluate("navigator.clipboard.readText()")
        page.keyboard.press("Escape")
    assert copied == {
        "Markdown": _costs().to_markdown(),
        "LaTeX": _costs().to_latex(),
        "CSV": _costs().to_csv(),
    }
    assert not table.get_by_role("button", name="Copy Table 1 as CSV").is_visible()
    text = page.locator("#run .text").first
    text.get_by_role("button").click()
    playwright.expect(page.locator("div[role=status]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == text.locator("pre").text_content()


def test_what_is_heard_has_names_and_landmarks(page):
    tree = page.locator("body").aria_snapshot()
    controls = r"^\s*- '?(button|searchbox|textbox|radio|combobox|link|table|img|region)"
    lines = [line for line in tree.splitlines() if re.match(controls, line)]
    assert len(lines) > 40
    assert [line for line in lines if '"' not in line] == []
    for landmark in ("banner", 'navigation "Contents"', "main"):
        assert f"- {landmark}" in tree
    levels = [int(level) for level in re.findall(r'- heading ".*" \[level=(\d)\]', tree)]
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


def test_the_keyboard_finds_a_way_past_the_contents(page):
    page.reload()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the results")
    assert skip.evaluate("link => link === document.activeElement")
    assert skip.bounding_box()["width"] > 50
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for control in ("#table-1 th button", "#table-2 input", ".contents a"):
        page.keyboard.press("Tab")
        found = page.locator(control).first
        found.focus()
        assert found.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"


def _plain(rows: str) -> str:
    """Rows without their order, which those that a script made carry elsewhere."""
    return re.sub(r' data-rank="\d+"| class=""|\s(?=<tr|$)', "", rows)


def _column(table: Any, place: int) -> list[str]:
    return table.locator(f"tbody tr td:nth-child({place + 1})").all_inner_texts()


def _background(page: Any) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def _costs() -> Table:
    frame = pd.DataFrame(COSTS, columns=["name", "cost"])
    columns = (Column("Name", "text", ("name",)), Column("Cost", "number", ("cost",)))
    return Table("costs", "Costs", "A caption.", frame, columns)


def _marked() -> Table:
    frame = pd.DataFrame(
        itertools.product(["one_conv", "two_conv", "mlp"], [128, 256, 512, 1024]),
        columns=["architecture", "batch_size"],
    )
    frame["mean"] = [0.901, 0.9, *([0.5] * 10)]
    frame["std"], frame["n_seeds"] = float("nan"), 1
    frame["mark"] = ["best", "tied", *([None] * 10)]
    columns = (
        Column("Network", "text", ("architecture",)),
        Column("Batch", "count", ("batch_size",)),
        Column("Test %", "accuracy", ("mean", "std", "n_seeds"), mark="mark"),
    )
    return Table("marked", "Marked", "A caption.", frame, columns)


def _accuracies(n_trials: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(0.1, 0.99, n_trials)


def _trials(n_trials: int) -> Table:
    trials = range(n_trials)
    frame = pd.DataFrame(
        {
            "trial": trials,
            "mean": _accuracies(n_trials),
            "optimizer": [("rso", "sgd")[trial % 2] for trial in trials],
            "std": 0.001,
            "n_seeds": 3,
            "note": [MARKUP if trial == 3 else f"note {trial}" for trial in trials],
            "batch_size": [2 ** (trial % 6) for trial in trials],
            "mark": [{5: "best", 7: "tied"}.get(trial) for trial in trials],
        }
    )
    columns = (
        Column("Trial", "number", ("trial",)),
        Column("Test %", "accuracy", ("mean", "std", "n_seeds"), mark="mark"),
        Column("Optimiser", "optimizer", ("optimizer",)),
        Column("Note", "text", ("note",)),
        Column("Batch", "count", ("batch_size",)),
    )
    return Table("every_trial", "Every trial", "A row for each.", frame, columns)


def _charts() -> list[NamedChart]:
    pairs = [("accuracy", "cycles"), ("accuracy", "images"), ("loss", "cycles")]
    family = [
        NamedChart(
            f"{figure}_{against}",
            f"{figure} against {against}",
            "Words of it.",
            _chart(figure, against),
            "learning_curves",
            {"Figure": figure, "Against": against},
        )
        for figure, against in pairs
    ]
    return [
        *family,
        NamedChart("alone", "Alone", "One.", alt.concat(_panel("loss", "cycles")), "alone"),
        NamedChart("last", "Last", "The last.", _chart("loss", "cycles"), "last"),
    ]


def _chart(y: str, x: str) -> alt.FacetChart:
    facet = alt.Facet("network:N", sort=["one", "two"])
    return _panel(y, x).facet(facet=facet, data=_points(y, x))


def _panel(y: str, x: str) -> alt.Chart:
    return (
        alt.Chart(_points(y, x))
        .mark_point()
        .encode(x=f"{x}:Q", y=f"{y}:Q", tooltip=[f"{x}:Q", f"{y}:Q"])
        .properties(width=300, height=200)
    )


def _points(y: str, x: str) -> alt.InlineData:
    rows = [{x: n, y: n / 2, "network": ("one", "two")[n % 2]} for n in range(1, 9)]
    return alt.InlineData(values=rows)
