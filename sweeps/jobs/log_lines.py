"""What a driver says, as lines of a job's log: each with its time, and in the job's words."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO


class StampedLines(io.TextIOBase):
    """A text stream that writes whole lines on, each with the time at which it was complete.

    Args:
        out: the stream on which they are written, and flushed.
        replaced: texts that stand for others there, such as the run folder's for the job's name.
        now: the time.
    """

    def __init__(
        self,
        out: TextIO,
        replaced: Mapping[str, str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._out = out
        self._replaced = replaced
        self._now = now
        self._waiting = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of what is written."""
        return self._out.encoding

    def fileno(self) -> int:
        """That of the stream behind it, for programs that are started."""
        return self._out.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Keeps what is no whole line yet."""
        *lines, self._waiting = f"{self._waiting}{text}".split("\n")
        for line in lines:
            self._line(line)
        return len(text)

    def flush(self) -> None:
        """Whole lines are on their way already."""

    def finish(self) -> None:
        """Writes what is left as a line."""
        if self._waiting:
            self._line(self._waiting)
            self._waiting = ""

    def _line(self, line: str) -> None:
        for text, other in self._replaced.items():
            line = line.replace(text, other)
        stamp = f"{self._now():%Y-%m-%d %H:%M:%SZ} " if line.strip() else ""
        self._out.write(f"{stamp}{line}\n")
        self._out.flush()
