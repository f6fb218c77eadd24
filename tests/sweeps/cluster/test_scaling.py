"""The commands whose figures SCALING.md has still measure what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweeps.cluster import scaling


def _rows(printed: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in printed.splitlines() if line]


def test_slots_are_measured_by_how_much_comes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "SLOTS", (4,))
    scaling.by_slots(tmp_path, 12, "random")
    _, _, *rows = _rows(capsys.readouterr().out)
    assert [row[:2] for row in rows] == [["4", "all"], ["4", "one run"], ["4", "one event"]]
    polls = [float(row[4]) for row in rows]
    assert polls == [0.25, 1, 7]  # a run has five cycles, a beginning and an end
    assert all(float(row[2]) > 0 for row in rows)


def test_a_sweep_is_measured_as_it_grows_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "MARKS", (8, 16, 1_000))
    scaling.by_trials(tmp_path, 24, "tpe")
    _, _, first, second, titles, _, *going_on = _rows(capsys.readouterr().out)
    assert [first[0], second[0]] == ["8", "16"]
    assert titles[0] == "going on"
    assert [row[0] for row in going_on][-1] == "analysis.frames.load"
    assert len(going_on) == 5
