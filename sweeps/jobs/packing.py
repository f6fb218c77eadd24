"""A run folder as an archive in its job's log: what `fetch` makes on the head node.

The only way from there to the user that is always open is the log of a job. The archive is written
as lines of base64, between a line that says how much will come and one with the digest; once the
reader has it, it stops the job, which then empties its log again.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import platform
import signal
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from sweeps.jobs.answers import ANSWER

BEGIN, END = "rso-sweep-archive-begin ", "rso-sweep-archive-end "
_BYTES_A_LINE = 45_000  # in base64 60,000 characters; Ray's log server passes whole lines on
_KEPT_S = 3600
_LAST = ("records/cycles.jsonl",)
_FIRST = ("study.journal", "records/runs.jsonl")
_OF_DRIVERS = ("driver.lock", "driver.json")
CHECKPOINTS = "checkpoints"


def write_archive(folder: str, *, has_checkpoints: bool) -> None:
    """Writes the archive of a folder of this machine to the standard output, and waits.

    Args:
        folder: the run folder; its sweep may be running.
        has_checkpoints: whether the states of unfinished runs are to be in it.
    """
    signal.signal(signal.SIGTERM, _empty_the_log)
    root = Path(folder)
    if not (root / "sweep.yaml").is_file():
        problem = (
            f"'{folder}' is no run folder on the head node: the sweep has not begun, or it was "
            "removed; `rso-sweep logs` says what its driver did"
        )
        print(f"{ANSWER}{json.dumps({'problems': [problem]})}", flush=True)
        return
    pack(root, sys.stdout, has_checkpoints=has_checkpoints)
    signal.signal(signal.SIGALRM, _empty_the_log)
    signal.alarm(_KEPT_S)
    while True:
        signal.pause()


def pack(root: Path, out: IO[str], *, has_checkpoints: bool) -> None:
    """Writes the archive of a folder as lines of text.

    Args:
        root: the folder.
        out: receives the lines.
        has_checkpoints: whether the states of unfinished runs are to be in it.
    """
    names = list(archived_names(root, has_checkpoints=has_checkpoints))
    n_bytes = sum((root / name).stat().st_size for name in names if (root / name).exists())
    out.write(f"{BEGIN}{json.dumps({'n_files': len(names), 'n_bytes': n_bytes})}\n")
    lines = _Base64Lines(out)
    with (
        gzip.GzipFile(fileobj=lines, mode="wb", compresslevel=6, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as archive,
    ):
        for name in names:
            _add(archive, root, name)
    lines.finish()
    said = {"sha256": lines.digest.hexdigest(), "n_bytes": lines.n_bytes}
    out.write(f"{END}{json.dumps(said)}\n")
    out.flush()


def archived_names(root: Path, *, has_checkpoints: bool) -> Iterator[str]:
    """The files to archive, relative, in an order in which a running sweep stays consistent.

    A driver writes a run's cycles, then its end, and then tells the study. What is read the other
    way round never knows of more than the files that are read after it.
    """
    files = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    files = {name for name in files if has_checkpoints or not name.startswith(f"{CHECKPOINTS}/")}
    if not _is_driven(root):
        files -= set(_OF_DRIVERS)
    yield from (name for name in _FIRST if name in files)
    yield from sorted(files - set(_FIRST) - set(_LAST))
    yield from (name for name in _LAST if name in files)


def _is_driven(root: Path) -> bool:
    from sweeps.storage.holder import read_holder
    from sweeps.storage.places import open_place

    record = read_holder(open_place(str(root)))
    return record is not None and not record.holder.has_died_on(platform.node())


def _add(archive: tarfile.TarFile, root: Path, name: str) -> None:
    """Adds a file as it is now; one that has vanished meanwhile is left out."""
    try:
        with (root / name).open("rb") as file:
            member = tarfile.TarInfo(name)
            status = os.fstat(file.fileno())
            # what is appended from now on is left for the next time
            member.size, member.mtime = status.st_size, int(status.st_mtime)
            archive.addfile(member, file)
    except FileNotFoundError:
        return


class _Base64Lines(io.RawIOBase):
    """A file that writes what it is given as lines of base64."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._waiting = bytearray()
        self.digest = hashlib.sha256()
        self.n_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.digest.update(data)
        self.n_bytes += len(data)
        self._waiting += data
        while len(self._waiting) >= _BYTES_A_LINE:
            self._line(_BYTES_A_LINE)
        return len(data)

    def finish(self) -> None:
        """Writes what is left as a shorter line."""
        if self._waiting:
            self._line(len(self._waiting))

    def _line(self, n_bytes: int) -> None:
        self._out.write(f"{base64.b64encode(self._waiting[:n_bytes]).decode()}\n")
        del self._waiting[:n_bytes]


def _empty_the_log(number: int, frame: FrameType | None) -> None:
    """Gives the disk of the head node back what the archive took there."""
    os.ftruncate(sys.stdout.fileno(), 0)
    os._exit(0)
