"""Sweeps that are grown: what runs again, what does not, and what a killed growth leaves."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from rich.console import Console

import sweeps.launch
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from sweeps import circumstances, going_on
from sweeps.circumstances import Circumstances
from sweeps.driving import Outcome
from sweeps.executors import InlineExecutor
from sweeps.launch import launch
from sweeps.runs import Run, RunBegan, RunEvent

RATES = "space.learning_rate={low: 0.01, high: 1.0, log: true}"
WIDER = "space.learning_rate={low: 0.001, high: 2.0, log: true}"
TPE = "sampler={name: tpe, n_startup_trials: 2}"
WITH_RSO = ("space.optimizer=[sgd, rso]", "space.perturbation_std=[0.5, 1.0]")


def _accuracies(run: Run) -> list[float]:
    options = run.configuration.options.model_dump()
    value = options.get("learning_rate") or options["perturbation_std"] / 10
    cycles = range(1, run.configuration.cycles + 1)
    return [round(value * cycle / 10 + 0.01 * run.seed, 6) for cycle in cycles]


class Workplace:
    """Runs, grows and resumes sweeps in process; what an attempt comes to is written down."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        scripted: Any,
        sweep_file: Path,
        folder: Path,
        data: Dataset,
    ) -> None:
        self.file = sweep_file
        self.folder = folder
        self.script: Callable[[Run], Any] = _accuracies
        self.kill_at: int | None = None
        self.started: list[str] = []
        self.said = Console(file=io.StringIO(), width=1000)

        def executor(*_: object, **__: object) -> Any:
            made = scripted(self.script, 1, self.kill_at)
            start = made.start

            def start_and_note(run: Run) -> None:
                self.started.append(run.name)
                start(run)

            made.start = start_and_note
            return made

        monkeypatch.setattr(circumstances, "InlineExecutor", executor)
        for module in (sweeps.launch, going_on):  # nothing is trained: reading MNIST is all wait
            monkeypatch.setattr(module, "load_dataset", lambda options: data)

    def run(self, out: str, *overrides: str) -> Outcome:
        how = Circumstances("inline", None, ["rso-sweep"], self.said)
        return launch(str(self.file), self.path(out), overrides, how)

    def grow(self, out: str, *overrides: str, file: str | None = None, retry: bool = False) -> int:
        """Grows the sweep; how many runs were started for it."""
        n_before = len(self.started)
        going_on.grow(
            self.path(out), file, overrides, retries_failed=retry, executor=None,
            ray_address=None, command=["rso-sweep"], console=self.said,
        )  # fmt: skip
        return len(self.started) - n_before

    def resume(self, out: str) -> int:
        """Resumes the sweep; how many runs were started for it."""
        n_before = len(self.started)
        going_on.resume(self.path(out), (), None, None, ["rso-sweep"], self.said)
        return len(self.started) - n_before

    def path(self, out: str) -> str:
        return str(self.folder / out)

    def words(self) -> str:
        assert isinstance(self.said.file, io.StringIO)
        return self.said.file.getvalue()


@pytest.fixture
def work(
    monkeypatch: pytest.MonkeyPatch,
    scripted: Any,
    sweep_file: Path,
    tmp_path: Path,
    tiny_data: Dataset,
) -> Workplace:
    return Workplace(monkeypatch, scripted, sweep_file, tmp_path, tiny_data)


def _rows(folder: str | Path, name: str) -> list[dict[str, Any]]:
    path = Path(folder) / "records" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _runs(folder: str | Path) -> dict[tuple[int, int], Any]:
    """State, cycles and accuracies of every run by trial and seed; each run is there once."""
    cycles: dict[str, list[float]] = {}
    seen = set()
    for row in _rows(folder, "cycles"):
        assert (row["run"], row["cycle"]) not in seen
        seen.add((row["run"], row["cycle"]))
        cycles.setdefault(row["run"], []).append(row["validation_accuracy"])
    rows = _rows(folder, "runs")
    found = {
        (row["trial"], row["seed"]): (row["state"], row["cycles"], cycles.pop(row["run"], []))
        for row in rows
    }
    assert len(found) == len(rows)
    assert not cycles
    return found


def _by_configuration(folder: str | Path) -> dict[Any, Any]:
    """The same by parameters and seed; no configuration is there twice."""
    names, runs = _by_name(folder), _runs(folder)
    found = {
        (tuple(sorted(names[f"trial-{trial}-seed-{seed}"].items())), seed): run
        for (trial, seed), run in runs.items()
    }
    assert len(found) == len(runs)
    return found


