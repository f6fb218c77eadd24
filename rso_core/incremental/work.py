"""How many floating-point operations a cycle needs, if only what a weight changes is computed.

A yardstick of the algorithm, not a count of what an engine does: an engine also carries accepted
changes into what it keeps of the other batches, and may do some things twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rso_core.incremental.graph import Kind, NetworkGraph, Node

N_CANDIDATES = 3


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point work for one image."""

    multiply_adds: int = 0
    operations: int = 0
    """All others: one for every element that a pool, norm, addition or function reads."""

    @property
    def flop(self) -> int:
        """Floating-point operations; a multiply-add is two."""
        return 2 * self.multiply_adds + self.operations

    def __add__(self, other: Work) -> Work:
        return Work(self.multiply_adds + other.multiply_adds, self.operations + other.operations)


def cycle_flop(
    graph: NetworkGraph, visited: Mapping[str, int], batch_size: int, n_images: int
) -> float:
    """Floating-point operations of one cycle: three candidates a visit, and what they start from.

    Args:
        graph: of the network.
        visited: how many weights of which parameter are visited.
        batch_size: images in a batch.
        n_images: size of the training set; every layer deals its whole batches anew.
    """
    n_dealt = n_images // batch_size * batch_size
    total = 0
    for parameter, n_visits in visited.items():
        total += N_CANDIDATES * n_visits * batch_size * candidate_work(graph, parameter).flop
        total += min(n_visits * batch_size, n_dealt) * preparation_work(graph, parameter).flop
    return float(total)


def visits_within(graph: NetworkGraph, parameter: str, batch_size: int, flop: float) -> int:
    """How many visits of a parameter take no more than so many operations, but at least 1."""
    a_visit = N_CANDIDATES * batch_size * candidate_work(graph, parameter).flop
    return max(1, int(flop / a_visit))


def candidate_work(graph: NetworkGraph, parameter: str) -> Work:
    """What one candidate of one weight takes for an image, from the visited channel to the loss.

    The weight moves one channel of its node. Nodes that treat channels by themselves follow for
    that channel alone; a convolution that reads it adds the share of one input channel to what the
    others contribute, which is known; all that comes after it is computed in full.

    Args:
        graph: of the network.
        parameter: name of a weight or bias in it.
    """
    reached = _reached(graph, parameter)
    work = _visited_channel(graph.nodes[graph.owner(parameter)])
    for position in reached.narrow + reached.shared:
        work += _one_channel(graph, graph.nodes[position])
    for position in reached.whole:
        work += _node_work(graph, graph.nodes[position])
    n_logits = graph.nodes[-1].shape[0] if reached.shared else 1
    return work + Work(operations=n_logits + 1)  # the log-sum-exp: exponentials, one logarithm


def preparation_work(graph: NetworkGraph, parameter: str) -> Work:
    """What has to be known of an image before a parameter's first visit that sees it.

    It is everything up to the visited node, and on to the convolutions that add the share of its
    channel to that of the others, or to the logits where there are none.

    Args:
        graph: of the network.
        parameter: name of a weight or bias in it.
    """
    reached = _reached(graph, parameter)
    changed_whole = {*reached.shared, *reached.whole}
    needed = set(reached.shared)
    for position in reached.whole:  # a sum of what changes and what does not
        needed.update(set(graph.nodes[position].inputs) - changed_whole)
    if not reached.shared:
        needed = {len(graph.nodes) - 1}
    work = Work()
    for position in range(len(graph.nodes) - 1, -1, -1):
        if position in needed:
            work += _node_work(graph, graph.nodes[position])
            needed.update(graph.nodes[position].inputs)
    return work


@dataclass(frozen=True, slots=True)
class _Reached:
    """Positions of the nodes that depend on a visited one."""

    narrow: list[int]
    """One channel changes."""
    shared: list[int]
    """Convolutions that read one changed channel; all of their own change."""
    whole: list[int]
    """All channels of an input change."""


def _reached(graph: NetworkGraph, parameter: str) -> _Reached:
    visited = graph.owner(parameter)
    reached = _Reached([], [], [])
    for position in graph.descendants(visited):
        node = graph.nodes[position]
        if not {*reached.shared, *reached.whole}.isdisjoint(node.inputs):
            reached.whole.append(position)
        elif node.kind is Kind.CONVOLUTION:
            reached.shared.append(position)
        else:
            reached.narrow.append(position)
    return reached


def _visited_channel(node: Node) -> Work:
    """The change of the channel that the weight moves."""
    if node.kind is Kind.CONVOLUTION:
        return Work(multiply_adds=node.n_pixels)
    return Work(operations=node.n_pixels)


def _node_work(graph: NetworkGraph, node: Node) -> Work:
    """All channels of a node from all of its input."""
    if node.kind is Kind.INPUT:
        return Work()
    n_channels = graph.nodes[node.inputs[0]].shape[0]
    one = _one_channel(graph, node)
    return Work(one.multiply_adds * n_channels, one.operations * n_channels)


def _one_channel(graph: NetworkGraph, node: Node) -> Work:
    """What one channel of a node's input takes."""
    if node.kind is Kind.CONVOLUTION:
        assert node.window is not None
        n_taps = node.window.kernel[0] * node.window.kernel[1]
        return Work(multiply_adds=n_taps * node.shape[0] * node.n_pixels)
    return Work(operations=max(graph.nodes[node.inputs[0]].n_pixels, node.n_pixels))
