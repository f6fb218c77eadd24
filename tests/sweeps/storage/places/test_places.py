"""Places: one contract for all kinds, what dies in the middle of a write, and how failures read."""

from __future__ import annotations

import errno
import importlib
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from rso_core.errors import InvalidInput
from sweeps.storage.failures import without_passwords
from sweeps.storage.places import LocalPlace, Place, RemotePlace, StorageFailed, open_place


def test_what_is_written_is_read(place: Place) -> None:
    place.write("sweep.yaml", b"name: x\n")
    place.write("records/cycles.jsonl", bytes(range(256)))
    assert place.read("sweep.yaml") == b"name: x\n"
    assert place.read("records/cycles.jsonl") == bytes(range(256))


def test_a_write_replaces_all_that_was_there(place: Place) -> None:
    place.write("a", b"long content")
    place.write("a", b"short")
    assert place.read("a") == b"short"
    place.write("a", b"")
    assert place.read("a") == b""


def test_an_absent_file_is_told_from_an_empty_one(place: Place) -> None:
    place.write("empty", b"")
    assert place.exists("empty")
    assert not place.exists("absent")
    assert not place.exists("no/folder/absent")
    with pytest.raises(FileNotFoundError):
        place.read("absent")
    with pytest.raises(FileNotFoundError):
        place.read("no/folder/absent")


def test_a_folder_is_no_file(place: Place) -> None:
    place.write("records/a", b"")
    assert not place.exists("records")


def test_deleting_what_is_absent_is_fine(place: Place) -> None:
    place.write("records/a", b"1")
    place.delete("records/a")
    place.delete("records/a")
    place.delete("no/folder/a")
    assert not place.exists("records/a")


def test_names_are_the_files_directly_in_a_folder_in_order(place: Place) -> None:
    place.make("records/deeper")
    for name in ("records/b", "records/a.jsonl", "records/deeper/c", "top"):
        place.write(name, b"1")
    assert place.names("records") == ["a.jsonl", "b"]
    assert place.names("records/deeper") == ["c"]
    assert place.names() == ["top"]
    assert place.names("absent") == []


def test_a_place_is_empty_until_something_is_in_it(address: str) -> None:
    place = open_place(address)
    assert place.is_empty()
    place.make()
    assert place.is_empty()
    place.write("sweep.yaml", b"1")
    assert not place.is_empty()
    place.delete("sweep.yaml")
    assert place.is_empty()


def test_a_place_with_a_file_deep_inside_is_not_empty(place: Place) -> None:
    place.write("records/a", b"1")
    assert not place.is_empty()


def test_making_a_folder_again_keeps_what_is_in_it(place: Place) -> None:
    place.write("records/a", b"1")
    place.make("records", "report")
    assert place.read("records/a") == b"1"


def test_the_time_of_the_last_write_is_known_in_utc(place: Place) -> None:
    place.write("a", b"1")
    written = place.modified_at("a")
    assert written is not None
    assert written.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert place.modified_at("absent") is None


def test_a_place_survives_pickling_and_sees_the_same_files(place: Place) -> None:
    place.write("a", b"1")
    other = pickle.loads(pickle.dumps(place))
    assert other == place
    other.write("a", b"2")
    assert place.read("a") == b"2"


def test_two_places_of_one_address_see_what_the_other_writes(address: str) -> None:
    one, two = open_place(address), open_place(address)
    one.make()
    assert two.names() == []
    one.write("a", b"1")
    assert two.names() == ["a"]
    assert two.exists("a")


def test_messages_give_the_address_as_the_user_gave_it(address: str) -> None:
    place = open_place(address)
    assert place.address == address
    assert place.address_of() == address
    assert place.address_of("records/a") == f"{address}/records/a"
    assert open_place(address + "/").address_of("records/a") == f"{address}/records/a"


def test_a_file_where_a_folder_should_be_is_a_failure(place: Place) -> None:
    place.write("file", b"1")
    with pytest.raises(StorageFailed, match=r"file/inside' cannot be written \("):
        place.write("file/inside", b"1")