def _by_name(folder: str | Path) -> dict[Any, Any]:
    return {row["run"]: row["parameters"] for row in _rows(folder, "runs")}


def _sweep(folder: str | Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((Path(folder) / "sweep.yaml").read_text())
    return content


def _study(folder: str | Path) -> optuna.Study:
    """The study that the sweep file names."""
    from sweeps.storage.append_log import AppendLog
    from sweeps.storage.places import open_place
    from sweeps.storage.studies import open_study_store

    sweep = _sweep(folder)
    journal = AppendLog(open_place(str(folder)), "study.journal")
    name = sweep["study"]["name"] or sweep["name"]
    store = open_study_store(sweep["study"]["storage"], name, journal)
    return optuna.load_study(study_name=store.study_name, storage=store.storage)


def _check_whole(folder: str | Path) -> None:
    """Every trial has ended once, with the mean of what the records say of its runs."""
    sweep = _sweep(folder)
    runs = _runs(folder)
    trials = _study(folder).trials
    assert [trial.number for trial in trials] == list(range(sweep["trials"]))
    assert len(runs) == sweep["trials"] * len(sweep["seeds"])
    names = _by_name(folder)
    for trial in trials:
        first = names[f"trial-{trial.number}-seed-{sweep['seeds'][0]}"]
        assert trial.params.items() <= first.items()
        of_trial = [runs[trial.number, seed] for seed in sweep["seeds"]]
        assert trial.state.is_finished()
        if trial.state == optuna.trial.TrialState.COMPLETE:
            last = [accuracies[-1] for _, _, accuracies in of_trial]
            assert {n for _, n, _ in of_trial} == {sweep["budget"]["cycles"]}
            assert trial.value == pytest.approx(sum(last) / len(last))
            means = [
                sum(column) / len(column) for column in zip(*(a for *_, a in of_trial), strict=True)
            ]
            assert list(trial.intermediate_values.values()) == pytest.approx(means)
    assert "superseded" not in sweep["provenance"]


RANDOM = (RATES, "sampler=random", "trials=3")
GROWTHS = {
    # what the sweep was, what it becomes, the runs that are begun for it
    "more seeds": ((), ("seeds=3",), 3),
    "more cycles": ((), ("budget.cycles=4",), 6),
    "a longer list": ((), ("space.learning_rate=[0.1, 0.2, 0.3, 0.4]",), 2),
    "a fixed value that becomes a list": ((), ("space.batch_size=[25, 50]",), 6),
    "another optimiser": ((), WITH_RSO, 4),
    "more of a grid": (("trials=1",), ("trials=2",), 2),
    "all of a grid": (("trials=1",), ("trials=9",), 4),
    "several at once": (
        (),
        ("seeds=[0, 1, 5]", "budget.cycles=3", "space.batch_size=[25, 50]"),
        18,
    ),
    "a part of a grid that gets more of all": (
        ("trials=2",),
        ("trials=3", "seeds=3", "budget.cycles=3"),
        9,
    ),
    "random trials": (RANDOM, ("trials=5",), 4),
    "random trials with seeds and cycles": (
        RANDOM,
        ("trials=4", "seeds=3", "budget.cycles=3"),
        12,
    ),
    "brute force": (
        ("sampler=brute_force",),
        ("seeds=3",),
        3,
    ),
}


@pytest.mark.parametrize("growth", GROWTHS)
def test_a_grown_sweep_is_the_one_that_had_all_from_the_start(work: Workplace, growth: str) -> None:
    before, added, n_runs = GROWTHS[growth]
    work.run("grown", *before)
    assert work.grow("grown", *added) == n_runs
    work.run("at-once", *before, *added)
    assert _by_configuration(work.path("grown")) == _by_configuration(work.path("at-once"))
    _check_whole(work.path("grown"))
    assert work.resume("grown") == 0
    _check_whole(work.path("grown"))
    assert work.grow("grown", *added) == 0  # it has all of it


@pytest.mark.parametrize(
    ("before", "added", "n_runs"),
    [
        ((RATES, "sampler=random", "trials=3"), (WIDER, "trials=6"), 6),
        ((RATES, TPE, "trials=4"), ("trials=7",), 6),
        ((RATES, TPE, "trials=4"), (WIDER, "trials=7", "seeds=3"), 13),
        ((TPE, "trials=3"), ("space.learning_rate=[0.1, 0.2, 0.3, 0.7]", "trials=6"), 6),
        ((RATES, "sampler=random", "trials=3"), (*WITH_RSO, "trials=8"), 10),
        ((RATES, "sampler=qmc", "trials=4"), (WIDER, "trials=8"), 8),
        ((RATES, "sampler=cmaes", "trials=6"), (WIDER, "trials=12"), 12),
        ((RATES, "sampler=nsga2", "trials=4"), ("seeds=3", "trials=6"), 10),
    ],
    ids=["wider", "tpe", "tpe wider", "tpe choices", "optimiser", "qmc", "cmaes", "nsga2"],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_had_been_tried_stays_and_the_rest_is_of_the_larger_sweep(
    work: Workplace, before: Sequence[str], added: Sequence[str], n_runs: int
) -> None:
    work.run("out", *before)
    had = _by_name(work.path("out"))
    assert work.grow("out", *added) == n_runs
    _check_whole(work.path("out"))
    now = _by_name(work.path("out"))
    assert had.items() <= now.items()
    if WIDER in added and TPE not in before:  # else a point may well come again
        points = {tuple(sorted(point.items())) for point in now.values()}
        assert len(points) == _sweep(work.path("out"))["trials"]


def test_random_trials_keep_the_numbers_of_the_space_that_they_were_drawn_from(
    work: Workplace,
) -> None:
    before = (RATES, "sampler=random", "seeds=1")
    work.run("narrow", *before, "trials=6")
    work.run("wide", *before, WIDER, "trials=6")
    work.run("grown", *before, "trials=2")
    work.grow("grown", WIDER, "trials=4")
    work.grow("grown", "space.learning_rate={low: 0.0001, high: 2.0, log: true}", "trials=6")
    narrow, wide, grown = (_by_name(work.path(name)) for name in ("narrow", "wide", "grown"))
    for number, like in enumerate([narrow, narrow, wide, wide]):
        assert grown[f"trial-{number}-seed-0"] == like[f"trial-{number}-seed-0"]
    assert [stage["n_trials"] for stage in _sweep(work.path("grown"))["provenance"]["earlier"]] == [
        2,
        4,
    ]


def test_points_that_are_appended_to_first_come_next(work: Workplace) -> None:
    rates = (RATES, "sampler=random", "seeds=1", "first=[{learning_rate: 0.5}]")
    work.run("out", *rates, "trials=2")
    assert work.grow("out", "first=[{learning_rate: 0.5}, {learning_rate: 0.25}]", "trials=4") == 2
    rates_now = [row["parameters"]["learning_rate"] for row in _rows(work.path("out"), "runs")]
    assert rates_now[0] == 0.5
    assert rates_now[2] == 0.25


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", ["sampler={name: gp, n_startup_trials: 2}", TPE])
def test_constraints_that_are_added_are_heeded_with_the_trials_that_there_are(
    work: Workplace, sampler: str
) -> None:
    work.run("out", RATES, sampler, "trials=3", "seeds=1")
    # all that has been begun keeps it
    work.grow("out", "constraints=[{require: {learning_rate: {at_least: 0.005}}}]", "trials=5")
    trials = _study(work.path("out")).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 5
    assert all(len(trial.system_attrs["constraints"]) == 1 for trial in trials)


def test_a_sweep_file_says_what_a_run_folder_is_to_become(work: Workplace) -> None:
    work.run("out")
    larger = work.folder / "larger.yaml"
    text = work.file.read_text()
    larger.write_text(text.replace("seeds: 2", "seeds: 3").replace("0.3]", "0.3, 0.4]"))
    assert work.grow("out", "budget.cycles=3", file=str(larger)) == 12
    _check_whole(work.path("out"))
    assert _sweep(work.path("out"))["seeds"] == [0, 1, 2]


def test_growth_on_growth_adds_up(work: Workplace) -> None:
    work.run("out", "seeds=1", "space.learning_rate=[0.1]", "budget.cycles=1")
    assert work.grow("out", "space.learning_rate=[0.1, 0.2]") == 1
    assert work.grow("out", "seeds=2") == 2
    assert work.grow("out", "space.learning_rate=[0.3, 0.2, 0.1]") == 2
    assert work.grow("out", "budget.cycles=2") == 6
    work.run("at-once")
    assert _by_configuration(work.path("out")) == _by_configuration(work.path("at-once"))
    assert _sweep(work.path("out"))["study"]["name"] == "small.5"
    _check_whole(work.path("out"))


@pytest.mark.parametrize(
    "added", [("seeds=3",), ("budget.cycles=4",), ("space.batch_size=[5,25]",)]
)
@pytest.mark.parametrize("kill_at", [1, 3, 6, 11])
def test_a_sweep_that_was_killed_is_grown_to_the_whole(
    work: Workplace, scripted: Any, kill_at: int, added: Sequence[str]
) -> None:
    work.kill_at = kill_at
    with pytest.raises(scripted.Killed):
        work.run("out")
    with pytest.raises(scripted.Killed):
        work.grow("out", *added)
    work.kill_at = None
    work.resume("out")
    _check_whole(work.path("out"))
    work.run("at-once", *added)
    assert _by_configuration(work.path("out")) == _by_configuration(work.path("at-once"))


def test_failed_trials_alone_are_tried_again_when_that_is_asked_for(work: Workplace) -> None:
    failing = {"trial-1-seed-0"}
    work.script = lambda run: "it was full" if run.name in failing else _accuracies(run)
    assert work.run("out").progress.n_trials_failed == 1
    assert work.grow("out") == 0
    assert work.grow("out", "seeds=3") == 3  # a new seed of each, and no more of the failed one
    assert _study(work.path("out")).trials[1].state == optuna.trial.TrialState.FAIL
    assert work.grow("out", retry=True) == 1
    assert [row["reason"] for row in _rows(work.path("out"), "runs") if row["state"] == "failed"]
    failing.clear()
    assert work.grow("out", "space.learning_rate=[0.1, 0.2, 0.3, 0.4]", retry=True) == 1 + 3
    _check_whole(work.path("out"))
    assert not [row for row in _rows(work.path("out"), "runs") if row["state"] == "failed"]
    aside = _rows(work.path("out"), "set_aside")
    assert {row["run"] for row in aside if row.get("state") == "failed"} == {"trial-1-seed-0"}
    assert work.grow("out", retry=True) == 0
    assert "no trial has failed: none is tried again" in work.words()


def test_a_run_that_is_tried_again_is_recorded_from_its_first_cycle(
    work: Workplace, events: Any
) -> None:
    work.script = lambda run: [
        events.began(run),
        events.cycle_ended(run, 1, 0.9),
        events.ended(run, "failed", "no luck"),
    ]
    work.run("out", "seeds=1")
    work.script = _accuracies
    assert work.grow("out", retry=True) == 3
    _check_whole(work.path("out"))


def test_pruned_trials_stay_pruned(work: Workplace) -> None:
    pruning = (
        "budget.cycles=3",
        "space.learning_rate=[0.3, 0.2, 0.1]",
        "pruner={name: median, n_startup_trials: 1, n_warmup_cycles: 0}",
    )
    work.run("out", *pruning)
    pruned = {row["run"] for row in _rows(work.path("out"), "runs") if row["state"] == "pruned"}
    assert pruned
    before = [row for row in _rows(work.path("out"), "cycles") if row["run"] in pruned]
    work.grow("out", "budget.cycles=5", "seeds=3")
    states = {row["run"]: row["state"] for row in _rows(work.path("out"), "runs")}
    assert {states[name] for name in pruned} == {"pruned"}
    assert [row for row in _rows(work.path("out"), "cycles") if row["run"] in pruned] == before
    _check_whole(work.path("out"))


class Broken(BaseException):
    """The process is gone."""


def _breaking(monkeypatch: pytest.MonkeyPatch, at: int) -> list[str]:
    """The driver's process ends at the n-th write of the growth, before or after it is done."""
    from sweeps.storage.local_place import LocalPlace

    writes: list[str] = []

    def breaks(name: str) -> Callable[..., Any]:
        original = getattr(LocalPlace, name)

        def write(self: LocalPlace, file: str, *content: Any) -> None:
            if "driver" in file:  # the lock, and who has had it
                original(self, file, *content)
                return
            writes.append(f"before {name} {file}")
            if len(writes) == at:
                raise Broken
            original(self, file, *content)
            writes.append(f"after {name} {file}")
            if len(writes) == at:
                raise Broken

        return write

    for name in ("write", "append"):
        monkeypatch.setattr(LocalPlace, name, breaks(name))
    return writes


@pytest.mark.parametrize("again", ["resumed", "grown again"])
def test_a_growth_that_dies_at_any_write_leaves_the_old_or_the_new_sweep(
    work: Workplace, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    small = ("budget.cycles=1", "seeds=1", "space.learning_rate=[0.1, 0.2]")
    added = ("budget.cycles=2", "seeds=2", "space.learning_rate=[0.1, 0.4, 0.2]")
    failing = {"trial-1-seed-0"}
    work.script = lambda run: "it was full" if run.name in failing else _accuracies(run)
    work.run("old", *small)
    failing.clear()
    work.run("new", *small, *added)
    old, new = (_by_configuration(work.path(name)) for name in ("old", "new"))
    found = []
    for at in range(1, 200):
        shutil.copytree(work.path("old"), work.path(f"out-{at}"))
        with monkeypatch.context() as patched:
            writes = _breaking(patched, at)
            try:
                work.grow(f"out-{at}", *added, retry=True)
            except Broken:
                pass
            else:
                break
        if again == "resumed":
            work.resume(f"out-{at}")
            after = _by_configuration(work.path(f"out-{at}"))
            found.append(after == new)
            assert after in (old, new), writes
        else:
            work.grow(f"out-{at}", *added, retry=True)
            assert _by_configuration(work.path(f"out-{at}")) == new, writes
        _check_whole(work.path(f"out-{at}"))
        if any("append records/runs.jsonl" in write for write in writes):
            break  # a run has ended: from there on it is a driver like any other
    else:
        raise AssertionError("it never came to training")
    assert again != "resumed" or found == sorted(found)  # first the old one, then the new one


@pytest.mark.parametrize("added", [("seeds=3", "budget.cycles=3"), (WIDER, "trials=4")])
def test_a_study_in_a_database_grows_too(work: Workplace, added: Sequence[str]) -> None:
    storage = f"study.storage=sqlite:///{work.folder}/studies.db"
    work.run("out", storage, RATES, TPE, "trials=3")
    work.grow("out", *added)
    _check_whole(work.path("out"))
    assert work.resume("out") == 0
    assert not (work.folder / "out" / "study.journal").exists()


def test_the_name_of_a_grown_study_is_no_longer_than_a_name_may_be(work: Workplace) -> None:
    name = "n" * 100
    work.run("out", f"name={name}")
    for seeds in range(3, 5):
        work.grow("out", f"seeds={seeds}")
        _check_whole(work.path("out"))
    assert _sweep(work.path("out"))["study"]["name"] == "n" * 98 + ".3"


def test_trials_of_a_lost_study_hold_a_growth_too(work: Workplace) -> None:
    work.run("out")
    (work.folder / "out" / "study.journal").unlink()
    with pytest.raises(InvalidInput, match="'space' must keep every configuration"):
        work.grow("out", "space.learning_rate=[0.1, 0.2, 0.5]")
    assert work.grow("out", "seeds=3", "space.learning_rate=[0.1, 0.2, 0.3, 0.5]") == 6
    _check_whole(work.path("out"))


def test_analysis_counts_the_runs_of_a_grown_sweep_once(work: Workplace) -> None:
    import analysis

    work.run("out")
    work.grow("out", "seeds=3", "budget.cycles=4")
    frames = analysis.load(work.path("out"))
    assert len(frames.runs) == 9
    assert len(frames.cycles) == 36
    assert set(frames.runs["state"]) == {"finished"}


TRAINED = """
name: trained
data: {name: mnist, train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 2}
space:
  architecture: mlp(4)
  batch_size: 50
  optimizer: [sgd, rso]
  learning_rate: 0.1
  momentum: 0.9
seeds: 2
"""


@pytest.mark.parametrize("keeps", [True, False])
def test_more_cycles_are_those_of_a_longer_sweep_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keeps: bool
) -> None:
    began: list[RunBegan] = []

    class Watching(InlineExecutor):
        def poll(self, timeout_s: float) -> list[RunEvent]:
            events = super().poll(timeout_s)
            began.extend(event for event in events if isinstance(event, RunBegan))
            return events

    monkeypatch.setattr(circumstances, "InlineExecutor", Watching)
    file = tmp_path / "trained.yaml"
    file.write_text(TRAINED)
    quiet = Console(quiet=True)
    how = Circumstances("inline", None, ["rso-sweep"], quiet)
    # a sigma that has fallen over two cycles does not rise again for four
    kept = (f"checkpoints.keep_final_weights={str(keeps).lower()}",)
    kept += ("space.annealing=none",) if keeps else ()
    for name, cycles in (("grown", 2), ("at-once", 4)):
        launch(str(file), str(tmp_path / name), [*kept, f"budget.cycles={cycles}"], how)
    began.clear()
    going_on.grow(
        str(tmp_path / "grown"), None, ["budget.cycles=4"], retries_failed=False,
        executor=None, ray_address=None, command=["rso-sweep"], console=quiet,
    )  # fmt: skip
    assert len(began) == 4
    assert {event.resumed_from for event in began} == ({(2, 0)} if keeps else {(0, 0)})

    def figures(name: str) -> list[Any]:
        rows = _rows(tmp_path / name, "cycles")
        for row in rows:
            del row["training_s"], row["evaluation_s"]
        return sorted(rows, key=lambda row: (row["run"], row["cycle"]))

    assert figures("grown") == figures("at-once")
    assert len(figures("grown")) == 16
