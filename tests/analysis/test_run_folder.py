"""Reading the files of a run folder."""

from __future__ import annotations

import json
import pickle

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.objectives import Objective
from analysis.run_folder import UnreadableRunFolder, read_run_folder


def test_reads_what_was_asked(build):
    metadata = read_run_folder(build("asked").write()).metadata
    assert (metadata.name, metadata.metric, metadata.direction) == (
        "asked",
        "validation_accuracy",
        "maximize",
    )
    assert metadata.provenance["machine"]["host"] == "node-1"
    assert "provenance" not in metadata.specification


def test_everything_but_name_and_objective_may_be_missing(tmp_path):
    objective = {"metric": "validation_loss", "direction": "minimize"}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"name": "bare", "objective": objective}))
    folder = read_run_folder(tmp_path)
    assert (len(folder.cycles), folder.run_rows) == (0, ())
    assert folder.metadata.provenance == {}


def test_several_objectives_are_in_their_order_with_a_direction_each(build):
    builder = build()
    builder.specification["objective"] = [
        {"metric": "n_images_passed"},
        {"metric": "test_accuracy"},
        {"metric": "test_loss", "direction": "maximize"},
    ]
    metadata = read_run_folder(builder.write()).metadata
    assert metadata.objectives == (
        Objective("n_images_passed", "minimize"),
        Objective("test_accuracy", "maximize"),
        Objective("test_loss", "maximize"),
    )
    assert (metadata.metric, metadata.direction) == ("n_images_passed", "minimize")


def test_the_end_of_a_driver_is_told_with_its_beginning(cut_short):
    cut_short.write()
    end = {"ended_at": "2026-11-24T08:00:00+00:00", "pid": 4001}
    cut_short.driver_rows.insert(2, end | {"stop_reason": "600 images have passed"})
    drivers = read_run_folder(cut_short.write()).driver_rows
    assert [row["pid"] for row in drivers] == [4000, 4001, 4002]
    assert [row.get("stop_reason") for row in drivers] == [None, "600 images have passed", None]
    assert drivers[1]["ended_at"] == end["ended_at"]


def test_what_a_sweep_was_told_of_another_one_is_let_be(build):
    builder = build()
    builder.add_run(0)
    before = read_run_folder(builder.write())
    (builder.folder / "records" / "warm_start.jsonl").write_text('{"trial": 7}\n{')
    assert read_run_folder(builder.folder) == before


@pytest.mark.parametrize("name", ["cycles", "runs"])
def test_a_last_line_cut_off_anywhere_is_ignored(build, name):
    builder = build()
    builder.add_run(0)
    builder.add_run(1)
    path = builder.write() / "records" / f"{name}.jsonl"
    whole = path.read_bytes()
    *kept, last = whole.splitlines(keepends=True)
    for length in range(0, len(last) - 1, 7):
        path.write_bytes(b"".join(kept) + last[:length])
        folder = read_run_folder(builder.folder)
        assert len(folder.cycles if name == "cycles" else folder.run_rows) == len(kept)


def test_a_last_line_that_lacks_only_its_newline_counts(build):
    builder = build()
    builder.add_run(0)
    path = builder.write() / "records" / "runs.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert len(read_run_folder(builder.folder).run_rows) == 1


@pytest.mark.parametrize("rest", [b"\0" * 4, b'{"run": "a\0\0', b"\0\0\n", b'{"ru\n', b"[" * 9000])
@pytest.mark.parametrize("name", ["cycles", "runs", "attempts", "drivers"])
def test_what_a_power_cut_leaves_at_the_end_is_ignored(cut_short, name, rest):
    path = cut_short.write() / "records" / f"{name}.jsonl"
    before = read_run_folder(cut_short.folder)
    path.write_bytes(path.read_bytes() + rest)
    assert read_run_folder(cut_short.folder) == before


