"""Writes the programs of a visited parameter: which operations a visit has to go through.

A weight moves one channel. From the visited node on the graph falls into three parts: the
*narrow* nodes, of which one channel changes; the *wide* ones, of which all channels change, from
the first convolution on that reads a narrow one; and the rest, which does not change at all.

* `fill` computes what is kept of a batch while the parameter is visited: what the visited node
  reads and gives, what wide nodes read of the unchanged rest, and the values that the
  convolutions next to the narrow part have now.
* `narrow` computes the changed channel up to the last narrow nodes, for several variants.
* `score` goes from there to the loss of a variant: a convolution adds the share of the changed
  channel to the value that is kept.
* `update` brings what is kept of a batch from the weights of variant 0 to those of variant 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from rso_core.incremental.compiled import tables as code
from rso_core.incremental.compiled.kernels import FUNCTION_CODES, IDENTITY
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.graph import Kind, NetworkGraph, Node


@dataclass(frozen=True, slots=True)
class View:
    """Where an activation lies in memory; see the columns of `tables`."""

    base: int
    plane: int
    row: int
    per_slot: int = 0
    per_tile: int = 0
    per_variant: int = 0
    per_channel: int = 0
    per_thread: int = 0

    def shifted(self, rows: int, columns: int) -> View:
        """The view that begins so many pixels further down and to the right."""
        return replace(self, base=self.base + rows * self.row + columns * LANES)

    def one_channel(self) -> View:
        """The view of the visited channel alone."""
        return replace(self, per_channel=self.plane)

    def columns(self) -> list[int]:
        """A row of the table of views."""
        return [
            self.base, self.per_slot, self.per_tile, self.per_variant, self.per_channel,
            self.per_thread, self.plane, self.row,
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the layout of memory depends on, besides the graph."""

    n_tiles: int
    n_slots: int
    n_threads: int


