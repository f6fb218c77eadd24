"""Run folders on their way: packed into lines of a log, and unpacked whole or not at all."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rso_core.errors import InvalidInput
from sweeps.jobs.packing import archived_names, pack
from sweeps.jobs.unpacking import BadArchive, read_archive, unpack

_NAMES = st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,2})?", fullmatch=True)
_FILES = st.dictionaries(
    st.lists(_NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=100_000), max_size=5
)


def _written(root: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """Those of the files that can stand side by side: no folder has a file's name."""
    for name, content in files.items():
        path = root / name
        if any(parent.is_file() for parent in path.parents) or path.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return _found(root)


def _found(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def _packed(root: Path) -> str:
    out = io.StringIO()
    pack(root, out, has_checkpoints=True)
    return f"Running entrypoint for job x\n{out.getvalue()}"


def _unpacked(pieces: list[str], into: Path) -> None:
    archive = io.BytesIO()
    read_archive(pieces, archive, lambda n, most: None)
    archive.seek(0)
    unpack(archive, into)


def _cut(text: str, sizes: list[int]) -> Iterator[str]:
    for size in sizes:
        yield text[:size]
        text = text[size:]
    yield text


@settings(max_examples=40, deadline=None)
@given(_FILES, st.lists(st.integers(0, 70_000), max_size=10))
def test_what_is_unpacked_is_what_was_packed_however_the_log_comes(
    files: dict[str, bytes], sizes: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        there, here = Path(name) / "there", Path(name) / "here"
        there.mkdir()
        here.mkdir()
        written = _written(there, files)
        _unpacked(list(_cut(_packed(there), sizes)), here)
        assert _found(here) == written


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_log_that_was_changed_anywhere_gives_nothing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "a").write_bytes(bytes(range(256)) * 300)
        os.utime(root / "a", (0, 0))  # so that the log is the same each time
        log = _packed(root)
        begin = log.index("\n", log.index("archive-begin")) + 1
        end = log.index("rso-sweep-archive-end")
        at = data.draw(st.integers(begin, end - 2))
        other = data.draw(st.sampled_from("Aa0+/=\n#")).replace(log[at], "b")
        for changed in (log[:at] + other + log[at + 1 :], log[:at] + log[at + 1 :], log[:at]):
            with pytest.raises(BadArchive):
                read_archive([changed], io.BytesIO(), lambda n, most: None)


_BAD_NAMES = st.sampled_from(
    [
        "../out",
        "/tmp/out",
        "a/../../out",
        "..",
        ".",
        "",
        "a\\b",
        "c:/x",
        "a\nb",
        "x/../..",
        "./../o",
    ]
)
_BAD_TYPES = st.sampled_from(
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
        tarfile.BLKTYPE,
        tarfile.DIRTYPE,
    ]
)


def _tar(members: list[tuple[str, bytes]]) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o4777
            if kind == tarfile.REGTYPE:
                member.size = 3
            member.linkname = "/etc/passwd"
            archive.addfile(member, io.BytesIO(b"abc"))
    made.seek(0)
    return made


@settings(max_examples=60, deadline=None)
@given(
    st.lists(_NAMES, max_size=2, unique=True),
    st.one_of(
        st.tuples(_BAD_NAMES, st.just(tarfile.REGTYPE)),
        st.tuples(_NAMES, _BAD_TYPES),
        st.tuples(_BAD_NAMES, _BAD_TYPES),
    ),
)
def test_a_hostile_archive_writes_nothing_outside_and_makes_no_link(
    before: list[str], bad: tuple[str, bytes]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        outer, folder = Path(name), Path(name) / "a" / "folder"
        folder.mkdir(parents=True)
        members = [*((each, tarfile.REGTYPE) for each in before), bad]
        with pytest.raises(BadArchive):
            unpack(_tar(members), folder)
        found = {path for path in outer.rglob("*") if path.is_file() or path.is_symlink()}
        assert found == {folder / each for each in before}
        assert not any(path.is_symlink() or path.stat().st_mode & 0o111 for path in found)


@pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"], ["a/b", "a"]])
def test_a_name_comes_once(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(BadArchive, match="twice"):
        unpack(_tar([(name, tarfile.REGTYPE) for name in names]), tmp_path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    whole = _tar([("a", tarfile.REGTYPE)]).getvalue()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        with pytest.raises(BadArchive):
            unpack(io.BytesIO(content), tmp_path / "x")


def test_the_study_is_read_before_what_it_must_not_know_more_than(tmp_path: Path) -> None:
    for name in ("study.journal", "records/cycles.jsonl", "records/runs.jsonl", "checkpoints/r.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sweep.yaml").touch()
    (tmp_path / "driver.lock").touch()
    (tmp_path / "link").symlink_to("/etc/passwd")
    expected = ["study.journal", "records/runs.jsonl", "sweep.yaml", "records/cycles.jsonl"]
    assert list(archived_names(tmp_path, has_checkpoints=False)) == expected
    with_checkpoints = list(archived_names(tmp_path, has_checkpoints=True))
    assert with_checkpoints == [*expected[:2], "checkpoints/r.pt", *expected[2:]]


def test_the_program_on_the_head_node_empties_its_log_once_it_is_stopped(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    run.mkdir()
    (run / "sweep.yaml").write_text("name: x\n")
    details = f'{{"folder": "{run}", "has_checkpoints": false}}'
    with log.open("ab") as out:
        program = subprocess.Popen(
            [sys.executable, "-m", "sweeps.jobs.head", "pack", details], stdout=out
        )
    try:
        deadline = time.monotonic() + 60
        while "archive-end" not in log.read_text():
            assert time.monotonic() < deadline
            assert program.poll() is None
            time.sleep(0.05)
        _unpacked([log.read_text()], tmp_path)
        assert (tmp_path / "sweep.yaml").read_text() == "name: x\n"
        program.terminate()
        assert program.wait(20) == 0
        assert log.read_text() == ""
    finally:
        program.kill()
        program.wait()


def test_a_folder_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    details = f'{{"folder": "{tmp_path}/gone", "has_checkpoints": false}}'
    command = [sys.executable, "-m", "sweeps.jobs.head", "pack", details]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    with pytest.raises(InvalidInput, match="gone' is no run folder on the head node"):
        read_archive([said], io.BytesIO(), lambda n, most: None)