@pytest.mark.parametrize("name", ["cycles", "runs", "attempts", "drivers"])
def test_a_log_in_parts_is_read_in_the_order_of_their_numbers(cut_short, name):
    records = cut_short.write() / "records"
    before = read_run_folder(cut_short.folder)
    first, second, *rest = (records / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
    (records / f"{name}.jsonl").write_bytes(first)
    (records / f"{name}.0002.jsonl").write_bytes(second)
    (records / f"{name}.10000.jsonl").write_bytes(b"".join(rest))
    (records / f"{name}.0003.jsonl.tmp").write_bytes(b"not a part")
    assert read_run_folder(cut_short.folder) == before


def test_a_log_in_parts_may_be_cut_off_only_where_nothing_whole_follows(build):
    builder = build()
    builder.add_run(0)
    records = builder.write() / "records"
    first, second, third = (records / "cycles.jsonl").read_bytes().splitlines(keepends=True)
    (records / "cycles.jsonl").write_bytes(first)
    (records / "cycles.0002.jsonl").write_bytes(second + third[:20])
    for rest in (b"", b"\0\n\0", third[30:]):
        (records / "cycles.0003.jsonl").write_bytes(rest)
        assert len(read_run_folder(builder.folder).cycles) == 2
    (records / "cycles.0003.jsonl").write_bytes(third)
    with pytest.raises(UnreadableRunFolder, match=r"cycles\.0002\.jsonl', line 2 is not valid"):
        read_run_folder(builder.folder)


def test_a_folder_of_old_has_neither_attempts_nor_drivers(whole_sweep):
    folder = read_run_folder(whole_sweep)
    assert folder.attempt_rows == folder.driver_rows == ()


def test_what_else_lies_in_a_folder_is_let_be(cut_short):
    before = read_run_folder(cut_short.write())
    (cut_short.folder / "weights").mkdir()
    (cut_short.folder / "weights" / "trial-0-seed-0.pt").write_bytes(b"\0")
    (cut_short.folder / "driver.lock").touch()
    (cut_short.folder / "driver.json").write_text("{")
    assert read_run_folder(cut_short.folder) == before


def test_a_line_cut_within_a_character_is_ignored(build):
    builder = build()
    builder.add_run(0)
    path = builder.write() / "records" / "runs.jsonl"
    path.write_bytes(path.read_bytes() + '{"run": "é'.encode()[:-1])
    assert len(read_run_folder(builder.folder).run_rows) == 1


def test_a_cycle_trained_again_after_a_kill_counts_once(build):
    builder = build()
    builder.add_run(0)
    builder.cycle_rows.append({**builder.cycle_rows[-1], "test_accuracy": 0.25})
    cycles = read_run_folder(builder.write()).cycles
    assert cycles["cycle"].to_pylist() == [1, 2, 3]
    assert cycles["test_accuracy"][-1].as_py() == 0.25


def test_a_damaged_line_in_the_middle_is_named(build):
    builder = build()
    builder.add_run(0)
    path = builder.write() / "records" / "cycles.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:20], lines[2], ""]))
    with pytest.raises(UnreadableRunFolder, match=r"cycles\.jsonl', line 2 is not valid JSON"):
        read_run_folder(builder.folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "line 1 must be a JSON object"),
        ('{"trial": 0, "cycle": 1}', "line 1 must name its 'run'"),
        ('{"run": "a", "trial": "x", "cycle": 1}', "'trial' must be an integer, got 'x'"),
        ('{"run": "a", "trial": 0}', "'cycle' must be an integer, got None"),
    ],
)
def test_a_row_that_is_no_record_is_named(build, line, message):
    path = build().write() / "records" / "cycles.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UnreadableRunFolder, match=message):
        read_run_folder(path.parent.parent)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not valid YAML, line 1"),
        ("name: 2026-99-99", "is not valid YAML"),
        ("- a", "must be a mapping"),
        ("objective: {}", "'name' must be the sweep's name"),
        ("name: a", "'objective' must have 'metric' and 'direction'"),
        ("{name: a, objective: {metric: speed, direction: maximize}}", "got 'speed'"),
        ("{name: a, objective: {metric: test_loss, direction: up}}", "got 'up'"),
        ("{name: a, objective: []}", "'objective' must list at least one objective, got"),
        (
            "{name: a, objective: [test_loss]}",
            "must have 'metric' and 'direction', got 'test_loss'",
        ),
        ("{name: a, objective: [{metric: n_visited}, {metric: speed}]}", "got 'speed'"),
        ("{name: a, objective: [{metric: n_visited}, {metric: n_visited}]}", "every metric once"),
    ],
)
def test_a_sweep_file_that_cannot_be_used_is_told_in_one_line(tmp_path, text, message):
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(UnreadableRunFolder, match=message) as caught:
        read_run_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_sweep_file_is_no_run_folder(tmp_path):
    with pytest.raises(UnreadableRunFolder, match="is not a run folder: it has no sweep"):
        read_run_folder(tmp_path / "absent")


def test_its_error_survives_pickling():
    error = pickle.loads(pickle.dumps(UnreadableRunFolder("a line")))
    assert str(error) == "a line"


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50
)
@given(rest=st.binary(max_size=60).filter(lambda rest: b"\n" not in rest))
def test_no_rest_of_a_line_stops_the_reader(build, rest):
    builder = build("rest")
    builder.add_run(0)
    path = builder.write() / "records" / "cycles.jsonl"
    path.write_bytes(path.read_bytes() + rest)
    assert len(read_run_folder(builder.folder).cycles) == 3


def test_the_builder_writes_lines_as_the_driver_does(build):
    builder = build()
    builder.add_run(0)
    lines = (builder.write() / "records" / "cycles.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 3
