"""The losses of a weight's three candidates, in operations that never wait for the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

N_CANDIDATES = 3


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit under way; every number of it is on the device alone."""

    position: torch.Tensor
    """[1] int64: of the weight, in its flattened tensor."""
    slot: torch.Tensor
    """[1] int64: of the batch."""
    weight: torch.Tensor
    """[1] float32: as it was before its decay."""
    candidates: torch.Tensor
    """[3] float32: KEEP, PLUS and MINUS; the tensor of parameters already holds KEEP."""


class CandidateLosses(Protocol):
    """One of the ways to the losses of the weights of one parameter."""

    def losses(self, visit: Visit) -> torch.Tensor:
        """[3] float64: mean losses of the candidates.

        Where a candidate changes nothing that the loss depends on, its loss is that of KEEP to the
        last bit, as a tie has to be.
        """
        ...

    def accept_(self, visit: Visit, accepted: torch.Tensor) -> None:
        """Brings what is kept of the batches up to date; `accepted` is the candidate, [1]."""
        ...


def mean_losses(
    logits: torch.Tensor, targets: torch.Tensor, has_double_softmax: bool
) -> torch.Tensor:
    """[3] float64: mean cross entropy, in nats, of logits [batch_size, 3, n_classes]."""
    logits = logits.double()
    if has_double_softmax:
        logits = functional.softmax(logits, dim=2)
    log_probabilities = functional.log_softmax(logits, dim=2)
    index = targets[:, None, None].expand(-1, N_CANDIDATES, 1)
    return -log_probabilities.gather(2, index).mean(0).flatten()
