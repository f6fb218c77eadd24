"""Run folders that somebody has edited or that have been damaged: nothing is lost, nothing made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Refused = Callable[..., None]

_LATER = "; once that is put right, `rso-sweep resume out` goes on: what was complete is kept"

# what the sweep file becomes; what `resume` says of it, and what `report` and `status` say if they
# have something against it
BAD_SWEEP_FILES: list[tuple[str, Callable[[bytes], bytes], str, str | None]] = [
    (
        "empty",
        lambda text: b"",
        "sweep file is empty; it needs at least 'name' and 'space' (out/sweep.yaml)",
        "'out/sweep.yaml' must be a mapping of the sweep's settings",
    ),
    (
        "no text",
        lambda text: b"\xff\xfe\x00",
        "'out/sweep.yaml' is not a text in UTF-8 (byte 1); restore it from a copy",
        "'out/sweep.yaml' is not valid YAML",
    ),
    (
        "cut off in a list",
        lambda text: text[: text.index(b"provenance")] + b"seeds: [",
        "sweep file is not valid YAML: ...",
        "'out/sweep.yaml' is not valid YAML, line ...",
    ),
    (
        "with an object",
        lambda text: text + b"x: !!python/object/apply:os.system [exit]\n",
        "'x' has the tag 'tag:yaml.org,2002:python/object/apply:os.system', "
        "which has no meaning here (out/sweep.yaml, line ...",
        "'out/sweep.yaml' is not valid YAML, line ...",
    ),
    (
        "of no objective",
        lambda text: text.replace(b"metric: validation_accuracy", b"metric: beauty"),
        "'objective.metric' must be validation_accuracy, validation_loss, test_accuracy, ...",
        "'objective.metric' must be one of validation_accuracy, validation_loss, ...",
    ),
    (
        "with an unknown key",
        lambda text: text + b"nonsense: 3\n",
        "'nonsense' is not a key of a sweep file; valid: budget, checkpoints, ...",
        None,
    ),
    (
        "without cycles",
        lambda text: text.replace(b"cycles: 2", b"cycles: 0"),
        "'budget.cycles' must be an integer of at least 1, got 0 (out/sweep.yaml, line ...",
        None,
    ),
    (
        "with a network that is gone",
        lambda text: text.replace(b"mlp()", b"'nowhere:network'"),
        "'space.architecture' names module 'nowhere', which cannot be imported (...",
        None,
    ),
    (
        "with a password that is kept nowhere",
        lambda text: text.replace(
            b"storage: null", b"storage: 'postgresql://rso:***@127.0.0.1:1/studies'"
        ),
        "'study.storage' has a password that is kept nowhere; give the address again with "
        "--set study.storage=..., best with ${NAME} of an environment variable in it",
        None,
    ),
    (
        "with a study of an unknown kind",
        lambda text: text.replace(b"storage: null", b"storage: 'oracle://host/studies'"),
        "'study.storage' must be a PostgreSQL, MySQL or SQLite address, "
        "got 'oracle://host/studies'; valid: grpc, mysql, postgresql, sqlite (out/sweep.yaml, ...",
        None,
    ),
    (
        "with a study that is not to be reached",
        lambda text: text.replace(b"storage: null", b"storage: 'sqlite:///nowhere/x.db'"),
        "'study.storage' must be a database that can be used, got 'sqlite:///nowhere/x.db' ...",
        None,
    ),
]


@pytest.mark.parametrize(
    ("damage", "resumed", "read"),
    [bad[1:] for bad in BAD_SWEEP_FILES],
    ids=[bad[0] for bad in BAD_SWEEP_FILES],
)
def test_a_sweep_file_that_is_not_sound_is_refused(
    refused: Refused,
    run_folder: Path,
    damage: Callable[[bytes], bytes],
    resumed: str,
    read: str | None,
) -> None:
    path = run_folder / "sweep.yaml"
    path.write_bytes(damage(path.read_bytes()))
    refused(["resume", "out"], resumed)
    if read is not None:
        refused(["report", "out"], read)
        refused(["status", "out"], read)


def _first(name: str, line: bytes) -> Callable[[Path], None]:
    """Puts a line in the place of the first one of a log."""

    def damage(folder: Path) -> None:
        path = folder / name
        _, *others = path.read_bytes().split(b"\n")
        path.write_bytes(b"\n".join([line, *others]))

    return damage


def _in_place_of(name: str) -> Callable[[Path], None]:
    """Puts a file in the place of a folder."""

    def damage(folder: Path) -> None:
        shutil.rmtree(folder / name)
        (folder / name).write_text("a file")

    return damage


def _without_sweep_file(folder: Path) -> None:
    (folder / "sweep.yaml").unlink()


def _with_a_gap(folder: Path) -> None:
    shutil.copy(folder / "records" / "cycles.jsonl", folder / "records" / "cycles.0003.jsonl")


def _row(**values: Any) -> bytes:
    row = {"trial": 0, "run": "trial-0-seed-0", "seed": 0, "state": "finished", "cycles": 2}
    return json.dumps(row | {"parameters": {}} | values).encode()


_TORN = "is damaged, and whole lines follow it; restore the file from a copy, or remove the line"
_FOREIGN = "'out/records' has a row that is none of this program's"

DAMAGES: list[tuple[str, Callable[[Path], None], str, str | None]] = [
    (
        "a broken row",
        _first("records/cycles.jsonl", b'{"trial": 0, "ru'),
        f"line 1 of 'out/records/cycles.jsonl' {_TORN} by hand",
        "'out/records/cycles.jsonl', line 1 is not valid JSON",
    ),
    (
        "a row of zeros",
        _first("records/runs.jsonl", bytes(40)),
        f"line 1 of 'out/records/runs.jsonl' {_TORN} by hand",
        "'out/records/runs.jsonl', line 1 is not valid JSON",
    ),
    (
        "a row without a run",
        _first("records/cycles.jsonl", b"{}"),
        f"{_FOREIGN} (KeyError: 'run'); restore it from a copy",
        "'out/records/cycles.jsonl', line 1 must name its 'run'",
    ),
    (
        "a row that is a list",
        _first("records/runs.jsonl", b"[1]"),
        f"{_FOREIGN} (...",
        "'out/records/runs.jsonl', line 1 must be a JSON object",
    ),
    (
        "a row with a text for a number",
        _first("records/runs.jsonl", _row(trial="first")),
        f"{_FOREIGN} (TypeError: 'trial' is 'first'); restore it from a copy",
        "'trial' must be an integer, got 'first' ('out/records/runs.jsonl', line 1)",
    ),
    (
        "a row with an end of its own",
        _first("records/runs.jsonl", _row(state="lost")),
        f"{_FOREIGN} (ValueError: no run ends as 'lost'); restore it from a copy",
        None,
    ),
    (
        "a broken line of the journal",
        _first("study.journal", b"{"),
        f"line 1 of 'out/study.journal' {_TORN} by hand",
        None,
    ),
    (
        "a foreign line of the journal",
        _first("study.journal", b'{"op": 1}'),
        "'out/study.journal' has a line that is none of Optuna's (KeyError: 'op_code'); "
        "restore it from a copy",
        None,
    ),
    (
        "a part that is missing",
        _with_a_gap,
        "'out/records/cycles.0002.jsonl' is missing, while a later part is there, "
        "'out/records/cycles.0003.jsonl'; restore it from a copy",
        None,
    ),
    (
        "a file in place of the records",
        _in_place_of("records"),
        "'out/records' cannot be made (File exists)",
        "'out/records' cannot be read: Not a directory",
    ),
]


@pytest.mark.parametrize(
    ("damage", "resumed", "read"), [bad[1:] for bad in DAMAGES], ids=[bad[0] for bad in DAMAGES]
)
def test_damage_is_told_and_left_as_it_is(
    refused: Refused,
    run_folder: Path,
    damage: Callable[[Path], None],
    resumed: str,
    read: str | None,
) -> None:
    damage(run_folder)
    refused(["resume", "out"], resumed if resumed.endswith("...") else resumed + _LATER, status=1)
    if read is not None:
        refused(["report", "out"], read)
        refused(["status", "out"], read)


@pytest.mark.parametrize("command", ["resume", "report", "status"])
def test_a_run_folder_without_its_sweep_file_is_none(
    refused: Refused, run_folder: Path, command: str
) -> None:
    _without_sweep_file(run_folder)
    refused([command, "out"], "'out' is not a run folder: it has no sweep.yaml")


@pytest.mark.parametrize("key", ["budget.cycles", "name", "output", "provenance.executor", "seeds"])
def test_what_decides_on_numbers_cannot_be_changed(
    refused: Refused, run_folder: Path, key: str
) -> None:
    refused(
        ["resume", "out", "--set", f"{key}=3"],
        f"'{key}' cannot be changed when a sweep is resumed, only resources, checkpoints, "
        f"limits, study and logging can (--set {key}=3)",
    )


BAD_RESUMPTIONS = [
    (
        ["--set", "limits.attempt=3"],
        "'limits.attempt' is not a key of 'limits', did you mean 'attempts'? "
        "(--set limits.attempt=3)",
    ),
    (
        ["--set", "resources.concurrency=0"],
        "'resources.concurrency' must be an integer of at least 1 or null, got 0 "
        "(--set resources.concurrency=0)",
    ),
    (
        ["--executor", "inline", "--address", "auto"],
        "'--address' names a Ray cluster, and '--executor inline' uses no Ray",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD_RESUMPTIONS, ids=[" ".join(bad[0]) for bad in BAD_RESUMPTIONS]
)
def test_a_resumption_that_cannot_be_meant_so_is_refused(
    refused: Refused, run_folder: Path, arguments: list[str], message: str
) -> None:
    refused(["resume", "out", *arguments], message)


def test_a_report_that_cannot_be_written_is_told(refused: Refused, run_folder: Path) -> None:
    _in_place_of("report")(run_folder)
    refused(
        ["report", "out"],
        "'out' must be a folder that can be written (File exists); "
        "`rso-sweep report out` writes the report once it is",
    )


@pytest.mark.parametrize("seeds", [b"1", b"null", b"[0]"])
def test_status_reads_an_edited_sweep_file(
    run_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seeds: bytes,
) -> None:
    from sweeps.status_command import status_lines

    path = run_folder / "sweep.yaml"
    path.write_bytes(path.read_bytes().replace(b"seeds: [0]", b"seeds: " + seeds))
    assert "runs    2 finished, of 2" in status_lines("out")
