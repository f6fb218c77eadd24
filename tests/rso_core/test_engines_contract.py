"""What every engine promises: the losses and decisions of plain forward passes.

The judge is a copy of the network in float64. An engine sees float32 alone, so that its losses may
be off by rounding; where rounding decides between two candidates, either may be taken.
"""

from __future__ import annotations

import copy
import itertools
import math
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rso_core.batches import BatchDrawer, Batches, Drawing
from rso_core.engines import KEEP, MINUS, PLUS, Engine, ReferenceEngine, Visits, choose
from rso_core.evaluation import (
    batch_statistics,
    evaluate,
    set_batch_norm_statistics_,
    summed_cross_entropy,
)
from rso_core.incremental.device_engine import DeviceEngine
from rso_core.incremental.engine import IncrementalEngine
from rso_core.peers import Listener
from rso_core.sigma import Sampler, draw_deltas

_LITTLE_MEMORY = 1000


class _GroupEngine:
    """Several workers as threads, each with a copy of the network; shows the leader's.

    The others visit fewer weights at a time than the leader does.

    Args:
        build_engine: of one worker.
        most_workers: fewer where a batch has fewer images.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        build_engine: Callable[..., Engine],
        most_workers: int,
        has_double_softmax: bool = False,
    ) -> None:
        self._build = partial(
            build_engine, inputs=inputs, targets=targets, has_double_softmax=has_double_softmax
        )
        self._models = [model, *(copy.deepcopy(model) for _ in range(most_workers - 1))]
        self._pool = ThreadPoolExecutor(most_workers)
        self._places = [parameter.data_ptr() for parameter in model.parameters()]
        self._engines: dict[int, list[Engine]] = {}
        self._closing = ExitStack()
        weakref.finalize(self, self._closing.close)
        self._closing.callback(self._pool.shutdown)

    def visit_(
        self, parameter: str, first_weight: int, deltas: torch.Tensor, batches: Batches,
        decay: float,
    ) -> Visits:  # fmt: skip
        self._do_as_the_leader_s_owner_did()
        engines = self._group(min(len(self._models), batches.batch_size))

        def visit(rank: int) -> Visits:
            n_at_once = len(deltas) if rank == 0 else rank
            parts = [
                engines[rank].visit_(parameter, first_weight + first,
                                     deltas[first : first + n_at_once], batches, decay)
                for first in range(0, len(deltas), n_at_once)
            ]  # fmt: skip
            return Visits(torch.cat([part.losses for part in parts]),
                          torch.cat([part.chosen for part in parts]))  # fmt: skip

        visits = list(self._pool.map(visit, range(len(engines))))
        for rank in range(1, len(engines)):
            assert torch.equal(visits[rank].losses.nan_to_num(-1), visits[0].losses.nan_to_num(-1))
            assert torch.equal(visits[rank].chosen, visits[0].chosen)
            for own, leaders in zip(
                self._models[rank].parameters(), self._models[0].parameters(), strict=True
            ):
                assert torch.equal(own, leaders)
        return visits[0]

    def _do_as_the_leader_s_owner_did(self) -> None:
        """Changes the followers' weights, or where they lie, as a test has done to the leader's."""
        places = [parameter.data_ptr() for parameter in self._models[0].parameters()]
        for follower in self._models[1:]:
            for own, leaders in zip(
                follower.parameters(), self._models[0].parameters(), strict=True
            ):
                if places != self._places:
                    own.data = leaders.data.clone()
                else:
                    own.data.copy_(leaders.data)
        self._places = places

    def evaluate(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
        return self._group(1)[0].evaluate(inputs, targets)

    def resumable_every(self, parameter: str, batch_size: int) -> int:
        return self._group(1)[0].resumable_every(parameter, batch_size)

    def _group(self, size: int) -> list[Engine]:
        """The engines of so many workers."""
        if size not in self._engines:
            listeners = [Listener() for _ in range(size)]
            addresses = [listener.address for listener in listeners]
            peers = list(
                self._pool.map(
                    lambda rank: listeners[rank].connect(rank, addresses, b"key"), range(size)
                )
            )
            for each in peers:
                self._closing.callback(each.close)
            self._engines[size] = [
                self._build(model, peers=each)
                for model, each in zip(self._models, peers, strict=False)
            ]
        return self._engines[size]


def _group_of(most_workers: int, build_engine: Callable[..., Engine]) -> Callable[..., Engine]:
    return partial(_GroupEngine, build_engine=build_engine, most_workers=most_workers)


ENGINES: dict[str, Callable[..., Engine]] = {
    "reference": ReferenceEngine,
    "incremental": IncrementalEngine,
    "incremental, two threads": partial(IncrementalEngine, n_threads=2),
    "incremental, little memory": partial(IncrementalEngine, memory_bytes=_LITTLE_MEMORY),
    "incremental, three workers": _group_of(3, IncrementalEngine),
    "reference, two workers": _group_of(2, ReferenceEngine),
    "incremental, two workers of two threads, little memory": _group_of(
        2, partial(IncrementalEngine, n_threads=2, memory_bytes=_LITTLE_MEMORY)
    ),
    "device": DeviceEngine,
    "device, little memory": partial(DeviceEngine, memory_bytes=_LITTLE_MEMORY),
}

_LONG = {"incremental, two workers of two threads, little memory", "reference, two workers"}
"""Threads that wait for Python's lock, or for more processors than there are."""

