"""The graph of a network computes what the network does, or is refused with its reason."""

from __future__ import annotations

import copy
import operator
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from rso_core.evaluation import batch_statistics
from rso_core.incremental.graph import Kind, NetworkGraph, UnsupportedNetwork, Window
from rso_core.incremental.graph_reader import network_graph
from rso_core.incremental.node_values import graph_logits
from rso_core.networks import NETWORKS, build_network

_IMAGE = (1, 8, 8)
_N_PIXELS = 64
_IN_PLACE = nn.ReLU(inplace=True)


class _Forward(nn.Module):
    """A network whose forward is the function; its layers are there for any of them."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self._own_forward = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self._own_forward(self, inputs)  # type: ignore[no-any-return]


def _with_linear(forward: Callable[..., Any]) -> nn.Module:
    """Images of one channel go through the function and into a linear layer."""
    return _Forward(lambda self, x: self.linear(forward(x)), linear=nn.Linear(_N_PIXELS, 3))


def _pooled(forward: Callable[..., Any], n_features: int = 2) -> nn.Module:
    """Two channels of 6x6 go through the function, are flattened, and into a linear layer."""
    return _Forward(
        lambda self, x: self.linear(torch.flatten(forward(self.conv(x)), 1)),
        conv=nn.Conv2d(1, 2, 3),
        linear=nn.Linear(n_features, 3),
    )


class _Block(nn.Module):
    """A basic block of a residual network, as torchvision writes it."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.link: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.link = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        if self.link is not None:
            identity = self.link(x)
        out += identity
        return self.relu(out)  # type: ignore[no-any-return]


def _evaluate(graph: NetworkGraph, model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return graph_logits(graph, dict(model.named_parameters()), inputs)


def _holds_true(model: nn.Module, input_shape: tuple[int, ...], n_images: int = 12) -> None:
    """The graph gives the logits of the network, whose modules are all left as they were."""
    inputs = torch.randn(n_images, *input_shape, generator=torch.Generator().manual_seed(1)) + 0.3
    before = copy.deepcopy(model.state_dict())
    graph = network_graph(model, input_shape)
    with torch.no_grad(), batch_statistics(model):
        expected = model(inputs.clone())
    torch.testing.assert_close(_evaluate(graph, model, inputs), expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", [*NETWORKS, "mlp(5,4)"])
def test_the_graph_of_a_built_in_network_computes_its_logits(name: str) -> None:
    torch.manual_seed(0)
    _holds_true(build_network(name, (3, 8, 8), 4), (3, 8, 8))


_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "residual": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), _Block(4, 4, 1), _Block(4, 6, 2), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 3),
    ),
    "strides, paddings, dilations": lambda: nn.Sequential(
        nn.Conv2d(1, 3, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(2, 1)), nn.Tanh(),
        nn.MaxPool2d(3, 2, 1), nn.Conv2d(3, 2, 2), nn.Flatten(), nn.LazyLinear(3),
    ),
    "the pools that drop pixels": lambda: nn.Sequential(
        nn.MaxPool2d((3, 2)), nn.AvgPool2d((1, 3), (1, 1)), nn.Flatten(), nn.LazyLinear(3),
    ),
    "dropout and identity": lambda: nn.Sequential(
        nn.Dropout2d(), nn.Identity(), nn.Flatten(), nn.Linear(_N_PIXELS, 3), nn.Dropout(0.9),
    ),
    "batch norm of features, without a scale": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(_N_PIXELS, 5), nn.BatchNorm1d(5, affine=False), nn.ReLU(),
        nn.Linear(5, 3, bias=False),
    ),
    "all modules of pointwise functions": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.LeakyReLU(0.2), nn.ReLU6(), nn.Hardtanh(-0.5, 2.0), nn.ELU(0.7),
        nn.Sigmoid(), nn.Tanh(), nn.SiLU(), nn.Softplus(), nn.GELU(), nn.Threshold(0.2, 0.1),
        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(72, 3),
    ),
    "one module of a pointwise function for all places": lambda: _Forward(
        lambda self, x: self.b(self.act(self.a(self.act(x.flatten(1))))),
        act=nn.ReLU(), a=nn.Linear(_N_PIXELS, 4), b=nn.Linear(4, 3),
    ),
    "no linear layer": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveMaxPool2d((1, 1)), nn.Flatten(),
    ),
    "something after the logits": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(_N_PIXELS, 3), nn.Hardtanh(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _NETWORKS)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_the_graph_of_a_user_s_network_computes_its_logits(name: str) -> None:
    torch.manual_seed(0)
    model = _NETWORKS[name]()
    model(torch.randn(4, *_IMAGE))
    _holds_true(model, _IMAGE)


