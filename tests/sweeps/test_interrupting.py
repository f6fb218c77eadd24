"""Real processes that are interrupted, terminated, killed, or run into a full disk; and resumed."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli import main
from sweeps.status_command import status_lines

SWEEP = """
name: small
data: {name: mnist, train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 1}
space:
  architecture: mlp()
  batch_size: 25
  optimizer: [sgd, rso]
  learning_rate: 0.1
  engine: reference            # seconds a run, so that it is met in the middle
first: [{optimizer: sgd}]      # a grid begins with its longest runs
seeds: 1
checkpoints: {every_s: 0.1}
"""
HANGING = """
import pathlib
import time
from torch import nn

class Hanging(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)
    def forward(self, x):
        if len(x) == 25:
            pathlib.Path("hangs").touch()
            time.sleep(3600)
        return self.linear(x.flatten(1))

def hanging():
    return Hanging()
"""
_VARYING = ("started_at", "ended_at", "host", "training_s", "evaluation_s", "n_attempts")


def _start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from sweeps.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def _finish(process: subprocess.Popen[str], limit_s: float = 60) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=limit_s)
    assert "Traceback" not in err
    return process.returncode, out, err


def _called(*arguments: str | Path) -> tuple[int, str, str]:
    """The same in this process, which has all modules already."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("sys.argv", ["rso-sweep", *map(str, arguments)])
        patch.setattr("sys.path", list(sys.path))
        with pytest.raises(SystemExit) as exit_:
            main()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, out.getvalue(), err.getvalue()


def _resume(folder: Path | str, *arguments: str) -> tuple[int, str, str]:
    return _called("resume", folder, *arguments)


def _wait_for(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "records" / name).read_text().splitlines()]
    for row in rows:
        for key in _VARYING:
            row.pop(key, None)
    return sorted(rows, key=lambda row: (row["run"], row.get("cycle", 0)))


def _records(folder: Path) -> tuple[Any, Any]:
    return _rows(folder, "cycles.jsonl"), _rows(folder, "runs.jsonl")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "sweep.yaml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def undisturbed(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The records of the sweep that nobody disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert _called("run", sweep, "--executor", "inline", "--out", out)[0] == 0
    return _records(out)


def _in_the_middle(out: Path) -> Callable[[], bool]:
    """Whether a run of RSO has left a checkpoint."""
    return lambda: any((out / "checkpoints").glob("trial-1-*.pt"))


