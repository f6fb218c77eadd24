"""How fast the incremental engine visits weights on this machine, beside the reference engine.

Both are measured in one process, in turns and with the same threads, on a cycle as RSO runs it by
the paper's options: every parameter tensor from the last to the first, a fresh batch for every
weight.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from rso_core.batches import BatchDrawer, Batches
from rso_core.engines import Engine, ReferenceEngine
from rso_core.incremental.engine import IncrementalEngine
from rso_core.incremental.graph import UnsupportedNetwork
from rso_core.incremental.graph_reader import network_graph
from rso_core.incremental.work import cycle_flop
from rso_core.initialisation import initialise_
from rso_core.optimizers import RSOOptions
from rso_core.sigma import draw_deltas
from rso_core.torch_state import own_torch_state
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


FULL = Effort(50, 1, repeated_below_s=20.0, sampled_above_s=math.inf)
QUICK = Effort(8, 0, repeated_below_s=3.0, sampled_above_s=6.0)

_OPTIONS = RSOOptions()
_NO_DECAY = 1.0
_N_REPEATED = 2
_LEAST_SAMPLE, _SAMPLE_S = 3, 0.2
_PIECE_S = 0.25
_N_WARM_UP, _WARM_UP_BATCH_SIZE = 2, 64


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """What was measured of one network and batch size."""

    n_visits: int
    """Of a cycle."""
    n_reference_visits: int
    """How many were measured."""
    reference_s_per_cycle: float
    """Extrapolated from those."""
    engine_s_per_cycle: float
    """The reference engine's where the network is unsupported."""
    flop_per_cycle: float | None
    """What the incremental algorithm needs, see `incremental.work`; None where unsupported."""
    unsupported: str | None
    """Why the incremental engine cannot take the network."""


class EngineFactory(Protocol):
    """Makes the engine that is compared with the reference engine."""

    def __call__(
        self, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, /, *, n_threads: int
    ) -> Engine:
        """May raise UnsupportedNetwork."""
        ...


def measure_engines(
    model: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    batch_size: int,
    n_threads: int = 1,
    effort: Effort = FULL,
    make_engine: EngineFactory = IncrementalEngine,
    on_progress: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> EngineTimes:
    """Measures both engines, from a fresh He initialisation on.

    Half of the reference engine's visits come before the other engine's cycles and half after
    them, since a shared machine is not equally fast at all times. Torch's thread count and global
    random state are left as they were.

    Args:
        model: its weights are not used, and not changed.
        inputs: [n, *input_shape] float32, standardised.
        targets: [n] int64.
        batch_size: from 1 to n.
        n_threads: of torch and of the engine, at least 1.
        effort: `FULL` or `QUICK`.
        make_engine: the engine that is compared with the reference engine.
        on_progress: called with a few words a few times a second.
        clock: seconds.
    """
    with own_torch_state(n_threads, seed=0):
        generator = torch.Generator().manual_seed(0)
        model = _initialised(model, generator)
        layers = visited_layers(model, _OPTIONS)
        drawer = BatchDrawer(_OPTIONS.batch_drawing, len(targets), batch_size, generator)
        bench = _Bench(layers, drawer, generator, on_progress, clock)

        def engine_on_a_copy() -> Engine:
            return make_engine(copy.deepcopy(model), inputs, targets, n_threads=n_threads)

        reference = ReferenceEngine(copy.deepcopy(model), inputs, targets)
        before, after = halves(
            spread(
                [layer.n_weights for layer in layers],
                effort.n_reference_visits,
                effort.n_reference_visits_a_tensor,
            )
        )
        seconds = [bench.reference_s(reference, before)]
        engine_s = flop = unsupported = None
        try:
            bench.warm_up(engine_on_a_copy())
            engine_s = bench.cycle_s(engine_on_a_copy(), effort)
            graph = network_graph(model, tuple(inputs.shape[1:]))
            sizes = {layer.name: layer.n_weights for layer in layers}
            flop = cycle_flop(graph, sizes, batch_size, len(targets))
        except UnsupportedNetwork as error:
            unsupported = str(error)
        seconds.append(bench.reference_s(reference, after))
    n_measured = [sum(counts) for counts in zip(before, after, strict=True)]
    measured_s = [sum(parts) for parts in zip(*seconds, strict=True)]
    reference_s = _extrapolated([layer.n_weights for layer in layers], n_measured, measured_s)
    return EngineTimes(
        n_visits=sum(layer.n_weights for layer in layers),
        n_reference_visits=sum(n_measured),
        reference_s_per_cycle=reference_s,
        engine_s_per_cycle=reference_s if engine_s is None else engine_s,
        flop_per_cycle=flop,
        unsupported=unsupported,
    )


def matrix_product_peak(n_threads: int, size: int = 1024, seconds: float = 0.5) -> float:
    """The machine's best at float32 matrix products [size, size] x [size, size], in FLOP/s.

    Args:
        n_threads: that torch may use.
        size: of the matrices.
        seconds: how long to go on trying.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator) for _ in range(2))
    product = torch.empty(size, size)
    best_s = math.inf
    with own_torch_state(n_threads, seed=0), torch.inference_mode():
        torch.matmul(left, right, out=product)
        started = now = time.perf_counter()
        while best_s == math.inf or now - started < seconds:
            before = time.perf_counter()
            torch.matmul(left, right, out=product)
            now = time.perf_counter()
            best_s = min(best_s, now - before)
    return 2.0 * size**3 / best_s


def spread(sizes: Sequence[int], n: int, at_least: int) -> list[int]:
    """Spreads n visits over tensors in proportion to their sizes.

    Args:
        sizes: weights of each tensor.
        n: how many visits; more if the next rule asks for it, fewer if there are not so many.
        at_least: visits of every tensor, as far as it has so many weights.
    """
    total, end, counts = sum(sizes), 0, []
    for size in sizes:
        first, end = end, end + size
        # of n points at equal distances along all weights, those that lie in the tensor
        count = (2 * n * end + total) // (2 * total) - (2 * n * first + total) // (2 * total)
        counts.append(min(size, max(at_least, count)))
    return counts


def halves(counts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Halves each count; of those that are odd the larger half goes to either in turn."""
    before, rounds_up = [], True
    for count in counts:
        before.append((count + rounds_up) // 2)
        rounds_up ^= count % 2 == 1
    return before, [count - half for count, half in zip(counts, before, strict=True)]


@dataclass(frozen=True, slots=True)
class _Bench:
    """Draws the batches and perturbations of layers, and measures engines that visit them."""

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
            total_s += self._sampled_layer_s(engine, layer)
        return total_s

    def _sampled_layer_s(self, engine: Engine, layer: VisitedLayer) -> float:
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


def _initialised(model: nn.Module, generator: torch.Generator) -> nn.Module:
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # so that a visit can address it flat
    initialise_(model, _OPTIONS.initialisation, generator)
    return model


def _extrapolated(sizes: Sequence[int], counts: Sequence[int], seconds: Sequence[float]) -> float:
    """Seconds of a cycle from those of some visits of each tensor, the unmeasured left out."""
    measured = [(s, n, t) for s, n, t in zip(sizes, counts, seconds, strict=True) if n]
    a_visit = sum(s * t / n for s, n, t in measured) / sum(s for s, _, _ in measured)
    return a_visit * sum(sizes)
