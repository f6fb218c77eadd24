"""Visits as a cycle of RSO has them, measured on an engine.

A cycle by the paper's options: every parameter tensor from the last to the first, a fresh batch
for every weight.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from rso_core.batches import BatchDrawer, Batches
from rso_core.engines import Engine
from rso_core.initialisation import initialise_
from rso_core.optimizers import RSOOptions
from rso_core.sigma import draw_deltas
from rso_core.visited_layers import VisitedLayer, visited_layers


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    n_reference_visits: int
    """At least; spread over the tensors in proportion to their sizes."""
    n_reference_visits_a_tensor: int
    """At least."""
    repeated_below_s: float
    """A cycle that takes less is measured three times."""
    sampled_above_s: float
    """A cycle that would take longer is extrapolated from a sample of its visits."""


_OPTIONS = RSOOptions()
_NO_DECAY = 1.0
_N_REPEATED = 2
_LEAST_SAMPLE, _SAMPLE_S = 3, 0.2
_PIECE_S = 0.25
_N_WARM_UP, _WARM_UP_BATCH_SIZE = 2, 64


@dataclass(frozen=True, slots=True)
class CycleBench:
    """Draws the batches and perturbations of layers, and measures engines that visit them.

    How much is visited at a time, and of a sample how much in all, depends on the clock alone, so
    that the engines of several workers can be measured by one clock.
    """

    layers: Sequence[VisitedLayer]
    drawer: BatchDrawer
    generator: torch.Generator
    on_progress: Callable[[str], None]
    clock: Callable[[], float]

    def reference_s(self, engine: Engine, counts: Sequence[int]) -> list[float]:
        """Visits so many weights of each layer; the seconds of each layer's visits."""
        self.on_progress("reference engine")
        largest = max(self.layers, key=lambda layer: layer.n_weights)
        engine.visit_(largest.name, 0, self._deltas(largest)[:_N_WARM_UP],
                      self.drawer.layer(largest.n_weights), _NO_DECAY)  # fmt: skip
        seconds = []
        for layer, n in zip(self.layers, counts, strict=True):
            batches, deltas = self.drawer.layer(layer.n_weights), self._deltas(layer)[:n]
            started = self.clock()
            if n:
                engine.visit_(layer.name, 0, deltas, batches, _NO_DECAY)
            seconds.append(self.clock() - started)
        return seconds

    def warm_up(self, engine: Engine) -> None:
        """Has every kernel compiled."""
        self.on_progress("compiling")
        for layer in self.layers:
            whole = self.drawer.layer(layer.n_weights)
            small = Batches(whole.images[:, :_WARM_UP_BATCH_SIZE], whole.drawn)
            engine.visit_(layer.name, 0, self._deltas(layer)[:_N_WARM_UP], small, _NO_DECAY)

    def cycle_s(self, engine: Engine, effort: Effort) -> float:
        """Seconds of a cycle: the median of a few, or extrapolated where one would take long."""
        if effort.sampled_above_s < math.inf:
            estimate = self._sampled_cycle_s(engine)
            if estimate > effort.sampled_above_s:
                return estimate
        cycles = [self._whole_cycle_s(engine)]
        if cycles[0] < effort.repeated_below_s:
            cycles += [self._whole_cycle_s(engine) for _ in range(_N_REPEATED)]
        return statistics.median(cycles)

    def _whole_cycle_s(self, engine: Engine) -> float:
        started = self.clock()
        n_total = sum(layer.n_weights for layer in self.layers)
        n_done = 0
        for layer in self.layers:
            batches, deltas = self.drawer.layer(layer.n_weights), self._deltas(layer)
            for n_visited in self._pieces(engine, layer, deltas, batches):
                n_done += n_visited
                self.on_progress(f"incremental engine, {n_done / n_total:.0%} of a cycle")
        return self.clock() - started

    def _sampled_cycle_s(self, engine: Engine) -> float:
        """Extrapolated from a few visits of each layer: first ones of a batch, and later ones."""
        total_s = 0.0
        for position, layer in enumerate(self.layers, start=1):
            self.on_progress(f"incremental engine, tensor {position} of {len(self.layers)}")
            total_s += self.sampled_layer_s(engine, layer)
        return total_s

    def sampled_layer_s(self, engine: Engine, layer: VisitedLayer) -> float:
        """A few batches are met, and met again after as many visits as in a cycle.

        The visits in between, which change weights, are made on one other batch.
        """
        started = self.clock()
        batches, deltas = self.drawer.layer(layer.n_weights), self._deltas(layer)
        layer_s = self.clock() - started
        n_first = min(layer.n_weights, len(batches.images))
        n_again = layer.n_weights - n_first

        def visits_s(batches: Batches, first: int, end: int) -> float:
            before = self.clock()
            engine.visit_(layer.name, first, deltas[first:end], batches, _NO_DECAY)
            return self.clock() - before

        k = min(_LEAST_SAMPLE, n_first)
        a_visit_s = visits_s(batches, 0, k) / k
        k = min(n_first, max(k, int(_SAMPLE_S / max(a_visit_s, 1e-9))))
        visits_s(batches, 0, k)  # memory is slow when it is first used, which a cycle seldom does
        drawn = batches.drawn.clone()
        drawn[k:n_first] = n_first - 1
        sample = Batches(batches.images, drawn)
        layer_s += visits_s(sample, 0, 1)  # with what is done at the start of a layer
        if k > 1:
            layer_s += visits_s(sample, 1, k) / (k - 1) * (n_first - 1)
        if n_again:
            for _ in self._pieces(engine, layer, deltas[:n_first], sample, k):
                pass
            k = min(k, n_again)
            layer_s += visits_s(sample, n_first, n_first + k) / k * n_again
        return layer_s

    def _pieces(
        self,
        engine: Engine,
        layer: VisitedLayer,
        deltas: torch.Tensor,
        batches: Batches,
        first: int = 0,
    ) -> Iterator[int]:
        """Visits weights piece by piece, so that progress is seen and an interrupt obeyed."""
        n_at_once = 1
        while first < len(deltas):
            piece = deltas[first : first + n_at_once]
            started = self.clock()
            engine.visit_(layer.name, first, piece, batches, _NO_DECAY)
            if self.clock() - started < _PIECE_S:
                n_at_once *= 2
            first += len(piece)
            yield len(piece)

    def _deltas(self, layer: VisitedLayer) -> torch.Tensor:
        return draw_deltas(_OPTIONS.sampler, layer.sigma, layer.n_weights, self.generator)


def bench_layers(model: nn.Module) -> list[VisitedLayer]:
    """The tensors of a cycle by the paper's options."""
    return visited_layers(model, _OPTIONS)


def bench_drawer(n_images: int, batch_size: int, generator: torch.Generator) -> BatchDrawer:
    """Draws batches by the paper's options."""
    return BatchDrawer(_OPTIONS.batch_drawing, n_images, batch_size, generator)


def initialised(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy with weights by the paper's options."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # so that a visit can address it flat
    initialise_(model, _OPTIONS.initialisation, generator)
    return model
