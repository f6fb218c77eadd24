"""From which of its kept states a run begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rso_core.errors import reason
from rso_core.training import UnusableState
from sweeps.runs import Position
from sweeps.storage.checkpoints import CheckpointFolder, UnusableCheckpoint, position
from sweeps.storage.places import StorageFailed
from sweeps.storage.redaction import redacted

T = TypeVar("T")


class StartingStates:
    """A run's checkpoint, else the final state of an earlier finish, else its beginning.

    One that cannot be read or is of something else is told of and passed over: it costs time, and
    never ends the run.

    Args:
        run: its name.
        checkpoints: where states are kept; None for the beginning.
        notice: is given a line on every state that is passed over.
    """

    def __init__(
        self, run: str, checkpoints: CheckpointFolder | None, notice: Callable[[str], object]
    ) -> None:
        self._run = run
        self._notice = notice
        self._left: list[tuple[str, Callable[[str], dict[str, Any] | None]]] = []
        if checkpoints is not None:
            self._left = [
                ("checkpoint", checkpoints.read),
                ("final state", checkpoints.read_final),
            ]
        self._kind, self._state = self._next()

    @property
    def position(self) -> Position:
        """Of the state that will be tried next; `START` for the beginning."""
        return position(self._state)

    def begin(self, build: Callable[[dict[str, Any] | None], T]) -> T:
        """What `build` makes of the first state that it can use, or of None; once.

        Args:
            build: raises `UnusableState` for a state that it cannot go on from.
        """
        while self._state is not None:
            kind, state, self._state = self._kind, self._state, None
            try:
                return build(state)
            except UnusableState as error:
                fault = f"its {kind} cannot be used ({redacted(str(error))})"
                self._kind, self._state = self._next(fault)
        return build(None)

    def _next(self, *faults: str) -> tuple[str, dict[str, Any] | None]:
        """The next state that can be read; tells of the faults before it and of what follows."""
        found: list[str] = list(faults)
        kind, state = "", None
        while self._left and state is None:
            kind, read = self._left.pop(0)
            try:
                state = read(self._run)
            except UnusableCheckpoint as error:
                found.append(f"its {kind} is damaged ({error})")
            except Exception as error:  # whatever it is, the run can begin
                found.append(f"its {kind} cannot be read: {storage_fault(error)}")
        then = "it begins anew" if state is None else f"it goes on from its {kind}"
        for fault in found:
            self._notice(f"{fault}; {then}")
        return kind, state


def storage_fault(error: Exception) -> str:
    """What kept a state from being read or written, in one line and without secrets."""
    return redacted(str(error) if isinstance(error, StorageFailed) else reason(error))
