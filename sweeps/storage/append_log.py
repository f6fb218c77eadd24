"""A file of lines of JSON that only grows, on storages that can append and on those that cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sweeps.storage.local_place import LocalPlace
from sweeps.storage.places import Place, StorageFailed

PART_BYTES = 1 << 20
"""A part of this size is not rewritten any more where a storage cannot append."""


class AppendLog:
    """The lines of JSON in `cycles.jsonl`, and after it in `cycles.0002.jsonl` and so on.

    A local file is appended to: the last part, or the one there is. An object store cannot append:
    there the last part is written anew with each batch, until it is large, and then the next part
    begins. A folder may so be copied from one to the other and gone on with.

    A batch of which an append says that it failed is not in the log. A process or a machine that
    dies may leave a part of a batch, and its last line torn: `repair` drops what is torn.

    No file is held open between calls: a batch costs a wait for the disk beside which opening a
    file is nothing, and so nothing is to be closed, and a failure leaves no state behind.
    """

    def __init__(self, place: Place, name: str) -> None:
        """Reads and writes nothing yet.

        Args:
            place: where it is kept.
            name: of its first part, with an extension.
        """
        self._place = place
        self._name = name
        self._end: _End | None = None

    @property
    def address(self) -> str:
        """The address of its first part, for messages."""
        return self._place.address_of(self._name)

    def read(self) -> list[bytes]:
        """All whole lines, without their newlines; what `repair` would drop is left out.

        Raises:
            StorageFailed: a part is damaged before its end, or missing, or cannot be read.
        """
        lines: list[bytes] = []
        _scan(self._place, self._name, lines)
        return lines

    def repair(self) -> int:
        """Drops what a dying process or machine has left torn at the end; durable on return.

        That is what follows the last newline, and the last lines as long as they are not JSON: a
        file system may give a file its length before its content.

        Returns:
            How many bytes were dropped.

        Raises:
            StorageFailed: as for `read`, or it cannot be written.
        """
        self._end = None
        found = _scan(self._place, self._name)
        # the last part first, so that at no time one is missing before another
        for part in reversed(found.torn_parts):
            self._place.delete(part)
        if found.is_torn:
            part = part_name(self._name, found.number)
            if isinstance(self._place, LocalPlace):
                self._place.cut(part, len(found.whole))
            else:
                self._place.write(part, found.whole)
        self._end = _End(found.number, b"" if self._place.is_local else found.whole)
        return found.n_torn_bytes

    def append(self, lines: Sequence[bytes]) -> None:
        """Appends a batch of lines; it is durable on return. The first batch repairs the log.

        Args:
            lines: JSON in UTF-8, without newlines.

        Raises:
            StorageFailed: it cannot be written, and none of its lines is in the log. (A store that
                took them and then lost the connection has them until the next batch.)
            ValueError: a line is not JSON, or has a newline in it.
        """
        if not lines:
            return
        # all at once, which takes a third of the time
        if not _is_json(b"[" + b",".join(lines) + b"]") or any(b"\n" in line for line in lines):
            wrong = [line for line in lines if b"\n" in line or not _is_json(line)]
            raise ValueError(f"lines of {self._name} must be JSON on one line each, got {wrong!r}")
        if self._end is None:
            self.repair()
        assert self._end is not None
        batch = b"".join(line + b"\n" for line in lines)
        if isinstance(self._place, LocalPlace):
            end, self._end = self._end, None  # after a failure, look again at what is there
            self._place.append(part_name(self._name, end.number), batch)
            self._end = end
            return
        number, before = self._end.number, self._end.content
        if len(before) > PART_BYTES:
            number, before = number + 1, b""
        self._place.write(part_name(self._name, number), before + batch)
        self._end = _End(number, before + batch)

    def drop(self, is_to_go: Callable[[bytes], bool]) -> None:
        """Takes lines out, each part written anew whole; durable on return. Repairs the log too.

        Args:
            is_to_go: told of each line, without its newline.

        Raises:
            StorageFailed: as for `repair`.
        """
        self.repair()
        for number in _part_numbers(self._place, self._name):
            part = part_name(self._name, number)
            content = self._place.read(part)
            kept = b"".join(line + b"\n" for line in content.splitlines() if not is_to_go(line))
            if kept != content:
                self._place.write(part, kept)
        self._end = None


@dataclass(frozen=True, slots=True)
class _End:
    """Where the next batch goes."""

    number: int
    """Of the last part, from 1."""
    content: bytes
    """What is in it, where it must be written anew with each batch."""


@dataclass(slots=True)
class _Scan:
    """What was found in the parts of a log."""

    number: int = 1
    """Of the last part that has whole lines, or the first."""
    whole: bytes = b""
    """The whole lines of that part."""
    is_torn: bool = False
    """Whether more follows them in that part."""
    torn_parts: list[str] = field(default_factory=list)
    """The parts after it, in which there is no whole line."""
    n_torn_bytes: int = 0


def _scan(place: Place, name: str, lines: list[bytes] | None = None) -> _Scan:
    """Reads all parts, one at a time, and adds their whole lines to `lines`."""
    found = _Scan()
    broken: str | None = None
    for number in _part_numbers(place, name):
        part = part_name(name, number)
        content = place.read(part)
        was_broken = broken is not None
        n_whole_bytes = 0
        *ended, unended = content.split(b"\n")
        for index, line in enumerate(ended):
            if not _is_json(line):
                broken = broken or f"line {index + 1} of '{place.address_of(part)}'"
                continue
            if broken:
                raise StorageFailed(
                    f"{broken} is damaged, and whole lines follow it; "
                    "restore the file from a copy, or remove the line by hand"
                )
            n_whole_bytes += len(line) + 1
            if lines is not None:
                lines.append(line)
        if unended:
            broken = broken or f"line {len(ended) + 1} of '{place.address_of(part)}'"
        found.n_torn_bytes += len(content) - n_whole_bytes
        if was_broken:
            found.torn_parts.append(part)
        else:
            found.number, found.whole = number, content[:n_whole_bytes]
            found.is_torn = n_whole_bytes < len(content)
    return found


def _part_numbers(place: Place, name: str) -> range:
    folder = name.rpartition("/")[0]
    there = {f"{folder}/{file}".lstrip("/") for file in place.names(folder)}
    stem, dot, extension = name.rpartition(".")
    numbered = re.compile(rf"{re.escape(stem)}\.([0-9]{{4,}}){re.escape(dot + extension)}")
    numbers = [int(match[1]) for match in map(numbered.fullmatch, there) if match]
    known = [number for number in numbers if part_name(name, number) in there]
    last = max(known, default=int(name in there))
    for number in range(1, last):
        if part_name(name, number) not in there:
            raise StorageFailed(
                f"'{place.address_of(part_name(name, number))}' is missing, while a later part "
                f"is there, '{place.address_of(part_name(name, last))}'; restore it from a copy"
            )
    return range(1, last + 1)


def part_name(name: str, number: int) -> str:
    """The name of a part of the log of that name; the first, number 1, has the log's."""
    stem, dot, extension = name.rpartition(".")
    return name if number == 1 else f"{stem}.{number:04}{dot}{extension}"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True
