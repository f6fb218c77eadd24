"""How fast the incremental engine visits weights on this machine, beside the reference engine.

Both are measured in one process, in turns and with the same threads, on a cycle as RSO runs it by
the paper's options: every parameter tensor from the last to the first, a fresh batch for every
weight.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from rso_core.cycle_bench import CycleBench, Effort, bench_drawer, bench_layers, initialised
from rso_core.engines import Engine, ReferenceEngine
from rso_core.incremental.engine import IncrementalEngine
from rso_core.incremental.graph import UnsupportedNetwork
from rso_core.incremental.graph_reader import network_graph
from rso_core.incremental.work import cycle_flop
from rso_core.torch_state import own_torch_state

FULL = Effort(50, 1, repeated_below_s=20.0, sampled_above_s=math.inf)
QUICK = Effort(8, 0, repeated_below_s=3.0, sampled_above_s=6.0)


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
        model = initialised(model, generator)
        layers = bench_layers(model)
        drawer = bench_drawer(len(targets), batch_size, generator)
        bench = CycleBench(layers, drawer, generator, on_progress, clock)

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


def _extrapolated(sizes: Sequence[int], counts: Sequence[int], seconds: Sequence[float]) -> float:
    """Seconds of a cycle from those of some visits of each tensor, the unmeasured left out."""
    measured = [(s, n, t) for s, n, t in zip(sizes, counts, seconds, strict=True) if n]
    a_visit = sum(s * t / n for s, n, t in measured) / sum(s for s, _, _ in measured)
    return a_visit * sum(sizes)
