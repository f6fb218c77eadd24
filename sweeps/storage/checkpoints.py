"""The states of unfinished runs, so that a worker on any machine can go on with them."""

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
    """Whether finished runs leave their weights in `weights/`."""

    def is_reachable(self) -> bool:
        """Whether this machine sees the run folder: a local one need not be on a shared disk."""
        return self.place.exists("sweep.yaml")

    def read(self, run: str) -> dict[str, Any] | None:
        """The state of the run that was written last; None if there is none.

        Raises:
            UnusableCheckpoint: it cannot be read.
            StorageFailed: the folder cannot be read.
        """
        try:
            content = self.place.read(_name(run))
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
        self.place.write(f"weights/{run}.pt", _saved(weights))

    def delete(self, run: str) -> None:
        """Removes the run's state, if it has one."""
        self.place.delete(_name(run))


def position(state: Mapping[str, Any] | None) -> Position:
    """How far a training was whose `Training.state_dict` this is; `START` if it is none."""
    try:
        return (len(state["records"]), int(state["optimizer"]["n_done"])) if state else START
    except (KeyError, TypeError, ValueError):  # `Training` will say what is wrong with it
        return START


def _damage(error: Exception) -> str:
    # torch's own text advises to load it without restrictions, which would run what is in it
    if type(error).__name__ == "UnpicklingError":
        return "it holds something other than tensors and plain values"
    return reason(error).partition(". ")[0]


def _name(run: str) -> str:
    return f"checkpoints/{run}.pt"


def _saved(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()