@dataclass(slots=True)
class Writer:
    """Gathers tables and hands out memory."""

    graph: NetworkGraph
    offsets: Mapping[str, int]
    """Where a parameter begins in the packed weights."""
    sizes: Sizes
    views: list[list[int]] = field(default_factory=list)
    operations: list[list[int]] = field(default_factory=list)
    norms: list[list[int]] = field(default_factory=list)
    constants: dict[int, float] = field(default_factory=dict)
    """By their place in memory: numbers that the programs read."""
    segments: list[list[int]] = field(default_factory=list)
    n_floats: int = 0
    """Of memory, so far."""
    n_kept_floats: int = 0
    """Of these, for what is kept of batches; they come first."""
    n_affine: int = 0
    n_sums: int = 2
    """The first two are the loss and the number of images that are right."""

    # ------------------------------------------------------------------------------- memory

    def kept(self, node: int, border: tuple[int, int]) -> View:
        """Memory for a node's value in every slot."""
        size, view = self._sized(self.graph.nodes[node].shape, border)
        return self._allocated(
            view, self.sizes.n_slots * self.sizes.n_tiles * size,
            per_slot=self.sizes.n_tiles * size, per_tile=size,
        )  # fmt: skip

    def of_batch(self, shape: tuple[int, int, int], border: tuple[int, int], n: int = 1) -> View:
        """Memory for a value of the batch in hand, for n variants."""
        size, view = self._sized(shape, border)
        per_variant = self.sizes.n_tiles * size if n > 1 else 0
        total = n * self.sizes.n_tiles * size
        return self._allocated(view, total, per_tile=size, per_variant=per_variant)

    def of_tile(self, shape: tuple[int, int, int], border: tuple[int, int], n: int = 1) -> View:
        """Memory for a value that is used up before the next tile, for n variants."""
        size, view = self._sized(shape, border)
        per_variant = size if n > 1 else 0
        total = self.sizes.n_threads * n * size
        return self._allocated(view, total, per_thread=n * size, per_variant=per_variant)

    def _sized(self, shape: tuple[int, int, int], border: tuple[int, int]) -> tuple[int, View]:
        channels, height, width = shape
        row = (width + 2 * border[1]) * LANES
        plane = (height + 2 * border[0]) * row
        return channels * plane, View(border[0] * row + border[1] * LANES, plane, row)

    def _allocated(self, view: View, total: int, **strides: int) -> View:
        return replace(view, base=view.base + self.room(total), **strides)

    def room(self, n: int) -> int:
        """Offset of room for n floats."""
        self.n_floats += n
        return self.n_floats - n

    def _constants(self, *values: float) -> int:
        first = self.room(len(values))
        self.constants |= {first + i: value for i, value in enumerate(values)}
        return first

    # --------------------------------------------------------------------------- operations

    def operation(
        self,
        operation: int,
        shape: tuple[int, int, int],
        *,
        source: View | None = None,
        other: View | None = None,
        target: View | None = None,
        window: Mapping[str, int] = MappingProxyType({}),
        **columns: int,
    ) -> None:
        """Adds an operation to the segment in hand.

        Args:
            operation: its code.
            shape: of the target.
            source: what it reads.
            other: what it reads besides.
            target: what it writes.
            window: columns from `window_columns`.
            columns: by their name in lower case.
        """
        row = [0] * code.N_OPERATION_COLUMNS
        row[code.CODE] = operation
        row[code.SOURCE], row[code.OTHER], row[code.TARGET] = (
            self._view(view) for view in (source, other, target)
        )
        row[code.CHANNELS], row[code.HEIGHT], row[code.WIDTH] = shape
        row[code.WEIGHT] = row[code.BIAS] = row[code.SCALES] = -1
        for name, value in {**window, **columns}.items():
            row[getattr(code, name.upper())] = value
        self.operations.append(row)
        self.segments[-1][code.END_OPERATION] = len(self.operations)

    def _view(self, view: View | None) -> int:
        if view is None:
            return -1
        columns = view.columns()
        if columns not in self.views:
            self.views.append(columns)
        return self.views.index(columns)

    def start_segment(self) -> None:
        """Starts a segment; the norms added from now on are made ready before it."""
        n_norms, n_operations = len(self.norms), len(self.operations)
        self.segments.append([n_norms, n_norms, n_operations, n_operations])

    def norm(self, node: Node, sums: int, *, one_channel: int) -> int:
        """Makes a batch norm's scales ready for the segment in hand; returns their offset.

        Args:
            node: the batch norm.
            sums: offset of its input's sums.
            one_channel: 0: all channels; 1: the visited one; 2: the visited one, whose gamma and
                beta are changed.
        """
        n_channels = 1 if one_channel else node.shape[0]
        scales = self.affine(n_channels)
        gamma, beta = (-1 if p is None else self.offsets[p] for p in (node.weight, node.bias))
        self.norms.append(
            [sums, n_channels, gamma, beta, scales, node.n_pixels, one_channel,
             self._constants(node.epsilon)]
        )  # fmt: skip
        self.segments[-1][code.END_NORM] = len(self.norms)
        return scales

    def affine(self, n_channels: int) -> int:
        """Room for the scales and shifts of so many channels."""
        self.n_affine += 2 * n_channels
        return self.n_affine - 2 * n_channels

    def statistics(self, shape: tuple[int, int, int], source: View) -> int:
        """Adds the sums of a value's channels; returns their offset."""
        sums = self.n_sums
        self.n_sums += 2 * shape[0]
        self.operation(code.STATISTICS, shape, source=source, sums=sums)
        return sums

    def convolution(self, node: Node, source: View, target: View, kept: View | None = None) -> None:
        """The node's convolution; with `kept`, of the visited channel's change, added to that."""
        window = node.window
        assert window is not None
        assert node.weight is not None
        inputs = self.graph.nodes[node.inputs[0]].shape[0] if kept is None else 1
        self.operation(
            code.CONVOLVE if kept is None else code.SHARE,
            node.shape,
            source=source.shifted(-window.padding[0], -window.padding[1]),
            other=kept,
            target=target,
            weight=self.offsets[node.weight],
            bias=-1 if node.bias is None else self.offsets[node.bias],
            inputs=inputs,
            window=window_columns(node),
        )

    def channelwise(
        self,
        node: Node,
        shape: tuple[int, int, int],
        sources: list[View],
        target: View,
        scales: int = -1,
        *,
        is_rectified: bool = False,
    ) -> None:
        """A node that treats each channel by itself, for as many channels as the shape has.

        Args:
            node: of any kind but a convolution.
            shape: of the target.
            sources: what it reads.
            target: what it writes.
            scales: of a batch norm, see `norm`.
            is_rectified: for a max pool: its source still has to go through a ReLU.
        """
        if node.kind is Kind.ADD:
            left, right = sources
            self.operation(code.ADD, shape, source=left, other=right, target=target, flag=1)
        elif node.kind in (Kind.AVERAGE_POOL, Kind.MAX_POOL):
            _, height, width = self.graph.nodes[node.inputs[0]].shape
            self.operation(
                code.AVERAGE if node.kind is Kind.AVERAGE_POOL else code.MAXIMUM,
                shape,
                source=sources[0],
                target=target,
                source_height=height,
                source_width=width,
                flag=int(is_rectified),
                window=window_columns(node),
            )
        else:
            function = FUNCTION_CODES[node.function] if node.function else IDENTITY
            first, second = (*node.arguments, 0.0, 0.0)[:2]
            self.operation(
                code.TRANSFORM, shape, source=sources[0], target=target, scales=scales,
                function=function, arguments=self._constants(first, second),
            )  # fmt: skip

    def border(self, node: int, readers: Iterable[int]) -> tuple[int, int]:
        """The zeros that the convolutions among the readers want round a node's value."""
        paddings = [
            window.padding
            for reader in readers
            if node in self.graph.nodes[reader].inputs
            and self.graph.nodes[reader].kind is Kind.CONVOLUTION
            and (window := self.graph.nodes[reader].window) is not None
        ]
        return max((p[0] for p in paddings), default=0), max((p[1] for p in paddings), default=0)