engines = pytest.mark.parametrize(
    "build_engine",
    [
        pytest.param(engine, id=name, marks=[pytest.mark.long] if name in _LONG else [])
        for name, engine in ENGINES.items()
    ],
)

_BuildEngine = Callable[..., Engine]
"""Of a network, inputs and targets; it may be told of a double softmax."""


class _Judge:
    """Goes through the visits of an engine by plain forward passes, in float64 and in float32."""

    TOLERANCE = 1e-5
    """Relative, of a loss."""
    ROUNDING = 4.0
    """How much larger than that of plain float32 passes the error may be, where this is more: a
    batch norm of a channel that hardly varies makes much of rounding. A plain pass may be lucky,
    and knows nothing of the candidates before, from whose activations an engine may compute those
    of one: where the error is larger than this allows, `_drawn_rounding` counts too."""

    def __init__(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        has_double_softmax: bool = False,
    ) -> None:
        self.has_double_softmax = has_double_softmax
        self.exact, self.plain = copy.deepcopy(model).double(), copy.deepcopy(model)
        self.inputs, self.targets = inputs, targets
        self.rounding = 0.0
        """Largest error of plain float32 passes so far, relative to the loss or to 0.1."""
        self.parameter = ""
        self.candidates: list[torch.Tensor] = []
        """What that parameter was when its candidates were scored, in float64."""

    def loss(self, model: nn.Module, images: torch.Tensor) -> float:
        parameter = next(model.parameters())
        with torch.no_grad(), batch_statistics(model):
            logits = model(self.inputs[images].to(parameter.dtype))
        if self.has_double_softmax:
            logits = logits.softmax(dim=1)
        return summed_cross_entropy(logits, self.targets[images]).item() / len(images)

    def judge(
        self, parameter: str, first: int, deltas: torch.Tensor, batches: Batches, decay: float,
        visits: Visits,
    ) -> None:  # fmt: skip
        assert visits.losses.shape == (len(deltas), 3)
        assert visits.losses.dtype == torch.float64
        assert visits.chosen.shape == (len(deltas),)
        assert visits.chosen.dtype == torch.int8
        for visit, delta in enumerate(deltas):
            losses = visits.losses[visit].tolist()
            choice = int(visits.chosen[visit])
            assert choice == choose(losses)
            self._judge_visit(
                parameter, first + visit, delta, batches.indices(first + visit), decay, losses,
                choice,
            )  # fmt: skip

    def _judge_visit(
        self, parameter: str, position: int, delta: torch.Tensor, images: torch.Tensor,
        decay: float, losses: list[float], choice: int,
    ) -> None:  # fmt: skip
        weights = [
            model.get_parameter(parameter).detach().view(-1) for model in (self.exact, self.plain)
        ]
        kept = weights[1][position] * decay
        candidates = (kept, kept + delta, kept - delta)
        if parameter != self.parameter:
            self.parameter, self.candidates = parameter, []
        expected, errors = [], []
        for candidate in candidates:
            for tensor in weights:
                tensor[position] = candidate
            self.candidates.append(weights[0].clone())
            expected.append(self.loss(self.exact, images))
            errors.append(abs(self.loss(self.plain, images) - expected[-1]))
        self.rounding = max(self.rounding, max(errors) / max(min(expected), 0.1))
        # what is wrong with the logits is wrong with a loss in proportion to it
        roundings = [
            self.ROUNDING * max(max(errors), self.rounding * exact) + 1e-7 for exact in expected
        ]
        for index, (loss, exact) in enumerate(zip(losses, expected, strict=True)):
            if abs(loss - exact) > max(self.TOLERANCE * exact, roundings[index]):
                drawn = self._drawn_rounding(weights[0], self.candidates[index - 3], images)
                roundings[index] = self.ROUNDING * drawn
        for tensor in weights:
            tensor[position] = candidates[choice]
        for loss, exact, rounding in zip(losses, expected, roundings, strict=True):
            assert loss == pytest.approx(exact, rel=self.TOLERANCE, abs=rounding)
        tie = 2 * max(self.TOLERANCE * min(expected), min(roundings))
        assert choice == choose(expected) or expected[choice] <= min(expected) + tie

    def _drawn_rounding(
        self, weights: torch.Tensor, candidate: torch.Tensor, images: torch.Tensor,
        n_draws: int = 16,
    ) -> float:  # fmt: skip
        """The largest error of a candidate's loss where every layer's output is off by rounding.

        That is float32's rounding of the largest output for any candidate of the parameter so far.
        """
        generator = torch.Generator().manual_seed(0)
        largest: dict[int, torch.Tensor] = {}

        def measured(layer: nn.Module, inputs: object, output: torch.Tensor) -> None:
            call = next(calls)  # a layer may be called at several places
            largest[call] = torch.maximum(largest.get(call, output.abs()), output.abs())

        def rounded(layer: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
            unit = 2 * torch.rand(output.shape, generator=generator, dtype=output.dtype) - 1
            return output + 2.0**-24 * unit * largest[next(calls)]

        losses = []
        order = [*self.candidates, candidate]
        for hook, scored in ((measured, order), (rounded, n_draws * [candidate])):
            layers = [each for each in self.exact.modules() if not list(each.children())]
            hooks = [layer.register_forward_hook(hook) for layer in layers]
            for values in scored:
                weights.copy_(values)
                calls = itertools.count()
                losses.append(self.loss(self.exact, images))
            for handle in hooks:
                handle.remove()
        exact, *drawn = losses[len(self.candidates) :]
        return max(abs(loss - exact) for loss in drawn)

    def has_the_weights_of(self, model: nn.Module) -> bool:
        return all(
            torch.equal(mine, theirs)
            for mine, theirs in zip(self.plain.parameters(), model.parameters(), strict=True)
        )


# ------------------------------------------------------------------------------- drawn networks


class _Residual(nn.Module):
    """Two convolutions with a link past them, which is projected where the channels differ."""

    def __init__(self, channels_in: int, channels: int, *, has_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=not has_norm)
        self.norm = nn.BatchNorm2d(channels) if has_norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.link = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv2(self.relu(self.norm(self.conv1(x))))
        out += x if self.link is None else self.link(x)
        return self.relu(out)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Network:
    layers: tuple[nn.Module, ...]
    input_shape: tuple[int, ...]
    n_classes: int
    has_batch_norm: bool

    def build(self, seed: int) -> nn.Module:
        """A new network, with batch-norm scales and shifts other than 1 and 0."""
        model = nn.Sequential(*copy.deepcopy(self.layers))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if parameter.dim() >= 2:
                    parameter.copy_(noise * math.sqrt(2 / parameter[0].numel()))
                else:
                    parameter.copy_(name.endswith("weight") + 0.3 * noise)
        return model


_POINTWISE = (
    nn.ReLU(), nn.LeakyReLU(0.1), nn.Hardtanh(-1.0, 1.5), nn.Threshold(0.1, 0.1), nn.Sigmoid(),
    nn.Tanh(), nn.SiLU(), nn.ELU(), nn.Softplus(), nn.GELU(),
)  # fmt: skip


@st.composite
def _networks(draw: st.DrawFn) -> _Network:
    n_channels = draw(st.integers(1, 3))
    size = [draw(st.integers(2, 9)), draw(st.integers(2, 9))]
    input_shape = (n_channels, *size)
    layers: list[nn.Module] = []

    def draw_convolution() -> None:
        nonlocal n_channels
        windows = [draw(_windows(length)) for length in size]
        kernel, stride, padding, dilation = zip(*windows, strict=True)
        n_out, bias = draw(st.integers(1, 9)), draw(st.booleans())
        layers.append(nn.Conv2d(n_channels, n_out, kernel, stride, padding, dilation, bias=bias))
        n_channels = n_out
        size[:] = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, (k, s, p, d) in zip(size, windows, strict=True)
        )

    def draw_pool() -> None:
        kernel = [draw(st.integers(1, min(3, length))) for length in size]
        stride = [draw(st.integers(1, 2)) for _ in size]
        padding = [0, 0]
        if draw(st.booleans()):
            padding = [draw(st.integers(0, k // 2)) for k in kernel]
            layers.append(nn.MaxPool2d(tuple(kernel), tuple(stride), tuple(padding)))  # type: ignore[arg-type]
        else:
            layers.append(nn.AvgPool2d(tuple(kernel), tuple(stride)))  # type: ignore[arg-type]
        size[:] = (
            (n + 2 * p - k) // s + 1
            for n, k, s, p in zip(size, kernel, stride, padding, strict=True)
        )

    for _ in range(draw(st.integers(0, 3))):
        if draw(st.integers(0, 3)) == 0:
            n_out = draw(st.sampled_from([n_channels, 3]))
            layers.append(_Residual(n_channels, n_out, has_norm=draw(st.booleans())))
            n_channels = n_out
            continue
        draw_convolution()
        for kind in draw(st.lists(st.sampled_from(["norm", "pointwise", "pool"]), max_size=3)):
            if kind == "norm":
                layers.append(nn.BatchNorm2d(n_channels, affine=draw(st.booleans())))
            elif kind == "pointwise":
                layers.append(draw(st.sampled_from(_POINTWISE)))
            else:
                draw_pool()
    n_features = n_channels * size[0] * size[1]
    if draw(st.booleans()):
        pool = draw(st.sampled_from([nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d]))
        layers.append(pool(1))
        n_features = n_channels
    layers.append(nn.Flatten())
    has_parameters = any(True for layer in layers for _ in layer.parameters())
    ends_in_pool = n_features == n_channels > 1 and has_parameters
    n_linear = draw(st.integers(0 if ends_in_pool else 1, 3))
    for index in range(n_linear):
        n_out = draw(st.integers(2, 9))
        layers.append(nn.Linear(n_features, n_out, bias=draw(st.booleans())))
        n_features = n_out
        if index < n_linear - 1:
            if draw(st.booleans()):
                layers.append(nn.BatchNorm1d(n_out))
            layers.append(draw(st.sampled_from(_POINTWISE)))
    modules = nn.Sequential(*layers).modules()
    has_batch_norm = any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in modules)
    return _Network(tuple(layers), input_shape, n_features, has_batch_norm)


@st.composite
def _windows(draw: st.DrawFn, length: int) -> tuple[int, int, int, int]:
    """Kernel, stride, padding and dilation along one side of an image."""
    padding = draw(st.integers(0, 1))
    kernel = draw(st.integers(1, min(3, length + 2 * padding)))
    fits_dilated = 2 * (kernel - 1) < length + 2 * padding
    dilation = draw(st.integers(1, 2)) if fits_dilated else 1
    return kernel, draw(st.integers(1, 2)), padding, dilation


@engines
def test_where_a_network_makes_much_of_rounding_losses_are_as_exact_as_plain_passes(
    build_engine: _BuildEngine,
) -> None:
    """Two batch norms in a row over few pixels: some channels hardly vary round a large mean."""
    layers = (
        nn.Conv2d(2, 7, 1, stride=2),
        nn.ReLU(),
        nn.BatchNorm2d(7),
        nn.BatchNorm2d(7, affine=False),
        nn.Flatten(),
        nn.Linear(21, 4),
        nn.ReLU(),
        nn.Linear(4, 2),
    )
    network = _Network(layers, (2, 2, 5), 2, has_batch_norm=True)
    batches = Batches(torch.arange(4)[None], torch.zeros(2, dtype=torch.int64))
    errors = []
    for seed in range(200):
        model = network.build(seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        inputs, targets = _data(network, 4, seed)
        judge = _Judge(model, inputs, targets)
        exact, plain = (judge.loss(m, batches.images[0]) for m in (judge.exact, judge.plain))
        visits = build_engine(model, inputs, targets).visit_(
            "7.bias", 0, torch.zeros(1), batches, 1.0
        )
        loss = visits.losses[0, 0].item()
        errors.append((abs(loss - exact) / exact, abs(plain - exact) / exact))
    ours, theirs = torch.tensor(errors).sort(dim=0).values[[100, 180]].T
    assert theirs[1] > 1e-6
    assert (ours < 1.25 * theirs).all()


def _data(network: _Network, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, *network.input_shape, generator=generator)
    return inputs, torch.randint(network.n_classes, (n,), generator=generator)


@engines
@settings(max_examples=12, deadline=None)
@given(
    network=_networks(),
    seed=st.integers(0, 2**32),
    n_images=st.integers(4, 40),
    batch_share=st.floats(0, 1),
    drawing=st.sampled_from(["fresh", "with_replacement", "layer", "cycle"]),
    sampler=st.sampled_from(["normal", "uniform", "ternary"]),
    sigma=st.sampled_from([0.02, 0.3, 1.0]),
    decay=st.sampled_from([1.0, 0.99]),
    is_last_first=st.booleans(),
    first_share=st.floats(0, 1),
    chunks=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    has_double_softmax=st.booleans(),
)
def test_losses_and_decisions_are_those_of_plain_forward_passes(
    build_engine: _BuildEngine,
    network: _Network,
    seed: int,
    n_images: int,
    batch_share: float,
    drawing: Drawing,
    sampler: Sampler,
    sigma: float,
    decay: float,
    is_last_first: bool,
    first_share: float,
    chunks: list[int],
    has_double_softmax: bool,
) -> None:
    model = network.build(seed)
    inputs, targets = _data(network, n_images, seed)
    least = 4 if network.has_batch_norm else 1
    batch_size = least + round(batch_share * (n_images - least))
    generator = torch.Generator().manual_seed(seed)
    drawer = BatchDrawer(drawing, n_images, batch_size, generator)
    drawer.start_cycle()
    engine = build_engine(model, inputs, targets, has_double_softmax=has_double_softmax)
    judge = _Judge(model, inputs, targets, has_double_softmax)
    names = [name for name, _ in model.named_parameters()]
    for name in reversed(names) if is_last_first else names:
        n_weights = model.get_parameter(name).numel()
        batches = drawer.layer(n_weights)
        deltas = draw_deltas(sampler, sigma, n_weights, generator)
        first = round(first_share * max(0, n_weights - sum(chunks)))
        for n_visits in chunks:
            some = deltas[first : first + n_visits]
            if len(some):
                visits = engine.visit_(name, first, some, batches, decay)
                judge.judge(name, first, some, batches, decay, visits)
            first += n_visits
    assert judge.has_the_weights_of(model)


# ------------------------------------------------------------------------------ single promises


def _convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def _noise(n: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 6, 6, generator=generator), torch.arange(n) % 3


def _fresh(n_visits: int, batch_size: int, n: int = 48) -> Batches:
    generator = torch.Generator().manual_seed(n_visits)
    return BatchDrawer("fresh", n, batch_size, generator).layer(n_visits)


def _deltas(n: int, sigma: float = 0.3) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(n)) * sigma


@engines
def test_thousands_of_accepted_changes_wear_no_loss_out(build_engine: _BuildEngine) -> None:
    inputs, targets = _noise(120)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
    )
    engine, judge = build_engine(model, inputs, targets), _Judge(model, inputs, targets)
    generator = torch.Generator().manual_seed(0)
    drawer = BatchDrawer("fresh", 120, 16, generator)
    n_accepted = 0
    while n_accepted < 2000:
        for name, weights in reversed(list(model.named_parameters())):
            n = weights.numel()
            batches = drawer.layer(n)
            visits = engine.visit_(name, 0, draw_deltas("normal", 0.1, n, generator), batches, 1.0)
            n_accepted += int((visits.chosen != KEEP).sum())
            judge.exact.load_state_dict(model.state_dict())
            expected = judge.loss(judge.exact, batches.indices(n - 1))
            assert visits.chosen_losses()[-1].item() == pytest.approx(expected, rel=1e-5)


@engines
def test_a_double_softmax_scores_what_comes_of_the_first(build_engine: _BuildEngine) -> None:
    inputs, targets = _noise()
    model = _convolutional()
    engine = build_engine(model, inputs, targets, has_double_softmax=True)
    expected = engine.evaluate(inputs, targets)
    assert expected == pytest.approx(evaluate(model, inputs, targets))
    for name in ("7.bias", "7.weight", "0.weight"):
        n = model.get_parameter(name).numel()
        batches = _fresh(n, 16)
        losses = engine.visit_(name, 0, torch.zeros(n), batches, 1.0).losses[:, KEEP]
        with torch.no_grad(), batch_statistics(model):
            logits = model(inputs[batches.indices(n - 1)])
        probabilities = logits.double().softmax(dim=1)
        double = summed_cross_entropy(probabilities, targets[batches.indices(n - 1)]) / 16
        assert losses[-1].item() == pytest.approx(double.item(), rel=1e-5)
        # no loss of probabilities is outside of these, however bad they are
        assert losses.min() > math.log(1 + 2 / math.e)
        assert losses.max() < math.log(2 + math.e)


@engines
@pytest.mark.parametrize("batch_size", [1, 7, 48])
def test_how_many_weights_are_visited_at_a_time_changes_nothing(
    build_engine: _BuildEngine, batch_size: int
) -> None:
    inputs, targets = _noise()

    def visit(chunks: list[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        model = _convolutional()
        engine = build_engine(model, inputs, targets)
        losses = []
        for name in ("0.weight", "3.weight", "7.weight"):
            batches, first = _fresh(12, batch_size), 0
            for n_visits in chunks:
                some = _deltas(12)[first : first + n_visits]
                losses.append(engine.visit_(name, first, some, batches, 0.999).losses)
                first += n_visits
        return torch.cat(losses), list(model.parameters())

    losses, weights = visit([12])
    same_losses, same_weights = visit([1, 1, 2, 3, 5])
    assert torch.equal(losses, same_losses)
    assert all(torch.equal(*pair) for pair in zip(weights, same_weights, strict=True))


@engines
def test_weights_can_be_visited_in_any_order(build_engine: _BuildEngine) -> None:
    inputs, targets = _noise()
    model = _convolutional()
    engine, judge = build_engine(model, inputs, targets), _Judge(model, inputs, targets)
    for name in ("3.weight", "7.weight"):
        n_weights = model.get_parameter(name).numel()
        batches, deltas = _fresh(n_weights, 10), _deltas(n_weights)
        for first in (4, 0, 8, 2):
            some = deltas[first : first + 3]
            visits = engine.visit_(name, first, some, batches, 1.0)
            judge.judge(name, first, some, batches, 1.0, visits)


@engines
@pytest.mark.parametrize("changed", ["0.weight", "1.bias", "3.weight", "7.weight"])
@pytest.mark.parametrize("visited", ["0.weight", "3.bias", "7.weight"])
def test_weights_that_somebody_else_changes_are_noticed(
    build_engine: _BuildEngine, visited: str, changed: str
) -> None:
    inputs, targets = _noise()
    model = _convolutional()
    engine = build_engine(model, inputs, targets)
    n_weights = model.get_parameter(visited).numel()
    batches, deltas = _fresh(n_weights, 12), _deltas(n_weights)
    engine.visit_(visited, 0, deltas[:2], batches, 1.0)
    with torch.no_grad():
        model.get_parameter(changed).mul_(-1.5)
    judge = _Judge(model, inputs, targets)
    visits = engine.visit_(visited, 2, deltas[2:4], batches, 1.0)
    judge.judge(visited, 2, deltas[2:4], batches, 1.0, visits)


@engines
def test_weights_that_lie_elsewhere_between_two_calls_are_moved_there(
    build_engine: _BuildEngine,
) -> None:
    inputs, targets = _noise()
    model = _convolutional()
    engine = build_engine(model, inputs, targets)
    batches, deltas = _fresh(36, 12), _deltas(36)
    engine.visit_("3.weight", 0, deltas[:2], batches, 1.0)
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    judge = _Judge(model, inputs, targets)
    visits = engine.visit_("3.weight", 2, deltas[2:], batches, 1.0)
    judge.judge("3.weight", 2, deltas[2:], batches, 1.0, visits)
    assert judge.has_the_weights_of(model)


def _after_a_dead_relu() -> tuple[nn.Module, str]:
    model = _convolutional()
    nn.init.constant_(model.get_parameter("3.bias"), -1e3)
    return model, "3.weight"


def _before_a_dead_relu() -> tuple[nn.Module, str]:
    model, _ = _after_a_dead_relu()
    return model, "0.weight"


def _dead_activation_of_the_last_layer() -> tuple[nn.Module, str]:
    model, _ = _after_a_dead_relu()
    return model, "7.weight"


def _dead_logits() -> tuple[nn.Module, str]:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Threshold(1e9, 0.0)), "1.weight"


def _unread_channel() -> tuple[nn.Module, str]:
    model = _convolutional()
    nn.init.zeros_(model.get_parameter("3.weight"))
    return model, "1.bias"


_TIES = [
    _after_a_dead_relu, _before_a_dead_relu, _dead_activation_of_the_last_layer, _dead_logits,
    _unread_channel,
]  # fmt: skip


@engines
@pytest.mark.parametrize("build", _TIES)
def test_a_tie_keeps_the_weight_bit_for_bit(
    build_engine: _BuildEngine, build: Callable[[], tuple[nn.Module, str]]
) -> None:
    model, name = build()
    weights = model.get_parameter(name)
    before = weights.detach().clone()
    n = min(weights.numel(), 24)
    visits = build_engine(model, *_noise()).visit_(name, 0, _deltas(n, 0.01), _fresh(n, 13), 1.0)
    assert visits.chosen.tolist() == [KEEP] * n
    assert torch.equal(visits.losses, visits.losses[:, :1].expand(-1, 3))
    assert torch.equal(weights, before)


def _odd_features() -> nn.Module:
    """Of widths for which a matrix product rounds rows differently, depending on their place."""
    torch.manual_seed(0)
    hidden = [nn.Linear(13, 13), nn.Tanh()]
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 13), nn.Tanh(), *hidden, nn.Linear(13, 3))


