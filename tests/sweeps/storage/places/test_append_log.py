"""The log: batches whole and in order, torn ends dropped, damage told, on every kind of place."""

from __future__ import annotations

import errno
import json
import subprocess
import tempfile
import uuid
from collections.abc import Callable

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.storage import append_log
from sweeps.storage.append_log import AppendLog
from sweeps.storage.places import LocalPlace, Place, StorageFailed, open_place

NAME = "records/cycles.jsonl"


def rows(*numbers: int) -> list[bytes]:
    """Lines to append."""
    return [json.dumps({"cycle": number, "loss": 0.5}).encode() for number in numbers]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are large after two rows."""
    monkeypatch.setattr(append_log, "PART_BYTES", 40)


def test_a_log_of_which_there_is_nothing_is_empty(place: Place) -> None:
    log = AppendLog(place, NAME)
    assert log.read() == []
    assert log.repair() == 0
    assert place.names("records") == []


def test_batches_are_read_in_the_order_of_their_appends(place: Place) -> None:
    log = AppendLog(place, NAME)
    log.append(rows(1, 2))
    log.append([])
    log.append(rows(3))
    assert log.read() == rows(1, 2, 3)
    assert AppendLog(place, NAME).read() == rows(1, 2, 3)
    assert place.read(NAME) == b"".join(row + b"\n" for row in rows(1, 2, 3))


@pytest.mark.usefixtures("small_parts")
def test_a_new_process_goes_on_where_the_one_before_ended(place: Place) -> None:
    for number in range(12):
        AppendLog(place, NAME).append(rows(number))
    assert AppendLog(place, NAME).read() == rows(*range(12))


@pytest.mark.usefixtures("small_parts")
def test_lines_are_taken_out_of_all_parts_and_the_log_goes_on(place: Place) -> None:
    log = AppendLog(place, NAME)
    for number in range(12):
        log.append(rows(number))
    log.drop(lambda line: json.loads(line)["cycle"] in (0, 1, 5, 11))
    assert log.read() == rows(2, 3, 4, 6, 7, 8, 9, 10)
    log.append(rows(12))
    assert AppendLog(place, NAME).read() == rows(2, 3, 4, 6, 7, 8, 9, 10, 12)


@pytest.mark.usefixtures("small_parts")
def test_many_parts_are_read_in_the_order_of_their_numbers(place: Place) -> None:
    log = AppendLog(place, NAME)
    for number in range(50):
        log.append(rows(number))
    assert log.read() == rows(*range(50))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("torn", [b'{"cyc', b"\0\0\0\n\0\0", b'{"cycle": 1}', b"\xff\xfe\n", b"\n"])
def test_a_torn_end_is_not_read_and_is_dropped_by_repair(place: Place, torn: bytes) -> None:
    log = AppendLog(place, NAME)
    log.append(rows(1, 2, 3))
    log.append(rows(4))
    part = NAME if place.is_local else "records/cycles.0002.jsonl"
    sound = place.read(part)
    place.write(part, sound + torn)
    again = AppendLog(place, NAME)
    assert again.read() == rows(1, 2, 3, 4)
    assert again.repair() == len(torn)
    assert again.repair() == 0
    assert place.read(part) == sound
    again.append(rows(5))
    assert again.read() == AppendLog(place, NAME).read() == rows(1, 2, 3, 4, 5)


def test_the_first_append_repairs_what_is_torn(place: Place) -> None:
    place.write(NAME, rows(1)[0] + b'\n{"cyc')
    AppendLog(place, NAME).append(rows(2))
    assert AppendLog(place, NAME).read() == rows(1, 2)


@pytest.mark.parametrize("broken", [b"\0\0\0", b'{"cyc', b"\xff", b"", b"[" * 100_000])
def test_damage_before_the_end_is_told_and_nothing_is_changed(place: Place, broken: bytes) -> None:
    content = b"\n".join([*rows(1), broken, *rows(3), b""])
    place.write(NAME, content)
    log = AppendLog(place, NAME)
    for attempt in (log.read, log.repair, lambda: log.append(rows(4))):
        with pytest.raises(StorageFailed) as failed:
            attempt()
        assert str(failed.value) == (
            f"line 2 of '{place.address_of(NAME)}' is damaged, and whole lines follow it; "
            "restore the file from a copy, or remove the line by hand"
        )
    assert place.read(NAME) == content


def test_damage_at_the_end_of_a_part_that_another_follows_is_told(place: Place) -> None:
    place.write(NAME, rows(1)[0] + b'\n{"cyc')
    place.write("records/cycles.0002.jsonl", rows(2)[0] + b"\n")
    with pytest.raises(StorageFailed, match=r"line 2 of '.*/cycles\.jsonl' is damaged"):
        AppendLog(place, NAME).repair()


def test_parts_in_which_no_line_is_whole_are_dropped(place: Place) -> None:
    place.write(NAME, rows(1)[0] + b'\n{"cyc')
    place.write("records/cycles.0002.jsonl", b"\0\0")
    place.write("records/cycles.0003.jsonl", b"\0\0\0\n")
    log = AppendLog(place, NAME)
    assert log.repair() == 5 + 2 + 4
    assert place.names("records") == ["cycles.jsonl"]
    log.append(rows(2))
    assert log.read() == rows(1, 2)


def test_a_part_that_is_missing_is_told(place: Place) -> None:
    place.write(NAME, rows(1)[0] + b"\n")
    place.write("records/cycles.0003.jsonl", rows(3)[0] + b"\n")
    with pytest.raises(StorageFailed, match=r"cycles\.0002\.jsonl' is missing"):
        AppendLog(place, NAME).append(rows(4))


def test_logs_with_like_names_are_kept_apart(place: Place) -> None:
    logs = [AppendLog(place, f"records/{name}") for name in ("a.jsonl", "a.b.jsonl", "xa.jsonl")]
    for number, log in enumerate(logs):
        log.append(rows(number))
    assert [log.read() for log in logs] == [rows(0), rows(1), rows(2)]


@pytest.mark.parametrize("line", [b"", b"{", b'{"a":\n1}', b"\xff"])
def test_a_line_that_would_count_as_torn_is_not_appended(place: Place, line: bytes) -> None:
    log = AppendLog(place, NAME)
    with pytest.raises(ValueError, match="must be JSON on one line"):
        log.append([*rows(1), line])
    assert log.read() == []


@pytest.mark.usefixtures("small_parts")
def test_a_log_is_carried_from_a_store_to_a_disk_and_back(local_place: LocalPlace) -> None:
    numbers = iter(range(20))
    store = open_place(f"file://{local_place.path}")
    for at in (store, local_place, store, local_place, store):
        log = AppendLog(at, NAME)
        for _ in range(4):
            log.append(rows(next(numbers)))
    assert AppendLog(store, NAME).read() == rows(*range(20))
    assert AppendLog(local_place, NAME).read() == rows(*range(20))
    assert "cycles.0003.jsonl" in local_place.names("records")


def test_where_nothing_can_be_appended_only_the_last_part_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    put = MemoryFileSystem.pipe_file

    def noted(files: MemoryFileSystem, path: str, value: bytes) -> None:
        sizes.append(len(value))
        put(files, path, value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", noted)
    place = open_place(f"memory://{uuid.uuid4().hex}")
    log = AppendLog(place, NAME)
    row = json.dumps("x" * 100_000).encode()
    for _ in range(35):
        log.append([row])
    assert len(place.names("records")) == 4
    assert len(sizes) == 35
    assert max(sizes) <= append_log.PART_BYTES + 2 * len(row)
    assert log.read() == [row] * 35


@pytest.mark.usefixtures("small_parts")
def test_a_failed_write_of_a_part_is_as_if_it_had_not_been(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = open_place(f"memory://{uuid.uuid4().hex}")
    log = AppendLog(place, NAME)
    for number in range(9):
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, "pipe_file", full)
            with pytest.raises(StorageFailed, match=r"cannot be written \(No space left"):
                log.append(rows(100 + number))
        assert log.read() == rows(*range(number))
        log.append(rows(number))
    assert AppendLog(place, NAME).read() == rows(*range(9))


lines = st.lists(st.lists(st.dictionaries(st.text(), st.integers() | st.text()), max_size=4))


@settings(deadline=None, max_examples=60)
@given(batches=lines, data=st.data())
def test_after_a_cut_anywhere_all_whole_lines_before_it_are_there(
    batches: list[list[dict[str, object]]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = LocalPlace(folder)
        for batch in batches:
            AppendLog(place, "a.jsonl").append([json.dumps(row).encode() for row in batch])
        content = place.read("a.jsonl") if place.exists("a.jsonl") else b""
        n_kept = data.draw(st.integers(0, len(content)), label="bytes kept")
        n_zeros = data.draw(st.integers(0, n_kept), label="of which zeros")
        cut = content[: n_kept - n_zeros]
        place.write("a.jsonl", cut + b"\0" * n_zeros)
        whole = cut.split(b"\n")[:-1]

        log = AppendLog(place, "a.jsonl")
        assert log.read() == whole
        n_dropped = log.repair()
        assert n_dropped == n_kept - sum(len(line) + 1 for line in whole)
        log.append([b'{"next": 1}', b"2"])
        assert log.read() == AppendLog(place, "a.jsonl").read() == [*whole, b'{"next": 1}', b"2"]


def test_a_full_disk_leaves_whole_batches_and_room_for_the_next(
    local_place: LocalPlace, start: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
        import json, resource, signal, sys
        from sweeps.storage.append_log import AppendLog
        from sweeps.storage.places import LocalPlace, StorageFailed
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 2000))
        log = AppendLog(LocalPlace(sys.argv[1]), "records/cycles.jsonl")
        for batch in range(5):
            try:
                log.append([json.dumps([batch, "x" * 90]).encode()] * 3)
            except StorageFailed as failed:
                print(failed)
                print(len(log.read()), log.repair())
                break
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        log.append([json.dumps([batch, "x" * 90]).encode()] * 3)
    """
    printed, _ = start(code, local_place.path).communicate()
    assert printed == (f"'{local_place.path}/{NAME}' cannot be written (File too large)\n9 0\n"), (
        printed
    )
    found = [json.loads(line)[0] for line in AppendLog(local_place, NAME).read()]
    assert found == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_a_killed_driver_leaves_every_batch_that_it_was_told_of(
    local_place: LocalPlace, start: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
        import itertools, json, sys
        from sweeps.storage.append_log import AppendLog
        from sweeps.storage.places import LocalPlace
        log = AppendLog(LocalPlace(sys.argv[1]), "records/cycles.jsonl")
        for n in itertools.count():
            log.append([json.dumps([n, "x" * 50_000]).encode()])
            print(n, flush=True)
    """
    with start(code, local_place.path) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        told += [int(line) for line in process.stdout]
    log = AppendLog(local_place, NAME)
    log.repair()
    found = [json.loads(line)[0] for line in log.read()]
    assert found[: len(told)] == told
    assert len(found) <= len(told) + 1


def test_a_log_in_a_read_only_folder_is_read_and_an_append_fails(
    read_only_place: LocalPlace, run_as_nobody: Callable[..., str]
) -> None:
    code = """
        import sys
        from sweeps.storage.append_log import AppendLog
        from sweeps.storage.places import LocalPlace, StorageFailed

        for name in ("records/cycles.jsonl", "records/runs.jsonl"):
            log = AppendLog(LocalPlace(sys.argv[1]), name)
            print(log.read(), log.repair())
            try:
                log.append([b"2"])
            except StorageFailed as failed:
                print(failed)
    """
    at = f"{read_only_place.path}/records"
    assert run_as_nobody(code, read_only_place.path).splitlines() == [
        """[b'{"cycle": 1}'] 0""",
        f"'{at}/cycles.jsonl' cannot be written (Permission denied)",
        "[] 0",
        f"'{at}/runs.jsonl' cannot be written (Permission denied)",
    ]
