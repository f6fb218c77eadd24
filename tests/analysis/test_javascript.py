"""The script of the charts is bundled once, and then kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import vl_convert

from analysis.javascript import chart_javascript


@pytest.fixture(autouse=True)
def in_a_new_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("RSO_SWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(
        vl_convert, "javascript_bundle", lambda code: f"'</script><!--'; {code} // ä"
    )
    chart_javascript.cache_clear()
    yield
    chart_javascript.cache_clear()


SCRIPT = "'<\\/script><\\!--'; window.vegaEmbed = vegaEmbed; // ä"


def test_it_is_bundled_once_and_ends_no_element(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert chart_javascript() == SCRIPT
    (kept,) = (tmp_path / "report").iterdir()
    assert metadata.version("vl-convert-python") in kept.name
    chart_javascript.cache_clear()
    monkeypatch.setattr(vl_convert, "javascript_bundle", None)
    assert chart_javascript() == SCRIPT


def test_another_version_is_bundled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    chart_javascript()
    chart_javascript.cache_clear()
    monkeypatch.setattr(metadata, "version", lambda package: "another")
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda code: "newer")
    assert chart_javascript() == "newer"


def test_a_folder_that_cannot_be_written_to_costs_only_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RSO_SWEEP_CACHE", str(tmp_path / "file"))
    assert chart_javascript() == SCRIPT


def test_a_disk_that_fails_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("no room")

    monkeypatch.setattr(os, "fsync", fail)
    assert chart_javascript() == SCRIPT
    assert list((tmp_path / "report").iterdir()) == []