@pytest.mark.parametrize("name", sorted(POINTWISE := {
    "relu": functional.relu, "relu6": functional.relu6, "tanh": torch.tanh,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.3), "silu": functional.silu,
    "hardtanh": lambda x: functional.hardtanh(x, -0.5, 0.25), "softplus": functional.softplus,
    "elu": lambda x: functional.elu(x, alpha=0.5), "gelu": functional.gelu,
    "sigmoid": lambda x: x.sigmoid(), "in place": lambda x: x.relu_(),
    "in place by an option": lambda x: functional.relu(x, inplace=True),
}))  # fmt: skip
def test_pointwise_functions_are_read(name: str) -> None:
    _holds_true(_pooled(POINTWISE[name], 72), _IMAGE)


@pytest.mark.parametrize("name", sorted(POOLS := {
    "max": (lambda x: functional.max_pool2d(x, 2), 18),
    "max with its options": (lambda x: functional.max_pool2d(x, 3, 1, padding=1), 72),
    "average": (lambda x: functional.avg_pool2d(x, (2, 3)), 12),
    "average with its options": (lambda x: functional.avg_pool2d(x, 2, 1, 0, False, False), 50),
    "adaptive": (lambda x: functional.adaptive_avg_pool2d(x, 1), 2),
    "adaptive max": (lambda x: functional.adaptive_max_pool2d(x, (1, 1)), 2),
    "mean": (lambda x: x.mean((2, 3)), 2),
    "mean with the dimensions kept": (lambda x: torch.mean(x, dim=[-1, -2], keepdim=True), 2),
}))  # fmt: skip
def test_pool_functions_are_read(name: str) -> None:
    forward, n_features = POOLS[name]
    _holds_true(_pooled(forward, n_features), _IMAGE)


@pytest.mark.parametrize("name", sorted(FLATTENINGS := {
    "function": lambda x: torch.flatten(x, 1),
    "function with keywords": lambda x: torch.flatten(x, start_dim=1, end_dim=-1),
    "method": lambda x: x.flatten(1, 3),
    "view by size": lambda x: x.view(x.size(0), -1),
    "view by shape": lambda x: x.view(x.shape[0], -1),
    "view by all sizes": lambda x: x.view(x.size()[0], x.size(1) * x.size(2) * x.size(3)),
    "view of known features": lambda x: x.view(-1, _N_PIXELS),
    "view of a list": lambda x: x.view([x.size(0), _N_PIXELS]),
    "reshape": lambda x: x.reshape(x.size(0), -1),
    "reshape function": lambda x: torch.reshape(x, (x.shape[0], -1)),
    "twice": lambda x: x.flatten(1).view(x.size(0), -1),
}))  # fmt: skip
def test_flattening_is_read_in_all_its_spellings(name: str) -> None:
    _holds_true(_with_linear(FLATTENINGS[name]), _IMAGE)


