"""The four programs of a visited parameter; `programs.py` says what they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rso_core.incremental.compiled import tables as code
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.compiled.tables import N_VARIANTS
from rso_core.incremental.graph import Kind, NetworkGraph
from rso_core.incremental.programs import Program, forward_program, is_left_to_pool
from rso_core.incremental.writer import View, Writer, window_columns

MOST_RECOMPUTED = 32
"""Weights of a channel up to which its plane is computed anew at every visit."""


@dataclass(frozen=True, slots=True)
class VisitPrograms:
    """What visiting the weights of one parameter takes."""

    fill: Program
    narrow: Program
    score: Program
    update: Program
    places: tuple[int, ...]
    """Of each weight of a channel: how far from the first one's tap it reads, in floats; a batch
    norm's weights read nothing."""

    @property
    def is_tilewise(self) -> bool:
        """Whether all but `fill` treat a tile without a look at the others, at batch norms."""
        programs = (self.narrow, self.score, self.update)
        return all(program.end_segment - program.first_segment == 1 for program in programs)

    def in_order(self) -> tuple[Program, ...]:
        """As `visiting` numbers them."""
        return self.fill, self.narrow, self.score, self.update


@dataclass(frozen=True, slots=True)
class Reach:
    """Which nodes a change of one channel of a node reaches."""

    start: int
    """The first node whose channel is kept: the visited one, or the average pool after it, since
    a change can be pooled before it is added."""
    narrow: tuple[int, ...]
    """From start on: one channel changes."""
    wide: tuple[int, ...]
    """All channels change."""
    shared: tuple[int, ...]
    """Convolutions that read a narrow node: the changed channel has a share in their value."""
    widened: tuple[int, ...]
    """Narrow nodes that a wide addition or the loss reads."""
    fixed: tuple[int, ...]
    """Unchanged nodes that narrow or wide ones read."""


def reach(graph: NetworkGraph, visited: int) -> Reach:
    """Sorts the nodes after the visited one."""
    nodes = graph.nodes
    start = visited
    if nodes[visited].kind is Kind.CONVOLUTION:
        readers = graph.consumers(visited)
        if len(readers) == 1 and nodes[readers[0]].kind is Kind.AVERAGE_POOL:
            window = nodes[readers[0]].window
            assert window is not None
            if window.kernel == window.stride:
                start = readers[0]
    narrow, wide, shared = {start}, set[int](), []
    for position in graph.descendants(start):
        inputs = set(nodes[position].inputs)
        if nodes[position].kind is Kind.CONVOLUTION or inputs & wide:
            wide.add(position)
            if nodes[position].kind is Kind.CONVOLUTION and inputs & narrow:
                shared.append(position)
        else:
            narrow.add(position)
    last = len(nodes) - 1
    widened = {
        i for p in wide if nodes[p].kind is Kind.ADD for i in nodes[p].inputs if i in narrow
    } | ({last} & narrow)
    read = {i for p in (narrow - {start}) | (wide - set(shared)) for i in nodes[p].inputs}
    # a batch norm that is visited reads the whole of its input
    fixed = read - narrow - wide
    return Reach(
        start, tuple(sorted(narrow)), tuple(sorted(wide)), tuple(sorted(shared)),
        tuple(sorted(widened)), tuple(sorted(fixed)),
    )  # fmt: skip


def visit_programs(writer: Writer, parameter: str) -> VisitPrograms:
    """Writes the programs for visiting a parameter.

    Args:
        writer: takes the tables.
        parameter: the weight or bias of a convolution or a batch norm.
    """
    return _Visit(writer, parameter).programs()


