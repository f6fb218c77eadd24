"""What every optimiser offers to a training run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel

from rso_core.errors import InvalidInput
from rso_core.records import CycleOutcome, Progress

ProgressCallback = Callable[[Progress], None]

PROGRESS_INTERVAL_S = 0.25
"""How often an optimiser tells its progress within a cycle."""


class Optimizer(Protocol):
    """Trains a model in place, a cycle at a time.

    `Options` is a frozen pydantic model whose fields are all scalars with defaults, so that each
    can be a dimension of a sweep. `RSO` says what the arguments are.

    An optimiser that several workers can train a run with says so by a class attribute,
    `shares_batches = True`, and takes a keyword `peers`, see `rso_core.peers.Peers`.
    """

    Options: ClassVar[type[BaseModel]]

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        batch_size: int,
        cycles: int,
        options: BaseModel | None = None,
        generator: torch.Generator,
        on_progress: ProgressCallback | None = None,
    ) -> None: ...

    @staticmethod
    def n_visits(model: torch.nn.Module, options: BaseModel) -> int:
        """Visits in one cycle; 0 for a gradient method."""
        ...

    def run(self) -> Iterator[CycleOutcome]:
        """Trains; yields the outcome of every cycle that is left as soon as it is over."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that a new optimiser needs to go on from here, or from shortly before, exactly.

        May be asked for between cycles and from within `on_progress`. Holds tensors, numbers,
        strings, None, and lists and dicts of them; the tensors are copies. `n_done` is how many
        visits or batches of the cycle in hand need not be done again.
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over the state of an optimiser with the same arguments or fewer cycles.

        Before `run`, which then goes on where that one was, with the cycle that it was in or the
        next, up to the number of cycles that this one was made with; a schedule over the cycles
        follows that number from there on. What this raises marks the state as unusable.
        """
        ...

    def prepare_evaluation_(self) -> None:
        """Brings the model into the state in which it is to be evaluated (batch statistics)."""
        ...

    def evaluate(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
        """Mean cross entropy (nats) and accuracy of the model; see `rso_core.evaluation`."""
        ...


def check_batch_size(batch_size: int, n_images: int) -> None:
    """Refuses a batch that the training set cannot fill.

    Raises:
        InvalidInput: not from 1 to n_images.
    """
    if not 1 <= batch_size <= n_images:
        raise InvalidInput(
            f"'batch_size' must be an integer from 1 to {n_images}, "
            f"the number of training images, got {batch_size}"
        )
