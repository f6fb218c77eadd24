"""What an engine holds while it visits the weights of one parameter with one set of batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rso_core.batches import Batches
from rso_core.incremental.compiled import exchange
from rso_core.incremental.compiled import tables as code
from rso_core.incremental.compiled.convolution import packed_weights
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.compiled.tables import N_VARIANTS, Doubles, Floats, Integers
from rso_core.incremental.graph import Kind, NetworkGraph
from rso_core.incremental.writer import Sizes, Writer
from rso_core.peers import ALONE, PeerLost, Peers, share_of

Parameters = Mapping[str, torch.Tensor]

_N_LOSSES = 3


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
    """Memory for activations that sessions use one after another, so that it is paid for once.

    Args:
        n_reserved: floats to ask for at first; memory that is not used costs nothing.
    """

    def __init__(self, n_reserved: int) -> None:
        self._n_reserved = n_reserved
        self._memory: Floats = np.empty(0, dtype=np.float32)

    def floats(self, n: int) -> Floats:
        """[n] float32 with anything in it; what was handed out before is handed out again."""
        if len(self._memory) < n:
            self._memory = np.empty(0, dtype=np.float32)  # frees the old before the new
            try:
                self._memory = np.empty(max(n, self._n_reserved), dtype=np.float32)
            except MemoryError:  # a machine may refuse what it does not have at once
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


@dataclass(frozen=True, slots=True)
class Workplace:
    """What all sessions of an engine share."""

    graph: NetworkGraph
    parameters: Parameters
    """All of the network; the visited one is changed."""
    inputs: Floats
    """[n, n_features], read-only."""
    targets: Integers
    """[n]"""
    threads: Threads
    arena: Arena
    memory_bytes: int
    """How much may be kept of the batches."""
    peers: Peers = ALONE
    """Those that share the batches."""
    has_double_softmax: bool = False
    """Whether visits score the probabilities, taken for logits; see `Engine`."""


class Session:
    """Visits the weights of one parameter with one set of batches.

    Args:
        workplace: of the engine.
        parameter: its name.
        batches: of the visits; a session works on its worker's share of each.
        compiled_loop: `visit_weights` or one with the same arguments.
    """

    def __init__(
        self,
        workplace: Workplace,
        parameter: str,
        batches: Batches,
        compiled_loop: Callable[..., None],
    ) -> None:
        self._workplace = workplace
        self._compiled_loop = compiled_loop
        share = share_of(batches.batch_size, workplace.peers)
        self._images: Integers = batches.images.numpy()[:, share]
        self._n_all_images = batches.batch_size
        self._n_tiles = -(-self._images.shape[1] // LANES)
        self._packed = PackedParameters(workplace.graph, workplace.parameters)
        self._parameter: Floats = workplace.parameters[parameter].detach().view(-1).numpy()
        self._positions = self._packed.positions[parameter]
        self._integers: Integers
        self._floats: Floats
        self._doubles: Doubles

    def visit(
        self, first_weight: int, deltas: Floats, drawn: Integers, decay: float
    ) -> tuple[Doubles, NDArray[np.int8]]:
        """As `Engine.visit_`; gives losses [n, 3] float64 and choices [n] int8.

        Raises:
            PeerLost: another worker has left; no weight of the network is changed then.
        """
        losses = np.full((len(deltas), 3), np.nan, dtype=np.float64)
        chosen = np.zeros(len(deltas), dtype=np.int8)
        threads = self._workplace.threads

        def run(thread: int) -> None:
            self._compiled_loop(
                self._integers, self._floats, self._doubles, self._workplace.inputs,
                first_weight, deltas, drawn, np.float32(decay), losses, chosen, thread,
                threads.n_threads, threads.barrier,
            )  # fmt: skip

        threads.run(run)
        self._account_for_exchanges()
        self._parameter[:] = self._floats[self._positions]
        return losses, chosen

    def _account_for_exchanges(self) -> None:
        peers, table = self._workplace.peers, int(self._integers[code.GROUP])
        if table == 0:
            return
        group = self._integers[table:]
        peers.exchange_s += int(group[exchange.EXCHANGE_NS]) / 1e9
        group[exchange.EXCHANGE_NS] = 0
        if group[exchange.IS_LOST]:
            peers.close()
            what = "is out of step" if group[exchange.IS_OUT_OF_STEP] else "has left"
            raise PeerLost(f"the worker of rank {group[exchange.LOST_RANK]} {what}")

    def _writer(self, n_slots: int) -> Writer:
        """A writer whose memory begins with the packed parameters."""
        sizes = Sizes(self._n_tiles, n_slots, self._workplace.threads.n_threads)
        n_floats = len(self._packed.values)
        return Writer(
            self._workplace.graph, self._packed.offsets, sizes,
            has_double_softmax=self._workplace.has_double_softmax, n_floats=n_floats,
        )  # fmt: skip

    def _lay_out(
        self, writer: Writer, integers: IntegerTables, header: Mapping[int, int], n_doubles: int = 0
    ) -> None:
        self._integers, self._floats, self._doubles = lay_out(
            self._workplace, self._packed, writer, integers, header, images=self._images,
            n_all_images=self._n_all_images, targets=self._workplace.targets, n_doubles=n_doubles,
            peers=self._workplace.peers,
        )  # fmt: skip


def lay_out(
    workplace: Workplace,
    packed: PackedParameters,
    writer: Writer,
    integers: IntegerTables,
    header: Mapping[int, int],
    *,
    images: Integers,
    n_all_images: int,
    targets: Integers,
    n_doubles: int = 0,
    peers: Peers = ALONE,
) -> tuple[Integers, Floats, Doubles]:
    """The arrays that the compiled code works on; see the header of `tables`.

    Args:
        workplace: gives the memory.
        packed: lie at the beginning of the memory.
        writer: with all programs written and all room taken.
        integers: tables of the session's own.
        header: where they are.
        images: [n_batches, n], positions in the inputs.
        n_all_images: of a batch, those of other workers included.
        targets: [n], class numbers.
        n_doubles: how many the session needs in front of the programs' sums.
        peers: those that share the batches.
    """
    n_tiles = writer.sizes.n_tiles
    labels = np.full((len(images), n_tiles * LANES), -1.0, dtype=np.float32)
    labels[:, : images.shape[1]] = targets[images]
    n_threads = workplace.threads.n_threads
    first_label = writer.room(labels.size)
    end_sums = n_doubles + writer.n_sums * n_tiles * N_VARIANTS
    end_group_sums = end_doubles = end_sums
    if peers.size > 1:
        n_of_norms = sum(norm[code.NORM_CHANNELS] for norm in writer.norms)
        end_group_sums += max(_N_LOSSES, 2 * n_of_norms * N_VARIANTS)
        end_doubles = end_group_sums + exchange.N_EXCHANGE_DOUBLES
    header = {
        **header,
        code.N_TILES: n_tiles,
        code.N_IMAGES: images.shape[1],
        code.N_ALL_IMAGES: n_all_images,
        code.GROUP: integers.append(_group_table(peers)) if peers.size > 1 else 0,
        code.GROUP_SUMS: end_sums,
        code.EXCHANGE: end_group_sums,
        code.N_SUMS: writer.n_sums,
        code.N_AFFINE: writer.n_affine,
        code.LABELS: first_label,
        code.AFFINE: writer.room(writer.n_affine * N_VARIANTS * n_threads),
        code.VIEWS: integers.append(writer.views),
        code.OPERATIONS: integers.append(writer.operations),
        code.NORMS: integers.append(writer.norms),
        code.SEGMENTS: integers.append(writer.segments),
        code.BATCHES: integers.append(images),
        code.SCRATCH: writer.room(n_threads * LANES * LANES),
        code.SUMS_AT: n_doubles,
    }
    table = integers.array(header)
    floats = workplace.arena.floats(writer.n_floats)
    floats[: len(packed.values)] = packed.values
    floats[writer.n_kept_floats :] = 0.0
    for place, value in writer.constants.items():
        floats[place] = value
    floats[first_label : first_label + labels.size] = labels.reshape(-1)
    return table, floats, np.zeros(end_doubles, np.float64)


def _group_table(peers: Peers) -> list[int]:
    table = [0] * exchange.DESCRIPTORS
    table[exchange.RANK], table[exchange.SIZE] = peers.rank, peers.size
    return [*table, *peers.descriptors.tolist()]