@pytest.mark.parametrize("name", sorted(SUMS := {
    "operator": operator.add,
    "in place": operator.iadd,
    "function": torch.add,
    "method": lambda x, y: x.add(y),
    "method in place": lambda x, y: x.add_(y),
}))  # fmt: skip
def test_sums_are_read_in_all_their_spellings(name: str) -> None:
    model = _Forward(
        lambda self, x: self.pool(SUMS[name](self.a(x), self.b(x))).flatten(1),
        a=nn.Conv2d(1, 3, 3), b=nn.Conv2d(1, 3, 3), pool=nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip
    _holds_true(model, _IMAGE)


def test_dropout_as_a_function_is_nothing_where_it_follows_the_mode() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(_N_PIXELS, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = functional.dropout(x.flatten(1), 0.5, self.training)
            return self.linear(functional.dropout(x, training=self.training))  # type: ignore[no-any-return]

    _holds_true(Dropping(), _IMAGE)


@pytest.mark.parametrize("input_shape", [(7,), (3, 5), (2, 3, 4), (2, 2, 3, 4)])
def test_inputs_of_any_shape_can_be_flattened(input_shape: tuple[int, ...]) -> None:
    size = torch.Size(input_shape).numel()
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(size, 3))
    _holds_true(model, input_shape)


def test_features_need_no_flattening() -> None:
    _holds_true(nn.Sequential(nn.Tanh(), nn.Linear(7, 3)), (7,))


def test_a_linear_layer_is_a_convolution_as_large_as_the_image() -> None:
    graph = network_graph(build_network("one_conv", (1, 6, 4), 3), (1, 6, 4))
    assert [node.kind for node in graph.nodes] == [
        Kind.INPUT, Kind.CONVOLUTION, Kind.POINTWISE, Kind.MAX_POOL, Kind.CONVOLUTION,
    ]  # fmt: skip
    last = graph.nodes[-1]
    assert (last.shape, last.window) == ((3, 1, 1), Window((3, 2)))
    assert (last.weight, last.bias) == ("linear.weight", "linear.bias")
    assert graph.owner("linear.bias") == 4
    assert graph.consumers(1) == (2,)
    assert graph.descendants(2) == (3, 4)


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
@settings(max_examples=50, deadline=None)
def test_a_window_tells_the_size_of_what_comes_out(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    expected = Window(kernel, stride, padding, dilation).output_size(*size)
    if min(expected) < 1:
        return
    weight = torch.zeros(1, 1, *kernel)
    out = functional.conv2d(torch.zeros(1, 1, *size), weight, None, stride, padding, dilation)
    assert tuple(out.shape[2:]) == expected


# --------------------------------------------------------------------------- what is refused


def _refused(model: nn.Module, input_shape: tuple[int, ...] = _IMAGE) -> str:
    with pytest.raises(UnsupportedNetwork) as caught:
        network_graph(model, input_shape)
    return str(caught.value)


_SIMPLE_REFUSALS: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "another function": (lambda x: torch.cumsum(x, 1), "calls 'cumsum'"),
    "another method": (lambda x: x.abs(), "calls 'abs'"),
    "a number added": (lambda x: x + 1, "'add' works on something other than activations"),
    "a sum with a factor": (lambda x: torch.add(x, x, alpha=2), "adds with options"),
    "a product": (lambda x: x * 2, "calls 'mul'"),
    "an attribute of activations": (lambda x: x.T, "reads the attribute 'T'"),
    "a part of activations": (lambda x: x[:, :1], "calls 'getitem'"),
    "dropout that is always on": (functional.dropout, "calls dropout without training"),
    "a function with an option": (
        lambda x: functional.gelu(x, approximate="tanh"), "'gelu' is called with options",
    ),
    "a rounded-up pool": (
        lambda x: functional.avg_pool2d(x, 3, 3, 0, True), "average pool rounds its size up",
    ),
    "a rounded-up max pool": (
        lambda x: functional.max_pool2d(x, 3, ceil_mode=True), "max pool rounds its size up",
    ),
    "a dilated pool": (
        lambda x: functional.max_pool2d(x, 2, dilation=2), "max pool has a dilation",
    ),
    "a padded average pool": (
        lambda x: functional.avg_pool2d(x, 2, padding=1), "has a padding or a divisor of its own",
    ),
    "an average pool with a divisor": (
        lambda x: functional.avg_pool2d(x, 2, divisor_override=3),
        "has a padding or a divisor of its own",
    ),
    "an adaptive pool": (
        lambda x: functional.adaptive_avg_pool2d(x, 2), "adaptive pool gives more than one pixel",
    ),
    "indices": (
        lambda x: functional.max_pool2d(x, 2, return_indices=True)[0],
        "calls 'max_pool2d_with_indices'",
    ),
    "a mean over the channels": (
        lambda x: x.mean(1), "takes a mean over something other than all pixels",
    ),
    "a mean over everything": (
        lambda x: x.mean(), "takes a mean over something other than all pixels",
    ),
    "flattened pixels alone": (lambda x: x.flatten(2), "flattens other dimensions"),
    "a flattened batch": (torch.flatten, "flattens other dimensions"),
    "an unflattening": (
        lambda x: x.view(x.size(0), 2, 32), "calls 'view' but not to flatten",
    ),
    "images dealt anew": (lambda x: x.view(-1, 32), "calls 'view' but not to flatten"),
    "the length of a batch": (lambda x: x.view(len(x), -1), "'len' is not supported"),
    "a branch on activations": (lambda x: x if x.sum() > 0 else -x, "cannot be traced"),
}  # fmt: skip


@pytest.mark.parametrize("name", _SIMPLE_REFUSALS)
def test_a_function_that_is_not_known_for_certain_is_refused(name: str) -> None:
    forward, expected = _SIMPLE_REFUSALS[name]
    assert expected in _refused(_with_linear(lambda x: torch.flatten(forward(x), 1)))


_MODULE_REFUSALS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "another module": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(_N_PIXELS, 3), nn.Softmax(1)),
        "holds a module of type Softmax",
    ),
    "a subclass of a known module": (
        lambda: nn.Sequential(nn.Flatten(), nn.modules.linear.NonDynamicallyQuantizableLinear(
            _N_PIXELS, 3)),
        "holds a module of type NonDynamicallyQuantizableLinear",
    ),
    "a softplus of its own": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(_N_PIXELS, 3), nn.Softplus(2)),
        "holds a module of type Softplus",
    ),
    "an approximate GELU": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(_N_PIXELS, 3), nn.GELU("tanh")),
        "holds a module of type GELU",
    ),
    "groups": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 8, groups=2), nn.Flatten()),
        "its convolution '1' has groups",
    ),
    "another padding": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 8, padding=1, padding_mode="circular")),
        "its convolution '0' does not pad by a number of zeros",
    ),
    "padding by a name": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 8, padding="same")),
        "its convolution '0' does not pad by a number of zeros",
    ),
    "a linear layer along the rows": (
        lambda: nn.Sequential(nn.Linear(8, 3)),
        "its linear layer '0' does not read flattened images",
    ),
    "a convolution of features": (
        lambda: nn.Sequential(nn.Flatten(), nn.Conv2d(1, 1, 1)),
        "its convolution '1' does not read images",
    ),
    "a convolution that does not fit": (
        lambda: nn.Sequential(nn.Conv2d(2, 1, 1)), "its convolution '0' does not fit its input",
    ),
    "a kernel larger than the image": (
        lambda: nn.Sequential(nn.Conv2d(1, 1, 9)), "its convolution leaves nothing of the image",
    ),
    "indices": (
        lambda: nn.Sequential(nn.MaxPool2d(2, return_indices=True)), "max pool returns indices",
    ),
    "indices of an adaptive pool": (
        lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1, return_indices=True)),
        "adaptive pool returns indices",
    ),
    "a pool of features": (
        lambda: nn.Sequential(nn.Flatten(), nn.MaxPool2d(1)), "its max pool does not read images",
    ),
    "a batch norm of flattened images": (
        lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(_N_PIXELS)),
        "its batch norm '1' does not normalise one pixel a channel",
    ),
    "logits of several pixels": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten()),
        "its logits are not those of a linear layer or a global pool",
    ),
    "logits that are images": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 8)),
        "its logits are not those of a linear layer or a global pool",
    ),
    "sums of different shapes": (
        lambda: _Forward(lambda self, x: self.a(x) + x, a=nn.Conv2d(1, 2, 1)),
        "adds activations of different shapes",
    ),
    "a layer used twice": (
        lambda: _Forward(lambda self, x: self.a(self.a(x.flatten(1))),
                         a=nn.Linear(_N_PIXELS, _N_PIXELS)),
        "its layer 'a' is used twice",
    ),
    "a layer that is not used": (
        lambda: _Forward(lambda self, x: self.a(x.flatten(1)), a=nn.Linear(_N_PIXELS, 3),
                         b=nn.Linear(1, 1)),
        "its parameter 'b.weight' is read by none of its layers",
    ),
    "a branch that goes nowhere": (
        lambda: _Forward(lambda self, x: (self.b(x), self.a(x.flatten(1)))[1],
                         a=nn.Linear(_N_PIXELS, 3), b=nn.Conv2d(1, 1, 1)),
        "its convolution is read by nothing",
    ),
    "several outputs": (
        lambda: _Forward(lambda self, x: (self.a(x.flatten(1)), x), a=nn.Linear(_N_PIXELS, 3)),
        "gives something other than one tensor",
    ),
    "a parameter that is called by its name": (
        lambda: _Forward(lambda self, x: functional.linear(x.flatten(1), self.a.weight),
                         a=nn.Linear(_N_PIXELS, 3)),
        "its forward reads the attribute 'a.weight'",
    ),
    "a parametrized weight": (
        lambda: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(
            nn.Linear(_N_PIXELS, 3))),
        "holds a module of type ParametrizedLinear",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _MODULE_REFUSALS)
