"""A real `ray up` on separate hosts, as a test; see on_premises.py, which does it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOT_HERE = 77


@pytest.mark.cluster
@pytest.mark.timeout(1800)  # a sweep, a minute's silence of a machine, and much waiting for Ray
def test_a_sweep_loses_nothing_when_a_machine_of_its_cluster_is_cut_off() -> None:
    # without the token of the other tests' clusters
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.sweeps.cluster.on_premises"],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == NOT_HERE:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout
