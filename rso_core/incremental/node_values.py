"""What a node of a network's graph computes, in plain torch operations on any device.

Beside the axis for images a value has one for variants: they share the weights that they go
through, and differ in the activations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from rso_core.incremental.graph import POINTWISE_FUNCTIONS, Kind, NetworkGraph, Node


def graph_logits(
    graph: NetworkGraph, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor
) -> torch.Tensor:
    """Computes a network node by node; batch norms normalise by the statistics of the inputs.

    Args:
        graph: of the network.
        parameters: by their names in the graph.
        inputs: [n, *input_shape].

    Returns:
        The logits, [n, n_classes].
    """
    last = len(graph.nodes) - 1
    return graph_values(graph, parameters, inputs, [last])[last].flatten(1)


def graph_values(
    graph: NetworkGraph,
    parameters: Mapping[str, torch.Tensor],
    inputs: torch.Tensor,
    wanted: Sequence[int],
) -> dict[int, torch.Tensor]:
    """Computes the values of some nodes for some images, and of no node that they do not need.

    Args:
        graph: of the network.
        parameters: by their names in the graph.
        inputs: [n, *input_shape].
        wanted: positions of nodes.

    Returns:
        By position: [n, 1, channels, height, width].
    """
    needed = set(wanted)
    for position in reversed(range(len(graph.nodes))):
        if position in needed:
            needed |= set(graph.nodes[position].inputs)
    values: dict[int, torch.Tensor] = {}
    last_reader = {p: position for position in sorted(needed) for p in graph.nodes[position].inputs}
    for position in sorted(needed):
        node = graph.nodes[position]
        if node.kind is Kind.INPUT:
            values[position] = inputs.reshape(len(inputs), 1, *node.shape)
        else:
            weight, bias = node_parameters(node, parameters)
            values[position] = node_value(node, [values[p] for p in node.inputs], weight, bias)
            for p in set(node.inputs).difference(wanted):
                if last_reader[p] == position:
                    del values[p]
    return {position: values[position] for position in wanted}


def node_parameters(
    node: Node, parameters: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The node's weight and bias as `node_value` takes them, without a copy."""
    weight = None if node.weight is None else parameters[node.weight]
    bias = None if node.bias is None else parameters[node.bias]
    if weight is not None and node.kind is Kind.CONVOLUTION:
        assert node.window is not None
        weight = weight.view(len(weight), -1, *node.window.kernel)
    return weight, bias


def node_value(
    node: Node,
    inputs: Sequence[torch.Tensor],
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """Computes a node, or some of its channels, for all images and variants at once.

    Args:
        node: what is computed; how many channels there are is for the tensors to say.
        inputs: each [n, n_variants, channels, height, width]; an addition's may have one variant
            where the other has several.
        weight: [out, in, *kernel] of a convolution, [channels] of a batch norm.
        bias: [out], or [channels].

    Returns:
        [n, n_variants, channels, height, width]; every variant of a batch norm is normalised by
        its own statistics.
    """
    if node.kind is Kind.ADD:
        return inputs[0] + inputs[1]
    value = inputs[0]
    if node.kind is Kind.POINTWISE:
        return POINTWISE_FUNCTIONS[node.function](value, *node.arguments)
    if node.kind is Kind.BATCH_NORM:
        return _normalised(node, value, weight, bias)
    images = value.flatten(0, 1)
    if node.kind is Kind.CONVOLUTION:
        assert weight is not None
        images = _convolved(node, images, weight, bias)
    else:
        images = _pooled(node, images)
    return images.view(*value.shape[:2], *images.shape[1:])


def _normalised(
    node: Node, value: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> torch.Tensor:
    n_variants = value.shape[1]
    return functional.batch_norm(
        value.flatten(1, 2),  # the channels of all variants, each by itself
        None,
        None,
        None if weight is None else weight.repeat(n_variants),
        None if bias is None else bias.repeat(n_variants),
        training=True,
        eps=node.epsilon,
    ).view_as(value)


def _convolved(
    node: Node, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    window = node.window
    assert window is not None
    if weight.shape[1:] == images.shape[1:] and window.padding == (0, 0):  # a linear layer
        return functional.linear(images.flatten(1), weight.flatten(1), bias)[:, :, None, None]
    return functional.conv2d(images, weight, bias, window.stride, window.padding, window.dilation)


def _pooled(node: Node, images: torch.Tensor) -> torch.Tensor:
    window = node.window
    assert window is not None
    if node.kind is Kind.AVERAGE_POOL:
        return functional.avg_pool2d(images, window.kernel, window.stride)
    return functional.max_pool2d(images, window.kernel, window.stride, window.padding)