def test_a_module_that_is_not_known_for_certain_is_refused(name: str) -> None:
    build, expected = _MODULE_REFUSALS[name]
    assert expected in _refused(build())


@pytest.mark.parametrize(
    "overwrites",
    [
        lambda x: functional.relu(x, inplace=True),
        lambda x: torch.relu_(x),
        lambda x: x.relu_(),
        lambda x: _IN_PLACE(x),
        lambda x: operator.iadd(x, x),
        lambda x: x.add_(x),
        lambda x: x.view(x.size(0), -1).relu_(),
    ],
)
@pytest.mark.parametrize("reads_the_result", [True, False])
def test_activations_that_are_overwritten_and_read_again_are_refused(
    overwrites: Callable[[torch.Tensor], torch.Tensor], reads_the_result: bool
) -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 8)
            self.in_place = _IN_PLACE

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            before = self.conv(x)
            after = overwrites(before).flatten(1)
            return after + before.flatten(1) if reads_the_result else before.flatten(1)

    assert _refused(Overwriting()) == "it works in place on activations that are read again"


def test_layers_that_share_a_parameter_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(_N_PIXELS, _N_PIXELS), nn.Linear(_N_PIXELS, 64))
    model[1].weight = model[2].weight
    assert _refused(model) == "two of its layers share a parameter"
    model[1].weight = nn.Parameter(model[2].weight.detach())  # another name for the same memory
    assert _refused(model) == "two of its layers share a parameter"


