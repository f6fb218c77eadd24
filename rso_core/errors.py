"""The errors that this package raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InvalidInput(ValueError):  # noqa: N818  (it names what was wrong, as KeyError does not)
    """Something that the user gave cannot be used; the message is for the user, whole as it is.

    `problems` holds one line for each fault: field, constraint, value, place and the next step.
    It survives pickling, so that it can cross from an actor to the driver.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems: tuple[str, ...] = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class TrainingDiverged(RuntimeError):  # noqa: N818  (it names what happened)
    """The loss of a run is no longer a finite number."""


def reason(error: BaseException) -> str:
    """What an exception says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def nearest(name: str, valid: Iterable[str]) -> str:
    """The hint that ends a message about an unknown name: the close match, or all valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"valid: {', '.join(names)}"
