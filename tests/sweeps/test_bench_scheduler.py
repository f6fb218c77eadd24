"""`rso-sweep bench scheduler`: its trainable, its measurement, and the command as users meet it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from sweeps.bench_scheduler import SAMPLERS, LoadOptions
from sweeps.bench_scheduler_peers import EXTRA, PEERS, PeerTimes, measure_peer
from sweeps.bench_scheduler_start import StartTimes, start_phases
from sweeps.bench_scheduler_sweep import Load, SweepTimes, drive_load, durable_append_ms, warm_up
from sweeps.bench_scheduler_table import SchedulerTimes, growth, print_json, print_tables
from sweeps.bench_scheduler_training import UNTIL_STOPPED, bench_spec, sleeping
from sweeps.bench_scheduler_trial import N_VALUES, accuracy
from sweeps.executors import InlineExecutor
from sweeps.points import typical_configurations
from sweeps.runs import CycleEnded, Run, RunBegan, RunEnded
from sweeps.stopwatch import Stopwatch

Call = Callable[..., tuple[int, str, str]]

_TIMES = SweepTimes(
    trials=2_000,
    actors=2,
    seconds=0.0,
    sampler="random",
    wall_s=8.0,
    ideal_s=0.0,
    overhead_ms_per_trial=4.0,
    driver_ms_per_trial=2.5,
    ratio_to_ideal=None,
    idle_share=None,
    actors_up_s=9.0,
)
_SLEEPING = SweepTimes(
    trials=1_600,
    actors=16,
    seconds=1.0,
    sampler="tpe",
    wall_s=104.0,
    ideal_s=100.0,
    overhead_ms_per_trial=2.5,
    driver_ms_per_trial=12.0,
    ratio_to_ideal=1.04,
    idle_share=1 - 100 / 104,
)
_ALL = SchedulerTimes(
    durable_append_ms=0.21,
    sweeps=[_TIMES, replace(_TIMES, trials=10_000, overhead_ms_per_trial=5.0), _SLEEPING],
    start=StartTimes(7.25, 7.9, 3, {"the interpreter and imports": 3.25, "Ray": 4.0}),
    peers=[
        PeerTimes(PEERS["optuna"], 500, 1, 0.0, "random", 21.4),
        PeerTimes(PEERS["tune"], 20, 2, 0.0, "random", 1580.0),
        PeerTimes(PEERS["tune_reuse"], 50, 2, 0.0, "random", unavailable=EXTRA),
    ],
)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def executor(tiny_data: Dataset) -> Iterator[InlineExecutor]:
    """Trains runs that do not sleep, in this process."""
    with closing(InlineExecutor(tiny_data, n_threads=1, training=sleeping(0.0))) as inline:
        yield inline


def _values(executor: InlineExecutor, run: Run) -> list[float | None]:
    executor.start(run)
    values: list[float | None] = []
    while True:
        for event in executor.poll(5.0):
            if isinstance(event, CycleEnded):
                values.append(event.record.validation_accuracy)
            if isinstance(event, RunEnded):
                assert event.state == "finished", event.reason
                return values


def test_a_run_reports_five_rising_values_of_its_configuration_and_seed(
    executor: InlineExecutor,
) -> None:
    one, other = typical_configurations(bench_spec("random", 2), 2)
    values = _values(executor, Run(0, 0, one))
    assert len(values) == N_VALUES
    assert values == sorted(values, key=lambda value: value or 0)
    assert all(value is not None and 0 < value < 1 for value in values)
    assert _values(executor, Run(1, 0, one)) == values
    assert _values(executor, Run(2, 1, one)) != values
    assert _values(executor, Run(3, 0, other)) != values


def test_the_values_have_an_optimum_that_a_sampler_can_find() -> None:
    best = {"perturbation_std": 1.0, "weight_decay": 1e-4, "final_fraction": 0.1}
    top = accuracy(128, **best, seed=0, cycle=5)
    assert 0.9 < top < 1
    for name, worse in (("perturbation_std", 5.0), ("weight_decay", 1e-6), ("final_fraction", 1)):
        assert accuracy(128, **{**best, name: worse}, seed=0, cycle=5) < top
    assert accuracy(512, **best, seed=0, cycle=5) < top


def test_a_run_sleeps_as_long_as_it_is_told_in_all(tiny_data: Dataset) -> None:
    configuration = typical_configurations(bench_spec("random", 1), 1)[0]
    with closing(InlineExecutor(tiny_data, n_threads=1, training=sleeping(0.3))) as executor:
        executor.start(Run(0, 0, configuration))
        moments = [datetime.now(UTC)]
        while len(moments) < 2:
            for event in executor.poll(5.0):
                if isinstance(event, RunBegan):
                    moments[0] = datetime.fromisoformat(event.started_at)
                if isinstance(event, RunEnded):
                    moments.append(datetime.fromisoformat(event.ended_at))
    assert moments[1] - moments[0] >= timedelta(seconds=0.29)


def test_warming_up_leaves_an_executor_free(executor: InlineExecutor) -> None:
    warm_up(executor, 1)
    assert executor.n_free == 1
    configuration = typical_configurations(bench_spec("random", 1), 1)[0]
    assert len(_values(executor, Run(0, 0, configuration))) == N_VALUES


def test_a_run_without_an_end_trains_until_it_is_stopped(executor: InlineExecutor) -> None:
    run = Run(0, UNTIL_STOPPED, typical_configurations(bench_spec("random", 1), 1)[0])
    executor.start(run)
    for _ in range(3):
        assert not any(isinstance(event, RunEnded) for event in executor.poll(1.0))
    executor.stop(run.name)
    events = []
    while not any(isinstance(event, RunEnded) for event in events):
        events += executor.poll(1.0)
    assert events[-1].state == "pruned"  # type: ignore[union-attr]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_sweep_is_driven_to_its_end_and_leaves_nothing(
    executor: InlineExecutor, tmp_path: Path, sampler: str
) -> None:
    said: list[str] = []
    times = drive_load(Load(12, 1, 0.0, sampler), executor, tmp_path / "run", said.append)
    assert (times.trials, times.actors, times.sampler) == (12, 1, sampler)
    assert times.overhead_ms_per_trial == pytest.approx(1000 * times.wall_s / 12)
    assert times.driver_ms_per_trial > 0
    assert times.ratio_to_ideal is times.idle_share is None
    assert list(tmp_path.iterdir()) == []


def test_what_sleeping_trials_take_is_held_against_the_ideal(
    tiny_data: Dataset, tmp_path: Path
) -> None:
    with closing(InlineExecutor(tiny_data, n_threads=1, training=sleeping(0.1))) as executor:
        times = drive_load(Load(4, 1, 0.1, "random"), executor, tmp_path / "run", str)
    assert times.ideal_s == pytest.approx(0.4)
    assert times.wall_s > 0.39
    assert times.ratio_to_ideal == pytest.approx(times.wall_s / 0.4)
    assert times.idle_share == pytest.approx(1 - 0.4 / times.wall_s)
    assert times.overhead_ms_per_trial == pytest.approx(250 * (times.wall_s - 0.4))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_that_may_be_asked_for_makes_a_sweep(sampler: str) -> None:
    assert bench_spec(sampler, 7).n_trials() == 7


def test_a_durable_line_is_timed_and_leaves_nothing(in_folder: Path) -> None:
    assert durable_append_ms() > 0
    assert list(in_folder.iterdir()) == []


def test_growth_is_against_the_row_before_with_fewer_trials() -> None:
    assert [growth(_ALL.sweeps, index) for index in range(3)] == [None, pytest.approx(1.25), None]
    assert growth(list(reversed(_ALL.sweeps)), 2) is None  # the row before it has more


def test_the_tables_show_all_that_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(_ALL)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0].endswith("a durable line takes 0.21 ms here")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    assert ["random", "2,000", "2", "0", "4.00", "2.50", "", "", ""] in rows
    assert ["random", "10,000", "2", "0", "5.00", "2.50", "×1.25", "", ""] in rows
    assert ["tpe", "1,600", "16", "1", "2.50", "12.0", "", "×1.040", "3.8%"] in rows
    assert ["the interpreter and imports", "3.25"] in rows
    assert ["rso-sweep", "random", "2,000", "2", "0", "4.00"] in rows
    assert [PEERS["tune"], "random", "20", "2", "0", "1,580"] in rows
    assert [PEERS["tune_reuse"], "random", "50", "2", "0", EXTRA] in rows
    assert any("trains: 7.2 s, the median of 3 starts (slowest: 7.9 s)" in line for line in lines)


def test_the_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(_ALL)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"machine", "versions", "durable_append_ms", "sweeps", "start", "peers"}
    assert [sweep["growth"] for sweep in found["sweeps"]] == [None, pytest.approx(1.25), None]
    assert found["sweeps"][2]["idle_share"] == pytest.approx(0.03846, abs=1e-4)
    assert found["start"]["phases_s"] == {"the interpreter and imports": 3.25, "Ray": 4.0}
    assert found["peers"][2]["unavailable"] == EXTRA


def test_a_start_is_read_from_a_sweep_s_records(
    tmp_path: Path, drive: Any, spec: Any, executor: InlineExecutor
) -> None:
    began_at = datetime.now(UTC)
    stopwatch = Stopwatch()
    out = tmp_path / "run"
    drive(bench_spec("random", 2), out, executor)
    phases = start_phases(began_at, out)
    assert list(phases) == ["until the run folder is made", "the study and the first actor"]
    whole_s = sum(phases.values())
    assert 0 < whole_s < (datetime.now(UTC) - began_at).total_seconds()

    stopwatch.lap("the sweep file")
    stopwatch.phases_s["the sweep file"] = 0.001
    with (out / "records" / "drivers.jsonl").open("a") as drivers:
        row = {"began_at": stopwatch.began_at, "phases_s": stopwatch.phases_s}
        drivers.write(json.dumps(row) + "\n")
    phases = start_phases(began_at, out)
    assert list(phases) == ["the interpreter and imports", "the sweep file", "the first actor"]
    assert sum(phases.values()) == pytest.approx(whole_s)


def test_a_stopwatch_s_phases_add_up() -> None:
    began = datetime.now(UTC)
    stopwatch = Stopwatch()
    for phase in ("one", "two"):
        until = datetime.now(UTC) + timedelta(seconds=0.02)
        while datetime.now(UTC) < until:
            pass
        stopwatch.lap(phase)
    assert list(stopwatch.phases_s) == ["one", "two"]
    assert all(seconds >= 0.019 for seconds in stopwatch.phases_s.values())
    whole_s = (datetime.now(UTC) - began).total_seconds()
    assert sum(stopwatch.phases_s.values()) <= whole_s + 0.002
    assert datetime.fromisoformat(stopwatch.began_at) - began < timedelta(seconds=1)


def test_optuna_alone_is_measured_in_a_process_of_its_own(in_folder: Path) -> None:
    times = measure_peer("optuna", 5, 4, 0.0, "random")
    assert times.unavailable is None
    assert times.overhead_ms_per_trial is not None
    assert 0 < times.overhead_ms_per_trial < 5_000
    assert times.actors == 1
    assert list(in_folder.iterdir()) == []


def test_without_the_extra_a_peer_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, in_folder: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    times = measure_peer("tune_reuse", 50, 2, 0.0, "random")
    assert times.overhead_ms_per_trial is None
    assert times.unavailable == "pip install 'rso-sweep[peers]'"


def test_a_peer_that_fails_says_why(in_folder: Path) -> None:
    times = measure_peer("optuna", 0, 1, 0.0, "random")
    assert times.overhead_ms_per_trial is None
    assert times.unavailable is not None
    assert times.unavailable.startswith("it ended with status 1: ")


@pytest.mark.long
def test_one_sweep_with_more_actors_than_cpus_is_measured_alone(
    call: Call, in_folder: Path
) -> None:
    status, out, err = call(
        "bench", "scheduler", "--trials", "6", "--actors", "3", "--seconds", "0.1", "--json"
    )
    assert status == 0, err
    found = json.loads(out)
    (sweep,) = found["sweeps"]
    assert (sweep["trials"], sweep["actors"], sweep["seconds"]) == (6, 3, 0.1)
    assert sweep["ideal_s"] == pytest.approx(0.2)
    assert sweep["wall_s"] > 0.19
    assert (found["start"], found["peers"]) == (None, [])
    assert list(in_folder.iterdir()) == []


def test_what_is_not_asked_for_is_the_default_s() -> None:
    assert not LoadOptions().are_given
    asked = LoadOptions(trials=7, seconds=0.5)
    assert asked.are_given
    assert asked.load(Load(2_000, 2, 0.0, "random")) == Load(7, 2, 0.5, "random")


BAD_COMMANDS = [
    (["--trials", "0"], ["'--trials' must be an integer from 1 to 1000000, got 0"]),
    (["--trials", "1", "--peers"], ["'--trials' must be an integer from 2 to 1000000, got 1"]),
    (["--actors", "0"], ["'--actors' must be an integer from 1 to 1000, got 0"]),
    (["--seconds", "-1"], ["'--seconds' must be a number of at least 0, got -1.0"]),
    (["--seconds", "nan"], ["'--seconds' must be a number of at least 0, got nan"]),
    (["--sampler", "tqe"], ["'--sampler' must be a sampler; did you mean 'tpe'?"]),
    (["--sampler", "grid"], ["'--sampler' must be a sampler; "]),
    (
        ["--sampler", "gp", "--peers"],
        ["'--sampler' must be random or tpe with '--peers', got 'gp'"],
    ),
    (["--trials", "0", "--actors", "0"], ["'--trials' must", "'--actors' must"]),
]


@pytest.mark.parametrize(
    ("arguments", "messages"), BAD_COMMANDS, ids=[" ".join(bad[0]) for bad in BAD_COMMANDS]
)
def test_bad_input_gets_a_line_for_each_fault_and_status_2(
    assert_refused: Callable[..., None], arguments: list[str], messages: list[str]
) -> None:
    assert_refused(["bench", "scheduler", *arguments], messages)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_folder.rmdir()
    monkeypatch.setattr(Path, "cwd", lambda: in_folder)
    with pytest.raises(InvalidInput, match="the current folder must be one that can be written"):
        durable_append_ms()


def test_help_says_how_long_it_takes_and_has_an_example(call: Call) -> None:
    status, out, _ = call("bench", "scheduler", "--help")
    assert status == 0
    assert "Example:  rso-sweep bench scheduler" in out
    assert "a quarter of an hour" in " ".join(out.split())