def test_hooks_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(_N_PIXELS, 3))
    with model[1].register_forward_hook(lambda module, inputs, output: output * 2):
        assert _refused(model) == "its module '1' has a forward hook"
    with model.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,)):
        assert _refused(model) == "it has a forward hook"
    network_graph(model, _IMAGE)


def test_a_forward_of_a_single_object_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(_N_PIXELS, 3))
    monkeypatch.setattr(model[0], "forward", lambda x: x.flatten(1) * 2)
    assert _refused(model) == "its module '0' has had its forward replaced"


def test_several_inputs_are_refused() -> None:
    class Optional(nn.Module):
        def forward(self, x: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
            return x if scale is None else x + x

    assert _refused(Optional()) == "its forward takes more than one input"


def test_a_layer_with_parameters_of_its_own_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(_N_PIXELS, 3))
    model[1].register_parameter("extra", nn.Parameter(torch.zeros(1)))
    assert _refused(model) == "its layer '1' has parameters of its own"


def test_a_trace_that_tells_less_than_the_forward_does_is_found_out() -> None:
    class Moody(nn.Module):
        """The trace sees a forward pass that no batch of images does."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(_N_PIXELS, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.linear(x.flatten(1))
            return x + x if type(x) is torch.Tensor else x

    assert _refused(Moody()) == "its forward computes something else than its trace tells"


def test_a_network_that_fails_is_refused_with_what_it_says() -> None:
    class Failing(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if type(x) is torch.Tensor:
                raise RuntimeError("no images please")
            return super().forward(x)

    model = Failing(nn.Flatten(), nn.Linear(_N_PIXELS, 3))
    assert re.fullmatch(r"it fails on noise \(RuntimeError: no images please\)", _refused(model))


def test_a_parameter_that_is_not_contiguous_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert _refused(model, (2, 4, 4)) == "its parameter '0.weight' is not contiguous"
