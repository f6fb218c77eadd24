"""The figures that the README shows are those of the kept results, and these can be made again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweeps.presets import preset_names
from sweeps.reading import read_sweep
from sweeps.spec import SweepSpec
from sweeps.sweep_file import load_sweep

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "analysis" / "results"
README = (ROOT / "README.md").read_text()
KEPT = sorted(path for path in RESULTS.rglob("*") if path.is_file() and path.parent != RESULTS)
SWEEPS = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())


def _section(heading: str) -> str:
    """The text of a section of the README, up to the next heading of its level or above."""
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found.group(1)


FOUND = _section("What it has found") + _section("More of what it has found")
"""Of the README."""


def _squeezed(text: str) -> str:
    return " ".join(text.split())


TABLES = {path: _squeezed(path.read_text()) for path in KEPT if path.suffix == ".md"}


def test_every_figure_with_an_interval_is_in_a_kept_table() -> None:
    figures = set(re.findall(r"\d[\d.]* ± \d[\d.]*\d", _squeezed(FOUND)))
    assert figures
    unknown = {each for each in figures if not any(each in text for text in TABLES.values())}
    assert not unknown


def test_every_row_of_a_table_is_one_of_a_kept_table() -> None:
    rows = [line for line in FOUND.splitlines() if re.match(r"\| \w+ ", line)]
    assert rows
    for row in rows:
        assert any(_squeezed(row) in text for text in TABLES.values()), row


def test_every_file_that_the_readme_refers_to_is_there() -> None:
    linked = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README)
    assert linked
    for each in linked:
        assert (ROOT / each).exists(), each


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_kept_sweep_is_its_preset(sweep: str) -> None:
    def settings(spec: SweepSpec) -> dict[str, object]:
        found = {name: getattr(spec, name) for name in SweepSpec.model_fields}
        # a run folder has the trials written out, and one that has grown another study's name
        return found | {"trials": spec.n_planned(), "study": spec.study.storage}

    assert sweep in preset_names()
    kept, preset = load_sweep(RESULTS / sweep / "sweep.yaml", ()), read_sweep(sweep)
    assert settings(kept) == settings(preset)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_what_is_kept_is_what_its_command_makes(sweep: str) -> None:
    text = (RESULTS / "README.md").read_text()
    commands = [_squeezed(each) for each in re.sub(r"\\\n", "", text).splitlines()]
    assert f"rso-sweep run {sweep}" in commands
    made = {"sweep.yaml"}
    for command in commands:
        if not re.search(rf"--out analysis/results/{sweep}(?=[ /]|$)", command):
            continue
        made |= set(re.findall(r"--only (\S+)", command))
        made |= {Path(each).name for each in re.findall(r"--out (\S+\.md)", command)}
    assert {path.name for path in KEPT if path.is_relative_to(RESULTS / sweep)} == made


def test_what_is_kept_is_small() -> None:
    assert sum(path.stat().st_size for path in KEPT) < 400_000