def window_columns(node: Node) -> dict[str, int]:
    """The columns of an operation that say how a convolution or a pool slides."""
    window = node.window
    assert window is not None
    names = ("kernel", "stride", "dilation", "padding")
    pairs = (window.kernel, window.stride, window.dilation, window.padding)
    return {
        f"{name}_{axis}": size
        for name, pair in zip(names, pairs, strict=True)
        for axis, size in zip("yx", pair, strict=True)
    }


@dataclass(frozen=True, slots=True)
class Program:
    """A run of segments."""

    first_segment: int
    end_segment: int


def forward_program(
    writer: Writer, kept: Mapping[int, View], *, fixed_statistics: Mapping[int, int] | None = None
) -> Program:
    """A program from the images to the kept values, or to the loss where none are kept.

    Args:
        writer: takes the tables.
        kept: by the node's position, where its value is to go.
        fixed_statistics: for evaluation, the offsets of the batch norms' scales, which are filled
            in beforehand; without them a batch norm normalises by the batch.
    """
    graph = writer.graph
    last = len(graph.nodes) - 1
    needed = _with_ancestors(graph, set(kept) or {last})
    segments: dict[int, int] = {}
    for position in sorted(needed):
        inputs = [segments[i] for i in graph.nodes[position].inputs]
        is_norm = graph.nodes[position].kind is Kind.BATCH_NORM and fixed_statistics is None
        segments[position] = max(inputs, default=0) + is_norm
    readers = {n: [r for r in graph.consumers(n) if r in needed] for n in needed}
    values: dict[int, View] = {}
    sums: dict[int, int] = {}
    left_to_pool: set[int] = set()
    first = len(writer.segments)
    for segment in range(max(segments.values()) + 1):
        writer.start_segment()
        members = [p for p in sorted(needed) if segments[p] == segment]
        scales = {
            n: writer.norm(graph.nodes[n], sums[graph.nodes[n].inputs[0]], one_channel=0)
            for n in members
            if graph.nodes[n].kind is Kind.BATCH_NORM and fixed_statistics is None
        }
        for position in members:
            node = graph.nodes[position]
            values[position] = _home(writer, position, kept, values, readers, segments)
            target = values[position]
            if position in kept and max(
                border := writer.border(position, graph.consumers(position))
            ):
                writer.operation(code.BORDER, node.shape, target=target,
                                 padding_y=border[0], padding_x=border[1])  # fmt: skip
            if node.kind is Kind.INPUT:
                writer.operation(code.IMAGES, node.shape, target=target)
            elif node.kind is Kind.CONVOLUTION:
                writer.convolution(node, values[node.inputs[0]], target)
            else:
                offset = scales.get(position, -1)
                if node.kind is Kind.BATCH_NORM and fixed_statistics is not None:
                    offset = fixed_statistics[position]
                sources = [values[i] for i in node.inputs]
                # a ReLU in place that only a max pool reads is left to that
                if is_left_to_pool(graph, position) and target == sources[0]:
                    left_to_pool.add(position)
                else:
                    writer.channelwise(node, node.shape, sources, target, offset,
                                       is_rectified=node.inputs[0] in left_to_pool)  # fmt: skip
            is_normalised = any(
                graph.nodes[r].kind is Kind.BATCH_NORM and segments[r] > segment
                for r in readers[position]
            )
            if is_normalised:
                sums[position] = writer.statistics(node.shape, target)
    if not kept:
        shape = graph.nodes[last].shape
        writer.operation(code.LOSS, shape, source=values[last], sums=0)
    return Program(first, len(writer.segments))


