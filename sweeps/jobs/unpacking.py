"""An archive out of a job's log, into a folder of this machine: whole and sound, or not at all."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sweeps.jobs.answers import answered
from sweeps.jobs.packing import BEGIN, END

_COPIED_BYTES = 1024**2


class BadArchive(ValueError):  # noqa: N818  (it names what it is)
    """What came is not what was sent, or not what may be unpacked; one line says why."""


def read_archive(
    pieces: Iterable[str], into: IO[bytes], received: Callable[[int, int], None]
) -> None:
    """Reads the archive that `packing.write_archive` writes, and no further.

    Args:
        pieces: the log, in pieces of any size.
        into: receives the archive.
        received: is told of the bytes so far, and of those of the files before they were packed.

    Raises:
        InvalidInput: the head node has answered with what is wrong.
        BadArchive: something is missing, or is not what was sent.
    """
    digest, n_bytes = hashlib.sha256(), 0
    n_unpacked: int | None = None
    before: list[str] = []
    lines = _lines(pieces)
    for line in lines:
        if n_unpacked is None:
            before.append(line)
            if line.startswith(BEGIN):
                n_unpacked = _number(line, BEGIN, "n_bytes")
            continue
        if line.startswith(END):
            said = _content(line, END)
            if (said.get("sha256"), said.get("n_bytes")) != (digest.hexdigest(), n_bytes):
                raise BadArchive("its digest is not that of what was sent")
            return
        try:
            data = base64.b64decode(line, validate=True)
        except binascii.Error as error:
            *_, last = line, *lines  # of an exception of the program there, if that is what it is
            raise BadArchive(f"there is something else in it ({last.strip()[:200]})") from error
        digest.update(data)
        n_bytes += len(data)
        into.write(data)
        received(n_bytes, n_unpacked)
    if n_unpacked is None:
        answered("\n".join(before), "")
    raise BadArchive("it ends too early")


def unpack(archive: IO[bytes], folder: Path) -> None:
    """Unpacks a compressed archive into an empty folder.

    Nothing is written outside of the folder, and no link, device or executable is made, whatever
    the archive says.

    Raises:
        BadArchive: it holds anything but files with names below the folder, each once, or is
            damaged.
    """
    try:
        with tarfile.open(fileobj=archive, mode="r|gz") as members:
            for member in members:
                name = _sound_name(member)
                content = members.extractfile(member)
                assert content is not None, "a file has a content"
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    while part := content.read(_COPIED_BYTES):
                        file.write(part)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, BadArchive):
            raise
        if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
            raise BadArchive(f"it has '{error.filename}' twice") from error
        if isinstance(error, OSError) and not isinstance(error, tarfile.TarError) and error.errno:
            raise
        raise BadArchive(f"it is damaged ({error})") from error


def _sound_name(member: tarfile.TarInfo) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if not member.isreg() or member.issparse():
        raise BadArchive(f"it holds {member.name!r}, which is no plain file")
    is_inside = not name.is_absolute() and name.parts and ".." not in name.parts
    is_plain = member.name.isprintable() and "\\" not in member.name and ":" not in member.name
    if not is_inside or not is_plain:
        raise BadArchive(f"it holds {member.name!r}, which may not be a file of a run folder")
    return name


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Lines without their ends; what has no end yet waits for the next piece."""
    waiting: list[str] = []
    for piece in pieces:
        first, *others = piece.split("\n")
        waiting.append(first)
        for line in others:
            yield "".join(waiting)
            waiting = [line]
    if any(waiting):
        yield "".join(waiting)


def _content(line: str, begin: str) -> dict[str, Any]:
    try:
        content = json.loads(line.removeprefix(begin))
    except ValueError as error:
        raise BadArchive(f"a line of it is damaged ({error})") from error
    if not isinstance(content, dict):
        raise BadArchive("a line of it is damaged")
    return content


def _number(line: str, begin: str, key: str) -> int:
    number = _content(line, begin).get(key)
    if not isinstance(number, int):
        raise BadArchive("a line of it is damaged")
    return number
