"""What Ray's metrics say of a sweep."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rso_core.configuration import Configuration
from rso_core.records import Progress
from sweeps.grafana import dashboard_text
from sweeps.metrics import METRICS, STATES, SweepMetrics
from sweeps.progress import SweepProgress
from sweeps.runs import Run
from sweeps.spec import Objective

ROOT = Path(__file__).parents[2]


class _Kept:
    """A meter that keeps what it was told: gauges by their last value, counters added up."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.n_told = 0

    def set(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self.values[self._key(name, "gauge", tags)] = value

    def add(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        assert value > 0
        key = self._key(name, "counter", tags)
        self.values[key] = self.values.get(key, 0) + value

    def _key(self, name: str, kind: str, tags: Mapping[str, str]) -> str:
        metric = next(metric for metric in METRICS if metric.name == name)
        assert (metric.kind, metric.tags) == (kind, tuple(tags))
        assert tags["sweep"] == "mine"
        self.n_told += 1
        name = name.removeprefix("rso_sweep_")
        return f"{name} {tags['state']}" if "state" in tags else name


class _Sweep:
    """The progress of a sweep of five trials with two seeds, its metrics, and a clock for both."""

    def __init__(self) -> None:
        self.now = 0.0
        self.kept = _Kept()
        self.progress = SweepProgress(5, 2, 1.0, (Objective(),))
        self.metrics = SweepMetrics("mine", lambda: 4, self.kept, lambda: self.now)

    def after(self, seconds: float) -> dict[str, float]:
        self.now += seconds
        self.metrics.update(self.progress)
        return self.kept.values

    def start(self, trial: int, seed: int = 0, optimizer: str = "rso") -> Run:
        values = {"architecture": "mlp()", "batch_size": 10, "optimizer": optimizer}
        run = Run(trial, seed, Configuration.from_values(values, 3))
        self.progress.run_started(run, 1.0)
        return run

    def reach(self, run: Run, cycle: int, n_done: int) -> None:
        self.progress.running[run.name].progress = Progress(cycle, n_done, 1000)


def test_trials_are_told_by_state_and_runs_and_slots_by_number() -> None:
    sweep = _Sweep()
    first, _, _ = sweep.start(0, 0), sweep.start(0, 1), sweep.start(1, 0)
    sweep.progress.n_trials_finished, sweep.progress.n_trials_failed = 1, 1
    values = sweep.after(1)
    assert [values[f"trials {state}"] for state in STATES] == [1, 2, 1, 0, 1]
    assert (values["runs_running"], values["slots"]) == (3, 4)
    sweep.progress.run_ended(first)
    assert sweep.after(1)["runs_running"] == 2


def test_at_the_end_nothing_is_under_way() -> None:
    sweep = _Sweep()
    run = sweep.start(0)
    sweep.progress.n_trials_pruned = 2
    sweep.after(1)
    sweep.reach(run, 1, 500)
    assert sweep.after(1)["visits_per_second"] > 0
    sweep.progress.n_visited = 1000
    sweep.metrics.close()
    assert sweep.kept.values == {
        **{f"trials {state}": 0 for state in STATES},
        **{"trials to_come": 3, "trials pruned": 2, "runs_running": 0, "slots": 0},
        **{"visits_per_second": 0, "images_per_second": 0, "visits": 1000},
    }


def test_they_are_told_once_a_second_however_often_the_driver_looks() -> None:
    sweep = _Sweep()
    for _ in range(1000):
        sweep.after(0.004)
    n_of_an_update = sum(
        len(STATES) if "state" in m.tags else 1 for m in METRICS if m.kind == "gauge"
    )
    assert sweep.kept.n_told == 4 * n_of_an_update


def test_a_rate_counts_what_is_done_within_a_cycle() -> None:
    sweep = _Sweep()
    rso, sgd = sweep.start(0), sweep.start(1, optimizer="sgd")
    sweep.after(1)
    for second in range(1, 6):
        sweep.reach(rso, 1, 100 * second)
        sweep.reach(sgd, 1, 2 * second)
        values = sweep.after(1)
    assert values["visits_per_second"] == pytest.approx(100)
    assert values["images_per_second"] == pytest.approx(100 * 3 * 10 + 2 * 10)
    assert "visits" not in values  # no cycle is over


def test_the_end_of_a_cycle_neither_adds_to_a_rate_nor_takes_from_it(events: Any) -> None:
    sweep = _Sweep()
    run = sweep.start(0)
    sweep.after(1)
    sweep.reach(run, 1, 900)
    sweep.after(1)
    record = events.cycle_ended(run, 1, 0.5).record
    sweep.progress.running[run.name].last = record
    sweep.progress.n_visited += 1000
    values = sweep.after(1)
    assert values["visits_per_second"] == pytest.approx(500)
    assert values["visits"] == 1000


def test_what_an_earlier_attempt_did_is_not_counted_again() -> None:
    sweep = _Sweep()
    run = sweep.start(0)
    sweep.after(1)
    sweep.progress.running[run.name].resumed_from = (1, 700)
    sweep.reach(run, 2, 720)
    assert sweep.after(1)["visits_per_second"] == pytest.approx(20)


def test_a_run_that_is_stopped_takes_nothing_from_what_was_done_before() -> None:
    sweep = _Sweep()
    stopped, other = sweep.start(0), sweep.start(1)
    sweep.after(1)
    sweep.reach(stopped, 1, 400)
    sweep.reach(other, 1, 100)
    sweep.after(1)
    sweep.progress.run_ended(stopped)
    sweep.reach(other, 1, 200)
    assert sweep.after(1)["visits_per_second"] == pytest.approx(250)  # 500 in two seconds
    sweep.reach(other, 1, 300)
    assert sweep.after(1)["visits_per_second"] == pytest.approx(200)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 3)), max_size=20))
