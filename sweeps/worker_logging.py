"""What an actor logs and prints, each line with its trial, run and machine.

Ray keeps an actor's output in a file of its machine (`ray logs`, the dashboard's log view). With
these labels the lines of a run are found there, whichever actors have trained it:

    2026-11-27 01:16:30,752 WARNING trial=3 run=trial-3-seed-1 node=node7 rso_core: the incre...
    trial=3 run=trial-3-seed-1 node=node7 | what a user's network prints
"""

from __future__ import annotations

import logging
import platform
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from sweeps.storage.redaction import redacted

_RUN_NAME = re.compile(r"trial-(\d+)-seed-\d+")
"""What `runs.run_name` makes, and a worker calls the thread in which it trains a run."""
_RAYS_OWN = (":actor_name:", ":task_name:", ":job_id:", "__ray_tqdm_magic_token__")
"""With these begin lines by which Ray's log monitor goes."""


def configure_worker_logging(level: int = logging.INFO) -> None:
    """Labels from now on all that this process logs, warns of and prints; for an actor's process.

    Records of Python's logging go to the standard error, warnings among them. What a run's own
    threads print has its label too; what is printed while no run is trained, has none. A second
    call changes nothing.

    Args:
        level: records below it are dropped, unless a logger has a level of its own.
    """
    if isinstance(sys.stdout, _LabelledStream):
        return
    handler = logging.StreamHandler(sys.stderr)  # the stream itself: a record is labelled already
    handler.setFormatter(_LabelledFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    sys.stdout, sys.stderr = _LabelledStream(sys.stdout), _LabelledStream(sys.stderr)


@contextmanager
def thread_named(run: str) -> Iterator[None]:
    """Within it this thread works for the run of that name, as `Worker`'s own threads do."""
    thread = threading.current_thread()
    before, thread.name = thread.name, run
    try:
        yield
    finally:
        thread.name = before


def run_at_work() -> str | None:
    """The name of the run for which this thread works; None if it works for none.

    That is the name of the thread itself or, in a thread that a user's code has started, of the
    only thread of this process that trains.
    """
    own = threading.current_thread().name
    if _RUN_NAME.fullmatch(own):
        return own
    if threading.current_thread() is threading.main_thread():
        return None
    runs = [thread.name for thread in threading.enumerate() if _RUN_NAME.fullmatch(thread.name)]
    return runs[0] if len(runs) == 1 else None


def _label() -> str:
    """Where a line comes from, in words that can be searched for."""
    node = f"node={platform.node()}"
    run = run_at_work()
    if run is None:
        return node
    named = _RUN_NAME.fullmatch(run)
    assert named is not None
    return f"trial={named[1]} run={run} {node}"


class _LabelledFormatter(logging.Formatter):
    """Puts the label on every line of a record, as of one with a traceback; without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        label = _label()
        first, *others = redacted(super().format(record)).split("\n")
        head = f"{self.formatTime(record)} {record.levelname} {label} {record.name}: {first}"
        return "\n".join([head, *(f"{label} | {line}" for line in others)])


class _LabelledStream:
    """A text stream that puts the label before every line that a run's thread begins.

    Everything else, such as `fileno`, is that of the stream.
    """

    def __init__(self, stream: Any) -> None:
        self._stream: IO[str] = stream
        self._lock = threading.Lock()
        self._is_at_start = True

    def write(self, text: str) -> int:
        """Writes the text; its length, as a stream's own method returns."""
        with self._lock:
            if text:
                self._stream.write(self._labelled(text))
                self._is_at_start = text.endswith("\n")
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Writes the texts one after the other."""
        for line in lines:
            self.write(line)

    def _labelled(self, text: str) -> str:
        if run_at_work() is None:
            return text
        label = f"{_label()} | "
        first, *others = text.split("\n")  # what a carriage return brings stays on its line
        lines = [first if not self._is_at_start else _with(label, first)]
        return "\n".join([*lines, *(_with(label, line) for line in others)])

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # while it is unpickled or copied
            raise AttributeError(name)
        return getattr(self._stream, name)


def _with(label: str, line: str) -> str:
    return label + line if line and not line.startswith(_RAYS_OWN) else line
