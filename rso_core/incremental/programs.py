"""The programs of a visited parameter, and the one from the images onwards.

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

from collections.abc import Mapping
from dataclasses import dataclass

from rso_core.incremental.compiled import tables as code
from rso_core.incremental.graph import Kind, NetworkGraph
from rso_core.incremental.writer import View, Writer


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
        writer.loss(values[last])
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
