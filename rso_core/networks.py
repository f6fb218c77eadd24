"""The networks, looked up by name in this one place, and a user's own.

Weights start as torch's layers draw them, from torch's global generator; an optimiser may draw
them anew.
"""

from __future__ import annotations

import inspect
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from rso_core.errors import InvalidInput, nearest, reason
from rso_core.references import resolve

Shape = tuple[int, ...]


def build_network(name: str, input_shape: Shape, n_classes: int, **options: Any) -> nn.Module:
    """Builds a new network.

    Args:
        name: a key of `NETWORKS`, `mlp(64,32)`, or `package.module:function`. The function is
            called with (input_shape, n_classes) where it can take both, else with no arguments.
        input_shape: shape of one input, without the batch: (channels, height, width); `mlp` takes
            any.
        n_classes: the number of logits.
        options: the builder's keyword options: `hidden_sizes` of `mlp`. They win over the name's.

    Returns:
        A module from float32 [n, *input_shape] to logits [n, n_classes], in training mode if built
        in; what a user's network gives is for `check_network` to find out.

    Raises:
        InvalidInput: unknown name or option, an input that the network cannot take, or a user's
            function that fails or returns something else.
    """
    if ":" in name:
        return _build_own(name.strip(), input_shape, n_classes, options)
    base, from_name = parse_architecture(name)
    options = from_name | options
    builder = NETWORKS[base]
    known = list(inspect.signature(builder).parameters)[2:]
    for option in options:
        if option not in known:
            hint = nearest(option, known) if known else "it has none"
            raise InvalidInput(f"'{option}' is not an option of network {base}; {hint}")
    return builder(input_shape, n_classes, **options)


def check_architecture(name: str, field: str = "architecture") -> None:
    """Finds out whether there is a network of that name, without building it.

    Args:
        name: as for `build_network`; a user's module is imported, which runs its code.
        field: the option that holds the name, for the message.

    Raises:
        InvalidInput: there is none.
    """
    if ":" in name:
        resolve(name.strip(), field)
    else:
        parse_architecture(name, field)


def parse_architecture(name: str, field: str = "architecture") -> tuple[str, dict[str, Any]]:
    """Splits `mlp(64,32)` into ("mlp", {"hidden_sizes": (64, 32)}).

    Every other name comes back with no options; a user's `package.module:function` is not resolved.

    Raises:
        InvalidInput: unknown name, or sizes that are not integers of at least 1.
    """
    name = name.strip()
    if ":" in name:
        return name, {}
    base, parenthesis, rest = name.partition("(")
    base = base.strip()
    if base not in NETWORKS:
        raise InvalidInput(f"'{field}' must be a network, got '{name}'; {nearest(base, NETWORKS)}")
    if not parenthesis:
        return base, {}
    if base != "mlp":
        raise InvalidInput(f"'{field}' takes sizes with mlp alone, got '{name}'; write '{base}'")
    if not re.fullmatch(r"\s*([1-9]\d{0,8}\s*(,\s*[1-9]\d{0,8}\s*)*)?\)", rest, re.ASCII):
        raise InvalidInput(
            f"'{field}' must give mlp its hidden sizes as integers of at least 1, "
            f"such as 'mlp(64,32)', got '{name}'"
        )
    return base, {"hidden_sizes": tuple(int(size) for size in re.findall(r"\d+", rest))}


def canonical_architecture(name: str) -> str:
    """The name without spaces, so that one network has one name: "mlp(64, 32)" -> "mlp(64,32)"."""
    base, options = parse_architecture(name)
    if not options:
        return base
    return f"{base}({','.join(str(size) for size in options['hidden_sizes'])})"


