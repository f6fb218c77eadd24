"""`rso-sweep bench cluster`: nodes, measurement, check, and the command as its users meet it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import psutil
import pytest
import ray

from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from sweeps.bench_cluster_block import Block, BlockTimes, Churn, Watch, measure_block
from sweeps.bench_cluster_nodes import Leaving, simulated_nodes
from sweeps.bench_cluster_outcome import check_one_result_each
from sweeps.bench_cluster_table import ClusterTimes, print_json, print_tables
from sweeps.bench_scheduler_sweep import Load, drive_load
from sweeps.bench_scheduler_training import sleeping
from sweeps.executors import InlineExecutor
from sweeps.ray_connection import connect, on_loopback
from sweeps.runs import RunBegan, RunEnded, now

Call = Callable[..., tuple[int, str, str]]

_ONE = BlockTimes(
    nodes=1,
    actors=32,
    trials=2_000,
    seconds=1.0,
    wall_s=70.0,
    driver_ms_per_trial=4.0,
    turnaround_ms=0.5,
    handover_ms=10.0,
    n_killed=0,
    n_removed=0,
    n_cut=0,
)
_MANY = replace(
    _ONE, nodes=32, driver_ms_per_trial=4.8, handover_ms=15.0, n_killed=4, n_removed=4, n_cut=7
)
_TIMES = ClusterTimes(
    one=[_ONE, replace(_ONE, driver_ms_per_trial=5.0), replace(_ONE, driver_ms_per_trial=9.0)],
    many=[_MANY, replace(_MANY, driver_ms_per_trial=6.0), replace(_MANY, driver_ms_per_trial=9.0)],
)


def _end(run: str) -> RunEnded:
    return RunEnded(run, "finished", None, "host", 1, now(), now())


def test_a_slot_s_wait_is_from_the_poll_and_from_the_actor_s_word_to_the_next_start() -> None:
    watch = Watch()
    watch.started()  # the first run of a slot follows none
    ended = _end("one")
    time.sleep(0.02)
    watch.polled([RunBegan("two", (0, 0), "host", 1, now()), ended])
    time.sleep(0.01)
    watch.started()
    watch.started()  # another slot's first run
    (turnaround_s,), (handover_s,) = watch.turnarounds_s, watch.handovers_s
    assert turnaround_s >= 0.01
    assert handover_s - turnaround_s >= 0.018  # the actor tells the time to the millisecond


def test_a_slot_that_had_nothing_to_wait_for_does_not_count() -> None:
    watch = Watch()
    watch.polled([_end("one"), _end("two")])
    watch.started()
    watch.polled([])
    watch.started()
    assert len(watch.turnarounds_s) == len(watch.handovers_s) == 1


def test_nodes_leave_by_turns_at_even_shares_of_the_sweep() -> None:
    left: list[tuple[int, Leaving]] = []
    n_ended = 0
    churn = Churn(lambda leaving: left.append((n_ended, leaving)), n_trials=100, n_leaving=3)
    for n_ended in range(1, 101):  # noqa: B007  (the closure above reads it)
        churn()
    assert left == [(25, "killed"), (50, "removed"), (75, "killed")]


def test_every_run_s_end_is_told_to_the_churn() -> None:
    watch, n_told = Watch(), []
    watch.on_run_ended = lambda: n_told.append(1)
    watch.polled([_end("one"), RunBegan("two", (0, 0), "host", 1, now()), _end("three")])
    watch.polled([])
    assert len(n_told) == 2


@pytest.fixture(scope="module")
def driven_sweep(tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of six trials; not changed."""
    parent = tmp_path_factory.mktemp("bench-cluster")
    with closing(InlineExecutor(tiny_data, n_threads=1, training=sleeping(0.0))) as executor:
        drive_load(
            Load(6, 1, 0.0, "random"),
            executor,
            parent / "run",
            str,
            lambda path: copytree(path, parent / "kept"),
        )
    return parent / "kept"


@pytest.fixture
def ended_sweep(driven_sweep: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(copytree(driven_sweep, tmp_path / "run"))


def _change(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(lines)))


def test_a_sweep_with_one_result_for_each_trial_is_sound(ended_sweep: Path) -> None:
    assert check_one_result_each(ended_sweep, 6) == 0
    row = '{"run": "trial-0-seed-0", "trial": 0}\n'
    (ended_sweep / "records" / "attempts.jsonl").write_text(row * 2)
    assert check_one_result_each(ended_sweep, 6) == 2