def is_left_to_pool(graph: NetworkGraph, position: int) -> bool:
    """Whether a node is a ReLU that one max pool reads and nothing else: it can do both at once."""
    readers = graph.consumers(position)
    return (
        graph.nodes[position].function == "relu"
        and len(readers) == 1
        and graph.nodes[readers[0]].kind is Kind.MAX_POOL
    )


def _home(
    writer: Writer,
    position: int,
    kept: Mapping[int, View],
    values: Mapping[int, View],
    readers: Mapping[int, list[int]],
    segments: Mapping[int, int],
) -> View:
    """Where a forward program puts a node's value."""
    if position in kept:
        return kept[position]
    node = writer.graph.nodes[position]
    # a pointwise function may overwrite what nothing else reads; the borders of both must agree
    if node.kind is Kind.POINTWISE:
        source = node.inputs[0]
        if (
            source not in kept
            and readers[source] == [position]
            and segments[source] == segments[position]
        ):
            return values[source]
    chain = position
    borders = [writer.border(position, readers[position])]
    while len(readers[chain]) == 1:
        follower = readers[chain][0]
        if writer.graph.nodes[follower].kind is not Kind.POINTWISE or follower in kept:
            break
        chain = follower
        borders.append(writer.border(chain, readers[chain]))
    border = max(b[0] for b in borders), max(b[1] for b in borders)
    members = [position]
    # those that will overwrite it are read as it is
    walk = position
    while walk != chain:
        walk = readers[walk][0]
        members.append(walk)
    is_used_later = any(
        segments[r] > segments[position] for member in members for r in readers[member]
    )
    if is_used_later:
        return writer.of_batch(node.shape, border)
    return writer.of_tile(node.shape, border)


def _with_ancestors(graph: NetworkGraph, nodes: set[int]) -> set[int]:
    needed = set(nodes)
    for position in range(len(graph.nodes) - 1, -1, -1):
        if position in needed:
            needed |= set(graph.nodes[position].inputs)
    return needed
