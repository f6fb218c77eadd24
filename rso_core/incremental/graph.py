"""A network as the few kinds of operation that the incremental engines know.

A linear layer on a flattened [channels, height, width] is a convolution whose kernel is as large
as the image, so that flattening needs no operation of its own, and every activation has channels,
a height and a width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import cast

import torch
from torch.nn import functional


class UnsupportedNetwork(ValueError):  # noqa: N818  (it names what is the case)
    """The network holds something that the incremental engines do not know; the text says what."""


class Kind(Enum):
    """What a node computes."""

    INPUT = "input"
    CONVOLUTION = "convolution"
    BATCH_NORM = "batch norm"
    POINTWISE = "pointwise"
    AVERAGE_POOL = "average pool"
    MAX_POOL = "max pool"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class Window:
    """How a convolution or a pool slides over an image; each pair is (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what comes out."""
        sizes = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in zip(
                (height, width),
                self.kernel,
                self.stride,
                self.padding,
                self.dilation,
                strict=True,
            )
        )
        return cast("tuple[int, int]", tuple(sizes))


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; its value for an image is a float32 tensor of `shape`."""

    kind: Kind
    inputs: tuple[int, ...]
    """Positions of the nodes that it reads; all of them come before it."""
    shape: tuple[int, int, int]
    """Channels, height, width."""
    window: Window | None = None
    """Of convolutions and pools."""
    function: str = ""
    """Of pointwise nodes: a key of `POINTWISE_FUNCTIONS`."""
    arguments: tuple[float, ...] = ()
    """Of pointwise nodes: the function's, after its input."""
    weight: str | None = None
    """Name of the parameter: [out, in, *kernel] of a convolution (or the same numbers as a linear
    layer's [out, in x height x width]), the scale [channels] of a batch norm."""
    bias: str | None = None
    """Name of the parameter: [out], or the shift of a batch norm."""
    module: str = ""
    """Name of the module, of nodes that have parameters or statistics."""
    epsilon: float = 0.0
    """Of batch norms: what is added to the variance."""

    @property
    def n_pixels(self) -> int:
        """Height x width."""
        return self.shape[1] * self.shape[2]


@dataclass(frozen=True, slots=True)
class NetworkGraph:
    """A network from its input, the first node, to its logits, the last."""

    nodes: tuple[Node, ...]

    def consumers(self, position: int) -> tuple[int, ...]:
        """Positions of the nodes that read that one."""
        return tuple(p for p, node in enumerate(self.nodes) if position in node.inputs)

    def descendants(self, position: int) -> tuple[int, ...]:
        """Positions, in order, of the nodes whose value depends on that one's."""
        found = {position}
        for p, node in enumerate(self.nodes):
            if found & set(node.inputs):
                found.add(p)
        return tuple(sorted(found - {position}))

    def owner(self, parameter: str) -> int:
        """Position of the node whose weight or bias that parameter is."""
        for position, node in enumerate(self.nodes):
            if parameter in (node.weight, node.bias):
                return position
        raise KeyError(parameter)


POINTWISE_FUNCTIONS: Mapping[str, Callable[..., torch.Tensor]] = MappingProxyType(
    {
        "relu": functional.relu,
        "leaky_relu": functional.leaky_relu,
        "hardtanh": functional.hardtanh,
        "threshold": functional.threshold,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "silu": functional.silu,
        "elu": functional.elu,
        "softplus": lambda x: functional.softplus(x),
        "gelu": lambda x: functional.gelu(x),
    }
)
"""By name: what maps a tensor and the node's arguments to one of the same shape."""