def check_network(
    model: nn.Module, input_shape: Shape, n_classes: int, field: str = "architecture"
) -> None:
    """Passes two all-zero inputs through the network, in evaluation mode and without gradients.

    The training mode of each of its modules is put back; lazy modules are initialised by the pass.

    Args:
        model: from float32 [2, *input_shape] to logits.
        input_shape: shape of one input, without the batch.
        n_classes: the number of logits that it must give.
        field: the option that names the network, for the message.

    Raises:
        InvalidInput: the pass fails, or does not give floating-point logits [2, n_classes].
    """
    parameter = next(model.parameters(), None)
    inputs = torch.zeros((2, *input_shape), device=None if parameter is None else parameter.device)
    # a user's network may hold modules that it keeps in evaluation mode on purpose
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            logits = model(inputs)
    except (Exception, SystemExit) as error:  # a user's network may raise anything
        raise InvalidInput(
            f"'{field}' must take inputs of shape {list(inputs.shape)}, "
            f"but the network fails on them ({reason(error)})"
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    expected = [2, n_classes]
    if not isinstance(logits, torch.Tensor):
        found = f"an object of type {type(logits).__name__}"
    elif list(logits.shape) != expected:
        found = f"shape {list(logits.shape)}"
    elif not logits.is_floating_point():
        found = f"{logits.dtype}"
    else:
        return
    raise InvalidInput(
        f"'{field}' must give logits of shape {expected} for inputs of shape "
        f"{list(inputs.shape)}, got {found}"
    )


def paper_mnist(input_shape: Shape, n_classes: int) -> nn.Sequential:
    """Six convolutions of 16 channels (Tripathi & Singh 2020).

    The order within a block, pool before batch norm, is that of the authors' code
    (rohun-tripathi/RSO-gradient-free, train.py), which leaves the last ReLU out, however.
    """
    channels, *_ = _check_image("paper_mnist", input_shape, n_halvings=2)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block in range(1, 7):
        layers[f"conv{block}"] = _conv3x3(channels, 16, bias=False)
        if block in (2, 4):
            layers[f"pool{block}"] = nn.AvgPool2d(2)
        layers[f"batch_norm{block}"] = nn.BatchNorm2d(16)
        layers[f"relu{block}"] = nn.ReLU()
        channels = 16
    layers["global_pool"] = nn.AdaptiveMaxPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["linear"] = nn.Linear(16, n_classes, bias=False)
    return nn.Sequential(layers)


class PaperCifar10(nn.Module):
    """Nine convolutions with residual links (Tripathi & Singh 2020).

    A link adds the batch-norm output of an earlier block, before its ReLU, to the convolution
    output of a later one, before its pool and batch norm; where the channels differ it goes through
    a 1x1 convolution and a batch norm. So it is in the authors' code
    (rohun-tripathi/RSO-gradient-free, train.py, `CNN_ND.forward`), which leaves the last ReLU out,
    however.

    Its modules are registered block by block, in the order in which the signal passes them.
    """

    CHANNELS = (16, 16, 16, 32, 32, 32, 32, 32, 32)
    POOLED = frozenset({3, 5})
    """Blocks, counted from 1, that halve the image."""
    LINKS: Mapping[int, int] = MappingProxyType({3: 1, 5: 3, 7: 5, 9: 7})
    """To which block the link goes -> from which."""

    def __init__(self, input_shape: Shape, n_classes: int) -> None:
        super().__init__()
        before, *_ = _check_image("paper_cifar10", input_shape, n_halvings=len(self.POOLED))
        for block, channels in enumerate(self.CHANNELS, start=1):
            self.add_module(f"conv{block}", _conv3x3(before, channels, bias=False))
            if self._link_is_projected(block):
                linked = self.CHANNELS[self.LINKS[block] - 1]
                self.add_module(f"link_conv{block}", nn.Conv2d(linked, channels, 1, bias=False))
                self.add_module(f"link_batch_norm{block}", nn.BatchNorm2d(channels))
            if block in self.POOLED:
                self.add_module(f"pool{block}", nn.AvgPool2d(2))
            self.add_module(f"batch_norm{block}", nn.BatchNorm2d(channels))
            self.add_module(f"relu{block}", nn.ReLU())
            before = channels
        self.global_pool = nn.AdaptiveMaxPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(before, n_classes, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """From [n, channels, height, width] to logits [n, n_classes]; torch.fx can trace it."""
        signal = inputs
        normalised: dict[int, torch.Tensor] = {}
        for block in range(1, len(self.CHANNELS) + 1):
            signal = self._module("conv", block)(signal)
            if block in self.LINKS:
                linked = normalised[self.LINKS[block]]
                if self._link_is_projected(block):
                    linked = self._module("link_conv", block)(linked)
                    linked = self._module("link_batch_norm", block)(linked)
                signal = signal + linked
            if block in self.POOLED:
                signal = self._module("pool", block)(signal)
            normalised[block] = self._module("batch_norm", block)(signal)
            signal = self._module("relu", block)(normalised[block])
        return self.linear(self.flatten(self.global_pool(signal)))  # type: ignore[no-any-return]

    def _link_is_projected(self, block: int) -> bool:
        source = self.LINKS.get(block)
        return source is not None and self.CHANNELS[source - 1] != self.CHANNELS[block - 1]

    def _module(self, kind: str, block: int) -> nn.Module:
        module: nn.Module = getattr(self, f"{kind}{block}")
        return module


def one_conv(input_shape: Shape, n_classes: int) -> nn.Sequential:
    """The smaller network of the STMOZOO notebook: one convolution of 4 channels."""
    channels, height, width = _check_image("one_conv", input_shape, n_halvings=1)
    return nn.Sequential(
        OrderedDict(
            conv1=_conv3x3(channels, 4),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear=nn.Linear(4 * (height // 2) * (width // 2), n_classes),
        )
    )


def two_conv(input_shape: Shape, n_classes: int) -> nn.Sequential:
    """The larger network of the STMOZOO notebook: two convolutions of 16 channels."""
    channels, height, width = _check_image("two_conv", input_shape, n_halvings=2)
    return nn.Sequential(
        OrderedDict(
            conv1=_conv3x3(channels, 16),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=_conv3x3(16, 16),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear=nn.Linear(16 * (height // 4) * (width // 4), n_classes),
        )
    )


def original(input_shape: Shape, n_classes: int) -> nn.Sequential:
    """STMOZOO's reading of `paper_mnist`: biases, mean pools after the ReLU, global mean pool."""
    channels, *_ = _check_image("original", input_shape, n_halvings=2)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block in range(1, 7):
        layers[f"conv{block}"] = _conv3x3(channels, 16)
        layers[f"batch_norm{block}"] = nn.BatchNorm2d(16)
        layers[f"relu{block}"] = nn.ReLU()
        if block in (2, 4):
            layers[f"pool{block}"] = nn.AvgPool2d(2)
        channels = 16
    layers["global_pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["linear"] = nn.Linear(16, n_classes)
    return nn.Sequential(layers)


def mlp(input_shape: Shape, n_classes: int, hidden_sizes: tuple[int, ...] = (64,)) -> nn.Sequential:
    """Linear layers with ReLU between them; no hidden layer makes it softmax regression."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    size = torch.Size(input_shape).numel()
    for layer, hidden in enumerate(hidden_sizes, start=1):
        layers[f"linear{layer}"] = nn.Linear(size, hidden)
        layers[f"relu{layer}"] = nn.ReLU()
        size = hidden
    layers["linear"] = nn.Linear(size, n_classes)
    return nn.Sequential(layers)


NETWORKS: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "paper_mnist": paper_mnist,
        "paper_cifar10": PaperCifar10,
        "one_conv": one_conv,
        "two_conv": two_conv,
        "original": original,
        "mlp": mlp,
    }
)


def _build_own(
    name: str, input_shape: Shape, n_classes: int, options: Mapping[str, Any]
) -> nn.Module:
    function = resolve(name, "architecture")
    arguments: tuple[Any, ...] = (input_shape, n_classes)
    if not _can_take(function, arguments, options):
        arguments = ()
    try:
        model = function(*arguments, **options)
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise InvalidInput(
            f"'architecture' names '{name}', which fails "
            f"when it is called to build the network ({reason(error)})"
        ) from error
    if not isinstance(model, nn.Module):
        raise InvalidInput(
            f"'architecture' must name a function that returns a torch.nn.Module, "
            f"got '{name}', which returns an object of type {type(model).__name__}"
        )
    return model


def _can_take(
    function: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]
) -> bool:
    try:
        inspect.signature(function).bind(*arguments, **options)
    except TypeError:
        return False
    except ValueError:  # a compiled callable may have no signature: call it as documented
        return True
    return True


def _check_image(network: str, input_shape: Shape, n_halvings: int) -> tuple[int, int, int]:
    """Channels, height and width of an image that the network's 2x2 pools do not use up."""
    smallest = 2**n_halvings
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise InvalidInput(
            f"'architecture' {network} needs images of shape (channels, height, width) "
            f"of at least {smallest}x{smallest} pixels, got inputs of shape {tuple(input_shape)}; "
            "mlp takes inputs of any shape"
        )
    channels, height, width = input_shape
    return channels, height, width


def _conv3x3(channels_in: int, channels_out: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=bias)
