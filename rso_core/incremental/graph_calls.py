"""The modules and functions of torch that the graph's operations are written as."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from rso_core.incremental.graph import Kind, UnsupportedNetwork, Window

Options = Mapping[str, Any]
"""What a function takes after its input, in its order, with the defaults."""

TRANSPARENT_MODULES = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
"""Those that give what they are given, out of training."""

ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
RESHAPES = (torch.reshape, "reshape", "view")

FLATTENINGS = (torch.flatten, "flatten")
FLATTEN_OPTIONS: Options = {"start_dim": 0, "end_dim": -1}

DROPOUTS = (functional.dropout, functional.dropout1d, functional.dropout2d)
DROPOUT_OPTIONS: Options = {"p": 0.5, "training": True, "inplace": False}

POOL_MODULES = {nn.AvgPool2d: Kind.AVERAGE_POOL, nn.MaxPool2d: Kind.MAX_POOL}

_MAX_POOL_OPTIONS: Options = {
    "kernel_size": None,
    "stride": None,
    "padding": 0,
    "dilation": 1,
    "ceil_mode": False,
    "return_indices": False,
}
_AVERAGE_POOL_OPTIONS: Options = {
    "kernel_size": None,
    "stride": None,
    "padding": 0,
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
}
POOL_FUNCTIONS: dict[object, tuple[Kind, Options]] = {
    functional.avg_pool2d: (Kind.AVERAGE_POOL, _AVERAGE_POOL_OPTIONS),
    functional.max_pool2d: (Kind.MAX_POOL, _MAX_POOL_OPTIONS),
    torch.max_pool2d: (Kind.MAX_POOL, _MAX_POOL_OPTIONS),
}

GLOBAL_POOL_MODULES: dict[type[nn.Module], Kind] = {
    nn.AdaptiveAvgPool2d: Kind.AVERAGE_POOL,
    nn.AdaptiveMaxPool2d: Kind.MAX_POOL,
}

_ADAPTIVE_POOL_OPTIONS: Options = {"output_size": None, "return_indices": False}
_MEAN_OPTIONS: Options = {"dim": None, "keepdim": False, "dtype": None}
GLOBAL_POOL_FUNCTIONS: dict[object, tuple[Kind, Options]] = {
    functional.adaptive_avg_pool2d: (Kind.AVERAGE_POOL, _ADAPTIVE_POOL_OPTIONS),
    functional.adaptive_max_pool2d: (Kind.MAX_POOL, _ADAPTIVE_POOL_OPTIONS),
    torch.mean: (Kind.AVERAGE_POOL, _MEAN_OPTIONS),
    "mean": (Kind.AVERAGE_POOL, _MEAN_OPTIONS),
}

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

_POINTWISE_FUNCTIONS: dict[object, tuple[str, Options]] = {
    functional.relu: ("relu", {}),
    torch.relu: ("relu", {}),
    torch.relu_: ("relu", {}),
    "relu": ("relu", {}),
    "relu_": ("relu", {}),
    functional.relu6: ("hardtanh", {"min_val": 0.0, "max_val": 6.0}),
    functional.hardtanh: ("hardtanh", {"min_val": -1.0, "max_val": 1.0}),
    functional.leaky_relu: ("leaky_relu", {"negative_slope": 0.01}),
    functional.elu: ("elu", {"alpha": 1.0}),
    functional.silu: ("silu", {}),
    functional.gelu: ("gelu", {}),
    functional.softplus: ("softplus", {}),
    torch.sigmoid: ("sigmoid", {}),
    functional.sigmoid: ("sigmoid", {}),
    "sigmoid": ("sigmoid", {}),
    torch.tanh: ("tanh", {}),
    functional.tanh: ("tanh", {}),
    "tanh": ("tanh", {}),
}


def bound(node: fx.Node, options: Options) -> dict[str, Any]:
    """What a call hands over beside its input: by name, with the defaults filled in."""
    positional = node.args[1:]
    given = dict(zip(options, positional, strict=False))
    given |= {key: value for key, value in node.kwargs.items() if key != "input"}
    unknown = given.keys() - options.keys()
    if len(positional) > len(options) or unknown:
        raise UnsupportedNetwork(f"'{call_name(node)}' is called with options")
    return {**options, **given}


def pool_options(kind: Kind, options: Options) -> Window:
    """The window of a pool, from the options of its module or function.

    Raises:
        UnsupportedNetwork: they ask for more than a window that slides over whole pixels.
    """
    if options["ceil_mode"]:
        raise UnsupportedNetwork(f"its {kind.value} rounds its size up")
    if options.get("return_indices"):
        raise UnsupportedNetwork(f"its {kind.value} returns indices")
    if kind is Kind.MAX_POOL and _pair(options["dilation"]) != (1, 1):
        raise UnsupportedNetwork("its max pool has a dilation")
    kernel = _pair(options["kernel_size"])
    stride = kernel if options["stride"] in (None, [], ()) else _pair(options["stride"])
    padding = _pair(options["padding"])
    if kind is Kind.AVERAGE_POOL and (padding != (0, 0) or options["divisor_override"] is not None):
        raise UnsupportedNetwork("its average pool has a padding or a divisor of its own")
    return Window(kernel, stride, padding)


def checked_global_pool(options: Options) -> bool:
    """Whether a pool over all pixels gives images of one pixel, rather than a number a channel.

    Raises:
        UnsupportedNetwork: it is not over all pixels.
    """
    if "dim" not in options:
        if options.get("return_indices"):
            raise UnsupportedNetwork("its adaptive pool returns indices")
        if _pair(options["output_size"]) != (1, 1):
            raise UnsupportedNetwork("its adaptive pool gives more than one pixel")
        return True
    dimensions = options["dim"] if isinstance(options["dim"], tuple | list) else ()
    if {d % 4 for d in dimensions} != {2, 3} or options["dtype"] is not None:
        raise UnsupportedNetwork("it takes a mean over something other than all pixels")
    return bool(options["keepdim"])


def pointwise_module(module: nn.Module) -> tuple[str, tuple[float, ...]]:
    """The name of a pointwise function and its arguments.

    Raises:
        UnsupportedNetwork: the module is something else.
    """
    if type(module) in _POINTWISE_MODULES:
        name, attributes = _POINTWISE_MODULES[type(module)]
        return name, tuple(float(getattr(module, attribute)) for attribute in attributes)
    if type(module) is nn.Softplus and (module.beta, module.threshold) == (1, 20):
        return "softplus", ()
    if type(module) is nn.GELU and module.approximate == "none":
        return "gelu", ()
    raise UnsupportedNetwork(f"it holds a module of type {type(module).__name__}")


def pointwise_function(node: fx.Node) -> tuple[str, tuple[float, ...]]:
    """The name of a pointwise function and its arguments.

    Raises:
        UnsupportedNetwork: the call is of something else.
    """
    if node.target not in _POINTWISE_FUNCTIONS:
        raise UnsupportedNetwork(f"its forward calls '{call_name(node)}'")
    name, options = _POINTWISE_FUNCTIONS[node.target]
    given = bound(node, {**options, "inplace": False})
    if any(isinstance(given[key], fx.Node) for key in options):
        raise UnsupportedNetwork(f"'{call_name(node)}' is called with something it has computed")
    return name, tuple(float(given[key]) for key in options)


def call_name(node: fx.Node) -> str:
    """What a call of the trace is called, for messages."""
    target = node.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _pair(size: Any) -> tuple[Any, Any]:
    if isinstance(size, tuple | list):
        return tuple(size) if len(size) == 2 else (*size, *size)[:2]
    return (size, size)