@engines
@pytest.mark.parametrize(
    ("build", "name"),
    [
        *((_convolutional, name) for name in ("0.weight", "1.bias", "3.bias", "7.weight")),
        *((_odd_features, name) for name in ("1.weight", "3.bias", "5.weight")),
    ],
)
def test_a_perturbation_of_zero_keeps_the_weight_bit_for_bit(
    build_engine: _BuildEngine, build: Callable[[], nn.Module], name: str
) -> None:
    model = build()
    weights = model.get_parameter(name)
    before = weights.detach().clone()
    n = min(weights.numel(), 24)
    visits = build_engine(model, *_noise()).visit_(name, 0, torch.zeros(n), _fresh(n, 13), 1.0)
    assert visits.chosen.tolist() == [KEEP] * n
    assert torch.equal(weights, before)


@engines
@pytest.mark.parametrize("hidden", [[], [nn.Linear(5, 4), nn.Tanh()]])
def test_an_input_that_is_always_zero_moves_no_weight(
    build_engine: _BuildEngine, hidden: list[nn.Module]
) -> None:
    inputs, targets = torch.randn(48, 5), torch.arange(48) % 3
    inputs[:, 2] = 0
    model = nn.Sequential(*hidden, nn.Linear(4 if hidden else 5, 3))
    n = model.get_parameter("0.weight").numel()
    visits = build_engine(model, inputs, targets).visit_(
        "0.weight", 0, _deltas(n), _fresh(n, 48), 1.0
    )
    assert not visits.chosen[2::5].any()
    assert visits.chosen.any()


