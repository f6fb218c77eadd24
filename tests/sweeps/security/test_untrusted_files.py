"""Run folders and sweep files of strangers: they run nothing and write nowhere else."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis import write_report
from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from sweeps.cli import main
from sweeps.executors import InlineExecutor
from sweeps.runs import LAST_EVENTS, START, Run, RunBegan, RunEnded, RunEvent, RunNoticed
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.storage.places import LocalPlace
from sweeps.sweep_file import parse_sweep


class _Malice:
    """Makes a file when it is unpickled without restrictions."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self._path), "w"))


def _pickled(malice: _Malice, path: Path) -> None:
    path.write_bytes(pickle.dumps(malice))


def _saved_by_torch(malice: _Malice, path: Path) -> None:
    torch.save({"records": malice}, path)


@pytest.mark.parametrize("written", [_pickled, _saved_by_torch])
def test_a_checkpoint_that_would_run_code_is_refused_and_the_run_begins_anew(
    tmp_path: Path, tiny_data: Dataset, written: Callable[[_Malice, Path], None]
) -> None:
    place = LocalPlace(str(tmp_path / "out"))
    place.make("checkpoints")
    place.write("sweep.yaml", b"name: x\n")
    values = {"architecture": "mlp()", "batch_size": 25, "optimizer": "sgd"}
    run = Run(0, 0, Configuration.from_values(values, cycles=1))
    touched = tmp_path / "touched"
    written(_Malice(touched), place.path / "checkpoints" / f"{run.name}.pt")

    executor = InlineExecutor(tiny_data, 1, CheckpointFolder(place, every_s=60.0))
    executor.start(run)
    events: list[RunEvent] = []
    while not (events and isinstance(events[-1], LAST_EVENTS)):
        events += executor.poll(5.0)
    executor.close()

    assert not touched.exists()
    (notice,) = (event.notice for event in events if isinstance(event, RunNoticed))
    assert notice == (
        "its checkpoint is damaged (it holds something other than tensors and plain values); "
        "it begins anew"
    )
    assert next(event for event in events if isinstance(event, RunBegan)).resumed_from == START
    last = events[-1]
    assert isinstance(last, RunEnded)
    assert last.state == "finished"


def test_the_malice_would_work_on_a_careless_reader(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Malice(tmp_path / "touched"))).close()
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch touched']",
        "!!python/object/new:os.system ['touch touched']",
        "!!python/name:os.system",
        "[1, {a: !!python/object/apply:subprocess.check_output [[touch, touched]]}]",
    ],
)
def test_a_sweep_file_with_an_object_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"has the tag 'tag:yaml\.org,2002:python/"):
        parse_sweep(f"name: x\nspace: {value}\n", "sweep.yaml")
    assert not Path("touched").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "..", ".", "", "a\\b", "a\nb", "~"])
@pytest.mark.parametrize("key", ["name", "study.name"])
def test_a_name_that_leads_elsewhere_is_refused(spec: Any, key: str, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{key}' must be"):
        spec(f"{key}={json.dumps(name)}")


_HOSTILE_OPTIMISER = """
from pydantic import Field, create_model
from rso_core.optimizers import SGD, SGDOptions

class Hostile(SGD):
    Options = create_model(
        "Options", __base__=SGDOptions, **{"a/b": (str, "x"), "..": (str, "x"), "~x": (str, "x")}
    )
"""


def _listing(folder: Path, but: str) -> set[Path]:
    return {path for path in folder.rglob("*") if but not in path.relative_to(folder).parts}


@pytest.fixture
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apart").mkdir()
    monkeypatch.chdir(tmp_path / "apart")
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr("sys.argv", ["rso-sweep", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


@pytest.mark.usefixtures("_apart")
def test_a_sweep_over_options_with_hostile_names_stays_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep_file: Path
) -> None:
    Path("hostile_code.py").write_text(_HOSTILE_OPTIMISER)
    values = ["../../../../escape", "/tmp/rso-sweep-escape", "<script>", "$(touch touched)"]
    Path("hostile.yaml").write_text(
        "name: hostile\n"
        "data: {train_size: 100, validation_size: 50, test_size: 50}\n"
        "budget: {cycles: 1}\n"
        "space:\n"
        "  architecture: mlp()\n"
        "  batch_size: 50\n"
        "  optimizer: hostile_code:Hostile\n"
        f"  a/b: {json.dumps(values)}\n"
        f"  ~x: {json.dumps(values[:2])}\n"
    )
    before = _listing(tmp_path, "out")
    status = _main(monkeypatch, "run", "hostile.yaml", "--executor", "inline", "--out", "out")
    assert status == 0
    assert Path("out/report/report.html").exists()
    assert _listing(tmp_path, "out") == before
    assert not Path("/tmp/rso-sweep-escape").exists()
    top = {path.name for path in Path("out").iterdir()}
    assert top == {
        "sweep.yaml", "study.journal", "records", "checkpoints", "report", "driver.lock",
    }  # fmt: skip
    report = {path.name for path in Path("out/report").iterdir()}
    assert report == {"report.html", "files.json", "tables", "charts"}
    nested = [path for path in Path("out/report").glob("*/*") if path.is_dir()]
    assert nested == []


@pytest.mark.usefixtures("_apart")
@pytest.mark.long
def test_a_report_of_a_stranger_s_records_stays_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep_file: Path
) -> None:
    arguments = ["run", str(sweep_file), "--executor", "inline", "--out", "out"]
    assert _main(monkeypatch, *arguments) == 0
    shutil.rmtree("out/report")
    names = ("../../../escape", "/tmp/rso-sweep-escape", "a/b", "..", "\x00")
    rows = [json.loads(line) for line in Path("out/records/runs.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        for kind in ("parameters", "options"):
            row[kind] |= dict.fromkeys(names, number % 3)
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    Path("out/records/runs.jsonl").write_text(text)
    before = _listing(tmp_path, "report")
    write_report("out")
    assert Path("out/report/report.html").exists()
    assert _listing(tmp_path, "report") == before
    assert not Path("/tmp/rso-sweep-escape").exists()
    nested = [path for path in Path("out/report").glob("*/*") if path.is_dir()]
    assert nested == []
