"""The visits of one parameter's weights on a device, without a word to the host in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from rso_core.engines import KEEP, MINUS, PLUS, Visits
from rso_core.incremental.device_batches import DeviceBatches
from rso_core.incremental.device_losses import N_CANDIDATES, CandidateLosses, Visit

N_EAGER_STEPS = 3
"""Visits that are carried out as they are before one is captured: its warm-up."""


class DeviceSession:
    """Visits the weights of a parameter.

    Args:
        weights: the parameter; it is changed.
        batches: of its visits.
        losses: the way to the losses.
    """

    def __init__(
        self, weights: torch.Tensor, batches: DeviceBatches, losses: CandidateLosses
    ) -> None:
        self._weights = weights.view(-1)
        self._batches = batches
        self._candidate_losses = losses
        n, device = len(self._weights), weights.device
        # a captured visit finds all that differs from one to the next in these
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._decay = torch.ones(1, device=device)
        self._deltas = torch.zeros(n, device=device)
        self._losses = torch.zeros(n, N_CANDIDATES, dtype=torch.float64, device=device)
        self._chosen = torch.zeros(n, dtype=torch.int8, device=device)
        steps = CapturedSteps if device.type == "cuda" else EagerSteps
        self._steps: Steps = steps(self._step, device)

    def visit(self, first_weight: int, deltas: torch.Tensor, decay: float) -> Visits:
        """Visits consecutive weights; see `Engine.visit_`."""
        visited = slice(first_weight, first_weight + len(deltas))
        self._position.fill_(first_weight)
        self._decay.fill_(decay)
        self._deltas[visited] = deltas.to(self._deltas.device)
        self._steps.run(len(deltas))
        return Visits(
            losses=self._losses[visited].to("cpu", copy=True),
            chosen=self._chosen[visited].to("cpu", copy=True),
        )

    def _step(self) -> None:
        """One visit: Algorithm 1, lines 7 to 12."""
        position = self._position
        weight = self._weights.index_select(0, position)
        kept = weight * self._decay
        delta = self._deltas.index_select(0, position)
        candidates = torch.cat([kept, kept + delta, kept - delta])
        self._weights.index_copy_(0, position, kept)
        visit = Visit(position, self._batches.slot(position), weight, candidates)
        losses = self._candidate_losses.losses(visit)
        chosen = chosen_candidate(losses)
        accepted = candidates.index_select(0, chosen)
        self._weights.index_copy_(0, position, accepted)
        self._candidate_losses.accept_(visit, accepted)
        self._losses.index_copy_(0, position, losses[None])
        self._chosen.index_copy_(0, position, chosen.to(torch.int8))
        position.add_(1)


def chosen_candidate(losses: torch.Tensor) -> torch.Tensor:
    """[1] int64: what `engines.choose` takes of [3] losses, without asking for their values."""
    plus_is_less = losses[PLUS] < losses[KEEP]
    best = torch.where(plus_is_less, losses[PLUS], losses[KEEP])
    choice = plus_is_less.to(torch.int64).masked_fill(losses[MINUS] < best, MINUS)
    return choice.view(1)


class Steps(Protocol):
    """Repeats a step that finds on the device what it has to do."""

    def run(self, n_steps: int) -> None:
        """Carries the step out so many times."""
        ...


class EagerSteps:
    """Carries every step out operation by operation.

    Args:
        step: takes one step.
        device: where.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self._step = step

    def run(self, n_steps: int) -> None:
        """See `Steps.run`."""
        for _ in range(n_steps):
            self._step()


class CapturedSteps:
    """Captures the step's operations as a CUDA graph, and replays it with one call a step.

    The first steps are carried out on a side stream, as a capture wants it; they count, so that
    nothing has to be undone.

    Args:
        step: takes one step; always the same operations on the same memory.
        device: a CUDA device.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self._step = step
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._n_eager_steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self, n_steps: int) -> None:
        """See `Steps.run`."""
        with torch.cuda.device(self._device):
            n_eager = min(n_steps, N_EAGER_STEPS - self._n_eager_steps)
            if n_eager:
                self._run_eagerly(n_eager)
            if n_steps > n_eager and self._graph is None:
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph, stream=self._stream):
                    self._step()  # recorded, not carried out
            for _ in range(n_steps - n_eager):
                assert self._graph is not None
                self._graph.replay()

    def _run_eagerly(self, n_steps: int) -> None:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(n_steps):
                self._step()
        torch.cuda.current_stream().wait_stream(self._stream)
        self._n_eager_steps += n_steps
