"""What is said of a job: its state, its log, and where its run folder goes on this machine."""

from __future__ import annotations

import io
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rso_core.errors import InvalidInput
from sweeps.jobs.fetching import destination, fetch
from sweeps.jobs.following import followed
from sweeps.jobs.job import About, Job, Status, found, sweeps_of
from sweeps.jobs.log_lines import StampedLines

Call = Callable[..., tuple[int, str, str]]

_MOMENT = datetime(2026, 11, 27, 14, 3, 5, tzinfo=UTC)


def _job(name: str, first: str, minutes: int = 0, status: Status = "RUNNING", **other: int) -> Job:
    about = About("mine", first, f"/runs/{first}", "", "")
    exit_code = other.get("exit_code")
    return Job(name, about, status, _MOMENT + timedelta(minutes=minutes), None, exit_code, "")


def test_what_a_job_carries_of_its_sweep_comes_back() -> None:
    about = About("mine", "mine-1", "/runs/mine-1", "a b", "ray 2.60.0")
    assert About.of_metadata(about.metadata() | {"other": "x"}) == about
    assert About.of_metadata({"job_submission_id": "raysubmit_1"}) is None


@pytest.mark.parametrize(
    ("status", "exit_code", "outcome", "state"),
    [
        ("PENDING", None, 0, "waiting to start"),
        ("RUNNING", None, 0, "running"),
        ("SUCCEEDED", 0, 0, "finished"),
        ("STOPPED", None, 130, "stopped"),
        ("FAILED", 130, 130, "stopped"),
        ("FAILED", 1, 1, "ended with a failure: `rso-sweep logs` says which"),
        ("FAILED", 2, 2, "refused: `rso-sweep logs` says why"),
        ("FAILED", -9, 1, "failed: its driver was killed by signal 9"),
        ("FAILED", 127, 1, "failed: its driver ended with exit status 127"),
        ("FAILED", None, 1, "failed: no such thing there"),
    ],
)
def test_a_job_ends_as_run_does(
    status: Status, exit_code: int | None, outcome: int, state: str
) -> None:
    about = About("x", "x", "x", "", "")
    job = Job("x", about, status, None, None, exit_code, "no such\n thing there")
    assert (job.outcome, job.state()) == (outcome, state)


def test_the_name_of_a_sweep_s_first_job_means_its_latest() -> None:
    jobs = [_job("a-2", "a", 5), _job("a", "a", 1), _job("b", "b", 3), _job("a-3", "a", 9)]
    assert found("a", jobs).name == "a-3"
    assert found("a-2", jobs).name == "a-2"
    assert [job.name for job in sweeps_of(jobs)] == ["a-3", "b"]
    with pytest.raises(InvalidInput, match=r"got 'a-4'; did you mean 'a-[23]'\?"):
        found("a-4", jobs)
    with pytest.raises(InvalidInput, match="there is none yet; `rso-sweep submit` sends one"):
        found("a", [])


@given(st.lists(st.text("ab \n", max_size=6), max_size=8))
def test_each_line_of_a_driver_has_its_time_however_it_is_written(parts: list[str]) -> None:
    out = io.StringIO()
    seconds = itertools.count()
    lines = StampedLines(out, {}, lambda: _MOMENT + timedelta(seconds=next(seconds)))
    for part in parts:
        lines.write(part)
    lines.finish()
    text = "".join(parts)
    expected = text.split("\n")
    if not expected[-1]:
        expected.pop()
    written = out.getvalue().split("\n")[:-1]
    assert [line[21:] if line.startswith("2026") else line for line in written] == expected
    stamps = [line[:20] for line in written if line.startswith("2026")]
    assert stamps == sorted(stamps)
    assert len(stamps) == sum(bool(line.strip()) for line in expected)


def test_a_driver_speaks_of_the_job_and_not_of_its_folder() -> None:
    out = io.StringIO()
    lines = StampedLines(out, {"resume /runs/x": "resume x-1"}, lambda: _MOMENT)
    print("`rso-sweep resume /runs/x` goes on", file=lines)
    assert out.getvalue() == "2026-11-27 14:03:05Z `rso-sweep resume x-1` goes on\n"


class _Server:
    """What `followed` needs of a job server."""

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces

    def follow(self, name: str) -> Iterator[str]:
        yield from self._pieces


_OF_RAY = (
    "2026-11-27 01:20:07,027\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    "Running entrypoint for job x: exec python\n"
)


@given(st.lists(st.text("ab\n", max_size=5)), st.lists(st.integers(0, 60), max_size=6))
def test_what_ray_puts_before_a_driver_s_first_line_is_left_out(
    lines: list[str], sizes: list[int]
) -> None:
    said = "".join(lines)
    text, pieces = _OF_RAY + said, []
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    shown = "".join(followed(_Server([*pieces, text]), _job("x", "x")))  # type: ignore[arg-type]
    assert shown == (said if said.endswith("\n") or not said else f"{said}\n")


def test_a_fetched_folder_never_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = _job("a-2", "a")
    assert destination(job, None, updates=False) == Path("runs/a")
    Path("runs/a").mkdir(parents=True)
    assert destination(job, None, updates=False) == Path("runs/a")
    Path("runs/a/sweep.yaml").touch()
    Path("runs/a-2").touch()
    assert destination(job, None, updates=False) == Path("runs/a-3")
    assert destination(job, None, updates=True) == Path("runs/a")
    with pytest.raises(InvalidInput, match=r"'--out' must be a new or an empty folder.*--update"):
        destination(job, "runs/a", updates=False)
    Path("other").mkdir()
    Path("other/notes").touch()
    with pytest.raises(InvalidInput, match="'--update' is for a folder that was fetched before"):
        destination(job, "other", updates=True)


