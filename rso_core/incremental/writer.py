"""Gathers the tables of programs, and hands out the memory that they work on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from rso_core.incremental.compiled import tables as code
from rso_core.incremental.compiled.functions import FUNCTION_CODES, IDENTITY
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
    has_double_softmax: bool = False
    """Whether the loss is that of the probabilities, taken for logits."""
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

    def loss(self, logits: View) -> None:
        """Adds the loss of the network's last value to the segment in hand."""
        shape = self.graph.nodes[-1].shape
        if self.has_double_softmax:
            # its own place, since what is kept of a batch may be among what it reads
            probabilities = self.of_tile(shape, (0, 0))
            self.operation(code.SOFTMAX, shape, source=logits, target=probabilities)
            logits = probabilities
        self.operation(code.LOSS, shape, source=logits, sums=0)

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