def test_a_folder_where_a_file_should_be_is_a_failure(local_place: LocalPlace) -> None:
    for attempt in (
        lambda: local_place.read("records"),
        lambda: local_place.write("records", b"1"),
        lambda: local_place.append("records", b"1"),
        lambda: local_place.delete("records"),
    ):
        with pytest.raises(
            StorageFailed, match=r"records' cannot be (read|written|deleted) \(Is a"
        ):
            attempt()
    assert [path.name for path in local_place.path.iterdir()] == ["records"]


def test_tidying_leaves_whole_files(place: Place) -> None:
    place.write("records/a", b"1")
    place.tidy("records")
    assert place.names("records") == ["a"]


def test_only_a_path_of_this_machine_is_local(tmp_path: Path) -> None:
    assert open_place(str(tmp_path)).is_local
    assert not open_place(f"file://{tmp_path}").is_local
    assert not open_place("memory://x").is_local


def test_a_local_place_stays_where_it_was_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = LocalPlace("runs/x")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    place.make()
    place.write("a", b"1")
    assert (tmp_path / "runs" / "x" / "a").read_bytes() == b"1"
    assert place.address_of("a") == "runs/x/a"


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    local_place: LocalPlace, start: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
        import resource, signal, sys
        from sweeps.storage.places import LocalPlace, StorageFailed
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            LocalPlace(sys.argv[1]).write("a", b"new" * 1000)
        except StorageFailed as failed:
            print(failed)
    """
    local_place.write("a", b"old")
    printed, _ = start(code, local_place.path).communicate()
    assert printed == f"'{local_place.path}/a' cannot be written (File too large)\n"
    assert local_place.read("a") == b"old"
    assert [path.name for path in local_place.path.iterdir() if path.is_file()] == ["a"]


def test_a_killed_write_leaves_the_old_or_the_new_content(
    local_place: LocalPlace, start: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
        import itertools, sys
        from sweeps.storage.places import LocalPlace
        place = LocalPlace(sys.argv[1])
        print("started", flush=True)
        for n in itertools.count():
            place.write("a", bytes([n % 256]) * 300_000)
    """
    draw = random.Random(0)
    local_place.write("a", b"\0" * 300_000)
    for _ in range(8):
        with start(code, local_place.path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            time.sleep(draw.uniform(0.005, 0.06))
            process.kill()
        content = local_place.read("a")
        assert len(content) == 300_000
        assert len(set(content)) == 1
        assert local_place.names() == ["a"]
    local_place.tidy()
    assert [path.name for path in local_place.path.iterdir() if path.is_file()] == ["a"]


def test_what_a_killed_write_left_behind_does_not_count(local_place: LocalPlace) -> None:
    (local_place.path / "records").rmdir()
    (local_place.path / ".sweep.yaml.0123456789abcdef.tmp").write_bytes(b"half")
    assert local_place.is_empty()
    assert local_place.names() == []
    local_place.tidy()
    assert list(local_place.path.iterdir()) == []


def test_a_read_only_folder_is_read_and_every_write_fails(
    read_only_place: LocalPlace, run_as_nobody: Callable[..., str]
) -> None:
    code = """
        import sys
        from sweeps.storage.places import LocalPlace, StorageFailed
        place = LocalPlace(sys.argv[1])

        print(place.read("records/cycles.jsonl"), place.names("records"), place.is_empty())
        for attempt in (
            lambda: place.write("a", b"1"),
            lambda: place.delete("records/cycles.jsonl"),
            lambda: place.append("records/cycles.jsonl", b"1"),
            lambda: place.make("report"),
        ):
            try:
                attempt()
            except StorageFailed as failed:
                print(failed)
    """
    at = read_only_place.path
    assert run_as_nobody(code, at).splitlines() == [
        """b'{"cycle": 1}\\n' ['cycles.jsonl'] False""",
        f"'{at}/a' cannot be written (Permission denied)",
        f"'{at}/records/cycles.jsonl' cannot be deleted (Permission denied)",
        f"'{at}/records/cycles.jsonl' cannot be written (Permission denied)",
        f"'{at}/report' cannot be made (Permission denied)",
    ]


def test_an_unknown_protocol_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidInput) as refused:
        open_place("nonsense://bucket/x")
    assert str(refused.value) == (
        "'nonsense://bucket/x' is no address of a storage (Protocol not known: nonsense); "
        "name a folder, or such as 's3://bucket/sweeps/x'"
    )


