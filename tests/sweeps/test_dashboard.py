"""`rso-sweep dashboard`: the real optuna-dashboard over HTTP, on the study of a run folder."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import fsspec
import optuna
import pytest

from rso_core.errors import InvalidInput
from sweeps.cli import main
from sweeps.dashboard_command import DashboardServer, dashboard_server
from sweeps.run_folder import RunFolder
from sweeps.spec import SweepSpec
from sweeps.storage import append_log
from sweeps.storage.append_log import AppendLog
from sweeps.storage.journal_view import JournalView, ReadOnlyJournal, view_study
from sweeps.storage.places import StorageFailed, open_place
from sweeps.storage.studies import open_study_store

pytest.importorskip("optuna_dashboard")

Spec = Callable[..., SweepSpec]


class Sweep:
    """A run folder whose study is written as the driver writes it, a trial at a time."""

    def __init__(self, address: str, spec: SweepSpec) -> None:
        self.address = address
        folder = RunFolder.create(address, spec, ["run"], {})
        folder.close()
        self.store = open_study_store(
            spec.study.storage, spec.study.name or spec.name, folder.journal
        )
        self._make_study()

    def _make_study(self) -> None:
        self.study = optuna.create_study(
            storage=self.store.storage, study_name=self.store.study_name, direction="maximize"
        )
        self.store.flush()

    def add_trial(self, value: float) -> None:
        trial = self.study.ask()
        trial.suggest_float("learning_rate", 0.1, 0.3)
        trial.report(value / 2, 1)
        self.study.tell(trial, value)
        self.store.flush()


@pytest.fixture
def sweep(tmp_path: Path, spec: Spec) -> Sweep:
    """A sweep in a folder of this machine, with one trial."""
    made = Sweep(str(tmp_path / "out"), spec())
    made.add_trial(0.5)
    return made


@pytest.fixture
def remote_sweep(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """A sweep at an address, whose journal begins another part with every batch."""
    monkeypatch.setattr(append_log, "PART_BYTES", 0)
    made = Sweep("memory://dashboards/out", spec())
    made.add_trial(0.5)
    yield made
    fsspec.filesystem("memory").rm("/dashboards", recursive=True)


@contextmanager
def serving(address: str, **options: Any) -> Iterator[DashboardServer]:
    with dashboard_server(address, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def request(
    server: DashboardServer, path: str, method: str = "GET", body: Any = None
) -> tuple[int, Any]:
    """The status, and the content read as JSON where it is JSON."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{server.server_address[1]}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, content = error.code, error.read()
    try:
        return status, json.loads(content)
    except ValueError:
        return status, content


def values(server: DashboardServer, n_trials: int) -> list[float]:
    """The values of the study's trials, once there are so many: the dashboard keeps some for 2 s"""
    deadline = time.monotonic() + 20
    while True:
        status, detail = request(server, "/api/studies/0")
        if status == 200 and len(detail["trials"]) >= n_trials:
            return [trial["values"][0] for trial in detail["trials"]]
        assert time.monotonic() < deadline, (status, detail)
        time.sleep(0.1)


