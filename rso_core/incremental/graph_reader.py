"""Reads the graph of a network from its forward pass, which torch.fx traces.

What is not known for certain is refused, and the graph is tried out on noise before it is given.
"""

from __future__ import annotations

import torch
from torch import nn

from rso_core.errors import reason
from rso_core.evaluation import batch_statistics, module_modes_restored
from rso_core.incremental.graph import NetworkGraph, UnsupportedNetwork
from rso_core.incremental.graph_trace import traced_graph
from rso_core.incremental.node_values import graph_logits

_N_TRIED_IMAGES = 16
_TOLERANCE = 1e-3
"""Of the logits, relative to the largest: an operation that was misread changes them by more."""


def network_graph(model: nn.Module, input_shape: tuple[int, ...]) -> NetworkGraph:
    """Reads the graph of a network with batch statistics and no dropout, as RSO trains it.

    Args:
        model: from [n, *input_shape] to logits [n, n_classes]; two passes of noise go through it.
        input_shape: shape of one input, without the batch.

    Raises:
        UnsupportedNetwork: for what is neither a convolution, linear layer, batch norm, pool,
            pointwise function, flattening or addition; or for parameters that are shared.
    """
    _check_modules(model)
    try:
        with module_modes_restored(model):
            model.eval()
            graph = traced_graph(model, tuple(input_shape))
    except UnsupportedNetwork:
        raise
    except Exception as error:  # a user's forward may do what cannot be traced
        raise UnsupportedNetwork(f"its forward cannot be traced ({reason(error)})") from error
    _check_parameters(model, graph)
    _check_logits(model, graph, tuple(input_shape))
    return graph


def _check_modules(model: nn.Module) -> None:
    for name, module in model.named_modules():
        what = f"its module '{name}'" if name else "it"
        if module._forward_hooks or module._forward_pre_hooks:
            raise UnsupportedNetwork(f"{what} has a forward hook")
        if "forward" in vars(module):
            raise UnsupportedNetwork(f"{what} has had its forward replaced")
    memory = [p.data_ptr() for _, p in model.named_parameters(remove_duplicate=False)]
    if len(set(memory)) < len(memory):
        raise UnsupportedNetwork("two of its layers share a parameter")


def _check_parameters(model: nn.Module, graph: NetworkGraph) -> None:
    read = {name for node in graph.nodes for name in (node.weight, node.bias)}
    for name, parameter in model.named_parameters():
        if name not in read:
            raise UnsupportedNetwork(f"its parameter '{name}' is read by none of its layers")
        if not parameter.is_contiguous():
            raise UnsupportedNetwork(f"its parameter '{name}' is not contiguous")


def _check_logits(model: nn.Module, graph: NetworkGraph, input_shape: tuple[int, ...]) -> None:
    """Holds the graph against the network itself, for what a trace cannot tell."""
    parameters = dict(model.named_parameters())
    device = next((p.device for p in parameters.values()), torch.device("cpu"))
    noise = torch.randn((_N_TRIED_IMAGES, *input_shape), generator=torch.Generator()).to(device)
    try:
        with torch.no_grad(), batch_statistics(model):
            logits = graph_logits(graph, parameters, noise)
            expected = model(noise.clone())  # it may work in place
    except Exception as error:
        raise UnsupportedNetwork(f"it fails on noise ({reason(error)})") from error
    is_same = expected.shape == logits.shape and torch.allclose(
        logits, expected, rtol=0, atol=_TOLERANCE * float(expected.abs().max()), equal_nan=True
    )
    if not is_same:
        raise UnsupportedNetwork("its forward computes something else than its trace tells")
