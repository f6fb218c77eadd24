"""The command line as its users meet it: what it prints, writes and exits with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeps.status_command import status_lines

Called = tuple[int, str, str]
Call = Callable[..., Called]


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The records without what depends on clock and machine, in a fixed order."""
    rows = [json.loads(line) for line in (folder / "records" / name).read_text().splitlines()]
    for row in rows:
        for key in ("training_s", "evaluation_s", "started_at", "ended_at", "host"):
            row.pop(key, None)
    return sorted(rows, key=lambda row: (row["trial"], row["seed"], row.get("cycle", 0)))


@pytest.mark.long
def test_smoke_gives_the_same_records_in_process_and_in_ray_actors(
    call: Call, tmp_path: Path
) -> None:
    for executor in ("inline", "ray"):
        status, out, _ = call("run", "smoke", "--executor", executor, "--out", executor)
        assert status == 0
        assert "RSO against SGD by network and batch size" in out
        assert f"Report: {executor}/report/report.html" in out
    for name in ("cycles.jsonl", "runs.jsonl"):
        assert _rows(tmp_path / "inline", name) == _rows(tmp_path / "ray", name)
    assert len(_rows(tmp_path / "ray", "cycles.jsonl")) == 16
    rso = [row for row in _rows(tmp_path / "ray", "cycles.jsonl") if row["layers"]]
    assert len(rso) == 8
    assert all(row["n_accepted"] > 0 for row in rso)


def test_a_run_folder_holds_what_its_readers_expect(call: Call, sweep_file: Path) -> None:
    status, _, _ = call("run", sweep_file, "--executor", "inline", "--out", "out")
    assert status == 0
    out = Path("out")
    assert {path.name for path in out.iterdir()} == {
        "sweep.yaml", "study.journal", "records", "checkpoints", "report", "driver.lock",
    }  # fmt: skip
    asked = yaml.safe_load((out / "sweep.yaml").read_text())
    assert asked["trials"] == 3
    assert asked["seeds"] == [0, 1]
    provenance = asked["provenance"]
    assert set(provenance) == {
        "started_at", "command", "versions", "machine", "executor", "address",
    }  # fmt: skip
    assert {"python", "torch", "ray", "optuna"} <= set(provenance["versions"])
    assert provenance["command"].startswith("rso-sweep run ")
    assert (out / "report" / "report.html").is_file()

    status, shown, _ = call("status", "out")
    assert status == 0
    assert "3 of 3 ended" in shown
    assert "6 finished, of 6" in shown
    status, shown, _ = call("report", "out")
    assert status == 0
    assert "Report: out/report/report.html" in shown


def _status(out: Path) -> dict[str, str]:
    """What status says, by its first words."""
    lines = status_lines(str(out))[1:]
    return {line[:8].strip(): line[8:] for line in lines if line[:8].strip()}


def _edit(out: Path, log: str, change: Callable[[list[dict[str, Any]]], list[Any]]) -> None:
    path = out / "records" / f"{log}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


def test_status_tells_the_ends_of_the_pareto_set(call: Call, sweep_file: Path) -> None:
    objectives = "[{metric: validation_accuracy}, {metric: n_images_passed}]"
    status, _, _ = call(
        "run", sweep_file, "--executor", "inline", "--out", "out",
        "--set", f"objective={objectives}", "--set", "seeds=1",
    )  # fmt: skip
    assert status == 0
    lines = status_lines("out")
    (place,) = [n for n, line in enumerate(lines) if line.startswith("pareto")]
    assert lines[place].endswith(" of 3 trials that ran to their end; its ends:")
    assert lines[place + 1].startswith("        trial ")
    assert ", images passed 200  (sgd, mlp(), batch 25)" in lines[place + 1]
    assert not any(line.startswith("best") for line in lines)


