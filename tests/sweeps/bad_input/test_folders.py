"""Run folders that cannot be written, and folders that are none."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Refused = Callable[..., None]

_RUN = ("run", "small.yaml", "--executor", "inline")
_REPOSITORY = Path(__file__).parents[3]

BAD_OUTPUTS = [
    (
        "foo://x",
        "'foo://x' is no address of a storage (Protocol not known: foo); "
        "name a folder, or such as 's3://bucket/sweeps/x'",
    ),
    (
        "://x",
        "'://x' is no address of a storage (no protocol before ://); "
        "name a folder, or such as 's3://bucket/sweeps/x'",
    ),
    (
        "s3:/bucket/x",
        "'--out' must be a folder or an address, got 's3:/bucket/x'; did you mean 's3://bucket/x'?",
    ),
    (
        "ftp://rso:hunter2@127.0.0.1:1/x",
        "'--out' must be a folder that can be read, got 'ftp://rso:***@127.0.0.1:1/x': "
        "'ftp://rso:***@127.0.0.1:1/x' cannot be reached (Connection refused)",
    ),
    ("", "'--out' must be a folder, got ''; name one, such as runs/x"),
    (
        "x" * 300,
        f"'--out' must be a folder that can be read, got '{'x' * 300}': File name too long",
    ),
    ("small.yaml", "'--out' must be a folder, got the file 'small.yaml'; name another"),
    (
        "small.yaml/x",
        "'--out' must be a folder that can be read, got 'small.yaml/x': "
        "'small.yaml/x/sweep.yaml' cannot be read (Not a directory)",
    ),
    (
        ".",
        "'--out' must be a new or an empty folder, got '.', which holds other files; "
        "name another, such as '.-2'",
    ),
    (
        "out",
        "'--out' must be a new or an empty folder, got 'out', which holds a sweep; "
        "`rso-sweep resume out` goes on with it, or name another, such as 'out-2'",
    ),
]


@pytest.mark.parametrize(("out", "message"), BAD_OUTPUTS, ids=[bad[0][:40] for bad in BAD_OUTPUTS])
def test_an_output_that_cannot_be_used_is_refused(
    refused: Refused, run_folder: Path, out: str, message: str
) -> None:
    refused([*_RUN, "--out", out], message)


def test_a_protocol_whose_package_is_not_installed_is_refused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    needs = "needs a package for 's3://' that is not installed (pip install 'rso-sweep[s3]')"
    refused([*_RUN, "--set", "output=s3://bucket/x"], f"'s3://bucket/x' {needs}")
    refused(["resume", "s3://bucket/x"], f"'s3://bucket/x' {needs}")


def test_runs_that_is_a_file_is_refused(refused: Refused) -> None:
    Path("runs").write_text("laps")
    refused(_RUN, "'runs/small' cannot be read (Not a directory); name the run folder with '--out'")


NO_RUN_FOLDERS = [
    ("nowhere", "is not a run folder: it has no sweep.yaml"),
    (".", "is not a run folder: it has no sweep.yaml"),
    ("small.yaml", "is not a run folder: ..."),
    ("x" * 300, "..."),
    ("foo://x", "..."),
]


@pytest.mark.parametrize("command", ["resume", "report", "status"])
@pytest.mark.parametrize(
    ("folder", "message"), NO_RUN_FOLDERS, ids=[bad[0][:40] for bad in NO_RUN_FOLDERS]
)
def test_what_is_no_run_folder_is_refused(
    refused: Refused, command: str, folder: str, message: str
) -> None:
    between = "" if message == "..." else "' "
    refused([command, folder], f"'{folder}{between}{message}")


@pytest.mark.parametrize("command", ["report", "status"])
def test_a_place_that_cannot_be_reached_is_refused(refused: Refused, command: str) -> None:
    refused(
        [command, "ftp://rso:hunter2@127.0.0.1:1/x"],
        "'ftp://rso:***@127.0.0.1:1/x' cannot be read: Connection refused",
    )


BAD_STUDIES = [
    (
        "sqlite:///${RSO_TEST_NOWHERE}/studies.db",
        "'study.storage' names the environment variable RSO_TEST_NOWHERE, which is not set; "
        "export it, or give an address without it",
    ),
    (
        "sqlite:///nowhere/studies.db",
        "'study.storage' must be a database that can be used, got "
        "'sqlite:///nowhere/studies.db' (unable to open database file); "
        "make its folder, and let it be written",
    ),
    (
        "sqlite:///small.yaml",
        "'study.storage' must be a database that can be used, got 'sqlite:///small.yaml' "
        "(file is not a database); name a file that is an SQLite database, or a new one",
    ),
    (
        "postgresql+psycopg://rso:hunter2@127.0.0.1:1/studies",
        "'study.storage' must be a database that can be used, got "
        "'postgresql+psycopg://rso:***@127.0.0.1:1/studies' (connection to server at "
        '"127.0.0.1", port 1 failed: Connection refused); '
        "see that the database runs, and that the address is right",
    ),
    (
        "grpc://127.0.0.1:1",
        "'study.storage' must be an Optuna gRPC proxy that answers, got 'grpc://127.0.0.1:1' "
        "(no answer within 5 s); optuna.storages.run_grpc_proxy_server starts one",
    ),
]


@pytest.mark.parametrize(("storage", "message"), BAD_STUDIES, ids=[bad[0] for bad in BAD_STUDIES])
def test_a_study_s_storage_that_cannot_be_used_is_refused(
    refused: Refused, storage: str, message: str
) -> None:
    refused([*_RUN, "--out", "new", "--set", f"study.storage={storage}"], message)


def test_a_study_that_exists_already_is_refused(refused: Refused, here: Path) -> None:
    import optuna

    storage = f"sqlite:///{here}/studies.db"
    optuna.create_study(storage=storage, study_name="small")
    refused(
        [*_RUN, "--out", "new", "--set", f"study.storage={storage}"],
        f"'study.name' must be new in its storage, got 'small', which {storage} has; "
        "name another, or `rso-sweep resume` the sweep's run folder",
    )


@pytest.fixture
def held_by() -> Iterator[Callable[[Path], int]]:
    """Starts a process that drives a run folder; gives its number."""
    started: list[subprocess.Popen[str]] = []

    def hold(folder: Path) -> int:
        code = (
            "import sys, time; from sweeps.run_folder import RunFolder;"
            "held = RunFolder.hold(sys.argv[1]); print('held', flush=True); time.sleep(100)"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder.absolute())],
            cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process.pid

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_a_sweep_that_another_process_drives_is_refused(
    refused: Refused, run_folder: Path, held_by: Callable[[Path], int]
) -> None:
    pid = held_by(run_folder)
    refused(
        ["resume", "out"],
        f"'out' is driven by process {pid} on host {platform.node()} since ...",
    )


_AS_NOBODY = """
import contextlib, io, json, os, sys
from sweeps.cli import main

