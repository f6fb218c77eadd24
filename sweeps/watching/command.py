"""What `rso-sweep watch` does: shows how a sweep goes, until it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.rule import Rule

from sweeps.storage.redaction import redacted
from sweeps.watching.reading import Seen, WatchedFolder
from sweeps.watching.tables import plain
from sweeps.watching.view import view

_REST = 3
"""Times that a look took are waited before the next one: a quarter of the time is spent at most."""

_Show = Callable[[Seen], None]


def watch(
    folder: str,
    *,
    every_s: float,
    once: bool,
    console: Console,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Shows a sweep until it is over, or once.

    A terminal has one picture, which is drawn anew in place and stays when this ends. Elsewhere
    there is a picture each time that something has changed, with a line between two.

    Args:
        folder: the run folder, a path or an address.
        every_s: seconds from one look to the next, at the least.
        once: whether there is only one look.
        console: what it is shown on; the standard output.
        clock: tells the seconds that go by.
        sleep: waits so many of them.

    Raises:
        InvalidInput: the folder cannot be the address of one.
        UnreadableRunFolder: it is not a run folder.
        KeyboardInterrupt: the user has ended it.
    """
    watched = WatchedFolder(folder)
    began = clock()
    seen = watched.look()  # before the screen is anybody's: it may not be a run folder
    if once:
        console.print(_picture(seen, folder, console))
        return
    with _screen(folder, console) as show:
        show(seen)
        while not seen.is_over:
            sleep(max(every_s, _REST * (clock() - began)))
            began = clock()
            seen = watched.look()
            show(seen)
    told = f"The sweep is over. `rso-sweep report {redacted(folder)}` writes its report."
    console.print(plain(told), soft_wrap=True)


@contextmanager
def _screen(folder: str, console: Console) -> Iterator[_Show]:
    """How what is seen is shown on this console."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Printed(folder, console).show
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        # without the last two lines, for what is said in the end and for the cursor
        yield lambda seen: live.update(
            _picture(seen, folder, console, console.height - 2), refresh=True
        )


class _Printed:
    """Pictures one below the other, for what is no terminal."""

    def __init__(self, folder: str, console: Console) -> None:
        self._folder = folder
        self._console = console
        self._n_shown = 0

    def show(self, seen: Seen) -> None:
        if not seen.is_new:
            return
        if self._n_shown:
            self._console.print(Rule(characters="═"))
        self._console.print(_picture(seen, self._folder, self._console))
        self._n_shown += 1


def _picture(
    seen: Seen, folder: str, console: Console, height: int | None = None
) -> RenderableType:
    return view(seen.standing, seen.moment, folder=folder, width=console.width, height=height)
