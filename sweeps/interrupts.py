"""Ctrl-C and SIGTERM: the first asks the sweep to stop, the second stops the program."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Whether the user, or the machine's scheduler, has asked the program to stop."""

    def __init__(self) -> None:
        self._is_requested = False

    def is_requested(self) -> bool:
        """Whether a signal has come."""
        return self._is_requested

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal.

        Raises:
            KeyboardInterrupt: it is the second.
        """
        if self._is_requested:
            raise KeyboardInterrupt
        self._is_requested = True


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Within it the signals are counted; then they do what they did before."""
    counted = Interrupts()
    if threading.current_thread() is not threading.main_thread():  # only that one may handle them
        yield counted
        return
    before = {number: signal.signal(number, counted.handle) for number in _SIGNALS}
    try:
        yield counted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
