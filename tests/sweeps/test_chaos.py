"""The short form of `python -m tests.chaos`: everything is killed, and nothing comes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(400)
def test_a_sweep_whose_actors_and_driver_are_killed_gives_the_undisturbed_records() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--minutes", "0.5", "--trials", "6", "--cycles", "3"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert ended.stdout.endswith("nothing lost, nothing twice\n")
    assert "killed 1 drivers, 3 actors and 1 nodes" in ended.stdout