def contents(folder: str | Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_the_dashboard_shows_a_trial_that_is_added_while_it_runs_and_writes_nothing(
    sweep: Sweep,
) -> None:
    before = contents(sweep.address)
    with serving(sweep.address) as server:
        assert server.url.endswith("/dashboard/studies/0")
        assert server.has_study
        status, listed = request(server, "/api/studies")
        assert status == 200
        assert [study["study_name"] for study in listed["study_summaries"]] == ["small"]
        assert values(server, 1) == [0.5]
        _, page = request(server, "/dashboard/studies/0")
        assert b"Optuna Dashboard" in page
        assert contents(sweep.address) == before
        sweep.add_trial(0.75)
        written = contents(sweep.address)
        assert values(server, 2) == [0.5, 0.75]
        _, detail = request(server, "/api/studies/0")
        assert detail["best_trials"][0]["number"] == 1
        assert contents(sweep.address) == written


CHANGES = [
    ("PUT", "/api/studies/0/note", {"version": 1, "body": "a note"}),
    ("PUT", "/api/studies/0/0/note", {"version": 1, "body": "a note"}),
    ("POST", "/api/trials/0/user-attrs", {"user_attrs": {"tag": "good"}}),
    ("POST", "/api/trials/0/tell", {"state": "Complete", "values": [1.0]}),
    ("POST", "/api/studies", {"study_name": "other", "directions": ["minimize"]}),
    ("POST", "/api/studies/0/rename", {"study_name": "other"}),
    ("DELETE", "/api/studies/0", {}),
]


def test_every_change_from_the_dashboard_is_refused_with_a_reason_that_it_shows(
    sweep: Sweep,
) -> None:
    before = contents(sweep.address)
    with serving(sweep.address) as server:
        for method, path, body in CHANGES:
            status, answer = request(server, path, method, body)
            assert (status, answer["reason"]) == (
                403,
                "this dashboard is for looking only: the study belongs to its sweep",
            )
        assert values(server, 1) == [0.5]
    assert contents(sweep.address) == before


def test_a_study_in_a_database_is_shown_and_not_changed(tmp_path: Path, spec: Spec) -> None:
    database = tmp_path / "studies.db"
    address = f"sqlite:///{database}"
    sweep = Sweep(
        str(tmp_path / "out"), spec(f"study.storage={address}", "study.name=in_a_database")
    )
    sweep.add_trial(0.25)
    with serving(sweep.address) as server:
        _, listed = request(server, "/api/studies")
        (study,) = listed["study_summaries"]
        assert study["study_name"] == "in_a_database"
        assert server.url.endswith(f"/dashboard/studies/{study['study_id']}")
        change = request(server, f"/api/studies/{study['study_id']}", "DELETE", {})
        assert change[0] == 403
        sweep.add_trial(0.5)
        _, detail = request(server, f"/api/studies/{study['study_id']}")
        assert len(detail["trials"]) == 2


def test_a_journal_in_parts_at_an_address_is_followed(remote_sweep: Sweep) -> None:
    place = open_place(remote_sweep.address)
    assert len(place.names()) > 2  # sweep.yaml and several parts
    with serving(remote_sweep.address) as server:
        assert values(server, 1) == [0.5]
    follower = JournalView(place, "study.journal", fresh_for_s=0)
    idler = JournalView(place, "study.journal", fresh_for_s=3600)
    n_before = len(list(follower.read_logs(0)))
    assert len(list(idler.read_logs(0))) == n_before
    remote_sweep.add_trial(0.75)
    later = list(follower.read_logs(n_before))
    assert n_before + len(later) == len(AppendLog(place, "study.journal").read())
    assert len(later) > 2
    assert list(idler.read_logs(n_before)) == [], "what was read is taken for all there is"


def test_a_sweep_whose_study_is_not_there_yet_is_listed_once_it_is(
    tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Sweep, "_make_study", lambda self: None)
        sweep = Sweep(str(tmp_path / "out"), spec())
    with serving(sweep.address) as server:
        assert not server.has_study
        assert server.url.endswith("/dashboard")
        assert request(server, "/api/studies") == (200, {"study_summaries": []})
        sweep._make_study()
        sweep.add_trial(0.5)
        time.sleep(0.6)  # for half a second what was read is taken for all there is
        assert values(server, 1) == [0.5]


def test_a_view_reads_no_line_before_it_is_whole(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    journal.write_bytes(b'{"op_code": 1}\n{"op_c')
    view = JournalView(open_place(str(tmp_path)), "study.journal", fresh_for_s=0)
    assert list(view.read_logs(0)) == [{"op_code": 1}]
    journal.write_bytes(b'{"op_code": 1}\n{"op_code": 2}\n{"op')
    assert list(view.read_logs(1)) == [{"op_code": 2}]
    # what a dying driver left is cut off by the next one, which goes on behind it
    journal.write_bytes(b'{"op_code": 1}\n{"op_code": 2}\n{"op_code": 3}\n')
    assert list(view.read_logs(2)) == [{"op_code": 3}]
    assert list(view.read_logs(3)) == []


@pytest.mark.parametrize("anew", [b'{"op_code": 1}\n', b'{"op_code": 1}\n{"op_code": 9}\n{}\n'])
def test_a_view_notices_that_what_it_has_read_was_taken_back(tmp_path: Path, anew: bytes) -> None:
    journal = tmp_path / "study.journal"
    journal.write_bytes(b'{"op_code": 1}\n{"op_code": 2}\n')
    view = JournalView(open_place(str(tmp_path)), "study.journal", fresh_for_s=0)
    assert len(list(view.read_logs(0))) == 2
    journal.write_bytes(anew)
    with pytest.raises(StorageFailed, match="written anew"):
        view.read_logs(2)
    assert view.is_outdated


def test_the_dashboard_reads_a_journal_again_that_was_taken_back(
    sweep: Sweep, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Path(sweep.address) / "study.journal"
    before = journal.read_bytes()
    sweep.add_trial(0.75)
    with serving(sweep.address) as server:
        assert values(server, 2) == [0.5, 0.75]
        journal.write_bytes(before)
        time.sleep(0.6)
        assert request(server, "/api/studies")[0] == 500  # it is found out in the middle of it
        assert values(server, 1) == [0.5]
    assert "was written anew" in caplog.text


def test_optuna_cannot_write_through_a_view(sweep: Sweep) -> None:
    before = contents(sweep.address)
    storage, _ = view_study(open_place(sweep.address))
    study = optuna.load_study(storage=storage, study_name="small")
    for write in (study.ask, lambda: study.set_user_attr("a", 1)):
        with pytest.raises(ReadOnlyJournal, match="only looked at"):
            write()
    assert len(study.trials) == 1
    assert contents(sweep.address) == before


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    """Calls `rso-sweep dashboard`, which is to end with status 2 and a line, and gives the line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))

    def call(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["rso-sweep", "dashboard", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1, line
        return line

    return call


def test_without_the_extra_it_says_what_to_install(
    sweep: Sweep, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert "; pip install 'rso-sweep[dashboard]'" in refused(sweep.address)


def test_a_port_that_is_taken_is_named(sweep: Sweep, refused: Callable[..., str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        line = refused(sweep.address, "--port", str(port))
    assert f"'--port' must be free, got {port}, on which another program listens" in line


def test_a_host_of_another_machine_is_refused(sweep: Sweep, refused: Callable[..., str]) -> None:
    line = refused(sweep.address, "--port", "0", "--host", "192.0.2.1")
    assert "'--host' must be an address of this machine, got '192.0.2.1'" in line


def test_what_is_no_run_folder_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "'nowhere' is not a run folder: it has no sweep.yaml" in refused("nowhere")
    (tmp_path / "sweep.yaml").write_text("name: [1]\n")
    assert "is no sweep file; restore it from a copy" in refused(".")


def test_a_damaged_journal_is_refused(sweep: Sweep, refused: Callable[..., str]) -> None:
    journal = Path(sweep.address) / "study.journal"
    journal.write_bytes(b"\0\0\n" + journal.read_bytes())
    assert "is damaged, and whole lines follow it" in refused(sweep.address)


def test_a_database_that_is_not_there_is_refused_and_not_made(
    tmp_path: Path, spec: Spec, refused: Callable[..., str]
) -> None:
    Sweep(str(tmp_path / "out"), spec("study.storage=sqlite:///studies.db"))
    (tmp_path / "studies.db").rename(tmp_path / "elsewhere.db")
    line = refused("out", "--port", "0")
    assert "must be a database that is there, got 'sqlite:///studies.db'" in line
    assert not (tmp_path / "studies.db").exists()
    with dashboard_server("out", "127.0.0.1", 0, storage="sqlite:///elsewhere.db") as server:
        assert server.has_study


def test_a_password_that_is_kept_nowhere_is_asked_for(tmp_path: Path, spec: Spec) -> None:
    storage = "study.storage=postgresql://rso:hunter22@127.0.0.1/db"
    with closing(RunFolder.create(str(tmp_path / "out"), spec(storage), ["run"], {})):
        pass
    with pytest.raises(InvalidInput, match="kept nowhere; give the address with --storage"):
        dashboard_server(str(tmp_path / "out"), "127.0.0.1", 0)


def test_ctrl_c_ends_it_without_a_failure(sweep: Sweep) -> None:
    code = "import sys, sweeps.cli; sys.argv[0] = 'rso-sweep'; sweeps.cli.main()"
    command = [sys.executable, "-c", code, "dashboard", sweep.address, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline(), process.stderr.readline()]
        assert f"optuna-dashboard of {sweep.address}, for looking only: http://127" in lines[0]
        url = lines[0].split()[-1].replace("/dashboard/studies/", "/api/studies/")
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert len(json.loads(answer.read())["trials"]) == 1
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert (process.returncode, lines[1], rest) == (0, "Ctrl-C ends it\n", "")