@engines
@pytest.mark.parametrize("decay", [0.5, 0.9999])
def test_a_kept_weight_is_multiplied_by_the_decay_and_no_more(
    build_engine: _BuildEngine, decay: float
) -> None:
    model, name = _dead_logits()
    weights = model.get_parameter(name).detach().view(-1)
    before = weights.clone()
    build_engine(model, *_noise()).visit_(name, 10, _deltas(24), _fresh(34, 13), decay)
    before[10:34] *= decay
    assert torch.equal(weights, before)


@engines
@pytest.mark.parametrize("name", ["0.weight", "1.weight", "3.weight", "3.bias", "7.weight"])
@pytest.mark.parametrize("delta", [3e38, math.inf, math.nan])
def test_a_candidate_without_a_finite_loss_is_never_accepted(
    build_engine: _BuildEngine, name: str, delta: float
) -> None:
    model = _convolutional()
    n = min(model.get_parameter(name).numel(), 24)
    visits = build_engine(model, *_noise()).visit_(
        name, 0, torch.full((n,), delta), _fresh(n, 13), 1.0
    )
    assert bool(visits.chosen_losses().isfinite().all())
    assert not visits.losses[:, KEEP].isnan().any()
    assert all(choose(losses) == choice for losses, choice in
               zip(visits.losses.tolist(), visits.chosen.tolist(), strict=True))  # fmt: skip


