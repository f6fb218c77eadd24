"""The lines of a log of JSON objects as rows: every line looked at, what is damaged named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.errors import UnreadableRunFolder

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Log:
    """What a row of a log has to have, and by what it is told from the others."""

    texts: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    """Of two rows with the same values the later one counts; if empty, every row does."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of one file of a log; the last one may lack its newline if the file ends."""

    content: bytes
    place: str
    """The file, as it is shown."""
    first: int = 1
    """The number of the first line in its file."""


class LineReader:
    """Reads the lines of one log, one piece after the other."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._broken: UnreadableRunFolder | None = None

    def rows(self, lines: Lines) -> list[Row]:
        """The rows of a piece.

        A writer that was stopped leaves part of a line, a power cut zeros in its place: only where
        nothing whole follows, in this piece or a later one, is that all there is to it.

        Raises:
            UnreadableRunFolder: a line is no record of this log.
        """
        rows = []
        split = lines.content.split(b"\n")
        for index, line in enumerate(split, 1):
            if not line:
                continue
            try:
                row = self._row(line, f"'{lines.place}', line {lines.first + index - 1}")
            except UnreadableRunFolder as error:
                if index < len(split) and _json(line) is not None:
                    raise
                self._broken = self._broken or error
                continue
            self.goes_on()
            rows.append(row)
        return rows

    def goes_on(self) -> None:
        """Takes note of a whole line.

        Raises:
            UnreadableRunFolder: one before it was not.
        """
        if self._broken is not None:
            raise self._broken

    def _row(self, line: bytes, place: str) -> Row:
        parsed = _json(line)
        if parsed is None:
            raise UnreadableRunFolder(f"{place} is not valid JSON")
        (row,) = parsed
        if not isinstance(row, dict):
            raise UnreadableRunFolder(f"{place} must be a JSON object")
        for name in self._log.texts:
            if not isinstance(row.get(name), str):
                raise UnreadableRunFolder(f"{place} must name its '{name}'")
        for name in self._log.integers:
            if not isinstance(row.get(name), int):
                raise UnreadableRunFolder(
                    f"'{name}' must be an integer, got {row.get(name)!r} ({place})"
                )
        return row


def read_rows(files: Iterable[Lines], log: Log) -> tuple[Row, ...]:
    """The rows of a log, in its files in their order; of two for the same thing the later one.

    Raises:
        UnreadableRunFolder: a line is no record of this log.
    """
    reader = LineReader(log)
    return latest([row for lines in files for row in reader.rows(lines)], log)


def latest(rows: Sequence[Row], log: Log) -> tuple[Row, ...]:
    """One row for each identity: a cycle that was trained again after a kill counts once."""
    if not log.identity:
        return tuple(rows)
    return tuple({tuple(row[name] for name in log.identity): row for row in rows}.values())


def _json(line: bytes) -> tuple[Any] | None:
    """The value of a line; None if it is broken JSON or broken UTF-8."""
    try:
        return (json.loads(line.decode()),)
    except (ValueError, RecursionError):
        return None
