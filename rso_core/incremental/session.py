"""What an engine holds while it visits the weights of one parameter with one set of batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch

from rso_core.batches import Batches
from rso_core.incremental import interpreter as code
from rso_core.incremental.graph import Kind, NetworkGraph
from rso_core.incremental.interpreter import Changes, Floats, Integers, Tables
from rso_core.incremental.kernels import packed_weights
from rso_core.incremental.programs import N_VARIANTS, Sizes, Writer, table
from rso_core.incremental.simd import LANES
from rso_core.incremental.visit_programs import VisitPrograms, visit_programs
from rso_core.incremental.visiting import State, Visit, visit_weights

Parameters = Mapping[str, torch.Tensor]


class Threads:
    """The threads of an engine: the calling one and those that it keeps waiting beside it."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self.barrier: Integers = np.zeros(2, dtype=np.int64)
        self._pool = ThreadPoolExecutor(n_threads - 1) if n_threads > 1 else None

    def run(self, function: Callable[[int], None]) -> None:
        """Calls the function with the number of every thread, side by side."""
        others = []
        if self._pool is not None:
            others = [self._pool.submit(function, thread) for thread in range(1, self.n_threads)]
        function(0)
        for other in others:
            other.result()


class Arena:
    """Memory for activations that sessions use one after another, so that it is paid for once."""

    def __init__(self) -> None:
        self._memory: Floats = np.empty(0, dtype=np.float32)

    def floats(self, n: int) -> Floats:
        """[n] float32 with anything in it; what was handed out before is handed out again."""
        if len(self._memory) < n:
            self._memory = np.empty(0, dtype=np.float32)  # frees the old before the new
            self._memory = np.empty(n, dtype=np.float32)
        return self._memory[:n]


