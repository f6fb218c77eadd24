"""RSO, random search optimisation: Algorithm 1 of Tripathi & Singh 2020 (arXiv:2005.05955)."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel
from torch import nn

from rso_core.batches import BatchDrawer
from rso_core.engine_choice import build_engine
from rso_core.engines import KEEP, Visits
from rso_core.errors import TrainingDiverged
from rso_core.evaluation import batch_norms, keeps_statistics, set_batch_norm_statistics_
from rso_core.initialisation import initialise_
from rso_core.optimizers.interface import (
    PROGRESS_INTERVAL_S,
    ProgressCallback,
    check_batch_size,
)
from rso_core.optimizers.rso_options import RSOOptions
from rso_core.peers import ALONE, Peers, check_shares, share_of
from rso_core.records import CycleOutcome, LayerRecord, Progress
from rso_core.sigma import annealing_factor, draw_deltas
from rso_core.torch_state import random_state, set_random_state
from rso_core.visited_layers import VisitedLayer, visited_layers

EVALUATION_STATISTICS_IMAGES = 2000
"""Size of the training batch that sets the moving statistics before an evaluation (authors)."""


class RSO:
    """Trains a model in place, one weight at a time, without gradients.

    Example:
        >>> rso = RSO(model, inputs, targets, batch_size=512, cycles=10,
        ...           generator=torch.Generator().manual_seed(0))
        >>> for outcome in rso.run():
        ...     print(outcome.cycle, outcome.training_loss, outcome.n_accepted)

    Args:
        model: maps a batch to logits [n, n_classes]; its parameters are changed, at once by the
            initialisation and then by `run`.
        inputs: [n, *input_shape] float32, standardised as in Algorithm 1, line 1.
        targets: [n] int64 class numbers.
        batch_size: images in a batch, from 1 to n.
        cycles: how many times every weight is visited, at least 1.
        options: an `RSOOptions`; None for the paper's.
        generator: on the CPU; the source of all randomness.
        on_progress: called a few times a second with what has been visited.
        peers: the workers that train the model together, in lockstep and from the same initial
            weights: each scores the candidates on its share of the images of every batch, and all
            make the same decisions, by the losses of the whole batch. All call the same methods.

    Raises:
        InvalidInput: a batch larger than the data or smaller than the number of workers, a model
            with nothing to visit, or one whose batches cannot be shared.
        TrainingDiverged: in `run`: the loss of a weight that is kept is not finite.
        PeerLost: in `run` and `evaluate`: another worker has left.
    """

    Options: ClassVar[type[BaseModel]] = RSOOptions
    shares_batches: ClassVar[bool] = True

    def __init__(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        batch_size: int,
        cycles: int,
        options: BaseModel | None = None,
        generator: torch.Generator,
        on_progress: ProgressCallback | None = None,
        peers: Peers = ALONE,
    ) -> None:
        options = RSOOptions() if options is None else options
        assert isinstance(options, RSOOptions)
        check_batch_size(batch_size, len(targets))
        check_shares(batch_size, peers)
        self._model = model
        self._peers = peers
        self._inputs = inputs
        self._batch_size = batch_size
        self._cycles = cycles
        self._options = options
        self._generator = generator
        self._on_progress = on_progress
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()  # so that a visit can address it flat
        initialise_(model, options.initialisation, generator)
        self._layers = visited_layers(model, options)
        self._batches = BatchDrawer(options.batch_drawing, len(targets), batch_size, generator)
        self._engine = build_engine(
            options.engine,
            model,
            inputs,
            targets,
            n_threads=torch.get_num_threads(),
            memory_bytes=int(options.engine_memory_gib * 2**30),
            peers=peers,
            has_double_softmax=options.double_softmax,
        )
        self._cycle = _Cycle(1)
        self._resumable = self._state(self._draws())

    @staticmethod
    def n_visits(model: nn.Module, options: BaseModel) -> int:
        """Visits in one cycle: the number of weights that these options visit."""
        assert isinstance(options, RSOOptions)
        return sum(layer.n_weights for layer in visited_layers(model, options))

    def run(self) -> Iterator[CycleOutcome]:
        """Visits every weight once a cycle; yields what happened after each cycle."""
        while self._cycle.number <= self._cycles:
            outcome = self._finish_cycle()
            self._cycle = _Cycle(outcome.cycle + 1)
            self._resumable = self._state(self._draws())
            yield outcome

    def state_dict(self) -> dict[str, Any]:
        """See `Optimizer.state_dict`; that of the last visit at which the engine can begin."""
        return self._resumable

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Optimizer.load_state_dict`; a cycle that has begun keeps its sigma."""
        self._model.load_state_dict(state["model"])
        self._generator.set_state(state["generator"])
        self._batches.load_state_dict(state["batches"])
        records = [LayerRecord(**record) for record in state["cycle"]["records"]]
        self._cycle = _Cycle(**{**state["cycle"], "records": records})
        self._resumable = dict(state)

    def prepare_evaluation_(self) -> None:
        """Sets the model's moving batch statistics from the first training images."""
        if self._peers.rank == 0:
            set_batch_norm_statistics_(self._model, self._inputs[:EVALUATION_STATISTICS_IMAGES])
        for norm in batch_norms(self._model) if self._peers.size > 1 else ():
            for buffer in norm.buffers():
                buffer.copy_(self._leaders(buffer))
        if self._cycle.n_visited == 0:
            self._resumable = self._state(self._draws())

    def evaluate(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
        """Mean cross entropy (nats) and accuracy of the model; see `rso_core.evaluation`."""
        if self._peers.size == 1 or not keeps_statistics(self._model):
            return self._engine.evaluate(inputs, targets)
        sums, share = np.zeros(2), share_of(len(targets), self._peers)
        if n_own := len(targets[share]):
            sums[:] = self._engine.evaluate(inputs[share], targets[share])
            sums *= n_own
        self._peers.sum_(sums)
        # of the number of right ones a rounding error may be left
        return float(sums[0]) / len(targets), round(float(sums[1])) / len(targets)

    def _leaders(self, own: torch.Tensor) -> torch.Tensor:
        """The leader's tensor, on the CPU; another processor may round its own in another way."""
        if self._peers.size == 1:
            return own
        array = own.cpu().numpy()
        shared = self._peers.share(array.tobytes() if self._peers.rank == 0 else None)
        return torch.from_numpy(np.frombuffer(shared, array.dtype).reshape(array.shape).copy())

    def _draws(self) -> dict[str, Any]:
        """The state of all that is drawn."""
        return {"generator": self._generator.get_state(), "batches": self._batches.state_dict()}

    def _state(self, draws: dict[str, Any]) -> dict[str, Any]:
        """The state now, with that of the draws at the first weight of the layer in hand."""
        return {
            "model": copy.deepcopy(self._model.state_dict()),
            **draws,
            "n_done": self._cycle.n_visited,
            "random": random_state(self._inputs.device),
            "cycle": asdict(self._cycle),
        }

    def _finish_cycle(self) -> CycleOutcome:
        cycle = self._cycle
        started = time.perf_counter() - cycle.seconds
        options = self._options
        if cycle.factor is None:
            cycle.factor = options.perturbation_std * annealing_factor(
                options.annealing, options.final_fraction, cycle.number, self._cycles
            )
        n_total = sum(layer.n_weights for layer in self._layers)
        progress = _ProgressClock(cycle, n_total, self._on_progress)
        if cycle.n_visited == 0:
            self._batches.start_cycle()
        else:  # a network may draw random numbers
            set_random_state(self._resumable["random"])
        for layer in self._layers[len(cycle.records) :]:
            self._visit_layer(layer, layer.sigma * cycle.factor, progress, started)
        return CycleOutcome(
            cycle=cycle.number,
            training_loss=cycle.loss_sum / cycle.n_visited,
            n_visited=cycle.n_visited,
            n_accepted=sum(record.n_accepted for record in cycle.records),
            n_images_passed=3 * self._batch_size * cycle.n_visited,
            training_s=time.perf_counter() - started,
            layers=tuple(cycle.records),
        )

    def _visit_layer(
        self, layer: VisitedLayer, sigma: float, progress: _ProgressClock, started: float
    ) -> None:
        """Visits all weights of a tensor that are left; notes how it went in the cycle."""
        cycle, options = self._cycle, self._options
        draws = self._draws()
        batches = self._batches.layer(layer.n_weights)
        deltas = self._leaders(
            draw_deltas(options.sampler, sigma, layer.n_weights, self._generator)
        )
        n_resumable = self._engine.resumable_every(layer.name, self._batch_size)
        while (first := len(cycle.chosen_losses)) < layer.n_weights:
            if first % n_resumable == 0 and cycle.n_visited > 0:
                cycle.seconds = time.perf_counter() - started
                self._resumable = self._state(draws)
            end = first + progress.n_at_once
            if end - end % n_resumable > first:  # a visit at which the engine can begin
                end -= end % n_resumable
            visits: Visits = self._engine.visit_(
                layer.name,
                first,
                deltas[first:end],
                batches,
                decay=1.0 - options.weight_decay,
            )
            cycle.add(visits, layer.name)
            progress.advance(len(visits.chosen))
        cycle.end_layer(layer, sigma)


@dataclass(slots=True)
class _Cycle:
    """How far a cycle has come."""

    number: int
    """From 1."""
    records: list[LayerRecord] = field(default_factory=list)
    """Of the layers that are done."""
    loss_sum: float = 0.0
    """Of the chosen candidates, over the layers that are done."""
    chosen_losses: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    """[n] float64: of the visits to the layer in hand."""
    n_accepted: int = 0
    """Of these."""
    seconds: float = 0.0
    """That it took until it was last resumable."""
    factor: float | None = None
    """On sigma, from its first visit on: whoever goes on may have more cycles to anneal over."""

    @property
    def n_visited(self) -> int:
        """Weights visited so far."""
        return sum(record.n_visited for record in self.records) + len(self.chosen_losses)

    def add(self, visits: Visits, layer: str) -> None:
        """Notes visits to the layer in hand.

        Raises:
            TrainingDiverged: a loss that is not finite.
        """
        losses = visits.chosen_losses()
        if not (finite := losses.isfinite()).all():
            position = int(finite.int().argmin())
            raise TrainingDiverged(
                f"the loss in cycle {self.number} is {losses[position].item()} "
                f"at weight {len(self.chosen_losses) + position} of {layer}"
            )
        self.n_accepted += int((visits.chosen != KEEP).sum())
        self.chosen_losses = torch.cat([self.chosen_losses, losses])

    def end_layer(self, layer: VisitedLayer, sigma: float) -> None:
        """Closes the layer in hand."""
        n_visited = len(self.chosen_losses)
        self.records.append(LayerRecord(layer.name, n_visited, self.n_accepted, sigma))
        # summed at once: how many visits the engine is handed at a time depends on the clock
        self.loss_sum += self.chosen_losses.sum().item()
        self.chosen_losses, self.n_accepted = self.chosen_losses[:0], 0


class _ProgressClock:
    """Says how many visits to hand to the engine at once, so that progress is seen in time."""

    def __init__(self, cycle: _Cycle, n_total: int, on_progress: ProgressCallback | None) -> None:
        self._cycle = cycle
        self._n_total = n_total
        self._on_progress = on_progress
        self._last = time.perf_counter()
        self.n_at_once = 1

    def advance(self, n_visits: int) -> None:
        now = time.perf_counter()
        seconds_a_visit = (now - self._last) / n_visits
        self._last = now
        self.n_at_once = max(1, int(PROGRESS_INTERVAL_S / max(seconds_a_visit, 1e-7)))
        if self._on_progress is not None:
            self._on_progress(Progress(self._cycle.number, self._cycle.n_visited, self._n_total))