def test_status_of_a_sweep_with_more_and_fewer_runs_than_asked(
    call: Call, sweep_file: Path
) -> None:
    call("run", sweep_file, "--executor", "inline", "--out", "out")
    out = Path("out")
    # one trial is given a third seed, one is pruned before its second
    _edit(out, "cycles", lambda rows: [*rows, *(
        row | {"seed": 2, "run": "trial-0-seed-2"} for row in rows if row["run"] == "trial-0-seed-0"
    )])  # fmt: skip
    _edit(out, "cycles", lambda rows: [row for row in rows if row["run"] != "trial-1-seed-1"])
    _edit(out, "runs", lambda rows: [
        row if row["run"] != "trial-1-seed-1"
        else row | {"state": "pruned", "n_attempts": 0, "host": "", "n_threads": 0}
        for row in rows
    ] + [rows[0] | {"trial": 0, "seed": 2, "run": "trial-0-seed-2"}])  # fmt: skip
    said = _status(out)
    assert said["trials"] == "3 of 3 ended"
    assert said["runs"] == (
        "6 finished, 1 pruned (1 not begun), of 7, 1 of them beyond the first 2 of their trials"
    )
    assert said["driver"] == "none: the sweep is over"


def test_status_of_a_sweep_that_may_end_before_its_last_trial(call: Call, sweep_file: Path) -> None:
    call("run", sweep_file, "--executor", "inline", "--out", "out")
    out = Path("out")
    path = out / "sweep.yaml"
    asked = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(asked | {"trials": 9, "stop": {"images_passed": 1000}}))
    said = _status(out)
    assert said["trials"] == "3 of at most 9 ended"
    assert said["runs"] == "6 finished, of at most 18"
    assert said["driver"] == "none: `rso-sweep resume out` goes on, unless 'stop' ends it"
    reason = "1,200 images have passed"
    end = {"pid": os.getpid(), "ended_at": "2026-01-01T00:00:00+00:00", "stop_reason": reason}
    _edit(out, "drivers", lambda rows: [*rows, end])
    said = _status(out)
    assert said["trials"] == f"3 ended, of at most 9; no further one is begun: {reason}"
    assert said["runs"] == "6 finished"
    assert said["driver"] == "none: the sweep is over"


def test_a_run_folder_s_own_sweep_file_runs_again(call: Call, sweep_file: Path) -> None:
    call("run", sweep_file, "--executor", "inline", "--out", "first")
    status, _, _ = call("run", "first/sweep.yaml", "--executor", "inline", "--out", "second")
    assert status == 0
    assert _rows(Path("first"), "cycles.jsonl") == _rows(Path("second"), "cycles.jsonl")


def test_without_out_the_folder_is_named_after_the_sweep_and_numbered(
    call: Call, sweep_file: Path
) -> None:
    for _ in range(2):
        assert call("run", sweep_file, "--executor", "inline")[0] == 0
    assert {path.name for path in Path("runs").iterdir()} == {"small", "small-2"}


def test_a_sweep_with_a_failed_run_still_reports_and_exits_1(call: Call, sweep_file: Path) -> None:
    status, out, err = call(
        "run", sweep_file, "--executor", "inline", "--out", "out",
        "--set", "space.learning_rate=[0.1, 3e38]",
    )  # fmt: skip
    assert status == 1
    assert "FAILED" in err
    assert "TrainingDiverged" in err
    assert "Report: out/report/report.html" in out


def test_a_user_s_network_beside_the_sweep_file_is_found_in_actors_too(call: Call) -> None:
    Path("own.py").write_text(
        "from torch import nn\n"
        "def network(input_shape, n_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, n_classes))\n"
    )
    status, _, err = call(
        "run", "smoke", "--out", "out", "--set", "space.architecture=own:network",
        "--set", "space.optimizer=sgd", "--set", "space.perturbation_std=1.0",
    )  # fmt: skip
    assert status == 2
    assert "'space.perturbation_std'" in err
    Path("sweep.yaml").write_text(
        "name: own\ndata: {train_size: 100, validation_size: 50, test_size: 50}\n"
        "budget: {cycles: 1}\n"
        "space: {architecture: 'own:network', batch_size: 50, optimizer: rso}\n"
    )
    status, _, _ = call("run", "sweep.yaml", "--out", "out")
    assert status == 0
    assert {row["architecture"] for row in _rows(Path("out"), "runs.jsonl")} == {"own:network"}