def test_counters_add_up_to_what_the_driver_has_seen(steps: list[tuple[int, int, int]]) -> None:
    sweep = _Sweep()
    for visits, images, interrupted in steps:
        sweep.progress.n_visited += visits
        sweep.progress.n_images_passed += images
        sweep.progress.n_interrupted += interrupted
        sweep.after(0.7)
    sweep.metrics.close()
    seen = (sweep.progress.n_visited, sweep.progress.n_images_passed, sweep.progress.n_interrupted)
    names = ("visits", "images_passed", "interrupted_attempts")
    assert tuple(sweep.kept.values.get(name, 0) for name in names) == (seen if steps else (0, 0, 0))


@given(st.lists(st.integers(1, 400), min_size=15, max_size=40))
def test_a_rate_is_that_of_the_last_ten_seconds(gains: list[int]) -> None:
    sweep = _Sweep()
    run = sweep.start(0)
    sweep.after(1)
    n_done = 0
    for gain in gains:
        n_done += gain
        sweep.progress.running[run.name].progress = Progress(1, n_done, 10**6)
        values = sweep.after(1)
    assert values["visits_per_second"] == pytest.approx(sum(gains[-10:]) / 10)


_CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
node = cluster.head_node
print(cluster.address, flush=True)
print(f"http://{node.node_ip_address}:{node.metrics_export_port}/metrics", flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.mark.long
def test_a_sweep_s_metrics_stand_in_the_endpoint_of_its_node_and_then_end(tmp_path: Path) -> None:
    # so that Ray sends them every second, and leaves them out after two; and so that actors do not
    # give way to whatever else the machine is doing, which can be minutes
    environment = os.environ | {
        "RAY_metrics_report_interval_ms": "1000",
        "RAY_worker_niceness": "0",
    }
    # far longer than anyone waits: the sweep is ended when everything has been seen
    (tmp_path / "sweep.yaml").write_text(
        "name: metered\ndata: {train_size: 2000, validation_size: 50, test_size: 50}\n"
        "budget: {cycles: 100000}\nseeds: 2\n"
        "space: {architecture: one_conv, batch_size: 500, optimizer: rso}\n"
    )
    expected = {metric.exported_name for metric in METRICS}
    expected -= {"ray_rso_sweep_interrupted_attempts_total"}
    with subprocess.Popen(
        [sys.executable, "-c", _CLUSTER], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as cluster:  # fmt: skip
        assert cluster.stdout is not None
        lines = iter(line.strip() for line in cluster.stdout)
        address = next(line for line in lines if re.fullmatch(r"[^ ]+:\d+", line))
        url = next(line for line in lines if line.startswith("http"))
        driver = subprocess.Popen(
            [
                *(sys.executable, "-c", "from sweeps.cli import main; main()", "run"),
                *(str(tmp_path / "sweep.yaml"), "--address", address),
                *("--out", str(tmp_path / "out")),
            ],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        most: dict[str, float] = {}
        try:
            while driver.poll() is None and not _is_all_seen(most, expected):
                for name, value in _scraped(url).items():
                    most[name] = max(value, most.get(name, 0))
                time.sleep(0.5)
            driver.send_signal(signal.SIGINT)
            assert driver.wait() == 130
        finally:
            driver.kill()
        rows = (tmp_path / "out/records/cycles.jsonl").read_text().splitlines()
        cycles = [json.loads(row) for row in rows]
        counters = {
            "ray_rso_sweep_visits_total": sum(row["n_visited"] for row in cycles),
            "ray_rso_sweep_images_passed_total": sum(row["n_images_passed"] for row in cycles),
        }
        until = time.monotonic() + 60
        while (left := _scraped(url)) != counters and time.monotonic() < until:
            time.sleep(0.5)
        cluster.communicate("")
    assert left == counters
    assert most["ray_rso_sweep_runs_running"] == 1
    assert most['ray_rso_sweep_trials state="running"'] == 1
    assert {name.partition(" ")[0] for name in most} == expected


def _is_all_seen(most: dict[str, float], expected: set[str]) -> bool:
    """Whether each metric has been there, and both rates above zero."""
    rates = ("ray_rso_sweep_visits_per_second", "ray_rso_sweep_images_per_second")
    names = {name.partition(" ")[0] for name in most}
    return expected <= names and all(most[rate] > 0 for rate in rates)


def _scraped(url: str) -> dict[str, float]:
    """The sweep's metrics at an endpoint: by name and state."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
    except OSError:  # the agent is not there yet
        return {}
    found = {}
    for line in text.splitlines():
        named = re.fullmatch(r"(ray_rso_sweep_\w+)\{(.*)\} (.*)", line)
        if named is not None:
            assert 'sweep="metered"' in named[2]
            state = re.search(r'state="\w+"', named[2])
            found[f"{named[1]} {state[0]}" if state else named[1]] = float(named[3])
    return found


def _dashboard() -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(dashboard_text())
    return dashboard


def test_the_dashboard_asks_only_for_metrics_that_exist_and_for_all_of_them() -> None:
    queries = [target["expr"] for panel in _dashboard()["panels"] for target in panel["targets"]]
    queries += [each["query"]["query"] for each in _dashboard()["templating"]["list"][1:]]
    asked = set(re.findall(r"ray_rso_sweep_\w+", " ".join(queries)))
    assert asked == {metric.exported_name for metric in METRICS}
    labels = set(re.findall(r"(\w+)=~?\"", " ".join(queries)))
    assert labels == {"sweep", "state"}
    states = set(re.findall(r"state=~?\"([\w|]+)\"", " ".join(queries)))
    assert {state for each in states for state in each.split("|")} <= set(STATES)


def test_the_dashboard_s_panels_lie_side_by_side() -> None:
    cells: set[tuple[int, int]] = set()
    panels = _dashboard()["panels"]
    for panel in panels:
        at = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not covered & cells
        assert at["x"] + at["w"] <= 24
        cells |= covered
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_metrics_are_listed_and_their_dashboard_printed(call: Any) -> None:
    status, out, _ = call("metrics")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [m.exported_name for m in METRICS]
    status, out, _ = call("metrics", "--grafana")
    assert (status, json.loads(out)) == (0, _dashboard())
