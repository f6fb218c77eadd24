"""A network as the few kinds of operation that the incremental engines know.

A linear layer on a flattened [channels, height, width] is a convolution whose kernel is as large
as the image, so that flattening needs no operation of its own, and every activation has channels,
a height and a width.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from rso_core.errors import reason


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


def network_graph(model: nn.Module, input_shape: tuple[int, ...]) -> NetworkGraph:
    """Reads the graph of a network with batch statistics and no dropout, as RSO trains it.

    Args:
        model: from [n, *input_shape] to logits [n, n_classes].
        input_shape: shape of one input, without the batch.

    Raises:
        UnsupportedNetwork: for what is neither a convolution, linear layer, batch norm, pool,
            pointwise function, flattening or addition; or for parameters that are shared.
    """
    parameters = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    if len(set(parameters)) < len(parameters):
        raise UnsupportedNetwork("two of its layers share a parameter")
    was_training = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        traced = fx.Tracer().trace(model)
    except Exception as error:  # a user's forward may do what cannot be traced
        raise UnsupportedNetwork(f"its forward cannot be traced ({reason(error)})") from error
    finally:
        for module, training in was_training:
            module.training = training
    return _Reader(model, tuple(input_shape)).read(traced)


@dataclass(frozen=True, slots=True)
class _Value:
    """What an fx node stands for: a node of the graph, perhaps flattened."""

    position: int
    is_flat: bool


class _Reader:
    def __init__(self, model: nn.Module, input_shape: tuple[int, ...]) -> None:
        self._modules = dict(model.named_modules())
        self._input_shape = input_shape
        self._nodes: list[Node] = []
        self._values: dict[fx.Node, _Value] = {}
        self._modules_called: set[str] = set()
        self._overwritten: set[int] = set()

    def read(self, traced: fx.Graph) -> NetworkGraph:
        for node in traced.nodes:
            if node.op == "output":
                return self._finished(node.args[0])
            # what nothing reads (a size that was asked for) does not matter
            if node.op == "placeholder" or node.users:
                self._values[node] = self._read_node(node)
        raise AssertionError("an fx graph ends with its output")

    def _finished(self, output: object) -> NetworkGraph:
        if not isinstance(output, fx.Node):
            raise UnsupportedNetwork("it gives something other than one tensor")
        value = self._values[output]
        if value.position != len(self._nodes) - 1:
            raise UnsupportedNetwork("it goes on computing after its logits")
        if self._nodes[-1].n_pixels != 1:
            raise UnsupportedNetwork("its logits are not those of a linear layer or a global pool")
        for position, node in enumerate(self._nodes[:-1]):
            n_readers = sum(position in other.inputs for other in self._nodes)
            if n_readers == 0:
                raise UnsupportedNetwork(f"its {node.kind.value} is read by nothing")
            if n_readers > 1 and position in self._overwritten:
                raise UnsupportedNetwork("it works in place on activations that are read again")
        return NetworkGraph(tuple(self._nodes))

    def _read_node(self, node: fx.Node) -> _Value:
        if node.op == "placeholder":
            if self._nodes:
                raise UnsupportedNetwork("its forward takes more than one input")
            return self._input()
        if node.op == "call_module":
            return self._module(str(node.target), node)
        if node.op in ("call_function", "call_method"):
            return self._function(node)
        raise UnsupportedNetwork(f"its forward reads the attribute '{node.target}'")

    def _input(self) -> _Value:
        if len(self._input_shape) == 3:
            return self._append(Node(Kind.INPUT, (), cast("Any", self._input_shape)))
        # of any other shape it can only be flattened
        return self._append(Node(Kind.INPUT, (), (math.prod(self._input_shape), 1, 1)))

    def _append(self, node: Node, *, is_flat: bool = False) -> _Value:
        if min(node.shape) < 1:
            raise UnsupportedNetwork(f"its {node.kind.value} leaves nothing of the image")
        self._nodes.append(node)
        return _Value(len(self._nodes) - 1, is_flat)

    def _argument(self, node: fx.Node, index: int = 0) -> _Value:
        argument = node.args[index] if index < len(node.args) else node.kwargs.get("input")
        if not isinstance(argument, fx.Node) or argument not in self._values:
            raise UnsupportedNetwork(f"'{_name(node)}' works on something other than activations")
        return self._values[argument]

    def _module(self, name: str, node: fx.Node) -> _Value:
        module = self._modules[name]
        value = self._argument(node)
        if getattr(module, "inplace", False):
            self._overwritten.add(value.position)
        if type(module) in _TRANSPARENT:
            return value
        if name in self._modules_called and any(True for _ in module.parameters()):
            raise UnsupportedNetwork(f"its layer '{name}' is used twice")
        self._modules_called.add(name)
        if isinstance(module, nn.Flatten):
            return self._flattened(value, module.start_dim, module.end_dim)
        if isinstance(module, nn.Linear):
            return self._linear(name, module, value)
        if isinstance(module, nn.Conv2d):
            return self._convolution(name, module, value)
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            return self._batch_norm(name, module, value)
        if isinstance(module, nn.MaxPool2d):
            return self._max_pool(value, module.kernel_size, module.stride, module.padding,
                                  module.dilation, module.ceil_mode)  # fmt: skip
        if isinstance(module, nn.AvgPool2d):
            return self._average_pool(value, module.kernel_size, module.stride, module.padding,
                                      module.ceil_mode, module.divisor_override)  # fmt: skip
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return self._global_pool(Kind.AVERAGE_POOL, value, module.output_size)
        if isinstance(module, nn.AdaptiveMaxPool2d):
            return self._global_pool(Kind.MAX_POOL, value, module.output_size)
        return self._pointwise_module(module, value)

    def _function(self, node: fx.Node) -> _Value:
        target = node.target
        value = self._argument(node)
        if node.kwargs.get("inplace") or target is operator.iadd or _name(node).endswith("_"):
            self._overwritten.add(value.position)
        if target in (operator.add, operator.iadd, torch.add, "add", "add_"):
            return self._add(node)
        if target in (torch.flatten, "flatten"):
            given = {**dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)),
                     **node.kwargs}  # fmt: skip
            return self._flattened(value, given.get("start_dim", 0), given.get("end_dim", -1))
        if target in (functional.dropout, functional.dropout2d):
            return self._dropout(node, value)
        if target in _POOL_FUNCTIONS:
            return self._pool_function(_POOL_FUNCTIONS[target], node, value)
        if node.kwargs.keys() - {"inplace", "input"} or len(node.args) > 1:
            raise UnsupportedNetwork(f"'{_name(node)}' is called with options")
        for name, functions in _PLAIN_FUNCTIONS.items():
            if target in functions:
                return self._pointwise(name, (), value)
        raise UnsupportedNetwork(f"its forward calls '{_name(node)}'")

    def _dropout(self, node: fx.Node, value: _Value) -> _Value:
        # traced in evaluation mode, `training=self.training` has become False
        if node.kwargs.get("training") is not False:
            raise UnsupportedNetwork("it calls dropout without training=self.training")
        return value

    def _pool_function(self, kind: Kind, node: fx.Node, value: _Value) -> _Value:
        given = _POOL_DEFAULTS | dict(zip(_POOL_DEFAULTS, node.args[1:], strict=False))
        given |= {key: option for key, option in node.kwargs.items() if key != "input"}
        options = {key: given[key] for key in ("dilation", "ceil_mode", "return_indices")}
        if options != {key: _POOL_DEFAULTS[key] for key in options} or "divisor_override" in given:
            raise UnsupportedNetwork(f"'{_name(node)}' is called with options")
        kernel, padding = given["kernel_size"], given["padding"]
        stride = given["stride"] or kernel
        if kind is Kind.MAX_POOL:
            return self._max_pool(value, kernel, stride, padding, 1, False)
        return self._average_pool(value, kernel, stride, padding, False, None)

    def _flattened(self, value: _Value, start: Any, end: Any) -> _Value:
        n_dimensions = 2 if value.is_flat else 4
        if start != 1 or end not in (-1, n_dimensions - 1):
            raise UnsupportedNetwork("it flattens other dimensions than those of one image")
        return replace(value, is_flat=True)

    def _linear(self, name: str, module: nn.Linear, value: _Value) -> _Value:
        channels, height, width = self._nodes[value.position].shape
        flat = value.is_flat or (len(self._input_shape) == 1 and value.position == 0)
        if not flat or module.in_features != channels * height * width:
            raise UnsupportedNetwork(f"its linear layer '{name}' does not read flattened images")
        window = Window(kernel=(height, width))
        node = Node(Kind.CONVOLUTION, (value.position,), (module.out_features, 1, 1), window,
                    **_parameters(name, module))  # fmt: skip
        return self._append(node, is_flat=True)

    def _convolution(self, name: str, module: nn.Conv2d, value: _Value) -> _Value:
        if module.groups != 1:
            raise UnsupportedNetwork(f"its convolution '{name}' has groups")
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            raise UnsupportedNetwork(f"its convolution '{name}' does not pad by a number of zeros")
        shape = self._image(value, name)
        window = Window(
            cast("tuple[int, int]", module.kernel_size),
            cast("tuple[int, int]", module.stride),
            cast("tuple[int, int]", module.padding),
            cast("tuple[int, int]", module.dilation),
        )
        if shape[0] != module.in_channels:
            raise UnsupportedNetwork(f"its convolution '{name}' does not fit its input")
        out = (module.out_channels, *window.output_size(*shape[1:]))
        return self._append(
            Node(Kind.CONVOLUTION, (value.position,), out, window, **_parameters(name, module))
        )

    def _batch_norm(self, name: str, module: _BatchNorm, value: _Value) -> _Value:
        node = self._nodes[value.position]
        if value.is_flat and node.n_pixels != 1:
            raise UnsupportedNetwork(f"its batch norm '{name}' normalises flattened images")
        return self._append(
            Node(Kind.BATCH_NORM, (value.position,), node.shape, epsilon=module.eps,
                 **_parameters(name, module)),
            is_flat=value.is_flat,
        )  # fmt: skip

    def _max_pool(
        self, value: _Value, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
    ) -> _Value:
        if ceil or _pair(dilation) != (1, 1):
            raise UnsupportedNetwork("its max pool has a dilation or a rounded-up size")
        return self._pool(
            Kind.MAX_POOL, value, Window(_pair(kernel), _pair(stride), _pair(padding))
        )

    def _average_pool(
        self, value: _Value, kernel: Any, stride: Any, padding: Any, ceil: bool, divisor: Any
    ) -> _Value:
        if ceil or _pair(padding) != (0, 0) or divisor is not None:
            raise UnsupportedNetwork(
                "its average pool has a padding, a rounded-up size or a divisor of its own"
            )
        return self._pool(Kind.AVERAGE_POOL, value, Window(_pair(kernel), _pair(stride)))

    def _global_pool(self, kind: Kind, value: _Value, output_size: Any) -> _Value:
        if _pair(output_size) != (1, 1):
            raise UnsupportedNetwork("its adaptive pool gives more than one pixel")
        shape = self._image(value, kind.value)
        return self._pool(kind, value, Window(shape[1:], shape[1:]))

    def _pool(self, kind: Kind, value: _Value, window: Window) -> _Value:
        channels, height, width = self._image(value, kind.value)
        shape = (channels, *window.output_size(height, width))
        return self._append(Node(kind, (value.position,), shape, window))

    def _image(self, value: _Value, what: str) -> tuple[int, int, int]:
        if value.is_flat or (len(self._input_shape) != 3 and value.position == 0):
            raise UnsupportedNetwork(f"its '{what}' does not read images")
        return self._nodes[value.position].shape

    def _add(self, node: fx.Node) -> _Value:
        if len(node.args) != 2 or node.kwargs:
            raise UnsupportedNetwork("it adds with options")
        left, right = self._argument(node, 0), self._argument(node, 1)
        shapes = {self._nodes[value.position].shape for value in (left, right)}
        if len(shapes) > 1 or left.is_flat != right.is_flat:
            raise UnsupportedNetwork("it adds activations of different shapes")
        inputs = (left.position, right.position)
        return self._append(Node(Kind.ADD, inputs, shapes.pop()), is_flat=left.is_flat)

    def _pointwise_module(self, module: nn.Module, value: _Value) -> _Value:
        for kind, (name, attributes) in _POINTWISE_MODULES.items():
            if type(module) is kind:
                return self._pointwise(name, tuple(getattr(module, a) for a in attributes), value)
        if type(module) is nn.Softplus and (module.beta, module.threshold) == (1, 20):
            return self._pointwise("softplus", (), value)
        if type(module) is nn.GELU and module.approximate == "none":
            return self._pointwise("gelu", (), value)
        raise UnsupportedNetwork(f"it holds a module of type {type(module).__name__}")

    def _pointwise(self, name: str, arguments: tuple[float, ...], value: _Value) -> _Value:
        return self._append(
            Node(Kind.POINTWISE, (value.position,), self._nodes[value.position].shape,
                 function=name, arguments=tuple(float(a) for a in arguments)),
            is_flat=value.is_flat,
        )  # fmt: skip


_TRANSPARENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)

_POINTWISE_MODULES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("hardtanh", ("min_val", "max_val")),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.Threshold: ("threshold", ("threshold", "value")),
    nn.Sigmoid: ("sigmoid", ()),
    nn.Tanh: ("tanh", ()),
    nn.SiLU: ("silu", ()),
    nn.ELU: ("elu", ("alpha",)),
}

_POOL_FUNCTIONS: dict[object, Kind] = {
    functional.avg_pool2d: Kind.AVERAGE_POOL,
    functional.max_pool2d: Kind.MAX_POOL,
    torch.max_pool2d: Kind.MAX_POOL,
}

# of functional.max_pool2d, in the order of its arguments
_POOL_DEFAULTS: dict[str, Any] = {
    "kernel_size": None,
    "stride": None,
    "padding": 0,
    "dilation": 1,
    "ceil_mode": False,
    "return_indices": False,
}

_PLAIN_FUNCTIONS: dict[str, tuple[object, ...]] = {
    "relu": (functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_"),
    "sigmoid": (torch.sigmoid, functional.sigmoid, "sigmoid"),
    "tanh": (torch.tanh, functional.tanh, "tanh"),
    "silu": (functional.silu,),
    "gelu": (functional.gelu,),
    "softplus": (functional.softplus,),
}


def _parameters(name: str, module: nn.Module) -> dict[str, Any]:
    own = {key for key, _ in module.named_parameters(recurse=False)}
    if own - {"weight", "bias"} or hasattr(module, "parametrizations"):
        raise UnsupportedNetwork(f"its layer '{name}' has parameters of its own")
    prefix = f"{name}." if name else ""
    names = {key: f"{prefix}{key}" if key in own else None for key in ("weight", "bias")}
    return {**names, "module": name}


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return (size, size)
    return tuple(size)


def _name(node: fx.Node) -> str:
    target = node.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))