TRAIN = ("train", "--architecture", "mlp()", "--batch-size", "50", "--cycles", "2")
SMALL = ("--set", "data.train_size=200", "--set", "data.test_size=100")


def test_train_prints_a_line_for_every_cycle(call: Call) -> None:
    status, out, _ = call(*TRAIN, *SMALL, "--optimizer", "rso", "--seed", "3")
    assert status == 0
    lines = out.splitlines()
    assert [line.split("   ")[0] for line in lines] == ["cycle 1 of 2", "cycle 2 of 2"]
    assert all("accepted" in line and "test" in line for line in lines)


def test_train_prints_json_lines_that_hold_the_whole_record(call: Call) -> None:
    status, out, _ = call(*TRAIN, *SMALL, "--optimizer", "sgd", "--json")
    assert status == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["cycle"] for record in records] == [1, 2]
    assert records[0]["n_images_passed"] == 200


def test_train_that_diverges_ends_with_a_line_and_status_1(call: Call) -> None:
    status, _, err = call(*TRAIN, *SMALL, "--optimizer", "sgd", "--set", "learning_rate=3e38")
    assert status == 1
    assert err.startswith("rso-sweep: the run failed: TrainingDiverged: ")
    assert err.count("\n") == 1


def test_check_counts_trials_runs_and_visits(call: Call) -> None:
    status, out, _ = call("check", "smoke")
    assert status == 0
    assert "trials  4, sampler grid" in out
    assert "runs    8" in out
    n_visits = 2 * 2 * (7850 + (784 * 4 + 4 + 4 * 10 + 10))
    assert f"visits  {n_visits:,} weight visits" in out


def test_check_estimates_the_visits_of_a_sampler(call: Call) -> None:
    status, out, _ = call(
        "check", "smoke", "--set", "sampler=random", "--set", "trials=10",
        "--set", "space.perturbation_std={low: 0.1, high: 1.0}",
    )  # fmt: skip
    assert status == 0
    assert "visits  about " in out


def test_the_schema_is_json(call: Call) -> None:
    status, out, _ = call("schema")
    assert status == 0
    assert json.loads(out)["title"] == "rso-sweep: a sweep file"


@pytest.mark.parametrize(
    "command", ["run", "resume", "train", "report", "status", "presets", "show", "check", "schema"]
)
def test_every_command_s_help_has_an_example(call: Call, command: str) -> None:
    status, out, _ = call(command, "--help")
    assert status == 0
    assert f"Example:  rso-sweep {command}" in out


