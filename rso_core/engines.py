"""What carries out the visits of a layer: the interface, and the reference engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from rso_core.batches import Batches
from rso_core.evaluation import batch_statistics, evaluate, summed_cross_entropy
from rso_core.peers import ALONE, Peers, share_of
from rso_core.shared_batches import check_shareable, shared_batch_statistics

KEEP, PLUS, MINUS = 0, 1, 2
"""The three candidates in the order of a visit's losses: w, w + delta, w - delta."""


@dataclass(frozen=True, slots=True)
class Visits:
    """What came of some visits, in their order."""

    losses: torch.Tensor
    """[n_visits, 3] float64: mean loss of the candidates KEEP, PLUS and MINUS, in nats."""
    chosen: torch.Tensor
    """[n_visits] int8: KEEP, PLUS or MINUS."""

    def chosen_losses(self) -> torch.Tensor:
        """[n_visits] float64: the loss of the candidate that was taken."""
        return self.losses.gather(1, self.chosen.long()[:, None]).squeeze(1)


class Engine(Protocol):
    """Visits weights. All engines make the same decisions on the same arguments.

    The engines of several workers, each on its share of the images of every batch, are called with
    the same arguments too. They speak to one another a visit at a time, since how many visits they
    are handed at once is each worker's own affair, and make no more visits after one whose loss is
    not finite, so that all of them end there: what is left has losses that are not numbers.

    One with `has_double_softmax` scores the probabilities in place of the logits: to the cross
    entropy, which has a softmax of its own, they are logits from 0 to 1. Evaluations are as ever.
    """

    def visit_(
        self,
        parameter: str,
        first_weight: int,
        deltas: torch.Tensor,
        batches: Batches,
        decay: float,
    ) -> Visits:
        """Visits consecutive weights of one parameter tensor, and moves those that are accepted.

        For each weight in turn (Algorithm 1, lines 7 to 12): w is first multiplied by `decay`;
        then the best of w, w + delta and w - delta by the loss of the whole network on its batch
        is taken. A tie keeps the weight; a loss that is not a number is never taken.

        Args:
            parameter: its name in `named_parameters`.
            first_weight: position of the first weight in the flattened tensor.
            deltas: [n_visits] float32.
            batches: those of the whole tensor, and of all workers: visit v of this call sees
                batch `first_weight + v`.
            decay: 1 - weight decay; with 1.0 a kept weight stays bit for bit as it was.
        """
        ...

    def resumable_every(self, parameter: str, batch_size: int) -> int:
        """After how many visits of a parameter the engine forgets what it keeps, at least 1.

        Visits that begin at a multiple of it make the same numbers to the last bit in whatever
        process, as do those that begin with the parameter's first weight.
        """
        ...

    def evaluate(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
        """Mean cross entropy and accuracy of the network on other data; see `evaluation`."""
        ...


class ReferenceEngine:
    """Computes every loss by a plain forward pass of the whole network: the definition.

    Args:
        model: its parameters are moved; normalises by the statistics of each batch.
        inputs: [n, *input_shape] float32, on the model's device.
        targets: [n] int64.
        peers: the workers that share the batches.
        has_double_softmax: see `Engine`.

    Raises:
        InvalidInput: a network whose batches cannot be shared.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        peers: Peers = ALONE,
        has_double_softmax: bool = False,
    ) -> None:
        check_shareable(model, inputs, peers)
        self._model = model
        self._inputs = inputs
        self._targets = targets
        self._peers = peers
        self._has_double_softmax = has_double_softmax
        self._parameters = dict(model.named_parameters())
        self._changes_its_input = _changes_its_input(model, inputs[:2].clone())

    def visit_(
        self,
        parameter: str,
        first_weight: int,
        deltas: torch.Tensor,
        batches: Batches,
        decay: float,
    ) -> Visits:
        """See `Engine.visit_`."""
        end = first_weight + len(deltas)
        weights = self._parameters[parameter].detach().view(-1)[first_weight:end]
        # a visit moves no weight but its own, so that all candidates are known beforehand
        kept = weights * decay
        plus, minus = kept + deltas.to(kept.device), kept - deltas.to(kept.device)
        candidates = torch.stack([kept, plus, minus], dim=1).tolist()
        losses: list[list[float]] = []
        chosen: list[int] = []
        share = share_of(batches.batch_size, self._peers)
        with torch.inference_mode(), shared_batch_statistics(self._model, self._peers):
            for visit, weight in enumerate(weights):
                images = batches.indices(first_weight + visit)[share].to(self._inputs.device)
                inputs = self._inputs.index_select(0, images)
                targets = self._targets.index_select(0, images)
                sums = np.empty(len(candidates[visit]))
                for position, candidate in enumerate(candidates[visit]):
                    weight.fill_(candidate)
                    sums[position] = self._summed_loss(inputs, targets)
                self._peers.sum_(sums)
                losses.append((sums / batches.batch_size).tolist())
                chosen.append(choose(losses[visit]))
                weight.fill_(candidates[visit][chosen[visit]])
                if self._peers.size > 1 and not math.isfinite(losses[visit][chosen[visit]]):
                    break
        n_left = len(weights) - len(losses)
        losses += [[math.nan] * 3] * n_left
        chosen += [KEEP] * n_left
        return Visits(
            losses=torch.tensor(losses, dtype=torch.float64),
            chosen=torch.tensor(chosen, dtype=torch.int8),
        )

    def resumable_every(self, parameter: str, batch_size: int) -> int:
        """Every visit: nothing is kept from one to the next."""
        return 1

    def evaluate(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
        """See `Engine.evaluate`."""
        return evaluate(self._model, inputs, targets)

    def _summed_loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> float:
        # the three candidates see the same batch, so it has to outlive a network's first layer
        logits = self._model(inputs.clone() if self._changes_its_input else inputs)
        if self._has_double_softmax:
            logits = functional.softmax(logits.double(), dim=1)
        return summed_cross_entropy(logits, targets).item()


def _changes_its_input(model: nn.Module, inputs: torch.Tensor) -> bool:
    version = inputs._version
    with torch.no_grad(), batch_statistics(model):
        model(inputs)
    return inputs._version != version


def choose(losses: list[float]) -> int:
    """The candidate with the least loss; in a tie KEEP before PLUS before MINUS; never a NaN.

    Where the kept weight's own loss is not a number nothing compares as less, and it stays.
    """
    choice = KEEP
    for candidate in (PLUS, MINUS):
        if losses[candidate] < losses[choice]:
            choice = candidate
    return choice
