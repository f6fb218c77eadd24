"""The graph of a network from the trace that torch.fx makes of its forward pass."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from torch import fx, nn

from rso_core.incremental import graph_calls as calls
from rso_core.incremental.graph import Kind, NetworkGraph, Node, UnsupportedNetwork, Window

_BatchNorm = nn.modules.batchnorm._BatchNorm


def traced_graph(model: nn.Module, input_shape: tuple[int, ...]) -> NetworkGraph:
    """Traces a network's forward pass and reads the trace.

    Args:
        model: in evaluation mode.
        input_shape: shape of one input, without the batch.

    Raises:
        UnsupportedNetwork: for what the graph has no operation for.
        Exception: whatever torch.fx or the forward pass raises when it is traced.
    """
    return _Reader(model, input_shape).read(_Tracer().trace(model))


class _Proxy(fx.Proxy):
    def __iadd__(self, other: object) -> fx.Proxy:
        # torch.fx would record an addition that leaves its left side as it was
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class _Tracer(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


@dataclass(frozen=True, slots=True)
class _Value:
    """What an fx node stands for: the activations of a node of the graph, in one of two shapes."""

    position: int
    shape: tuple[int, ...]
    """As torch has it, without the batch: (channels, height, width), (features,), the input's."""


class _Batch:
    """What an fx node stands for that is the number of images."""