BAD_COMMANDS = [
    (
        ["run", "quickstrt"],
        "'quickstrt' is neither a preset nor a file; did you mean 'quickstart'?",
    ),
    (["run", "none.yaml"], "sweep file 'none.yaml' does not exist"),
    (["run"], "Missing argument 'sweep'; see 'rso-sweep run --help'"),
    (["frobnicate"], "No such command 'frobnicate'; see 'rso-sweep --help'"),
    (["run", "smoke", "--bad"], "No such option: --bad; see 'rso-sweep run --help'"),
    (
        ["run", "smoke", "--set", "budgt.cycles=3"],
        "'budgt' is not a key of a sweep file, did you mean 'budget'? (--set budgt.cycles=3)",
    ),
    (
        ["run", "smoke", "--set", "budget.cycles=many"],
        "'budget.cycles' must be an integer of at least 1, got 'many' (--set budget.cycles=many)",
    ),
    (
        ["run", "smoke", "--set", "space.architecture=one_cnv"],
        "'space.architecture' must be a network, got 'one_cnv'; did you mean 'one_conv'? "
        "(--set space.architecture=one_cnv)",
    ),
    (
        ["run", "smoke", "--set", "space.batch_size=501"],
        "'space.batch_size' must be an integer from 1 to 500, got 501; "
        "500 training images are left after validation is held out (--set space.batch_size=501)",
    ),
    (
        ["run", "smoke", "--executor", "inline", "--address", "auto"],
        "'--address' names a Ray cluster, and '--executor inline' uses no Ray",
    ),
    (
        ["run", "smoke", "--address", "127.0.0.1:1"],
        "'--address' must be a running Ray cluster, got '127.0.0.1:1' (Connection refused); "
        "`ray status` on its head node tells the address",
    ),
    (["show", "smok"], "'smok' is neither a preset nor a file; did you mean 'smoke'?"),
    (["report", "nowhere"], "'nowhere' is not a run folder: it has no sweep.yaml"),
    (["status", "."], "'.' is not a run folder: it has no sweep.yaml"),
    (
        ["train", "--optimizer", "sdg"],
        "'optimizer' must be an optimiser, got 'sdg'; did you mean 'sgd'?",
    ),
    (["train", "--batch-size", "0"], "'batch_size' must be an integer of at least 1, got 0"),
    (["train", "--cycles", "0"], "'cycles' must be an integer of at least 1, got 0"),
    (["train", "--threads", "0"], "'--threads' must be an integer of at least 1, got 0"),
    (["train", "--seed", "-1"], "'--seed' must be an integer from 0 to 4294967295, got -1"),
    (["train", "--set", "learning_rate"], "'--set' must be KEY=VALUE, got 'learning_rate'"),
    (
        ["train", "--set", "learning_rate=0.1"],
        "'learning_rate' is not an option of rso; valid: ",
    ),
    (
        ["train", "--set", "data.trainsize=1"],
        "'data.trainsize' is not an option; did you mean 'train_size'?",
    ),
    (
        ["train", "--batch-size", "55001"],
        "'batch_size' must be an integer from 1 to 55000, the number of training images, got 55001",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD_COMMANDS, ids=[" ".join(bad[0]) for bad in BAD_COMMANDS]
)
def test_bad_input_gets_one_line_and_status_2_and_writes_nothing(
    call: Call, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, out, err = call(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith(f"rso-sweep: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_all_faults_of_a_sweep_file_are_listed_at_once(call: Call) -> None:
    Path("bad.yaml").write_text(
        "name: bad\nbudget: {cycles: 0}\nspcae: {}\nspace:\n  architecture: one_cnv\n"
        "  batch_size: big\n  optimizer: []\n"
    )
    status, _, err = call("run", "bad.yaml", "--out", "out")
    assert status == 2
    lines = err.splitlines()
    assert [line.rpartition("(")[2] for line in lines] == [
        f"bad.yaml, line {number})" for number in (2, 3, 5, 6, 7)
    ]
    assert not Path("out").exists()


def test_a_folder_that_holds_another_sweep_is_refused_and_left_as_it_is(
    call: Call, sweep_file: Path
) -> None:
    call("run", sweep_file, "--executor", "inline", "--out", "out")
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    status, _, err = call("run", "smoke", "--executor", "inline", "--out", "out")
    assert status == 2
    assert err == (
        "rso-sweep: '--out' must be a new or an empty folder, got 'out', which holds a sweep; "
        "`rso-sweep resume out` goes on with it, or name another, such as 'out-2'\n"
    )
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before


def test_a_folder_with_other_files_and_a_file_are_refused(call: Call) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("notes")
    for out, said in (("mine", "which holds other files"), ("mine/notes.txt", "got the file")):
        status, _, err = call("run", "smoke", "--executor", "inline", "--out", out)
        assert status == 2
        assert said in err
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


def test_a_sweep_file_that_cannot_be_read_is_refused(call: Call) -> None:
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00name")
    Path("folder.yaml").mkdir()
    for path in ("binary.yaml", "folder.yaml"):
        status, _, err = call("run", path)
        assert status == 2
        assert err.count("\n") == 1
        assert path in err


def test_help_answers_in_well_under_a_second() -> None:
    def seconds() -> float:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "from sweeps.cli import main; main()", "--help"],
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - started

    assert min(seconds() for _ in range(3)) < 1.0
