"""Samplers and pruners of a user's own that raise, and what is asked for ahead."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli import main
from sweeps.runs import Run
from sweeps.search import SearchFailed

OWN = """
import sys

from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler


class InRelative(RandomSampler):
    def sample_relative(self, study, trial, search_space):
        raise KeyError(trial.number)


class InIndependent(RandomSampler):
    def sample_independent(self, study, trial, name, distribution):
        raise ValueError("on two\\nlines")


class InTell(RandomSampler):
    def after_trial(self, study, trial, state, values):
        raise RuntimeError(f"told {trial.number}")


class Leaves(RandomSampler):
    def before_trial(self, study, trial):
        sys.exit(3)


class Prunes(BasePruner):
    def prune(self, study, trial):
        raise ZeroDivisionError("no luck")
"""
RATES = "space.learning_rate={low: 0.001, high: 1.0}"


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "raising_search.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "raising_search.py"


def _script(run: Run) -> list[float]:
    return [0.1, 0.2]


FAILURES = {
    "sampler='raising_search:InRelative'": "'sampler' raising_search:InRelative has failed "
    "(KeyError: 0)",
    "sampler='raising_search:InIndependent'": "'sampler' raising_search:InIndependent has failed "
    "(ValueError: on two lines)",
    "sampler='raising_search:InTell'": "'sampler' raising_search:InTell has failed "
    "(RuntimeError: told 0)",
    "sampler='raising_search:Leaves'": "'sampler' raising_search:Leaves has failed (SystemExit: 3)",
    "pruner='raising_search:Prunes'": "'pruner' raising_search:Prunes has failed "
    "(ZeroDivisionError: no luck)",
    "pruner={name: patient, patience: 0, wrapped: 'raising_search:Prunes'}": "'pruner.wrapped' "
    "raising_search:Prunes has failed (ZeroDivisionError: no luck)",
}


@pytest.mark.parametrize("override", FAILURES)
def test_what_a_class_of_the_user_s_raises_is_one_line(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, override: str
) -> None:
    sweep = spec(RATES, "sampler=random", "trials=3", "budget.cycles=3", override)

    def script(run: Run) -> list[float]:
        return [0.3, 0.2, 0.1]  # it falls, lest patience lasts

    with pytest.raises(SearchFailed) as caught:
        drive(sweep, tmp_path / "out", scripted(script))

    assert str(caught.value) == FAILURES[override]


def test_the_command_line_says_so_and_ends_with_1(
    tmp_path: Path,
    sweep_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = ["run", str(sweep_file), "--executor", "inline", "--out", str(out)]
    sampler = ["--set", RATES, "--set", "sampler=raising_search:InTell", "--set", "trials=3"]
    monkeypatch.setattr("sys.argv", ["rso-sweep", *arguments, *sampler])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last == (
        "rso-sweep: 'sampler' raising_search:InTell has failed (RuntimeError: told 0); "
        f"once that is put right, `rso-sweep resume {out}` goes on: what was complete is kept"
    )


@pytest.mark.parametrize("name", ["InRelative", "InIndependent", "InTell", "Leaves"])
def test_a_sweep_goes_on_once_the_class_is_put_right(
    tmp_path: Path,
    spec: Any,
    drive: Any,
    scripted: Any,
    study: Any,
    rows: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    sweep, path = spec(RATES, f"sampler='raising_search:{name}'", "trials=3"), tmp_path / "out"
    with pytest.raises(SearchFailed):
        drive(sweep, path, scripted(_script))
    module = importlib.import_module("raising_search")
    monkeypatch.setattr(module, name, module.RandomSampler)
    progress = drive(sweep, path, scripted(_script))
    sys.modules.pop("raising_search")

    assert progress.n_trials_finished == 3
    assert [trial.state.name for trial in study(path).trials] == ["COMPLETE"] * 3
    assert len(rows(path, "runs")) == 6


@pytest.mark.parametrize(
    ("sampler", "n_asked"), [("random", 4), ("qmc", 4), ("brute_force", 4), ("tpe", 2), ("gp", 2)]
)
def test_trials_are_asked_for_ahead_where_the_sampler_loses_nothing_by_it(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, study: Any, sampler: str, n_asked: int
) -> None:
    rates = "space.learning_rate={low: 0.125, high: 1.5, step: 0.125}"
    sweep = spec(rates, f"sampler={sampler}", "trials=8", "seeds=1")
    with pytest.raises(scripted.Killed):
        drive(sweep, tmp_path / "out", scripted(_script, n_slots=2, kill_at=1))

    assert len(study(tmp_path / "out").trials) == n_asked