DAMAGES = [
    ("records/runs.jsonl", lambda lines: lines[1:], "rows of a run that has finished missing"),
    ("records/runs.jsonl", lambda lines: [*lines, lines[2]], "that has finished twice: trial 2"),
    ("records/cycles.jsonl", lambda lines: lines[:-1], "of a cycle missing: trial 5 5"),
    ("records/cycles.jsonl", lambda lines: [*lines, lines[0]], "rows of a cycle twice: trial 0 1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), DAMAGES)
def test_a_result_that_is_missing_or_twice_in_the_records_is_found(
    ended_sweep: Path, name: str, change: Callable[[list[str]], list[str]], message: str
) -> None:
    _change(ended_sweep / name, change)
    with pytest.raises(InvalidInput, match=message):
        check_one_result_each(ended_sweep, 6)


def test_a_result_that_the_study_lacks_or_was_told_twice_is_found(ended_sweep: Path) -> None:
    journal = ended_sweep / "study.journal"
    lines = journal.read_text().splitlines(keepends=True)
    ends = [line for line in lines if json.loads(line).get("values") is not None]
    assert len(ends) == 6
    journal.write_text("".join(line for line in lines if line != ends[3]))
    with pytest.raises(InvalidInput, match="1 results in the study missing: trial 3 COMPLETE"):
        check_one_result_each(ended_sweep, 6)
    journal.write_text("".join([*lines, ends[4]]))
    with pytest.raises(InvalidInput, match="1 results in the study twice: trial 4 COMPLETE"):
        check_one_result_each(ended_sweep, 6)


def test_trials_that_nobody_asked_for_are_found(ended_sweep: Path) -> None:
    with pytest.raises(InvalidInput, match="too much") as refused:
        check_one_result_each(ended_sweep, 5)
    assert len(refused.value.problems) == 3  # in both records and in the study


def test_ratios_are_of_medians_and_of_each_pair() -> None:
    def driver(block: BlockTimes) -> float:
        return block.driver_ms_per_trial

    assert _TIMES.ratio(driver) == pytest.approx(6.0 / 5.0)
    assert _TIMES.ratios(driver) == pytest.approx([1.2, 1.2, 1.0])


def test_the_table_shows_medians_and_sums(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(_TIMES)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    assert ["1", "32", "6,000", "3", "5.00", "0.50", "10.00", "0 + 0", "0"] in rows
    assert ["32", "32", "6,000", "3", "6.00", "0.50", "15.00", "12 + 12", "21"] in rows
    assert lines[-1] == (
        "32 nodes against one: driver ×1.20 (pairs of blocks: 1.00 to 1.20), "
        "turnaround ×1.00 (pairs of blocks: 1.00 to 1.00), "
        "handover ×1.50 (pairs of blocks: 1.50 to 1.50)"
    )


def test_the_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(_TIMES)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"machine", "versions", "one", "many", "ratios"}
    assert [block["nodes"] for block in found["many"]] == [32, 32, 32]
    assert found["ratios"]["driver_ms_per_trial"] == pytest.approx(1.2)


BAD_COMMANDS = [
    (["--nodes", "1"], ["'--nodes' must be an integer from 2 to 1000, got 1"]),
    (["--nodes", "8", "--trials", "15"], ["'--trials' must be an integer from 16, two for each "]),
    (["--seconds", "nan"], ["'--seconds' must be a number from 0 to 3600, got nan"]),
    (["--leaving", "-1"], ["'--leaving' must be an integer of at least 0"]),
    (["--blocks", "0", "--seconds", "-1"], ["'--seconds' must be", "'--blocks' must be"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "messages"), BAD_COMMANDS, ids=[" ".join(bad[0]) for bad in BAD_COMMANDS]
)
def test_bad_input_gets_a_line_for_each_fault_and_status_2(
    assert_refused: Callable[..., None], arguments: list[str], messages: list[str]
) -> None:
    assert_refused(["bench", "cluster", *arguments], messages)


def test_help_says_what_is_simulated_and_how_long_it_takes(call: Call) -> None:
    status, out, _ = call("bench", "cluster", "--help")
    assert status == 0
    said = " ".join(out.split())
    assert "The nodes are simulated" in said
    assert "a quarter of an hour" in said


def _raylets(address: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "raylet"
        and f"--gcs-address={address}" in process.info["cmdline"]
    ]


def _count(is_enough: Callable[[], bool], most_s: float = 60.0) -> None:
    deadline = time.monotonic() + most_s
    while not is_enough():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.cluster
def test_nodes_come_in_the_place_of_those_that_leave_listen_on_loopback_and_end() -> None:
    with simulated_nodes(2) as nodes, on_loopback():
        assert nodes.address.startswith("127.0.0.1:")
        connect(nodes.address)
        try:
            first = {node["NodeID"] for node in ray.nodes()}
            assert len(first) == 3  # the head has no CPU
            assert ray.cluster_resources()["CPU"] == 2
            before = _raylets(nodes.address)
            for process in before:
                listening = [c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"]
                assert listening
                assert all(ip.removeprefix("::ffff:") == "127.0.0.1" for ip in listening)
            nodes.replace("killed")
            nodes.replace("removed")
            _count(lambda: nodes.replaced() == ("killed", "removed"))
            # of one that was killed the cluster learns a little later
            _count(lambda: sum(node["Alive"] for node in ray.nodes()) == 3)
            assert len({node["NodeID"] for node in ray.nodes()} - first) == 2
            assert len(_raylets(nodes.address)) == 3
        finally:
            ray.shutdown()
    assert not _raylets(nodes.address)


@pytest.mark.cluster
def test_a_sweep_loses_nothing_while_nodes_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[Any] = []
    times = measure_block(Block(60, 2, 2, 0.3, 2), said.append)
    assert (times.nodes, times.actors, times.trials) == (2, 2, 60)
    assert times.n_killed + times.n_removed >= 1
    assert times.wall_s >= 60 * 0.3 / 2
    assert times.driver_ms_per_trial > 0
    assert 0 < times.turnaround_ms < times.handover_ms
    assert said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cluster
def test_the_command_prints_a_table_and_leaves_nothing(call: Call, tmp_path: Path) -> None:
    status, out, err = call(
        "bench", "cluster", "--nodes", "2", "--trials", "20", "--seconds", "0.2", "--leaving", "1",
        "--blocks", "1", "--json",
    )  # fmt: skip
    assert status == 0, err
    found = json.loads(out)
    assert [(block["nodes"], block["trials"]) for block in found["one"] + found["many"]] == [
        (1, 20),
        (2, 20),
    ]
    assert list(tmp_path.iterdir()) == []
