"""The command line in an empty folder, refusing what it is given: one line a fault, no trace."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sweeps.cli import main

SWEEP = """\
name: small
data: {name: mnist, train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 2}
space:
  architecture: mlp()
  batch_size: 25
  optimizer: sgd
  learning_rate: [0.1, 0.2]
"""

Refused = Callable[..., None]


def _called(monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str | Path]) -> object:
    monkeypatch.setattr("sys.argv", ["rso-sweep", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


def _contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current folder, with small.yaml in it; its modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    Path("small.yaml").write_text(SWEEP)
    return tmp_path


@pytest.fixture
def refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Holds that a command line is refused with these lines, and that every file stays as it is.

    A message is exact, but one that ends in `...` is the beginning of its line.
    """

    def check(arguments: Sequence[str | Path], *messages: str, status: int = 2) -> None:
        before = _contents(here)
        assert _called(monkeypatch, arguments) == status
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == len(messages), captured.err
        for line, message in zip(lines, messages, strict=True):
            expected = f"rso-sweep: {message}"
            if expected.endswith("..."):
                assert line.startswith(expected.removesuffix("..."))
            else:
                assert line == expected
        assert _contents(here) == before

    return check


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a sweep of two trials that has ended."""
    above = tmp_path_factory.mktemp("finished")
    (above / "small.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(above)
        arguments = ["run", "small.yaml", "--executor", "inline", "--out", "out"]
        assert _called(monkeypatch, arguments) == 0
    return above / "out"


@pytest.fixture
def run_folder(here: Path, finished_sweep: Path) -> Path:
    """A copy of it, named `out` in the current folder, to be damaged."""
    shutil.copytree(finished_sweep, here / "out")
    return Path("out")