@engines
def test_the_better_of_both_directions_is_taken(build_engine: _BuildEngine) -> None:
    targets = torch.zeros(48, dtype=torch.int64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    engine = build_engine(model, _noise()[0], targets)
    # logit 0 has to rise and the others to fall
    up = engine.visit_("1.bias", 0, torch.full((3,), 0.1), _fresh(3, 16), 1.0)
    down = engine.visit_("1.bias", 0, torch.full((3,), -0.1), _fresh(3, 16), 1.0)
    assert up.chosen.tolist() == [PLUS, MINUS, MINUS]
    assert down.chosen.tolist() == [MINUS, PLUS, PLUS]


@engines
def test_the_data_may_be_memory_that_cannot_be_written(build_engine: _BuildEngine) -> None:
    inputs, targets = (tensor.numpy() for tensor in _noise())
    for array in (inputs, targets):
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = torch.from_numpy(inputs), torch.from_numpy(targets)
    model = _convolutional()
    engine, judge = build_engine(model, *data), _Judge(model, *data)
    visits = engine.visit_("0.weight", 0, _deltas(27), batches := _fresh(27, 16), 1.0)
    judge.judge("0.weight", 0, _deltas(27), batches, 1.0, visits)


@engines
def test_a_network_that_works_in_place_leaves_the_data_as_they_are(
    build_engine: _BuildEngine,
) -> None:
    inputs, targets = _noise()
    before = inputs.clone()
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 3))
    engine = build_engine(model, inputs, targets)
    visits = engine.visit_("2.weight", 0, _deltas(24), _fresh(24, 16), 1.0)
    assert torch.equal(inputs, before)
    plain = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    assert visits.chosen.any()
    plain.load_state_dict(model.state_dict())
    loss = _Judge(plain, inputs, targets).loss(plain, _fresh(24, 16).indices(23))
    assert visits.chosen_losses()[-1].item() == pytest.approx(loss, rel=1e-5)


