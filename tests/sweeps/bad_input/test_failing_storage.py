"""A run folder that fails in the middle of a sweep: one line, and nothing complete is lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sweeps.cli import main

_NETWORK = """
import time
from pathlib import Path
from torch import nn

def n_rows(log):
    path = Path("out/records") / f"{log}.jsonl"
    return path.read_bytes().count(b"\\n") if path.exists() else 0

class Mover(nn.Sequential):
    n_batches = 0

    def forward(self, inputs):
        if self.training:
            Mover.n_batches += 1
            if Mover.n_batches == 14:  # the last cycle; all before it is to be on the disk
                while (n_rows("cycles"), n_rows("runs")) != (3, 1):
                    time.sleep(0.01)
                Path("out/records").rename("records-elsewhere")
        return super().forward(inputs)

def network(input_shape, n_classes):
    return Mover(nn.Flatten(), nn.Linear(784, n_classes))
"""


def test_a_sweep_whose_records_vanish_stops_with_1_and_is_gone_on_with(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(*arguments: str) -> object:
        monkeypatch.setattr("sys.argv", ["rso-sweep", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code

    Path("moving_code.py").write_text(_NETWORK)
    network = ("--set", "space.architecture=moving_code:network")
    assert status("run", "small.yaml", "--executor", "inline", "--out", "out", *network) == 1
    *_, last = capsys.readouterr().err.splitlines()
    # the driver may not be done with the first run's end at that moment
    assert re.fullmatch(
        r"rso-sweep: 'out/records/(cycles|runs)\.jsonl' cannot be written \(No such file or "
        r"directory\); once that is put right, `rso-sweep resume out` goes on: what was complete "
        r"is kept",
        last,
    )
    assert not Path("out/records").exists()

    before = Path("records-elsewhere/cycles.jsonl").read_bytes()
    assert len(before.splitlines()) == 3
    Path("records-elsewhere").rename("out/records")
    assert status("resume", "out") == 0
    assert Path("out/records/cycles.jsonl").read_bytes().startswith(before)
    rows = [json.loads(line) for line in Path("out/records/runs.jsonl").read_text().splitlines()]
    assert [row["state"] for row in rows] == ["finished", "finished"]
