"""RSO, random search optimisation: Algorithm 1 of Tripathi & Singh 2020 (arXiv:2005.05955)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import nn

from rso_core.batches import BatchDrawer, Drawing
from rso_core.engine_choice import EngineName, build_engine
from rso_core.engines import KEEP, Visits
from rso_core.evaluation import set_batch_norm_statistics_
from rso_core.initialisation import Initialisation, initialise_
from rso_core.optimizers.interface import (
    PROGRESS_INTERVAL_S,
    ProgressCallback,
    check_batch_size,
)
from rso_core.records import CycleOutcome, LayerRecord, Progress
from rso_core.sigma import (
    Annealing,
    Sampler,
    SigmaRule,
    annealing_factor,
    draw_deltas,
)
from rso_core.visited_layers import VisitedLayer, visited_layers

EVALUATION_STATISTICS_IMAGES = 2000
"""Size of the training batch that sets the moving statistics before an evaluation (authors)."""


class RSOOptions(BaseModel):
    """The options of RSO; each default is the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    perturbation_std: float = Field(default=1.0, gt=0, description="Factor on sigma.")
    initialisation: Initialisation = Field(
        default="he",
        description="he: by fan-in; glorot: uniform, zero biases; model: as torch made it.",
    )
    sigma: SigmaRule | float = Field(
        default="he", description="he: by fan-in; pooled: the STMOZOO notebook's rule; or a number."
    )
    batch_norm_sigma: float = Field(
        default=0.167,
        gt=0,
        description="Sigma of scales and shifts (the authors' code); not for pooled.",
    )
    sampler: Sampler = Field(default="normal", description="Distribution of the perturbations.")
    annealing: Annealing = Field(default="paper", description="Schedule by which sigma falls.")
    final_fraction: float = Field(
        default=0.1, ge=0, le=1, description="What is left of sigma at the end of the annealing."
    )
    layer_order: Literal["last_to_first", "first_to_last"] = Field(
        default="last_to_first", description="Order in which a cycle visits the layers."
    )
    visit_biases: bool = Field(default=True, description="Whether biases are visited.")
    visit_batch_norm: bool = Field(
        default=True, description="Whether scales and shifts are visited."
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="w becomes w (1 - weight_decay) at every visit (authors: 1e-4).",
    )
    batch_drawing: Drawing = Field(
        default="fresh", description="A fresh batch for every weight, or one of the coarser ways."
    )

    engine: EngineName = Field(
        default="auto",
        description="What visits the weights; all make the same decisions. auto: incremental "
        "where it knows the network, else reference: plain forward passes.",
    )
    engine_memory_gib: float = Field(
        default=6.0,
        gt=0,
        description="What the incremental engine may keep of the batches, in GiB; "
        "with less it is slower.",
    )

    @field_validator("sigma")
    @classmethod
    def _positive_sigma(cls, sigma: SigmaRule | float) -> SigmaRule | float:
        if isinstance(sigma, float) and sigma <= 0:
            raise ValueError(f"must be he, pooled or a number of more than 0, got {sigma}")
        return sigma


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

    Raises:
        InvalidInput: a batch larger than the data, or a model with nothing to visit.
    """

    Options: ClassVar[type[BaseModel]] = RSOOptions

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
    ) -> None:
        options = RSOOptions() if options is None else options
        assert isinstance(options, RSOOptions)
        check_batch_size(batch_size, len(targets))
        self._model = model
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
        )

    @staticmethod
    def n_visits(model: nn.Module, options: BaseModel) -> int:
        """Visits in one cycle: the number of weights that these options visit."""
        assert isinstance(options, RSOOptions)
        return sum(layer.n_weights for layer in visited_layers(model, options))

    def run(self) -> Iterator[CycleOutcome]:
        """Visits every weight once a cycle; yields what happened after each cycle."""
        for cycle in range(1, self._cycles + 1):
            yield self._cycle(cycle)

    def prepare_evaluation_(self) -> None:
        """Sets the model's moving batch statistics from the first training images."""
        set_batch_norm_statistics_(self._model, self._inputs[:EVALUATION_STATISTICS_IMAGES])

    def evaluate(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
        """Mean cross entropy (nats) and accuracy of the model; see `rso_core.evaluation`."""
        return self._engine.evaluate(inputs, targets)

    def _cycle(self, cycle: int) -> CycleOutcome:
        started = time.perf_counter()
        options = self._options
        factor = options.perturbation_std * annealing_factor(
            options.annealing, options.final_fraction, cycle, self._cycles
        )
        progress = _ProgressClock(cycle, sum(x.n_weights for x in self._layers), self._on_progress)
        self._batches.start_cycle()
        records, loss_sum = [], 0.0
        for layer in self._layers:
            record, layer_loss_sum = self._visit_layer(layer, factor, progress)
            records.append(record)
            loss_sum += layer_loss_sum
        n_visited = sum(record.n_visited for record in records)
        return CycleOutcome(
            cycle=cycle,
            training_loss=loss_sum / n_visited,
            n_visited=n_visited,
            n_accepted=sum(record.n_accepted for record in records),
            n_images_passed=3 * self._batch_size * n_visited,
            training_s=time.perf_counter() - started,
            layers=tuple(records),
        )

    def _visit_layer(
        self, layer: VisitedLayer, factor: float, progress: _ProgressClock
    ) -> tuple[LayerRecord, float]:
        """Visits all weights of a tensor; returns its record and the sum of the chosen losses."""
        options = self._options
        sigma = layer.sigma * factor
        batches = self._batches.layer(layer.n_weights)
        deltas = draw_deltas(options.sampler, sigma, layer.n_weights, self._generator)
        chosen_losses = torch.empty(layer.n_weights, dtype=torch.float64)
        n_accepted = first = 0
        while first < layer.n_weights:
            visits: Visits = self._engine.visit_(
                layer.name,
                first,
                deltas[first : first + progress.n_at_once],
                batches,
                decay=1.0 - options.weight_decay,
            )
            end = first + len(visits.chosen)
            n_accepted += int((visits.chosen != KEEP).sum())
            chosen_losses[first:end] = visits.chosen_losses()
            progress.advance(end - first)
            first = end
        # summed at once: how many visits the engine is handed at a time depends on the clock
        loss_sum = chosen_losses.sum().item()
        return LayerRecord(layer.name, layer.n_weights, n_accepted, sigma), loss_sum


class _ProgressClock:
    """Says how many visits to hand to the engine at once, so that progress is seen in time."""

    def __init__(self, cycle: int, n_total: int, on_progress: ProgressCallback | None) -> None:
        self._cycle = cycle
        self._n_total = n_total
        self._on_progress = on_progress
        self._n_done = 0
        self._last = time.perf_counter()
        self.n_at_once = 1

    def advance(self, n_visits: int) -> None:
        now = time.perf_counter()
        seconds_a_visit = (now - self._last) / n_visits
        self._last = now
        self._n_done += n_visits
        self.n_at_once = max(1, int(PROGRESS_INTERVAL_S / max(seconds_a_visit, 1e-7)))
        if self._on_progress is not None:
            self._on_progress(Progress(self._cycle, self._n_done, self._n_total))