@pytest.mark.parametrize(
    ("address", "how"),
    [
        ("s3://bucket/x", "pip install 'rso-sweep[s3]'"),
        ("gs://bucket/x", "pip install 'rso-sweep[gs]'"),
        ("abfs://bucket/x", "adlfs"),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str, how: str
) -> None:
    for package in ("s3fs", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, package, None)
    for protocol in ("s3", "gs", "abfs"):  # where an earlier test has imported them
        monkeypatch.delitem(REGISTRY, protocol, raising=False)
    with pytest.raises(InvalidInput) as refused:
        open_place(address)
    assert how in str(refused.value)
    assert len(refused.value.problems) == 1
    assert "\n" not in str(refused.value)


REGISTRY: dict[str, type] = importlib.import_module("fsspec.registry")._registry


class _Broken(MemoryFileSystem):
    """A store whose errors are not OSErrors, and tell its password."""

    protocol = "broken"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("broken://")

    def _fail(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("no answer from\n https://me:secret@host/bucket")

    info = ls = cat_file = pipe_file = rm_file = makedirs = modified = _fail


fsspec.register_implementation("broken", _Broken)


@pytest.mark.parametrize(
    ("attempt", "done"),
    [
        (lambda place: place.read("a"), "read"),
        (lambda place: place.exists("a"), "read"),
        (lambda place: place.names("a"), "read"),
        (lambda place: place.modified_at("a"), "read"),
        (lambda place: place.write("a", b"1"), "written"),
        (lambda place: place.delete("a"), "deleted"),
        (lambda place: place.make("a"), "made"),
    ],
)
def test_any_error_of_a_store_becomes_one_line_without_its_password(
    attempt: Callable[[Place], object], done: str
) -> None:
    place = open_place("broken://me:secret@host/bucket")
    with pytest.raises(StorageFailed) as failed:
        attempt(place)
    at = "broken://me:***@host/bucket" + ("" if done == "made" else "/a")
    why = "RuntimeError: no answer from https://me:***@host/bucket"
    assert str(failed.value) == f"'{at}' cannot be {done} ({why})"
    assert "secret" not in repr(place)
    again = pickle.loads(pickle.dumps(failed.value))
    assert (type(again), str(again)) == (StorageFailed, str(failed.value))


def test_a_store_that_is_full_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    place = open_place("memory://full/x")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", full)
    with pytest.raises(StorageFailed) as failed:
        place.write("records/cycles.jsonl", b"1")
    assert str(failed.value) == (
        "'memory://full/x/records/cycles.jsonl' cannot be written (No space left on device)"
    )


def test_no_folder_is_made_in_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Store(MemoryFileSystem):
        protocol = "s3"

        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            made.append(path)

    monkeypatch.setitem(REGISTRY, "s3", Store)
    RemotePlace("s3://bucket/x").make("records")
    assert made == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sftp://me:secret@host/x", "sftp://me:***@host/x"),
        ("sftp://me:p:a@ss@host/x", "sftp://me:***@host/x"),
        ("sftp://me@host:22/x", "sftp://me@host:22/x"),
        ("abfs://container@account/x", "abfs://container@account/x"),
        ("a a://b:c@d e://f:g@h", "a a://b:***@d e://f:***@h"),
        ("runs/x", "runs/x"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


def test_importing_places_does_not_import_fsspec(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    code = "import sys, sweeps.storage.places; print('fsspec' in sys.modules)"
    assert start(code).communicate()[0] == "False\n"