class _Reader:
    def __init__(self, model: nn.Module, input_shape: tuple[int, ...]) -> None:
        self._modules = dict(model.named_modules())
        self._input_shape = input_shape
        self._nodes: list[Node] = []
        self._values: dict[fx.Node, Any] = {}
        """_Value; or what a size was found to be: _Batch, an integer, or a tuple of these."""
        self._modules_called: set[str] = set()
        self._overwritten: set[int] = set()

    def read(self, traced: fx.Graph) -> NetworkGraph:
        for node in traced.nodes:
            if node.op == "output":
                return self._finished(node.args[0])
            self._values[node] = self._read_node(node)
        raise AssertionError("an fx graph ends with its output")

    def _finished(self, output: object) -> NetworkGraph:
        value = self._values.get(output) if isinstance(output, fx.Node) else None
        if not isinstance(value, _Value):
            raise UnsupportedNetwork("it gives something other than one tensor")
        for position, node in enumerate(self._nodes):
            n_readers = sum(position in other.inputs for other in self._nodes)
            n_readers += position == value.position
            if n_readers > 1 and position in self._overwritten:
                raise UnsupportedNetwork("it works in place on activations that are read again")
            if n_readers == 0:
                raise UnsupportedNetwork(f"its {node.kind.value} is read by nothing")
        if value.position != len(self._nodes) - 1:
            raise UnsupportedNetwork("it goes on computing after its logits")
        if len(value.shape) != 1 or self._nodes[-1].n_pixels != 1:
            raise UnsupportedNetwork("its logits are not those of a linear layer or a global pool")
        return NetworkGraph(tuple(self._nodes))

    # ------------------------------------------------------------------ what a trace consists of

    def _read_node(self, node: fx.Node) -> Any:
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
        # what is not an image can only be flattened
        is_image = len(self._input_shape) == 3
        shape = self._input_shape if is_image else (math.prod(self._input_shape), 1, 1)
        return self._append(Node(Kind.INPUT, (), cast("Any", shape)), self._input_shape)

    def _module(self, name: str, node: fx.Node) -> _Value:
        module = self._modules[name]
        value = self._argument(node, 0)
        if len(node.args) > 1 or node.kwargs.keys() - {"input"}:
            raise UnsupportedNetwork(f"its module '{name}' takes more than one input")
        if type(module) in calls.TRANSPARENT_MODULES:
            return value
        if getattr(module, "inplace", False):
            self._overwritten.add(value.position)
        if name in self._modules_called and any(True for _ in module.parameters()):
            raise UnsupportedNetwork(f"its layer '{name}' is used twice")
        self._modules_called.add(name)
        if type(module) is nn.Flatten:
            return self._flattened(value, module.start_dim, module.end_dim)
        if type(module) is nn.Linear:
            return self._linear(name, module, value)
        if type(module) is nn.Conv2d:
            return self._convolution(name, module, value)
        if type(module) in (nn.BatchNorm2d, nn.BatchNorm1d):
            return self._batch_norm(name, cast("_BatchNorm", module), value)
        if type(module) in calls.POOL_MODULES:
            kind = calls.POOL_MODULES[type(module)]
            return self._pool(kind, value, calls.pool_options(kind, vars(module)))
        if type(module) in calls.GLOBAL_POOL_MODULES:
            return self._global_pool(calls.GLOBAL_POOL_MODULES[type(module)], value, vars(module))
        return self._pointwise(calls.pointwise_module(module), value)

    def _function(self, node: fx.Node) -> Any:
        target, name = node.target, calls.call_name(node)
        if target is operator.getitem or target is operator.mul:
            return self._size_arithmetic(node, target)
        if target is getattr or target in ("size", "dim"):
            return self._size(node)
        value = self._argument(node, 0)
        if node.kwargs.get("inplace") or target is operator.iadd or name.endswith("_"):
            self._overwritten.add(value.position)
        if target in calls.ADDITIONS:
            return self._add(node)
        if target in calls.RESHAPES:
            return self._reshaped(node, value)
        if target in calls.FLATTENINGS:
            options = calls.bound(node, calls.FLATTEN_OPTIONS)
            return self._flattened(value, options["start_dim"], options["end_dim"])
        if target in calls.DROPOUTS:
            # traced in evaluation mode, `training=self.training` has become False
            if calls.bound(node, calls.DROPOUT_OPTIONS)["training"] is not False:
                raise UnsupportedNetwork("it calls dropout without training=self.training")
            return value
        if target in calls.POOL_FUNCTIONS:
            kind, known = calls.POOL_FUNCTIONS[target]
            return self._pool(kind, value, calls.pool_options(kind, calls.bound(node, known)))
        if target in calls.GLOBAL_POOL_FUNCTIONS:
            kind, known = calls.GLOBAL_POOL_FUNCTIONS[target]
            return self._global_pool(kind, value, calls.bound(node, known))
        return self._pointwise(calls.pointwise_function(node), value)

    def _argument(self, node: fx.Node, index: int) -> _Value:
        argument = node.args[index] if index < len(node.args) else node.kwargs.get("input")
        value = self._values.get(argument) if isinstance(argument, fx.Node) else None
        if not isinstance(value, _Value):
            raise UnsupportedNetwork(
                f"'{calls.call_name(node)}' works on something other than activations"
            )
        return value

    def _append(self, node: Node, shape: tuple[int, ...]) -> _Value:
        if min(node.shape) < 1:
            raise UnsupportedNetwork(f"its {node.kind.value} leaves nothing of the image")
        self._nodes.append(node)
        return _Value(len(self._nodes) - 1, shape)

    # ------------------------------------------------------------------------ sizes and reshaping

    def _size(self, node: fx.Node) -> Any:
        size = (_Batch(), *self._argument(node, 0).shape)
        if node.target is getattr and node.args[1] != "shape":
            raise UnsupportedNetwork(f"its forward reads the attribute '{node.args[1]}'")
        if node.target == "dim":
            return len(size)
        dimension = node.args[1] if node.target == "size" and len(node.args) > 1 else None
        return size if dimension is None else size[cast("int", dimension)]

    def _size_arithmetic(self, node: fx.Node, function: Callable[[Any, Any], Any]) -> Any:
        left, right = (self._constant(argument) for argument in node.args)
        if function is operator.getitem and isinstance(left, tuple) and isinstance(right, int):
            return left[right]
        if function is operator.mul and isinstance(left, int) and isinstance(right, int):
            return left * right
        raise UnsupportedNetwork(f"its forward calls '{calls.call_name(node)}'")

    def _constant(self, argument: object) -> Any:
        return self._values[argument] if isinstance(argument, fx.Node) else argument

    def _reshaped(self, node: fx.Node, value: _Value) -> _Value:
        given = node.args[1:] or (node.kwargs.get("shape"),)
        if len(given) == 1 and isinstance(given[0], tuple | list):
            given = tuple(given[0])
        size = [self._constant(argument) for argument in given]
        n_features = math.prod(value.shape)
        if len(size) == 2 and (
            (isinstance(size[0], _Batch) and size[1] in (-1, n_features))
            or (size[0] == -1 and size[1] == n_features)
        ):
            return _Value(value.position, (n_features,))
        raise UnsupportedNetwork(f"its forward calls '{calls.call_name(node)}' but not to flatten")

    def _flattened(self, value: _Value, start: Any, end: Any) -> _Value:
        if start != 1 or end not in (-1, len(value.shape)):
            raise UnsupportedNetwork("it flattens other dimensions than those of one image")
        return _Value(value.position, (math.prod(value.shape),))

    # -------------------------------------------------------------------------------- operations

    def _linear(self, name: str, module: nn.Linear, value: _Value) -> _Value:
        if value.shape != (module.in_features,):
            raise UnsupportedNetwork(f"its linear layer '{name}' does not read flattened images")
        _, height, width = self._nodes[value.position].shape
        node = Node(
            Kind.CONVOLUTION,
            (value.position,),
            (module.out_features, 1, 1),
            Window(kernel=(height, width)),
            **_parameter_names(name, module),
        )
        return self._append(node, (module.out_features,))

    def _convolution(self, name: str, module: nn.Conv2d, value: _Value) -> _Value:
        if module.groups != 1:
            raise UnsupportedNetwork(f"its convolution '{name}' has groups")
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            raise UnsupportedNetwork(f"its convolution '{name}' does not pad by a number of zeros")
        channels, height, width = self._image(value, f"convolution '{name}'")
        window = Window(
            cast("tuple[int, int]", module.kernel_size),
            cast("tuple[int, int]", module.stride),
            cast("tuple[int, int]", module.padding),
            cast("tuple[int, int]", module.dilation),
        )
        if channels != module.in_channels:
            raise UnsupportedNetwork(f"its convolution '{name}' does not fit its input")
        shape = (module.out_channels, *window.output_size(height, width))
        names = _parameter_names(name, module)
        return self._append(
            Node(Kind.CONVOLUTION, (value.position,), shape, window, **names), shape
        )

    def _batch_norm(self, name: str, module: _BatchNorm, value: _Value) -> _Value:
        shape = self._nodes[value.position].shape
        is_image = type(module) is nn.BatchNorm2d
        fits = value.shape == (shape if is_image else (module.num_features,))
        if not fits or shape[0] != module.num_features:
            what = "images" if is_image else "one pixel a channel"
            raise UnsupportedNetwork(f"its batch norm '{name}' does not normalise {what}")
        node = Node(
            Kind.BATCH_NORM,
            (value.position,),
            shape,
            epsilon=module.eps,
            **_parameter_names(name, module),
        )
        return self._append(node, value.shape)

    def _pool(self, kind: Kind, value: _Value, window: Window) -> _Value:
        channels, height, width = self._image(value, kind.value)
        shape = (channels, *window.output_size(height, width))
        return self._append(Node(kind, (value.position,), shape, window), shape)

    def _global_pool(self, kind: Kind, value: _Value, options: calls.Options) -> _Value:
        size = self._image(value, kind.value)[1:]
        keeps_image = calls.checked_global_pool(options)
        pooled = self._pool(kind, value, Window(size, size))
        return pooled if keeps_image else _Value(pooled.position, pooled.shape[:1])

    def _image(self, value: _Value, what: str) -> tuple[int, int, int]:
        if len(value.shape) != 3:
            raise UnsupportedNetwork(f"its {what} does not read images")
        return value.shape

    def _add(self, node: fx.Node) -> _Value:
        if len(node.args) != 2 or node.kwargs:
            raise UnsupportedNetwork("it adds with options")
        left, right = self._argument(node, 0), self._argument(node, 1)
        shape = self._nodes[left.position].shape
        if left.shape != right.shape or shape != self._nodes[right.position].shape:
            raise UnsupportedNetwork("it adds activations of different shapes")
        return self._append(Node(Kind.ADD, (left.position, right.position), shape), left.shape)

    def _pointwise(self, function: tuple[str, tuple[float, ...]], value: _Value) -> _Value:
        name, arguments = function
        shape = self._nodes[value.position].shape
        return self._append(
            Node(Kind.POINTWISE, (value.position,), shape, function=name, arguments=arguments),
            value.shape,
        )


def _parameter_names(name: str, module: nn.Module) -> dict[str, Any]:
    own = {key for key, _ in module.named_parameters(recurse=False)}
    if own - {"weight", "bias"}:
        raise UnsupportedNetwork(f"its layer '{name}' has parameters of its own")
    names = {key: f"{name}.{key}" if key in own else None for key in ("weight", "bias")}
    return {**names, "module": name}
