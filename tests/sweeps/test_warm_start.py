"""Sweeps that begin with the results of others."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from rich.console import Console

import sweeps.launch
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from sweeps import circumstances, going_on
from sweeps.circumstances import Circumstances
from sweeps.launch import launch
from sweeps.runs import Run

TPE = "sampler={name: tpe, n_startup_trials: 3}"
RATES = "space.learning_rate={low: 0.15, high: 1.0}"


def _accuracies(run: Run) -> list[float]:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    cycles = range(1, run.configuration.cycles + 1)
    return [round(rate * cycle / 10 + 0.01 * run.seed, 6) for cycle in cycles]


class Workplace:
    """Runs sweeps in process, whose results are written down."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file = file
        self.folder = folder
        self.said = Console(file=io.StringIO(), width=1000)

    def run(self, out: str, *overrides: str) -> None:
        how = Circumstances("inline", None, ["rso-sweep"], self.said)
        launch(str(self.file), str(self.folder / out), overrides, how)

    def grow(self, out: str, *overrides: str) -> None:
        going_on.grow(
            str(self.folder / out), None, overrides, retries_failed=False, executor=None,
            ray_address=None, command=["rso-sweep"], console=self.said,
        )  # fmt: skip

    def resume(self, out: str) -> None:
        going_on.resume(str(self.folder / out), (), None, None, ["rso-sweep"], self.said)

    def from_(self, *sources: str) -> str:
        return f"warm_start=[{', '.join(str(self.folder / source) for source in sources)}]"

    def words(self) -> str:
        assert isinstance(self.said.file, io.StringIO)
        return self.said.file.getvalue()

    def rows(self, out: str, name: str) -> list[dict[str, Any]]:
        lines = (self.folder / out / "records" / f"{name}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def trials(self, out: str, study: str = "small") -> list[optuna.trial.FrozenTrial]:
        path = str(self.folder / out / "study.journal")
        backend = optuna.storages.journal.JournalFileBackend(path)
        storage = optuna.storages.JournalStorage(backend)
        return optuna.load_study(study_name=study, storage=storage).trials


@pytest.fixture
def work(
    monkeypatch: pytest.MonkeyPatch,
    scripted: Any,
    sweep_file: Path,
    tmp_path: Path,
    tiny_data: Dataset,
) -> Workplace:
    monkeypatch.setattr(
        circumstances, "InlineExecutor", lambda *_, **__: scripted(_accuracies, n_slots=1)
    )
    for module in (sweeps.launch, going_on):
        monkeypatch.setattr(module, "load_dataset", lambda options: tiny_data)
    return Workplace(sweep_file, tmp_path)


def _is_warm(trial: optuna.trial.FrozenTrial) -> bool:
    return "warm_start" in trial.user_attrs


def test_the_study_begins_with_the_points_of_its_space_that_others_have_tried(
    work: Workplace,
) -> None:
    work.run("earlier", "budget.cycles=5")  # rates 0.1, 0.2 and 0.3, with seeds 0 and 1
    work.run("new", work.from_("earlier"), RATES, TPE, "trials=4", "budget.cycles=3", "seeds=1")
    trials = work.trials("new")
    assert [_is_warm(trial) for trial in trials] == [True, True, *[False] * 4]
    # the mean over two seeds, after three of five cycles
    assert {trial.params["learning_rate"]: trial.value for trial in trials[:2]} == pytest.approx(
        {0.2: 0.2 * 3 / 10 + 0.005, 0.3: 0.3 * 3 / 10 + 0.005}
    )
    assert {trial.user_attrs["warm_start"] for trial in trials[:2]} == {
        str(work.folder / "earlier")
    }
    # its own trials are numbered after them, and count alone
    assert {row["trial"] for row in work.rows("new", "runs")} == {2, 3, 4, 5}
    assert "2 trials of" in work.words()
    assert "4 of 4 trials finished" in work.words()


def test_a_sampler_goes_by_what_others_have_found(work: Workplace) -> None:
    work.run("earlier", RATES, "sampler=random", "trials=6")
    work.run("cold", RATES, TPE, "trials=3", "seeds=1")
    work.run("warm", work.from_("earlier"), RATES, TPE, "trials=3", "seeds=1")
    own = [trial for trial in work.trials("warm") if not _is_warm(trial)]
    # six results are more than its three startup trials: none of its own is drawn at random
    rates = [trial.params["learning_rate"] for trial in own]
    best = max(trial.params["learning_rate"] for trial in work.trials("earlier"))
    assert any(abs(rate - best) < 0.2 for rate in rates)
    assert rates != [trial.params["learning_rate"] for trial in work.trials("cold")]


def test_the_objective_is_this_sweep_s(work: Workplace) -> None:
    work.run("earlier")
    loss = "objective={metric: training_loss}"
    work.run("new", work.from_("earlier"), TPE, "trials=1", loss)
    warm = [trial for trial in work.trials("new") if _is_warm(trial)]
    assert sorted(trial.value for trial in warm if trial.value is not None) == pytest.approx(
        sorted(1 - (rate * 2 / 10 + 0.005) for rate in (0.1, 0.2, 0.3))
    )


def test_several_sweeps_are_taken_together(work: Workplace) -> None:
    work.run("one", "space.learning_rate=[0.2]")
    work.run("two", "space.learning_rate=[0.3, 0.4]")
    work.run("new", work.from_("one", "two"), RATES, TPE, "trials=1")
    assert [_is_warm(trial) for trial in work.trials("new")] == [True, True, True, False]


def test_what_was_taken_is_kept_when_the_sweep_is_resumed_grown_or_loses_its_study(
    work: Workplace,
) -> None:
    work.run("earlier")
    work.run("new", work.from_("earlier"), RATES, TPE, "trials=3", "seeds=1")
    warm = [(t.params, t.values) for t in work.trials("new") if _is_warm(t)]
    own = [(t.number, t.params, t.values) for t in work.trials("new") if not _is_warm(t)]
    (work.folder / "new" / "study.journal").unlink()
    work.resume("new")
    trials = work.trials("new")
    assert [(t.params, t.values) for t in trials if _is_warm(t)] == warm
    assert [(t.number, t.params, t.values) for t in trials if not _is_warm(t)] == own
    (work.folder / "earlier" / "sweep.yaml").unlink()  # it is not read again
    work.grow("new", "trials=5", "seeds=2")
    trials = work.trials("new", "small.2")
    assert [(t.params, t.values) for t in trials if _is_warm(t)] == warm
    assert [t.params for t in trials if not _is_warm(t)][:3] == [params for _, params, _ in own]
    assert len(trials) == len(warm) + 5
    assert all(trial.state.is_finished() for trial in trials)
    assert len(work.rows("new", "runs")) == 10


def test_what_a_grown_space_has_not_is_no_hindrance(work: Workplace) -> None:
    work.run("earlier", "space.learning_rate=[0.9]")
    work.run("new", work.from_("earlier"), RATES, TPE, "trials=1", "first=[{learning_rate: 0.2}]")
    work.grow("new", "trials=3", "space.learning_rate={low: 0.1, high: 0.5}")
    trials = work.trials("new", "small.2")
    assert [trial.state.name for trial in trials] == ["FAIL", *["COMPLETE"] * 3]
    assert all(trial.params["learning_rate"] <= 0.5 for trial in trials[1:])


def test_folders_that_are_none_are_refused_before_anything_is_written(work: Workplace) -> None:
    (work.folder / "empty").mkdir()
    for source in ("nowhere", "empty"):
        with pytest.raises(InvalidInput) as refusal:
            work.run("new", work.from_(source), RATES, TPE, "trials=1")
        assert refusal.value.problems == (
            f"'warm_start' must list run folders, got '{work.folder / source}', "
            "which has no sweep.yaml",
        )
    with pytest.raises(InvalidInput, match="'warm_start' must list run folders that can be read"):
        work.run("new", work.from_("sweep.yaml"), RATES, TPE, "trials=1")
    assert not (work.folder / "new").exists()


def test_damaged_records_of_another_sweep_are_refused_in_a_line(work: Workplace) -> None:
    work.run("earlier")
    path = work.folder / "earlier" / "records" / "runs.jsonl"
    path.write_text('{"run": 3}\n')
    with pytest.raises(InvalidInput, match="'warm_start' must list run folders that can be read"):
        work.run("new", work.from_("earlier"), RATES, TPE, "trials=1")
    assert not (work.folder / "new").exists()


def test_a_folder_that_was_begun_by_another_driver_leaves_nothing_to_a_new_sweep(
    work: Workplace,
) -> None:
    work.run("earlier")
    left = work.folder / "new" / "records"
    left.mkdir(parents=True)
    (left / "warm_start.jsonl").write_text(
        '{"source": "x", "parameters": {"learning_rate": 0.9}, "values": [1.0]}\n'
    )
    work.run("new")
    assert work.rows("new", "warm_start") == []
    assert not any(map(_is_warm, work.trials("new")))