@dataclass(slots=True)
class _Visit:
    writer: Writer
    parameter: str
    visited: int = field(init=False)
    reach: Reach = field(init=False)
    kept: dict[int, View] = field(init=False, default_factory=dict)
    narrow_values: dict[int, View] = field(init=False, default_factory=dict)

    def programs(self) -> VisitPrograms:
        graph = self.writer.graph
        self.visited = graph.owner(self.parameter)
        self.reach = reach(graph, self.visited)
        is_convolution = graph.nodes[self.visited].kind is Kind.CONVOLUTION
        source = graph.nodes[self.visited].inputs[0]
        keep = {source, *self.reach.shared, *self.reach.widened, *self.reach.fixed}
        if is_convolution and not self._is_recomputed():
            keep.add(self.reach.start)
        for node in sorted(keep):
            border = self.writer.border(node, graph.consumers(node))
            self.kept[node] = self.writer.kept(node, border)
        self.writer.n_kept_floats = self.writer.n_floats
        return VisitPrograms(
            fill=forward_program(self.writer, self.kept),
            narrow=self._narrow_program(),
            score=self._score_program(),
            update=self._update_program(),
            places=self._places(),
        )

    def _places(self) -> tuple[int, ...]:
        node = self.writer.graph.nodes[self.visited]
        if node.window is None:
            return (0,)
        source = self.kept[node.inputs[0]]
        rows, columns = node.window.kernel
        step_y, step_x = node.window.dilation
        return tuple(
            channel * source.plane + row * step_y * source.row + column * step_x * LANES
            for channel in range(self.writer.graph.nodes[node.inputs[0]].shape[0])
            for row in range(rows)
            for column in range(columns)
        )

    # ------------------------------------------------------------------------------- narrow

    def _narrow_program(self) -> Program:
        writer, graph = self.writer, self.writer.graph
        nodes, members = graph.nodes, self.reach.narrow
        start = self.reach.start
        # sums are met twice in a row by programs that follow one another, so they meet in between
        segments: dict[int, int] = {}
        for position in members:
            inputs = [segments.get(i, 0) for i in nodes[position].inputs]
            segments[position] = max(inputs, default=0) + (nodes[position].kind is Kind.BATCH_NORM)
        if nodes[start].kind is not Kind.BATCH_NORM:
            segments[start] = 0
        handed_on = {i for p in self.reach.wide for i in nodes[p].inputs if i in members} | set(
            self.reach.widened
        )
        first = len(writer.segments)
        sums: dict[int, int] = {}
        left_to_pool: set[int] = set()
        for segment in range(max(segments.values()) + 1):
            writer.start_segment()
            if segment == 0 and nodes[start].kind is Kind.BATCH_NORM:
                source = nodes[start].inputs[0]
                one = (1, *nodes[source].shape[1:])
                sums[source] = writer.statistics(one, self.kept[source].one_channel())
            for position in (p for p in members if segments[p] == segment):
                node, one = nodes[position], (1, *nodes[position].shape[1:])
                readers = [r for r in graph.consumers(position) if r in segments]
                is_used_later = position in handed_on or any(segments[r] > segment for r in readers)
                place = writer.of_batch if is_used_later else writer.of_tile
                target = place(one, (0, 0), N_VARIANTS)
                self.narrow_values[position] = target
                if position == start and node.kind is not Kind.BATCH_NORM:
                    self._change(target)
                else:
                    scales = -1
                    if node.kind is Kind.BATCH_NORM:
                        scales = writer.norm(
                            node, sums[node.inputs[0]], one_channel=2 if position == start else 1
                        )
                    sources = [
                        self.narrow_values[i]
                        if i in self.narrow_values
                        else self.kept[i].one_channel()
                        for i in node.inputs
                    ]
                    if is_left_to_pool(graph, position) and not is_used_later:
                        self.narrow_values[position] = sources[0]
                        left_to_pool.add(position)
                        continue
                    writer.channelwise(
                        node, one, sources, target, scales,
                        is_rectified=node.inputs[0] in left_to_pool,
                    )  # fmt: skip
                if any(nodes[r].kind is Kind.BATCH_NORM for r in readers):
                    sums[position] = writer.statistics(one, target)
        return Program(first, len(writer.segments))

    def _change(self, target: View) -> None:
        """The visited channel at the start of the narrow nodes."""
        graph, start = self.writer.graph, self.reach.start
        node, source = graph.nodes[self.visited], graph.nodes[self.visited].inputs[0]
        columns = window_columns(node)
        pool = (1, 1)
        if start != self.visited:
            window = graph.nodes[start].window
            assert window is not None
            pool = window.kernel
        columns |= {"pool_y": pool[0], "pool_x": pool[1]}
        assert node.window is not None
        shape = (1, *graph.nodes[start].shape[1:])
        padding = node.window.padding
        read = self.kept[source].shifted(-padding[0], -padding[1])
        if self._is_recomputed():
            kept = self.writer.of_tile(shape, (0, 0))
            bias = -1 if node.bias is None else self.writer.offsets[node.bias]
            self.writer.operation(
                code.CHANNEL, shape, source=read, target=kept, bias=bias, window=columns
            )
        else:
            kept = self.kept[start].one_channel()
        self.writer.operation(
            code.CHANGE, shape, source=kept, other=read, target=target,
            flag=code.OF_BIAS * (self.parameter == node.bias)
            + code.RECOMPUTED * self._is_recomputed(), window=columns,
        )  # fmt: skip

    def _is_recomputed(self) -> bool:
        """Whether the visited channel is cheaper to compute anew than to keep for all batches."""
        graph, node = self.writer.graph, self.writer.graph.nodes[self.visited]
        if self.parameter != node.weight or node.window is None:
            return False
        n_weights = graph.nodes[node.inputs[0]].shape[0] * math.prod(node.window.kernel)
        is_read_whole = self.reach.start in (*self.reach.widened, *self.reach.shared)
        return n_weights <= MOST_RECOMPUTED and not is_read_whole

    # ------------------------------------------------------------------------ score and update

    def _difference(self, node: int, border: tuple[int, int]) -> View:
        """How far a narrow node's channel is from that of variant 0."""
        value = self.narrow_values[node]
        base = View(value.base, value.plane, value.row, per_tile=value.per_tile,
                    per_thread=value.per_thread)  # fmt: skip
        one = (1, *self.writer.graph.nodes[node].shape[1:])
        target = self.writer.of_tile(one, border)
        self.writer.operation(code.ADD, one, source=value, other=base, target=target, flag=-1)
        return target

    def _score_program(self) -> Program:
        writer, graph = self.writer, self.writer.graph
        nodes, wide = graph.nodes, self.reach.wide
        segments: dict[int, int] = {}
        for position in wide:
            inputs = [segments.get(i, 0) for i in nodes[position].inputs]
            segments[position] = max(inputs) + (nodes[position].kind is Kind.BATCH_NORM)
        first = len(writer.segments)
        values: dict[int, View] = {}
        sums: dict[int, int] = {}
        differences: dict[tuple[int, int], View] = {}
        last = len(nodes) - 1
        for segment in range(max(segments.values(), default=0) + 1):
            writer.start_segment()
            for position in (p for p in wide if segments[p] == segment):
                node = nodes[position]
                readers = [r for r in graph.consumers(position) if r in segments]
                scales = -1
                if node.kind is Kind.BATCH_NORM:
                    scales = writer.norm(node, sums[node.inputs[0]], one_channel=0)
                target = self._wide_home(position, readers, segments, values)
                values[position] = target
                if position in self.reach.shared:
                    source = node.inputs[0]
                    border = writer.border(source, graph.consumers(source))
                    key = (source, segment)
                    if key not in differences:
                        differences[key] = self._difference(source, border)
                    writer.convolution(node, differences[key], target, self.kept[position])
                elif node.kind is Kind.CONVOLUTION:
                    writer.convolution(node, values[node.inputs[0]], target)
                else:
                    sources = [self._wide_source(i, values) for i in node.inputs]
                    writer.channelwise(node, node.shape, sources, target, scales)
                if any(nodes[r].kind is Kind.BATCH_NORM for r in readers):
                    sums[position] = writer.statistics(node.shape, target)
        writer.loss(self._wide_source(last, values))
        return Program(first, len(writer.segments))

    def _wide_source(self, node: int, values: dict[int, View]) -> View:
        """All channels of a node: wide, unchanged, or narrow and widened."""
        if node in values:
            return values[node]
        if node not in self.narrow_values:
            return self.kept[node]
        difference = self._difference(node, (0, 0))
        shape = self.writer.graph.nodes[node].shape
        target = self.writer.of_tile(shape, (0, 0))
        self.writer.operation(
            code.ADD_CHANNEL, shape, source=difference, other=self.kept[node], target=target
        )
        return target

    def _wide_home(
        self,
        position: int,
        readers: list[int],
        segments: dict[int, int],
        values: dict[int, View],
    ) -> View:
        graph = self.writer.graph
        node = graph.nodes[position]
        border = self.writer.border(position, readers)
        if any(segments[r] > segments[position] for r in readers):
            return self.writer.of_batch(node.shape, border)
        source = node.inputs[0]
        if (
            node.kind is Kind.POINTWISE
            and source in values
            and source not in self.reach.shared
            and [r for r in graph.consumers(source) if r in segments] == [position]
            and border == (0, 0)
        ):
            return values[source]  # nothing else reads it, so that it can be overwritten
        return self.writer.of_tile(node.shape, border)

    def _update_program(self) -> Program:
        writer, graph = self.writer, self.writer.graph
        first = len(writer.segments)
        writer.start_segment()
        for position in self.reach.shared:
            node = graph.nodes[position]
            source = node.inputs[0]
            difference = self._difference(source, writer.border(source, graph.consumers(source)))
            kept = self.kept[position]
            writer.convolution(node, difference, kept, kept)
        start = self.reach.start
        for position in self.reach.widened:
            if position == start and graph.nodes[start].kind is not Kind.BATCH_NORM:
                continue  # the narrow program has seen to it
            shape = graph.nodes[position].shape
            kept = self.kept[position]
            difference = self._difference(position, (0, 0))
            writer.operation(code.ADD_CHANNEL, shape, source=difference, other=kept, target=kept)
        return Program(first, len(writer.segments))
