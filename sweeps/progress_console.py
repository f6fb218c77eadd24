"""Where commands say how they go: beside the tables and objects on the standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def progress_console() -> Console:
    """A console on the standard error, which may be a terminal or not."""
    from rich.console import Console  # `--help` does not wait for it

    return Console(stderr=True, highlight=False)