def call(arguments):
    sys.argv = ["rso-sweep", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as exit_:
            return exit_.code, out.getvalue(), err.getvalue().splitlines()

warm, *commands = json.load(sys.stdin)
assert call(warm)[0] == 0  # imports everything while that is allowed
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
json.dump([call(arguments) for arguments in commands], sys.stdout)
"""


def _called_as_nobody(
    warm: list[str], commands: list[list[str]], cache: Path
) -> list[tuple[int, str]]:
    """Status and the one line of each command, of a user who may not write what others own.

    Args:
        warm: a command that is called before, as the user of the tests.
        commands: the commands; their paths are absolute.
        cache: for data sets, in a folder that all may read.
    """
    ended = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY],
        cwd=_REPOSITORY, input=json.dumps([warm, *commands]), capture_output=True, text=True,
        check=True,
        env={**os.environ, "RSO_SWEEP_CACHE": str(cache)},
    )  # fmt: skip
    found = []
    for status, out, lines in json.loads(ended.stdout):
        assert out == ""
        (line,) = lines
        found.append((status, line.removeprefix("rso-sweep: ")))
    return found


@pytest.fixture
def sealed(run_folder: Path) -> Iterator[Path]:
    """A folder that all may read and nobody write, with `run`, a run folder, and `empty` in it."""
    # not pytest's own folder, into which another user may not look
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "sealed"
        folder.mkdir()
        shutil.copytree(run_folder, folder / "run")
        shutil.copy("small.yaml", folder)
        (folder / "empty").mkdir()
        (folder / "closed").mkdir()
        everything = [folder, *folder.rglob("*")]
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        (folder / "closed").chmod(0o000)
        yield folder
        for path in everything:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_folders_that_may_not_be_written_are_refused(sealed: Path, tmp_path: Path) -> None:
    run, closed = f"{sealed}/run", f"{sealed}/closed"
    new, empty = f"{sealed}/new", f"{sealed}/empty"
    sweep = ["run", f"{sealed}/small.yaml", "--executor", "inline", "--out"]
    before = {path: path.stat().st_mtime_ns for path in sealed.rglob("*")}
    expected = {
        (*sweep, closed): (
            2,
            f"'--out' must be a folder that can be read, got '{closed}': "
            f"'{closed}/sweep.yaml' cannot be read (Permission denied)",
        ),
        (*sweep, new): (
            2,
            f"'--out' must be a folder that can be written, got '{new}': "
            f"'{new}' cannot be made (Permission denied)",
        ),
        (*sweep, empty): (
            2,
            f"'--out' must be a folder that can be written, got '{empty}': "
            f"'{empty}/records' cannot be made (Permission denied)",
        ),
        ("report", run): (
            2,
            f"'{run}' must be a folder that can be written (Permission denied); "
            f"`rso-sweep report {run}` writes the report once it is",
        ),
        ("resume", run): (
            1,
            f"'{run}/driver.lock' cannot be locked (Permission denied); once that is put right, "
            f"`rso-sweep resume {run}` goes on: what was complete is kept",
        ),
        ("resume", closed): (
            2,
            f"'{closed}' is not a run folder: "
            f"'{closed}/sweep.yaml' cannot be read (Permission denied)",
        ),
        ("report", closed): (2, f"'{closed}/sweep.yaml' cannot be read: Permission denied"),
        ("status", closed): (2, f"'{closed}/sweep.yaml' cannot be read: Permission denied"),
    }
    commands = [list(line) for line in expected]
    said = _called_as_nobody([*sweep, f"{tmp_path}/warm"], commands, sealed.parent / "cache")
    assert dict(zip(expected, said, strict=True)) == expected
    assert {path: path.stat().st_mtime_ns for path in sealed.rglob("*")} == before