@engines
@pytest.mark.parametrize("is_training", [True, False])
def test_buffers_and_modes_of_the_network_are_left_alone(
    build_engine: _BuildEngine, is_training: bool
) -> None:
    model = _convolutional().train(is_training)
    model[2].train(not is_training)  # type: ignore[index]
    modes = [module.training for module in model.modules()]
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    engine = build_engine(model, *_noise())
    for name in ("0.weight", "1.bias", "7.bias"):
        n = model.get_parameter(name).numel()
        engine.visit_(name, 0, _deltas(n), _fresh(n, 16), 1.0)
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
    assert [module.training for module in model.modules()] == modes
    assert all(p.requires_grad for p in model.parameters())


@engines
def test_a_convolution_that_gives_the_logits_need_not_read_all_pixels(
    build_engine: _BuildEngine,
) -> None:
    inputs, targets = _noise()
    model = nn.Sequential(nn.Conv2d(1, 3, 5, stride=2), nn.Flatten())
    engine, judge = build_engine(model, inputs, targets), _Judge(model, inputs, targets)
    for name, n in (("0.weight", 30), ("0.bias", 3)):
        visits = engine.visit_(name, 0, _deltas(n), batches := _fresh(n, 16), 0.99)
        judge.judge(name, 0, _deltas(n), batches, 0.99, visits)


@engines
def test_other_data_are_evaluated_with_the_moving_statistics(build_engine: _BuildEngine) -> None:
    inputs, targets = _noise()
    model = _convolutional()
    engine = build_engine(model, inputs, targets)
    engine.visit_("1.weight", 0, _deltas(3), _fresh(3, 16), 1.0)
    set_batch_norm_statistics_(model, inputs)
    loss, accuracy = engine.evaluate(inputs[:30] * 2, targets[:30])
    expected_loss, expected_accuracy = evaluate(model, inputs[:30] * 2, targets[:30])
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert accuracy == expected_accuracy


@engines
def test_no_weight_is_moved_but_the_visited_ones(build_engine: _BuildEngine) -> None:
    model = _convolutional()
    before = copy.deepcopy(model)
    build_engine(model, *_noise()).visit_("3.weight", 20, _deltas(9), _fresh(48, 16), 0.9)
    for name, weights in model.named_parameters():
        is_moved = (weights != before.get_parameter(name)).view(-1)
        assert is_moved.nonzero().flatten().tolist() == (
            list(range(20, 29)) if name == "3.weight" else []
        )
