"""Sweeps as jobs on a real Ray head node with its dashboard, which asks for a token."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray._private.utils import write_ray_address
from ray.cluster_utils import Cluster

from sweeps.jobs.connection import connected
from sweeps.jobs.job import Job
from sweeps.jobs.server import JobServer
from sweeps.jobs.where import Where

# on a busy machine each command takes half a minute: a Ray actor and a Python process are started
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

Call = Callable[..., tuple[int, str, str]]

_OWN = """
from my_parts.pauses import pause
from rso_core.optimizers import SGD

class SlowSGD(SGD):
    def run(self):
        for outcome in super().run():
            pause()
            yield outcome
"""
_SWEEP = """
name: mine
data: {name: mnist, train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 4}
space:
  architecture: mlp()
  batch_size: 25
  optimizer: my_optimizers:SlowSGD
  learning_rate: [0.1, 0.2]
seeds: 2
checkpoints: {every_s: 0.1}
"""


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    """A head node with two CPUs: the address of its dashboard, and its home directory."""
    before = dict(os.environ)
    # Ray's sockets lie below it, whose names must be short
    with tempfile.TemporaryDirectory(prefix="jobs-") as place:
        home = f"{place}/home"
        Path(home).mkdir()
        os.environ["HOME"] = home
        # the modules are to come with the jobs
        os.environ.pop("PYTHONPATH", None)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 2,
                "include_dashboard": True,
                "dashboard_port": _free_port(),
                "dashboard_agent_listen_port": 0,
                "temp_dir": f"{place}/ray",
            },
        )
        os.environ.clear()
        os.environ.update(before)
        # as `ray start` does, so that jobs find this cluster among those of other tests
        write_ray_address(cluster.address, f"{place}/ray")
        try:
            yield {"address": f"http://{cluster.webui_url}", "home": home}
        finally:
            cluster.shutdown()


@pytest.fixture
def rso(call: Call, head: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls the command line where a user's modules and sweep lie, with the cluster exported."""
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", head["address"])
    monkeypatch.delenv("RSO_SWEEP_CLUSTER", raising=False)
    (tmp_path / "mine.yaml").write_text(_SWEEP)
    (tmp_path / "my_optimizers.py").write_text(_OWN)
    (tmp_path / "my_parts").mkdir()
    (tmp_path / "my_parts" / "pauses.py").write_text("def pause(): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return call


@contextlib.contextmanager
def _server(head: dict[str, str]) -> Iterator[JobServer]:
    with connected(Where(None, head["address"], is_exported=False), lambda line: None) as server:
        yield server


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The records without what depends on clock and machine, in a fixed order."""
    rows = [json.loads(line) for line in (folder / "records" / name).read_text().splitlines()]
    for row in rows:
        for key in ("training_s", "evaluation_s", "started_at", "ended_at", "host", "n_attempts"):
            row.pop(key, None)
    return sorted(rows, key=lambda row: (row["trial"], row["seed"], row.get("cycle", 0)))


def _wait(done: Callable[[], bool], limit_s: float = 120.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_sweep_that_was_submitted_gives_the_numbers_of_an_inline_run(
    rso: Call, head: dict[str, str], tmp_path: Path
) -> None:
    status, out, said = rso("submit", "mine.yaml", "--set", "budget.cycles=12")
    assert status == 0, said
    job = out.strip()
    assert re.fullmatch(r"mine-\d{4}-[0-9a-f]{4}", job)
    folder = Path(head["home"], "rso-sweep-runs", job)
    assert f"2 trials x 2 seeds = 4 runs of 12 cycles, into {folder} on the cluster" in said
    assert f"  rso-sweep logs {job} --follow " in said

    def n_cycles() -> int:
        path = folder / "records" / "cycles.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    # slow on the cluster alone: the file that travelled is another than that of the inline run
    pauses = next(
        Path(head["home"]).parent.glob(
            "ray/session_2*/runtime_resources/working_dir_files/*/my_parts/pauses.py"
        )
    )
    assert pauses.read_text() == "def pause(): pass\n"
    _wait(lambda: n_cycles() > 0)
    status, out, _ = rso("status", job)
    assert status == 0
    assert out.startswith(f"{job}: ")
    assert f"mine  ({folder})" in out

    status, out, said = rso("logs", job, "--follow")
    assert status == 0
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ mine: 2 trials", out)
    assert "RSO against SGD" in out or "Network" in out
    assert said.endswith(f"{job}: finished\n")

    status, out, _ = rso("fetch", job)
    assert (status, out) == (0, f"runs/{job}\n")
    fetched = Path("runs", job)
    assert not (fetched / "driver.json").exists()
    assert rso("report", fetched)[0] == 0
    status, _, said = rso(
        "run", "mine.yaml", "--set", "budget.cycles=12", "--executor", "inline", "--out", "inline"
    )
    assert status == 0, said
    for name in ("cycles.jsonl", "runs.jsonl"):
        assert _rows(fetched, name) == _rows(Path("inline"), name)
    about = (fetched / "sweep.yaml").read_text()
    assert "rso-sweep submit mine.yaml" in about

    status, out, _ = rso("fetch", job)
    assert out == f"runs/{job}-2\n"
    (fetched / "note").touch()
    status, out, _ = rso("fetch", job, "--update")
    assert (status, out) == (0, f"runs/{job}\n")
    assert not (fetched / "note").exists()
    status, _, said = rso("fetch", job, "--update", "--out", "inline")
    assert status == 2
    assert "'inline' holds another sweep than the one that was fetched" in said
    assert (Path("inline") / "records").is_dir()


def test_a_stopped_job_has_checkpoints_and_one_whose_driver_was_killed_is_gone_on_with(
    rso: Call, head: dict[str, str], tmp_path: Path
) -> None:
    is_slow = tmp_path / "slow"
    is_slow.touch()
    (tmp_path / "my_parts" / "pauses.py").write_text(
        "import pathlib, time\n"
        f"def pause(): time.sleep(0.4 * pathlib.Path({str(is_slow)!r}).exists())\n"
    )
    cycles = ["--set", "budget.cycles=60"]
    status, out, said = rso("submit", "mine.yaml", "--out", "kept/here", *cycles)
    assert status == 0, said
    job, folder = out.strip(), Path(head["home"], "kept/here")
    rows = folder / "records" / "cycles.jsonl"
    _wait(lambda: rows.exists() and len(rows.read_text().splitlines()) >= 3)

    status, _, said = rso("resume", job)
    assert status == 2
    assert f"got '{job}', which is running; `rso-sweep stop {job}` stops it" in said
    status, out, said = rso("stop", job)
    assert status == 0
    assert "stopping: 2 runs write checkpoints\n" in out
    assert f"interrupted; `rso-sweep resume {job}` goes on with it" in out
    assert f"{job}: stopped; its runs have written their checkpoints" in said
    assert list((folder / "checkpoints").iterdir())
    status, _, said = rso("submit", "mine.yaml", "--out", "kept/here")
    assert status == 2
    assert f"'--out' must be a new or an empty folder, got '{folder}', which holds a sweep" in said
    assert rso("logs", job)[0] == 130
    status, out, _ = rso("status", job)
    assert out.startswith(f"{job}: stopped, submitted ")
    assert f"driver  none: `rso-sweep resume {job}` goes on" in out

    status, _, said = rso("resume", job, "--set", "budget.cycles=9")
    assert status == 2
    assert "'budget.cycles' cannot be changed when a sweep is resumed" in said
    status, out, said = rso("resume", job, "--set", "resources.concurrency=1")
    assert (status, out) == (0, f"{job}-2\n"), said
    with _server(head) as server:
        _wait(lambda: "into " in server.log(f"{job}-2"))
        (driver,) = (
            process
            for process in psutil.process_iter(["cmdline", "cwd"])
            if "sweeps.jobs.entry" in " ".join(process.info["cmdline"] or ())
            and process.info["cwd"] == head["home"]  # and not in that of another test's cluster
        )
        driver.kill()
        is_slow.unlink()
        _wait(lambda: server.job(f"{job}-2").is_over)
    status, _, said = rso("logs", job, "--follow")
    assert status == 1
    assert f"{job}-2: failed: its driver was killed by signal 9" in said
    assert rso("resume", job)[1] == f"{job}-3\n"
    status, out, _ = rso("logs", job, "--follow")
    assert status == 0
    status, out, _ = rso("status")
    assert out.splitlines()[0].startswith(f"{job}-3  ")
    assert "finished" in out.splitlines()[0]
    status, _, said = rso("run", "mine.yaml", *cycles, "--executor", "inline", "--out", "inline")
    assert status == 0, said
    assert rso("fetch", job, "--out", "fetched")[0] == 0
    assert _rows(Path("fetched"), "cycles.jsonl") == _rows(Path("inline"), "cycles.jsonl")


def test_what_is_wrong_on_the_cluster_is_said_before_a_job_begins(
    rso: Call, head: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter22")
    with _server(head) as server:
        before = {job.name for job in server.jobs()}
        for arguments, fault in (
            (["--set", "study.storage=postgresql://me:${DB_PASSWORD}@db/x"],
             "names the environment variable DB_PASSWORD, which is not set where Ray was started"),
            (["--out", "/dev/null/x"], "must be a folder that can be read, got '/dev/null/x'"),
            (["--out", "nosuch://x"], "nosuch"),
        ):  # fmt: skip
            status, out, said = rso("submit", "mine.yaml", *arguments)
            assert (status, out) == (2, "")
            assert fault in said
            assert "hunter22" not in said
            assert said.count("\n") == 1
        assert {job.name for job in server.jobs()} == before


def test_what_was_asked_is_taken_from_the_cluster_s_list(
    rso: Call, head: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with _server(head) as server:

        def asked() -> list[str]:
            return server.old_jobs("rso_sweep_question", 0.0)

        assert rso("submit", "mine.yaml", "--out", "nosuch://x")[0] == 2
        (first,) = asked()[-1:]
        monkeypatch.setattr("sweeps.jobs.questions._WATCHED_S", 3.0)
        time.sleep(3.0)
        assert rso("submit", "mine.yaml", "--out", "nosuch://x")[0] == 2
        assert first not in asked()
        time.sleep(3.0)  # in which Ray would have put it back
        assert first not in asked()
        assert not [job for job in server._client.list_jobs() if job.submission_id == first]


def test_a_token_that_is_wrong_or_missing_is_a_line(
    rso: Call, head: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray reads the token once in a process, so it is given as a launcher's tunnel gives it
    with pytest.raises(ValueError, match="does not take the token"):
        JobServer(head["address"], "wrong", named="'--cluster' x")
    monkeypatch.setattr(
        "ray.dashboard.modules.dashboard_sdk.get_auth_headers_if_auth_enabled", lambda headers: {}
    )
    status, _, said = rso("status")
    assert status == 2
    assert "is a cluster that asks for its token; set RAY_AUTH_MODE=token" in said
    assert said.count("\n") == 1


def test_an_unknown_job_is_a_line_with_the_nearest_name(rso: Call) -> None:
    status, _, said = rso("logs", "no-such-job")
    assert status == 2
    assert "'JOB' must be a sweep's job on the cluster, got 'no-such-job'" in said


class _Proxy:
    """Passes on what comes to its port, until its connections are cut."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = host, int(port)
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                there = socket.create_connection(self._target)
                self._sockets += [here, there]
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def test_a_log_is_followed_across_lost_connections(head: dict[str, str]) -> None:
    proxy = _Proxy(head["address"])
    said: list[str] = []
    try:
        where = Where(None, proxy.address, is_exported=False)
        with connected(where, said.append) as server:
            numbers = "for n in 1 2 3 4 5 6 7 8 9 10; do echo line $n; sleep 0.5; done"
            server.submit("counting", numbers, {}, {})
            text = ""
            n_cuts = 0
            for piece in server.follow("counting"):
                text += piece
                if text.count("\nline ") >= 2 + 4 * n_cuts and n_cuts < 2:
                    proxy.cut()
                    n_cuts += 1
            assert re.findall(r"^line (\d+)$", text, re.MULTILINE) == [str(n) for n in range(1, 11)]
            assert text == server.log("counting")
            server.forget("counting")
    finally:
        proxy.close()
    assert sum("is lost" in line for line in said) == 2
    assert sum("answers again" in line for line in said) == 2


def test_a_folder_of_tens_of_megabytes_arrives_whole(head: dict[str, str], tmp_path: Path) -> None:
    from sweeps.jobs.fetching import fetch
    from sweeps.jobs.job import About

    there = Path(head["home"], "large")
    (there / "weights").mkdir(parents=True)
    (there / "sweep.yaml").write_text("name: large\n")
    for number in range(4):
        (there / "weights" / f"{number}.pt").write_bytes(os.urandom(8_000_000))
    job = Job("large", About("large", "large", str(there), "", ""), "SUCCEEDED", None, None, 0, "")
    received: list[int] = []
    started = time.monotonic()
    with _server(head) as server:
        fetch(
            server, job, tmp_path / "large", has_checkpoints=False,
            received=lambda n, most: received.append(n),
        )  # fmt: skip
    print(f"{received[-1] / 1e6:.1f} MB in {time.monotonic() - started:.1f} s")
    for path in there.rglob("*.pt"):
        assert (tmp_path / "large" / "weights" / path.name).read_bytes() == path.read_bytes()
    # its disk is given back
    assert not [
        p
        for p in there.parent.parent.glob("ray/session_2*/logs/job-driver-rso-sweep-pack*")
        if p.stat().st_size > 10_000
    ]
