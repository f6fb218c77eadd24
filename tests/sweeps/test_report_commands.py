"""The commands that read run folders: what they print, write and refuse."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from sweeps.cli import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a real sweep: two optimisers, two batch sizes, two seeds, two cycles."""
    out = tmp_path_factory.mktemp("sweeps") / "tiny"
    sweep = tmp_path_factory.mktemp("files") / "tiny.yaml"
    sweep.write_text(
        "name: tiny\n"
        "data: {name: mnist, train_size: 256, validation_size: 128}\n"
        "budget: {cycles: 2}\n"
        "space: {architecture: 'mlp()', batch_size: [32, 64], optimizer: [rso, sgd]}\n"
        "sampler: grid\n"
        "seeds: [0, 1]\n"
    )
    arguments = ["rso-sweep", "run", str(sweep), "--out", str(out), "--executor", "inline"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", arguments)
        patch.setattr("sys.path", list(sys.path))
        with pytest.raises(SystemExit) as exit_:
            main()
    assert exit_.value.code == 0
    return out


def test_a_table_of_any_columns_is_printed(call: Call, folder: Path) -> None:
    arguments = ("--rows", "batch_size", "--columns", "optimizer", "--metric", "test_accuracy")
    status, out, _ = call("table", folder, *arguments)
    assert status == 0
    assert out.startswith("### Test accuracy (%) by batch size and optimiser\n\n| Batch size |")
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["32", "64"]


def test_names_may_be_given_together_or_one_by_one(call: Call, folder: Path) -> None:
    together = call("table", folder, "--rows", "optimizer,batch_size")
    one_by_one = call("table", folder, "--rows", "optimizer", "--rows", "batch_size")
    assert together == one_by_one
    assert together[0] == 0


def test_runs_are_held_to_a_budget_and_chosen_by_their_values(call: Call, folder: Path) -> None:
    common = ("table", folder, "--rows", "optimizer", "--metric", "n_cycles", "--format", "csv")
    _, whole, _ = call(*common)
    status, held, _ = call(*common, "--at", "cycles=1", "--where", "batch_size=32")
    assert status == 0
    for text, cycles, n_configurations in ((whole, "2.0", "2"), (held, "1.0", "1")):
        rows = list(csv.DictReader(io.StringIO(text)))
        assert {row["mean"] for row in rows} == {cycles}
        assert {row["n_configurations"] for row in rows} == {n_configurations}


@pytest.mark.parametrize(
    ("form", "beginning"),
    [
        ("markdown", "### "),
        ("latex", "% in the preamble"),
        ("csv", "optimizer,"),
        ("html", "<table"),
    ],
)
def test_every_form_can_be_printed(call: Call, folder: Path, form: str, beginning: str) -> None:
    status, out, _ = call("table", folder, "--rows", "optimizer", "--format", form)
    assert (status, out[: len(beginning)]) == (0, beginning)


def test_a_table_is_written_to_a_file(call: Call, folder: Path, tmp_path: Path) -> None:
    status, out, told = call(
        "table", folder, "--rows", "optimizer", "--format", "parquet", "--out", "made/t.parquet"
    )
    assert (status, out) == (0, "")
    assert told.endswith("made/t.parquet\n")
    frame = pd.read_parquet(tmp_path / "made" / "t.parquet")
    assert list(frame["optimizer"]) == ["rso", "sgd"]


def test_a_report_is_held_to_what_its_reader_asks(call: Call, folder: Path) -> None:
    status, out, _ = call("report", folder, "--at", "cycles=1", "--target", "0.1")
    assert status == 0
    lines = out.splitlines()
    assert sum(line.startswith("| mlp()") and "| 1 cycle " in line for line in lines) == 1
    assert "### What it takes to reach a test accuracy" in lines
    assert lines[-1] == f"Report: {folder}/report/report.html"
    # the table of every trial is for the page
    assert "### Every trial" not in lines
    assert (folder / "report" / "tables" / "every_trial.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "batchsize"], "'--rows' must be a column of the runs"),
        (["--rows", "optimizer", "--columns", "optimizer"], "must name each column once"),
        (["--rows", "optimizer", "--metric", "accuracy"], "'--metric' must be a figure of a run"),
        (["--rows", "optimizer", "--at", "epochs=3"], "'--at' must be a budget and an amount"),
        (["--rows", "optimizer", "--where", "optimizer"], "'--where' must be a column and its"),
        (["--rows", "optimizer", "--where", "optimizer=adam"], "'--where' must be a value of"),
        (["--rows", "optimizer", "--format", "parquet"], "'--out' must name a file"),
        (["--rows", "optimizer", "--out", "/dev/null/x"], "'--out' must be a file that can be"),
        (["--rows", " "], "'--rows' must name at least one column"),
        ([], "Missing option '--rows'"),
    ],
)
def test_what_makes_no_table_is_refused_in_one_line(
    call: Call, folder: Path, arguments: list[str], said: str
) -> None:
    status, out, told = call("table", folder, *arguments)
    assert (status, out) == (2, "")
    assert told.startswith("rso-sweep: ")
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("command", ["report", "table", "watch", "status"])
def test_what_is_no_run_folder_is_refused(call: Call, tmp_path: Path, command: str) -> None:
    rows = ("--rows", "optimizer") if command == "table" else ()
    status, _, told = call(command, tmp_path, *rows)
    assert status == 2
    assert "is not a run folder: it has no sweep.yaml" in told


def test_a_sweep_is_looked_at_once(call: Call, folder: Path) -> None:
    status, out, _ = call("watch", folder, "--once")
    assert status == 0
    assert "tiny" in out
    assert "\x1b" not in out


def test_single_files_of_a_report_are_written_elsewhere(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "kept"
    before = sorted(folder.rglob("*"))
    status, printed, _ = call(
        "report", folder, "--out", out, "--only", "cost.*", "--only", "accuracy_by_cycle.svg"
    )
    assert status == 0
    files = [path.relative_to(out).as_posix() for path in sorted(out.rglob("*")) if path.is_file()]
    tables = [f"tables/cost.{form}" for form in ("csv", "md", "parquet", "tex")]
    assert files == ["charts/accuracy_by_cycle.svg", *tables]
    assert sorted(printed.split()) == sorted(str(out / name) for name in files)
    assert sorted(folder.rglob("*")) == before
    written = folder / "report/tables/cost.md"
    assert (out / "tables/cost.md").read_text() == written.read_text()


def test_what_is_kept_of_a_report_leaves_the_rest_alone(call: Call, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert call("report", folder, "--only", "report.html")[0] == 0
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()


def test_a_file_that_no_report_has_is_refused(call: Call, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    status, printed, told = call("report", folder, "--out", out, "--only", "costs.md")
    assert (status, printed) == (2, "")
    assert told.splitlines() == [
        "rso-sweep: '--only' must name files of the report: no file of this report is named "
        "'costs.md'; did you mean 'cost.md'?"
    ]
    assert not out.exists()