def _kept_at_an_address(tmp_path: Path, started_at: str = "2026-11-27") -> Job:
    """A job whose run folder lies where this machine reaches it without the head node."""
    there = tmp_path / "there"
    (there / "records").mkdir(parents=True, exist_ok=True)
    (there / "checkpoints").mkdir(exist_ok=True)
    (there / "sweep.yaml").write_text(
        f"name: x\nprovenance: {{started_at: {started_at}, machine: {{host: h}}}}\n"
    )
    (there / "records" / "cycles.jsonl").write_text("{}\n")
    (there / "checkpoints" / "run.pt").touch()
    return Job("a", About("x", "a", f"file://{there}", "", ""), "RUNNING", None, None, None, "")


def _fetch(job: Job, folder: Path, *, has_checkpoints: bool = False) -> None:
    no_server: Any = None  # what lies at an address is not asked for on the head node
    fetch(no_server, job, folder, has_checkpoints=has_checkpoints, received=lambda n, most: None)


def test_what_lies_at_an_address_is_copied_from_there(tmp_path: Path) -> None:
    job, here = _kept_at_an_address(tmp_path), tmp_path / "here"
    _fetch(job, here)
    names = {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()}
    assert names == {"sweep.yaml", "records/cycles.jsonl"}
    (here / "report").mkdir()
    _fetch(job, here, has_checkpoints=True)
    assert not (here / "report").exists()
    assert (here / "checkpoints" / "run.pt").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"there", "here"}


def test_another_sweep_or_a_fault_leaves_a_folder_as_it_was(tmp_path: Path) -> None:
    here = tmp_path / "here"
    _fetch(_kept_at_an_address(tmp_path), here)
    (here / "note").touch()
    with pytest.raises(InvalidInput, match="holds another sweep than the one that was fetched"):
        _fetch(_kept_at_an_address(tmp_path, "2026-12-01"), here)
    gone = About("x", "a", f"file://{tmp_path}/gone", "", "")
    with pytest.raises(InvalidInput, match=r"gone' (is no run folder|cannot be read)"):
        _fetch(Job("a", gone, "RUNNING", None, None, None, ""), here)
    unknown = About("x", "a", "nosuch://bucket/x", "", "")
    with pytest.raises(InvalidInput, match="'nosuch://bucket/x' cannot be read from this machine"):
        _fetch(Job("a", unknown, "RUNNING", None, None, None, ""), tmp_path / "new")
    assert (here / "note").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"there", "here"}


def test_a_folder_that_cannot_be_written_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="'--out' must be a folder that can be written, got"):
        _fetch(_kept_at_an_address(tmp_path), tmp_path / "file" / "x")


@pytest.fixture(autouse=True)
def _no_cluster_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RSO_SWEEP_CLUSTER", "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", ["logs", "stop", "fetch", "status"])
def test_a_command_for_jobs_needs_a_cluster(call: Call, command: str) -> None:
    status, out, said = call(command, *(() if command == "status" else ("x-1127-aaaa",)))
    assert (status, out) == (2, "")
    assert "a cluster must be named: by '--cluster' with its launcher file" in said


def test_no_cluster_there_is_a_line(call: Call) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        for command in (["submit", "smoke"], ["logs", "x"], ["status"], ["resume", "x"]):
            status, out, said = call(*command, "--address", address)
            assert (status, out) == (2, "")
            assert said == (
                f"rso-sweep: '--address' http://{address} does not answer (Connection refused); "
                "it must be the dashboard of a running Ray cluster, such as http://HOST:8265\n"
            )


@contextmanager
def _web_server(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"not here"), (200, b"<html>"), (200, b"{}"), (200, b"[]"), (500, b"")],
)
def test_another_web_server_is_not_taken_for_a_cluster(
    call: Call, status: int, body: bytes
) -> None:
    with _web_server(status, body) as address:
        ended, out, said = call("status", "--address", address)
    assert (ended, out) == (2, "")
    assert "answers, but not as a Ray cluster's dashboard" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "No such file or directory"),
        ("a: [", "while parsing"),
        ("[1, 2]", "has no 'cluster_name' and 'provider' and 'auth'"),
        ("name: mine\nspace: {}\n", "has no 'cluster_name' and 'provider' and 'auth'"),
        ("cluster_name: x\nprovider: {type: aws}\n", "has no 'auth'"),
    ],
)
def test_what_is_no_launcher_file_is_refused(
    call: Call, tmp_path: Path, content: str | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / "cluster.yaml").write_text(content)
    status, out, said = call("status", "--cluster", "cluster.yaml")
    assert (status, out) == (2, "")
    assert "'--cluster' must be a Ray cluster launcher file, got 'cluster.yaml'" in said
    assert fault in said
    assert said.count("\n") == 1


def test_the_executor_of_a_job_is_not_to_be_chosen(call: Call) -> None:
    status, _, said = call("resume", "x", "--executor", "inline", "--address", "http://h.invalid")
    assert status == 2
    assert "'--executor' is for a run folder, got it with the job 'x'" in said
