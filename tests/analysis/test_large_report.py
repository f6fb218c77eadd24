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
import json, resource, time
started = time.perf_counter()
import analysis
{statement}
seconds = time.perf_counter() - started
usage = resource.getrusage(resource.RUSAGE_SELF)
# what resource tells of the memory is at least that of the process which began this one
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak_bytes = 1024 * int(status["VmHWM"].split()[0])
print(json.dumps((seconds, usage.ru_utime + usage.ru_stime, peak_bytes)))
"""


@pytest.fixture(scope="module")
def large_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "ten-thousand"
    command = [sys.executable, "-m", "tests.analysis.large_sweep", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder


pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc"),
]


def test_a_large_sweep_is_loaded_within_six_seconds_and_a_gigabyte(large_sweep):
    cpu_s, peak_bytes = _measured(f"analysis.load({str(large_sweep)!r})")
    assert cpu_s <= 6 * ALLOWANCE
    assert peak_bytes <= 1e9


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