def test_an_interrupt_leaves_checkpoints_and_says_how_to_go_on(
    sweep: Path, undisturbed: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = _start("run", sweep, "--executor", "inline", "--out", out)
    _wait_for(_in_the_middle(out), process)
    process.send_signal(signal.SIGINT)
    status, printed, err = _finish(process)
    assert (status, printed) == (130, "")
    assert "stopping: 1 run writes its checkpoint; interrupt again to stop at once" in err
    assert err.endswith(f"interrupted; `rso-sweep resume {out}` goes on with it\n")
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["trial-1-seed-0.pt"]
    assert len(_rows(out, "runs.jsonl")) == 1
    assert status_lines(str(out))[-1] == f"driver  none: `rso-sweep resume {out}` goes on"
    status, printed, err = _resume(out)
    assert status == 0
    assert "1 of 2 trials have ended" in err
    assert "RSO against SGD" in printed
    assert _records(out) == undisturbed
    assert list((out / "checkpoints").iterdir()) == []
    assert status_lines(str(out))[-1] == "driver  none: the sweep is over"


@pytest.mark.long
def test_a_second_interrupt_stops_at_once_even_where_a_network_hangs(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(HANGING)
    (tmp_path / "sweep.yaml").write_text(
        "name: small\ndata: {name: mnist, train_size: 100, validation_size: 50, test_size: 50}\n"
        "space: {architecture: 'own:hanging', batch_size: 25, optimizer: sgd}\n"
    )
    process = _start("run", "sweep.yaml", "--executor", "inline", "--out", "out", cwd=tmp_path)
    _wait_for((tmp_path / "hangs").exists, process)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    status, _, err = _finish(process, limit_s=30)
    assert status == 130
    assert err.endswith("stopped at once; `rso-sweep resume out` goes on with it\n")


@pytest.mark.long
def test_a_killed_driver_is_named_and_its_sweep_gone_on_with(
    sweep: Path, undisturbed: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments: tuple[str | Path, ...] = ("run", sweep, "--executor", "inline", "--out", out)
    for delay_s in (0.0, 0.7):
        process = _start(*arguments)
        _wait_for(partial(_is_driven_by, out, process.pid), process)
        _wait_for(_in_the_middle(out), process)
        time.sleep(delay_s)
        if delay_s == 0:
            process.send_signal(signal.SIGSTOP)  # alive, and not done meanwhile
            assert status_lines(str(out))[-1].startswith(f"driver  process {process.pid} on ")
            status, printed, err = _resume(out)
            assert (status, printed) == (2, "")
            assert err.startswith(f"rso-sweep: '{out}' is driven by process {process.pid} on ")
            assert err.count("\n") == 1
        process.kill()
        process.communicate()
        arguments = ("resume", out)
    status, _, err = _resume(out)
    assert status == 0
    assert f"the driver before, process {process.pid} on " in err
    assert _records(out) == undisturbed


def _is_driven_by(out: Path, pid: int) -> bool:
    """Whether that process says that it drives the sweep."""
    try:
        return bool(json.loads((out / "driver.json").read_bytes())["pid"] == pid)
    except FileNotFoundError:
        return False


def test_a_disk_that_is_full_from_the_beginning_is_told_of_and_nothing_is_made(
    sweep: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    limit = resource.RLIMIT_FSIZE, (100, 100)
    process = _start(
        *("run", sweep, "--executor", "inline", "--out", out),
        preexec_fn=lambda: resource.setrlimit(*limit),
    )
    status, _, err = _finish(process)
    assert status == 2
    assert err.startswith(f"rso-sweep: '--out' must be a folder that can be written, got '{out}'")
    assert err.endswith("(File too large)\n")
    assert not (out / "sweep.yaml").exists()


@pytest.mark.long
def test_a_disk_that_fills_up_stops_the_sweep_with_a_line_and_loses_nothing(
    sweep: Path, undisturbed: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = _start("run", sweep, "--executor", "inline", "--out", out)
    _wait_for(_in_the_middle(out), process)
    # no file can grow any more, and a batch of rows may end within a row
    n_bytes = (out / "records" / "cycles.jsonl").stat().st_size + 100
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    status, _, err = _finish(process)
    assert status == 1
    assert "note   trial   1 seed 0  its checkpoint cannot be written: " in err
    assert err.endswith(
        f"rso-sweep: '{out}/records/cycles.jsonl' cannot be written (File too large); once that is "
        f"put right, `rso-sweep resume {out}` goes on: what was complete is kept\n"
    )
    assert len(_rows(out, "cycles.jsonl")) == 1  # a whole one: that of the first run
    assert _resume(out)[0] == 0
    assert _records(out) == undisturbed


@pytest.mark.long
def test_a_sweep_at_an_address_is_terminated_gone_on_with_and_reported(
    sweep: Path, undisturbed: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    address = f"file://{out}"
    process = _start("run", sweep, "--executor", "inline", "--out", address)
    _wait_for(_in_the_middle(out), process)
    process.send_signal(signal.SIGTERM)
    status, _, err = _finish(process)
    assert status == 130
    assert err.endswith(f"interrupted; `rso-sweep resume {address}` goes on with it\n")
    assert _resume(address)[0] == 0
    assert (out / "report" / "report.html").is_file()
    assert _records(out) == undisturbed
    assert "2 of 2 ended" in "\n".join(status_lines(address))


@pytest.mark.long
def test_a_terminal_s_interrupt_does_not_reach_the_actors_before_the_driver(
    sweep: Path, undisturbed: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = _start("run", sweep, "--out", out, start_new_session=True)
    _wait_for(_in_the_middle(out), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    status, _, err = _finish(process)
    assert status == 130
    assert err.endswith(f"interrupted; `rso-sweep resume {out}` goes on with it\n")
    assert any((out / "checkpoints").glob("*.pt"))
    assert not (out / "records" / "attempts.jsonl").exists()  # nobody died
    assert _resume(out, "--executor", "inline")[0] == 0
    assert _records(out) == undisturbed
