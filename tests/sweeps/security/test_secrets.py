"""Passwords and tokens stay out of run folders and out of what is printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli import main

LITERAL = "l1teral-Pa55word"
"""In an address on the command line."""
EXPORTED = "exp0rted/Pa55:word"
"""In an environment variable."""

_LEAKY_NETWORK = f"""
import os
from torch import nn

class Leaky(nn.Sequential):
    def forward(self, inputs):
        if self.training:
            raise RuntimeError(f"cannot connect: {LITERAL} {{dict(os.environ)}}")
        return super().forward(inputs)

def network(input_shape, n_classes):
    return Leaky(nn.Flatten(), nn.Linear(784, n_classes))

def unbuildable(input_shape, n_classes):
    raise RuntimeError(f"cannot build: {{dict(os.environ)}}")
"""

_SWEEP = """
name: leaky
data: {train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 1}
space: {architecture: ['leaky_code:network', mlp()], batch_size: 50, optimizer: sgd}
"""


@pytest.fixture
def call(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str]]:
    """Calls the command line: status, and all that was printed."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "leaky_code", raising=False)
    monkeypatch.setenv("DB_PASSWORD", EXPORTED)

    def run(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["rso-sweep", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capfd.readouterr()
        return exit_.value.code, captured.out + captured.err

    return run


def _leaks(content: str) -> list[str]:
    token = os.environ["RAY_AUTH_TOKEN"]
    escaped = EXPORTED.replace("/", "%2F").replace(":", "%3A")
    return [secret for secret in (LITERAL, EXPORTED, escaped, token) if secret in content]


def _assert_no_leaks(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    leaky = {str(path): _leaks(path.read_bytes().decode("latin-1")) for path in files}
    assert not {path: found for path, found in leaky.items() if found}


_STORAGE = f"study.storage=sqlite:///file:studies.db?uri=true&token={LITERAL}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Has the sweep file and its network in it."""
    (tmp_path / "leaky_code.py").write_text(_LEAKY_NETWORK)
    (tmp_path / "leaky.yaml").write_text(_SWEEP)
    return tmp_path


Call = Callable[..., tuple[object, str]]


@pytest.mark.long
def test_no_secret_comes_out_of_an_actor(folder: Path, call: Call) -> None:
    status, printed = call("run", "leaky.yaml", "--out", "out", "--set", _STORAGE)
    assert status == 1  # a run has failed
    assert (folder / "studies.db").exists()
    assert "cannot connect: ***" in printed
    assert "cannot connect: ***" in (folder / "out/records/runs.jsonl").read_text()
    assert not _leaks(printed)
    _assert_no_leaks(folder / "out")


def test_no_secret_is_left_in_a_run_folder_and_a_password_has_to_be_given_again(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", "leaky.yaml", "--executor", "inline", "--out", "out", "--set", _STORAGE)
    status, printed = call(*run)
    assert status == 1
    assert "cannot connect: ***" in printed
    assert not _leaks(printed)
    _assert_no_leaks(folder / "out")

    status, printed = call("resume", "out", "--set", _STORAGE)
    assert status == 1
    assert "nothing is left to do" in printed
    assert not _leaks(printed)
    _assert_no_leaks(folder / "out")

    monkeypatch.delenv("DB_PASSWORD")
    for command, status, said in (
        (("resume", "out"), 2, "'study.storage' has a password that is kept nowhere"),
        (("report", "out"), 0, "Report: out/report/report.html"),
        (("status", "out"), 0, "1 failed"),
    ):
        ended, printed = call(*command)
        assert ended == status
        assert said in printed
        assert not _leaks(printed)
    _assert_no_leaks(folder / "out")


def test_no_secret_is_printed_where_a_network_cannot_be_built(folder: Path, call: Call) -> None:
    (folder / "leaky.yaml").write_text(_SWEEP.replace(":network", ":unbuildable"))
    status, printed = call("run", "leaky.yaml", "--executor", "inline")
    assert status == 2
    assert "cannot build: {" in printed
    assert printed.count("\n") == 1
    assert not _leaks(printed)
