"""The report of a sweep of ten thousand trials is there within seconds, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWANCE = 3
"""What a busy machine makes of a processor's second: its two threads may be those of one core."""

_CODE = """
import json, resource, sys, time
started = time.perf_counter()
import analysis
{statement}
seconds = time.perf_counter() - started
usage = resource.getrusage(resource.RUSAGE_SELF)
unit = 1 if sys.platform == "darwin" else 1024
figures = (seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)
print(json.dumps(figures))
"""


@pytest.fixture(scope="module")
def large_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "ten-thousand"
    command = [sys.executable, "-m", "tests.analysis.large_sweep", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder


@pytest.mark.long
def test_a_large_sweep_is_loaded_within_six_seconds_and_a_gigabyte(large_sweep):
    cpu_s, peak_bytes = _measured(f"analysis.load({str(large_sweep)!r})")
    assert cpu_s <= 6 * ALLOWANCE
    assert peak_bytes <= 1e9


@pytest.mark.long
def test_the_report_of_a_large_sweep_takes_twenty_seconds_and_two_gigabytes(large_sweep, tmp_path):
    out = tmp_path / "report"
    cpu_s, peak_bytes = _measured(f"analysis.write_report({str(large_sweep)!r}, {str(out)!r})")
    assert (out / "report.html").is_file()
    assert cpu_s <= 20 * ALLOWANCE
    assert peak_bytes <= 2e9


def _measured(statement: str) -> tuple[float, float]:
    """Seconds of the processors and bytes that it takes in a process of its own, with imports.

    The seconds on the clock are printed beside them: whatever else runs at the time adds to those.
    """
    command = [sys.executable, "-c", _CODE.format(statement=statement)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    seconds, cpu_s, peak_bytes = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{statement}: {seconds:.1f} s on the clock, {cpu_s:.1f} s of the processors, "
        f"{peak_bytes / 1e9:.2f} GB at its peak"
    )
    return cpu_s, peak_bytes
