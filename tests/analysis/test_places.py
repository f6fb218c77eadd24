"""Folders at addresses, and addresses in words."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations

import analysis
from analysis.addresses import address_of, local_path, without_credentials
from analysis.places import place_at
from analysis.run_folder import read_run_folder

SECRET = "ab/c+hunter2"


class Broken(MemoryFileSystem):
    """Files that cannot be reached."""

    protocol = "cut-off"
    cachable = False

    def cat_file(self, path, start=None, end=None, **kwargs):
        raise RuntimeError(f"no route to cut-off://key:{SECRET}@host/x\nas {SECRET} was refused")


@pytest.fixture(autouse=True)
def broken_files():
    fsspec.register_implementation("cut-off", Broken, clobber=True)


@pytest.fixture(params=["a path", "an address"])
def place(request, tmp_path, address):
    return place_at(tmp_path if request.param == "a path" else address, "below")


def copied(folder: Path, address: str) -> str:
    fsspec.filesystem("memory").put(str(folder), address, recursive=True)
    return address


def test_what_is_written_is_read_listed_and_removed(place):
    assert place.read("a/b.txt") is None
    assert place.names("a") == []
    place.write("a/b.txt", b"old")
    place.write("a/b.txt", b"new")
    place.write("a/c/d.txt", b"")
    assert place.read("a/b.txt") == b"new"
    assert sorted(place.names("a")) == ["b.txt", "c"]
    assert str(place.shown("a/b.txt")).endswith("below/a/b.txt")
    for _ in range(2):
        place.remove("a/b.txt")
    assert place.read("a/b.txt") is None
    assert place.names("a") == ["c"]


def test_what_is_no_file_of_a_folder_is_an_error_in_one_line(place):
    place.write("a/b.txt", b"")
    with pytest.raises(OSError) as caught:  # noqa: PT011  (any kind of it, with a reason)
        place.write("a/b.txt/c.txt", b"")
    assert caught.value.strerror
    assert "\n" not in caught.value.strerror


def test_frames_at_an_address_are_those_of_the_same_folder_on_a_disk(cut_short, address):
    local = analysis.load(cut_short.write())
    remote = analysis.load(copied(cut_short.folder, address))
    for name in ("trials", "runs", "cycles", "layers", "attempts", "drivers"):
        pd.testing.assert_frame_equal(getattr(remote, name), getattr(local, name))
    assert remote.sweeps[0].folder == address
    assert local.sweeps[0].folder == cut_short.folder


def test_a_log_in_parts_is_read_at_an_address_too(cut_short, address):
    before = read_run_folder(cut_short.write())
    records = cut_short.folder / "records"
    first, *rest = (records / "runs.jsonl").read_bytes().splitlines(keepends=True)
    (records / "runs.jsonl").write_bytes(first)
    (records / "runs.0002.jsonl").write_bytes(b"".join(rest))
    assert read_run_folder(copied(cut_short.folder, address)).run_rows == before.run_rows


@pytest.mark.usefixtures("without_charts")
def test_a_report_is_written_at_an_address_as_on_a_disk(cut_short, address):
    local = analysis.write_report(cut_short.write())
    contents = {
        path.relative_to(cut_short.folder).as_posix(): path.read_bytes() for path in local.paths
    }
    for path in local.paths:
        path.unlink()
    remote = analysis.write_report(copied(cut_short.folder, address))
    assert remote.html == f"{address}/report/report.html"
    assert remote.paths == tuple(f"{address}/{name}" for name in contents)
    files = fsspec.filesystem("memory")
    # of its place the page speaks where it says how to go on
    contents["report/report.html"] = contents["report/report.html"].replace(
        str(cut_short.folder).encode(), address.encode()
    )
    assert {name: files.cat_file(f"{address}/{name}") for name in contents} == contents


@pytest.mark.usefixtures("without_charts")
def test_a_report_at_an_address_loses_the_tables_that_no_longer_apply(cut_short, address):
    analysis.write_report(copied(cut_short.write(), address))
    files = fsspec.filesystem("memory")
    assert files.exists(f"{address}/report/tables/interruptions.csv")
    files.rm_file(f"{address}/records/attempts.jsonl")
    analysis.write_report(address)
    assert not files.exists(f"{address}/report/tables/interruptions.csv")


@pytest.mark.usefixtures("without_charts")
def test_a_report_may_lie_elsewhere_than_its_sweep(cut_short, address, tmp_path):
    analysis.write_report(cut_short.write(), address)
    assert fsspec.filesystem("memory").exists(f"{address}/report.html")
    report = analysis.write_report(f"file://{cut_short.folder}", tmp_path / "elsewhere")
    assert report.html == tmp_path / "elsewhere" / "report.html"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "memory://nowhere/at-all",
            "'memory://nowhere/at-all' is not a run folder: it has no sweep.yaml",
        ),
        ("nonsense://u:pw@x", "'nonsense://u:***@x' cannot be read: Protocol not known: nonsense"),
        (
            f"cut-off://key:{SECRET}@host/x",
            "'cut-off://key:***@host/x/sweep.yaml' cannot be read: "
            "no route to cut-off://key:***@host/x as *** was refused",
        ),
    ],
)
def test_an_address_that_cannot_be_read_is_told_in_a_line_without_its_password(address, message):
    with pytest.raises(analysis.UnreadableRunFolder) as caught:
        analysis.load(address)
    assert str(caught.value) == message


def test_a_package_that_is_missing_is_named(monkeypatch):
    lacking = {"class": "no_such_package.Files", "err": "Install lackingfs to access it"}
    monkeypatch.setitem(known_implementations, "lacking", lacking)
    with pytest.raises(
        analysis.UnreadableRunFolder,
        match="'lacking://a/b' cannot be read: Install lackingfs to access it",
    ):
        analysis.load("lacking://a/b")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/a@b:c/x", "s3://bucket/a@b:c/x"),
        ("s3://KEY:se/cr@et@bucket/x", "s3://KEY:***@bucket/x"),
        ("sftp://me@host:22/x@y", "sftp://me@host:22/x@y"),
        ("abfs://box@account.dfs.core.windows.net/x", "abfs://box@account.dfs.core.windows.net/x"),
        ("https://token@host/x", "https://***@host/x"),
        ("https://h/x?X-Amz-Signature=abc&b=1", "https://h/x?X-Amz-Signature=***&b=1"),
        (
            "run --study mysql://u:p@db:3306/s --out x",
            "run --study mysql://u:***@db:3306/s --out x",
        ),
        ("http://[::1]:8080/a@b", "http://[::1]:8080/a@b"),
        ("mysql://u:${PASSWORD}@db/s", "mysql://u:${PASSWORD}@db/s"),
        ("mysql://u:***@db/s", "mysql://u:***@db/s"),
        ("no address: a@b", "no address: a@b"),
    ],
)
def test_an_address_is_shown_without_its_credentials(text, shown):
    assert without_credentials(text) == shown


def test_an_address_is_told_from_a_path():
    assert address_of("s3://bucket/x") == "s3://bucket/x"
    assert address_of("simplecache::s3://bucket/x") == "simplecache::s3://bucket/x"
    assert address_of("runs/a:b") is None
    assert address_of(Path("runs/a")) is None
    assert address_of("file:///runs/a") is None
    assert local_path("file:///runs/a") == Path("/runs/a")
