"""What `rso-sweep check` says that a sweep costs."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rso_core.datasets import load_dataset
from rso_core.errors import InvalidInput
from sweeps.check_command import check_lines, flop_words
from sweeps.cli import main

SWEEP = """
name: small
data: {name: mnist, train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 2}
space:
  architecture: [mlp(), mlp(4)]
  batch_size: 25
  optimizer: [rso, sgd]
seeds: 2
"""
SGD = "space.optimizer=sgd"
ONE_KIND = (SGD, "space.architecture=mlp()")

_loaded = cache(load_dataset)


@pytest.fixture(autouse=True)
def sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file sweep.yaml in an empty folder; data that was loaded once is not loaded again."""
    for module in ("check_command", "earlier_times"):
        monkeypatch.setattr(f"sweeps.{module}.load_dataset", _loaded)
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(SWEEP)


def said(lines: list[str], field: str) -> str:
    """What the only line of that field says."""
    (line,) = [line for line in lines if line.split()[0] == field]
    return line.removeprefix(field).strip()


def notes(lines: list[str]) -> list[str]:
    return [line.removeprefix("note").strip() for line in lines if line.startswith("note")]


def test_work_and_time_are_said_beside_the_counts() -> None:
    lines = check_lines("sweep.yaml", [], n_workers=2)
    assert said(lines, "runs") == "8: 2 seeds a trial, 2 cycles a run"
    # mlp() and mlp(4) under SGD, whose forward and backward pass is worth three forward passes
    sgd = check_lines("sweep.yaml", [SGD])
    n_flop = 2 * 2 * 100 * 3 * 2 * (784 * 10 + 784 * 4 + 4 * 10)
    assert said(sgd, "work") == f"{flop_words(n_flop)} to train, evaluations aside"
    assert said(lines, "time") == "about 1 s on 2 workers, for a nominal machine"
    assert said(lines, "longest").startswith("about 0 s for a run: ")
    assert notes(lines) == [
        "--calibrate measures this machine within seconds, --like DIR goes by records"
    ]


def test_the_time_falls_with_the_workers_down_to_the_longest_run() -> None:
    overrides = ["budget.cycles=10000", *ONE_KIND]
    times = [said(check_lines("sweep.yaml", overrides, n_workers=n), "time") for n in (1, 2, 16)]
    longest = said(check_lines("sweep.yaml", overrides), "longest")
    assert longest.startswith("about 32 s for a run: sgd  mlp(), batch 25")
    assert [time.split(" on ")[0] for time in times] == [
        "about 1 min 04 s",
        "about 32 s",
        "about 32 s",
    ]
    assert [time.split(" on ")[1].split(",")[0] for time in times] == [
        "1 worker", "2 workers", "16 workers",
    ]  # fmt: skip


def test_workers_are_as_many_as_the_sweep_file_allows() -> None:
    one = check_lines("sweep.yaml", ["resources.concurrency=1"])
    assert " on 1 worker, " in said(one, "time")
    large = check_lines("sweep.yaml", ["resources.cpus_per_run=100000"])
    assert " on 1 worker, " in said(large, "time")


def test_brute_force_is_counted_as_exactly_as_a_grid() -> None:
    grid, brute_force = (
        check_lines("sweep.yaml", [f"sampler={s}"]) for s in ("grid", "brute_force")
    )
    assert said(brute_force, "visits") == said(grid, "visits")
    assert "about" not in said(grid, "visits")
    assert said(brute_force, "work") == said(grid, "work")


def test_points_to_try_first_are_counted_once() -> None:
    grid = check_lines("sweep.yaml", [])
    first = check_lines("sweep.yaml", ["first=[{architecture: mlp(4)}]"])
    few = check_lines("sweep.yaml", ["first=[{architecture: mlp(4)}]", "trials=1"])
    assert said(first, "visits") == said(grid, "visits")
    # mlp(4) in place of the longest run, that of mlp()
    assert said(few, "longest").split(": ")[1] in ("rso  mlp(4), batch 25", "sgd  mlp(4), batch 25")


def test_what_may_make_it_less_or_more_is_said() -> None:
    lines = check_lines(
        "sweep.yaml", ["pruner=median", "stop.target=0.9", "sampler=random", "trials=10"]
    )
    assert said(lines, "time").startswith("at most about ")
    assert notes(lines)[0] == (
        "it may be less: pruner median stops runs early, and 'stop' may end the sweep before its "
        "last trial"
    )
    lines = check_lines("sweep.yaml", ["repetitions.half_width=0.01", "repetitions.most_seeds=8"])
    assert said(lines, "time").startswith("about ")
    assert notes(lines)[0] == (
        "it may be more, up to 4 times: 'repetitions' gives a trial that may be the best up to 8 "
        "seeds"
    )


def test_calibration_measures_this_machine() -> None:
    lines = check_lines("sweep.yaml", ONE_KIND, is_to_calibrate=True)
    assert "calibrated on this machine in " in said(lines, "time")
    assert notes(lines) == []


def test_records_of_another_sweep_are_gone_by(
    spec: Any, drive: Any, scripted: Any, tmp_path: Path
) -> None:
    """Their cycles took 0.11 s each, and all data is the same."""
    like = tmp_path / "earlier"
    drive(spec("resources.cpus_per_run=1"), like, scripted(lambda run: [0.5, 0.6]))
    overrides = [*ONE_KIND, "budget.cycles=1000"]
    lines = check_lines("sweep.yaml", overrides, like=str(like), n_workers=2)
    assert said(lines, "time") == f"about 1 min 50 s on 2 workers, by the records of {like}"
    assert notes(lines) == []
    more = check_lines(
        "sweep.yaml",
        [*overrides, "space.architecture=[mlp(), mlp(4)]", "resources.cpus_per_run=2"],
        like=str(like),
        n_workers=2,
    )
    assert notes(more) == [
        "its runs had 1 threads, those of this sweep have 2",
        "nothing is known of sgd mlp(4): taken to be off like the others",
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"n_workers": 0}, "'--workers' must be an integer of at least 1, got 0"),
        (
            {"is_to_calibrate": True, "like": "x"},
            "'--calibrate' measures this machine, and '--like' goes by records; leave one out",
        ),
        ({"like": "nowhere"}, "'--like' must be a run folder, got 'nowhere', without sweep.yaml"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_lines("sweep.yaml", [], **options)
    assert caught.value.problems == (problem,)


def test_the_command_line_has_these_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["rso-sweep", "check", "sweep.yaml", *arguments])
        monkeypatch.setattr("sys.path", list(sys.path))
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    status, out, _ = call("--workers", "16")
    assert status == 0
    assert "on 16 workers" in out
    status, out, err = call("--calibrate", "--like", "x", "--workers", "-1")
    assert (status, out, err.count("\n")) == (2, "", 2)
    assert err.startswith("rso-sweep: '--workers' must be ")


@pytest.mark.parametrize(
    ("n_flop", "words"),
    [
        (0, "0 FLOP"),
        (999, "999 FLOP"),
        (999.7, "1.0 kFLOP"),
        (3.24e12, "3.2 TFLOP"),
        (9.96e12, "10 TFLOP"),
        (512e15, "512 PFLOP"),
        (2.5e22, "25,000 EFLOP"),
    ],
)
def test_operations_are_put_into_readable_units(n_flop: float, words: str) -> None:
    assert flop_words(n_flop) == words
