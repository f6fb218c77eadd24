"""The states of runs, so that a worker on any machine can go on with them.

`checkpoints/` holds those of unfinished runs and empties as they end. What a finished run leaves is
kept: its weights in `weights/`, and in `final_states/` the state from which it can be gone on with
for more cycles.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rso_core.errors import reason
from sweeps.runs import START, Position
from sweeps.storage.places import Place


class UnusableCheckpoint(Exception):  # noqa: N818  (it names what was found)
    """A checkpoint that cannot be read: damaged, or no checkpoint at all."""


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """The checkpoints of a sweep, each written whole or not at all. It travels to workers.

    Nothing that it reads can run code: `torch.load` is held to tensors and plain values.
    """

    place: Place
    """The run folder."""
    every_s: float
    """How often a run is to write one."""
    keep_final_weights: bool = False
    """Whether finished runs leave their weights and their final state."""

    def is_reachable(self) -> bool:
        """Whether this machine sees the run folder: a local one need not be on a shared disk."""
        return self.place.exists("sweep.yaml")

    def read(self, run: str) -> dict[str, Any] | None:
        """The state of the unfinished run that was written last; None if there is none.

        Raises:
            UnusableCheckpoint: it cannot be read.
            StorageFailed: the folder cannot be read.
        """
        return self._read(_name(run))

    def read_final(self, run: str) -> dict[str, Any] | None:
        """The state that the run was finished in; None if none was kept. Raises what `read` does.

        It may be of fewer cycles than the run is to have now.
        """
        return self._read(_final_name(run))

    def write(self, run: str, state: Mapping[str, Any]) -> None:
        """Puts a state in the place of the one before.

        Raises:
            StorageFailed: it cannot be written; the one before is still there.
        """
        self.place.write(_name(run), _saved(state))

    def write_weights(self, run: str, weights: Mapping[str, torch.Tensor]) -> None:
        """Keeps a finished run's weights, for `load_state_dict` of its network.

        Raises:
            StorageFailed: they cannot be written.
        """
        self._keep(_weights_name(run), weights)

    def write_final(self, run: str, state: Mapping[str, Any]) -> None:
        """Keeps the state that a run was finished in, in the place of one with fewer cycles.

        Raises:
            StorageFailed: it cannot be written; the one before is still there.
        """
        self._keep(_final_name(run), state)

    def delete(self, run: str) -> None:
        """Removes the state of an unfinished run, if it has one; what a finished one left stays."""
        self.place.delete(_name(run))

    def delete_final(self, run: str) -> None:
        """Removes the final state and the weights of a run, if they were kept."""
        self.place.delete(_final_name(run))
        self.place.delete(_weights_name(run))

    def _keep(self, name: str, state: Mapping[str, Any]) -> None:
        self.place.make(name.partition("/")[0])  # a run folder has it only once it is needed
        self.place.write(name, _saved(state))

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            content = self.place.read(name)
        except FileNotFoundError:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a pickle that torch has not written
                state = torch.load(io.BytesIO(content), weights_only=True)
        except Exception as error:  # damage shows itself as any of a dozen exceptions
            raise UnusableCheckpoint(_damage(error)) from error
        if not isinstance(state, dict):
            raise UnusableCheckpoint(f"it holds a {type(state).__name__}")
        return state


def position(state: Mapping[str, Any] | None) -> Position:
    """How far a training was whose `Training.state_dict` this is; `START` if it is none."""
    try:
        # a user's optimiser may not say how much of a cycle it has done
        return (len(state["records"]), int(state["optimizer"].get("n_done", 0))) if state else START
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # `Training` will say what is wrong with it
        return START


def _damage(error: Exception) -> str:
    # torch's own text advises to load it without restrictions, which would run what is in it
    if type(error).__name__ == "UnpicklingError":
        return "it holds something other than tensors and plain values"
    return reason(error).partition(". ")[0]


def _name(run: str) -> str:
    return f"checkpoints/{run}.pt"


def _final_name(run: str) -> str:
    return f"final_states/{run}.pt"


def _weights_name(run: str) -> str:
    return f"weights/{run}.pt"


def _saved(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()