class Session(Protocol):
    """Visits the weights of one parameter."""

    def visit(
        self, first_weight: int, deltas: Floats, drawn: Integers, decay: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Engine.visit_`; gives losses [n, 3] float64 and choices [n] int8."""
        ...


class PackedParameters:
    """All parameters of a network in the one array that the kernels read."""

    def __init__(self, graph: NetworkGraph, parameters: Parameters) -> None:
        self.offsets: dict[str, int] = {}
        self.positions: dict[str, Integers] = {}
        """Of every parameter: [n_weights], where each lies."""
        pieces, n = [], 0
        for node in graph.nodes:
            for name in (node.weight, node.bias):
                if name is None:
                    continue
                values = parameters[name].detach().numpy()
                order: Integers = np.arange(values.size, dtype=np.int64)
                if name == node.weight and node.kind is Kind.CONVOLUTION:
                    n_inputs = graph.nodes[node.inputs[0]].shape[0]
                    order = packed_weights(order.reshape(node.shape[0], n_inputs, -1, 1))
                self.offsets[name] = n
                positions = np.empty_like(order)
                positions[order] = np.arange(n, n + len(order))
                self.positions[name] = positions
                pieces.append(values.reshape(-1)[order])
                n += values.size
        self.values: Floats = np.concatenate(pieces) if pieces else np.empty(0, np.float32)


def batch_labels(images: Integers, targets: Integers, n_tiles: int) -> Floats:
    """[n_batches, n_tiles x LANES] float32: class numbers, -1 in empty lanes."""
    labels = np.full((len(images), n_tiles * LANES), -1.0, dtype=np.float32)
    labels[:, : images.shape[1]] = targets[images]
    return labels


def tables_of(
    writer: Writer, arena: Arena, n_scratch_from: int, weights: Floats, inputs: Floats,
    images: Integers, labels: Floats,
) -> Tables:  # fmt: skip
    """The tables as the compiled code takes them.

    Args:
        writer: with all programs written.
        arena: source of the memory.
        n_scratch_from: where in memory what is not kept begins: it starts as zeros.
        weights, inputs, images, labels: see `Tables`.
    """
    memory = arena.floats(writer.n_floats)
    memory[n_scratch_from:] = 0.0
    sizes = writer.sizes
    return Tables(
        views=table(writer.views, code.N_VIEW_COLUMNS),
        operations=table(writer.operations, code.N_OPERATION_COLUMNS),
        arguments=np.array(writer.arguments, dtype=np.float32).reshape(-1, 2),
        norms=table(writer.norms, code.N_NORM_COLUMNS),
        epsilons=np.array(writer.epsilons, dtype=np.float64),
        segments=table(writer.segments, 4),
        memory=memory,
        weights=weights,
        affine=np.zeros((sizes.n_threads, N_VARIANTS, max(writer.n_affine, 1)), np.float32),
        sums=np.zeros((N_VARIANTS, sizes.n_tiles, writer.n_sums), np.float64),
        inputs=inputs,
        images=images,
        labels=labels,
    )


class ChannelSession:
    """Visits a parameter of any layer by the channel that its weights move.

    Args:
        graph: of the network.
        parameter: its name.
        parameters: all of the network; the visited one is changed.
        batches: of the visits.
        inputs: [n, n_features] float32, read-only.
        targets: [n] int64.
        threads: to run on.
        arena: memory for the activations.
        memory_bytes: how much of it to use at most for what is kept of the batches.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        parameter: str,
        parameters: Parameters,
        batches: Batches,
        inputs: Floats,
        targets: Integers,
        threads: Threads,
        arena: Arena,
        memory_bytes: int,
    ) -> None:
        images = np.ascontiguousarray(batches.images.numpy())
        n_tiles = -(-images.shape[1] // LANES)
        packed = PackedParameters(graph, parameters)

        def written(n_slots: int) -> tuple[Writer, VisitPrograms]:
            writer = Writer(graph, packed.offsets, Sizes(n_tiles, n_slots, threads.n_threads))
            return writer, visit_programs(writer, parameter)

        n_drawn = len(torch.unique(batches.drawn))
        per_slot = 4 * written(1)[0].n_kept_floats
        n_slots = max(1, min(n_drawn, memory_bytes // per_slot))
        writer, programs = written(n_slots)
        self._tables = tables_of(
            writer, arena, writer.n_kept_floats, packed.values, inputs, images,
            batch_labels(images, targets, n_tiles),
        )  # fmt: skip
        node = graph.nodes[graph.owner(parameter)]
        flat = parameters[parameter].detach().view(-1).numpy()
        is_weight = parameter == node.weight
        is_norm = node.kind is Kind.BATCH_NORM
        per_channel = flat.size // node.shape[0] if is_weight and not is_norm else 1
        self._visit = Visit(
            programs=np.array(
                [[p.first_segment, p.end_segment]
                 for p in (programs.fill, programs.narrow, programs.score, programs.update)],
                dtype=np.int64,
            ),
            weights_per_channel=per_channel,
            norm_column=(0 if is_weight else 1) if is_norm else -1,
            parameter=flat,
            packed=packed.positions[parameter],
        )  # fmt: skip
        n_changes = flat.size + N_VARIANTS
        self._changes = Changes(
            first=np.zeros(N_VARIANTS, np.int64),
            end=np.zeros(N_VARIANTS, np.int64),
            weight=np.zeros(n_changes, np.int64),
            delta=np.zeros(n_changes, np.float32),
            scale=np.zeros((N_VARIANTS, 2), np.float32),
        )
        self._state = State(
            owners=np.full(n_slots, -1, np.int64),
            seen=np.zeros(len(images), np.int64),
            n_changes=np.zeros(1, np.int64),
            new_values=np.zeros(N_VARIANTS, np.float32),
        )
        self._threads = threads

    def visit(
        self, first_weight: int, deltas: Floats, drawn: Integers, decay: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Session.visit`."""
        losses = np.empty((len(deltas), 3), dtype=np.float64)
        chosen = np.empty(len(deltas), dtype=np.int8)

        def run(thread: int) -> None:
            visit_weights(
                self._tables, self._changes, self._visit, self._state, first_weight, deltas,
                drawn, decay, losses, chosen, thread, self._threads.n_threads,
                self._threads.barrier,
            )  # fmt: skip

        self._threads.run(run)
        return losses, chosen
