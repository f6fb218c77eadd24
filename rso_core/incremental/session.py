"""What an engine holds while it visits the weights of one parameter with one set of batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rso_core.batches import Batches
from rso_core.incremental import interpreter as code
from rso_core.incremental.graph import Kind, NetworkGraph
from rso_core.incremental import visiting
from rso_core.incremental.interpreter import N_VARIANTS, Doubles, Floats, Integers
from rso_core.incremental.kernels import packed_weights
from rso_core.incremental.programs import Sizes, Writer
from rso_core.incremental.simd import LANES
from rso_core.incremental.visit_programs import VisitPrograms, visit_programs
from rso_core.incremental.visiting import visit_weights

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


class IntegerTables:
    """Tables of integers one after another, behind a header that says where they begin."""

    def __init__(self) -> None:
        self._tables: list[Integers] = []
        self._n = code.N_HEADER

    def append(self, numbers: Any) -> int:
        """Adds a table, as a flat one; returns its offset."""
        table = np.asarray(numbers, dtype=np.int64).reshape(-1)
        self._tables.append(table)
        self._n += len(table)
        return self._n - len(table)

    def array(self, header: Mapping[int, int]) -> Integers:
        """[..] int64: the header, then the tables."""
        first = np.zeros(code.N_HEADER, np.int64)
        for place, number in header.items():
            first[place] = number
        return np.concatenate([first, *self._tables])


class Session(Protocol):
    """Visits the weights of one parameter."""

    def visit(
        self, first_weight: int, deltas: Floats, drawn: Integers, decay: float
    ) -> tuple[Doubles, NDArray[np.int8]]:
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
        images = batches.images.numpy()
        n_tiles = -(-images.shape[1] // LANES)
        packed = PackedParameters(graph, parameters)

        def written(n_slots: int) -> tuple[Writer, VisitPrograms]:
            sizes = Sizes(n_tiles, n_slots, threads.n_threads)
            writer = Writer(graph, packed.offsets, sizes, n_floats=len(packed.values))
            return writer, visit_programs(writer, parameter)

        n_drawn = int(batches.drawn.max()) + 1
        per_slot = 4 * (written(1)[0].n_kept_floats - len(packed.values))
        n_slots = max(1, min(n_drawn, memory_bytes // per_slot))
        writer, programs = written(n_slots)

        node = graph.nodes[graph.owner(parameter)]
        self._parameter = parameters[parameter].detach().view(-1).numpy()
        self._positions = packed.positions[parameter]
        n_weights = self._parameter.size
        is_weight, is_norm = parameter == node.weight, node.kind is Kind.BATCH_NORM
        n_sums = writer.n_sums * n_tiles * N_VARIANTS
        labels = batch_labels(images, targets, n_tiles)
        integers = IntegerTables()
        header = {
            code.N_TILES: n_tiles,
            code.N_IMAGES: images.shape[1],
            code.N_SUMS: writer.n_sums,
            code.N_AFFINE: writer.n_affine,
            code.LABELS: writer.room(labels.size),
            code.AFFINE: writer.room(writer.n_affine * N_VARIANTS * threads.n_threads),
            code.CHANGE_DELTA: writer.room(n_weights + N_VARIANTS),
            code.CHANGE_SCALE: writer.room(2 * N_VARIANTS),
            visiting.VALUES: writer.room(N_VARIANTS),
            code.VIEWS: integers.append(writer.views),
            code.OPERATIONS: integers.append(writer.operations),
            code.NORMS: integers.append(writer.norms),
            code.SEGMENTS: integers.append(writer.segments),
            code.BATCHES: integers.append(images),
            code.CHANGE_FIRST: integers.append([0] * N_VARIANTS),
            code.CHANGE_END: integers.append([0] * N_VARIANTS),
            code.CHANGE_WEIGHT: integers.append([0] * (n_weights + N_VARIANTS)),
            visiting.PROGRAMS: integers.append(
                [(program.first_segment, program.end_segment) for program in programs]
            ),
            visiting.PER_CHANNEL: n_weights // node.shape[0] if is_weight else 1,
            visiting.NORM_COLUMN: (0 if is_weight else 1) if is_norm else -1,
            visiting.PACKED: integers.append(self._positions),
            visiting.OWNERS: integers.append([-1] * n_slots),
            visiting.N_SLOTS: n_slots,
            visiting.SEEN: integers.append([0] * len(images)),
            visiting.SPARE: n_weights,
        }
        self._floats = arena.floats(writer.n_floats)
        self._floats[: len(packed.values)] = packed.values
        self._floats[writer.n_kept_floats :] = 0.0
        for place, value in writer.constants.items():
            self._floats[place] = value
        first_label = header[code.LABELS]
        self._floats[first_label : first_label + labels.size] = labels.reshape(-1)
        self._integers = integers.array(header)
        self._doubles: Doubles = np.zeros(n_sums, np.float64)
        self._inputs = inputs
        self._threads = threads

    def visit(
        self, first_weight: int, deltas: Floats, drawn: Integers, decay: float
    ) -> tuple[Doubles, NDArray[np.int8]]:
        """See `Session.visit`."""
        losses = np.empty((len(deltas), 3), dtype=np.float64)
        chosen = np.empty(len(deltas), dtype=np.int8)

        def run(thread: int) -> None:
            visit_weights(
                self._integers, self._floats, self._doubles, self._inputs, first_weight, deltas,
                drawn, decay, losses, chosen, thread, self._threads.n_threads,
                self._threads.barrier,
            )  # fmt: skip

        self._threads.run(run)
        self._parameter[:] = self._floats[self._positions]
        return losses, chosen
