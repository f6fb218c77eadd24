"""The device engine tells the host nothing while it visits, and does the same for every weight."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from rso_core.batches import BatchDrawer, Batches
from rso_core.engines import ReferenceEngine, choose
from rso_core.incremental import device_engine
from rso_core.incremental.device_batches import DeviceBatches
from rso_core.incremental.device_engine import DeviceEngine
from rso_core.incremental.device_session import (
    N_EAGER_STEPS,
    CapturedSteps,
    EagerSteps,
    chosen_candidate,
)
from rso_core.incremental.graph import UnsupportedNetwork

_Operations = list[tuple[str, tuple[torch.Size, ...]]]

_WAITING = {
    "aten._local_scalar_dense", "aten.is_nonzero", "aten.equal", "aten.nonzero",
    "aten.masked_select", "aten._unique2", "aten.lift_fresh",
}  # fmt: skip
"""Operations for which the host waits for the device, or the other way round."""


class _Recorder(TorchDispatchMode):
    """Writes down every operation with the shapes that it reads; refuses those that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: _Operations = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = str(func.overloadpacket)
        assert name not in _WAITING, f"{name} waits"
        if name == "aten.index":
            assert all(index is None or index.dtype != torch.bool for index in args[1])
        flat = [x for a in args for x in (a if isinstance(a, list | tuple) else [a])]
        shapes = tuple(x.shape for x in flat if isinstance(x, torch.Tensor))
        self.operations.append((name, shapes))
        return func(*args, **kwargs or {})


@contextmanager
def _recorded_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[_Operations]]:
    """The operations of every visit."""
    steps: list[_Operations] = []
    run = EagerSteps.run

    def recording_run(self: EagerSteps, n_steps: int) -> None:
        for _ in range(n_steps):
            with _Recorder() as recorder:
                run(self, 1)
            steps.append(recorder.operations)

    with monkeypatch.context() as patch:
        patch.setattr(EagerSteps, "run", recording_run)
        yield steps


class _Network(nn.Module):
    """Batch norm, pools, a residual link and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(36, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(self.conv1(x))
        x = self.pool(self.relu(self.norm2(self.conv2(self.relu(x))) + x))
        return self.last(self.relu(self.hidden(x.flatten(1))))  # type: ignore[no-any-return]


_NAMES = [name for name, _ in _Network().named_parameters()]


def _data(n: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 6, 6, generator=generator), torch.arange(n) % 3


def _batches(n_visits: int, batch_size: int = 8, n: int = 48) -> Batches:
    return BatchDrawer("fresh", n, batch_size, torch.Generator().manual_seed(0)).layer(n_visits)


def _steps_of(
    monkeypatch: pytest.MonkeyPatch, name: str, n: int, batch_size: int, memory_bytes: int | None
) -> list[_Operations]:
    model = _Network()
    engine = DeviceEngine(model, *_data(n), memory_bytes=memory_bytes)
    n_visits = min(6, model.get_parameter(name).numel())
    with _recorded_steps(monkeypatch) as steps:
        engine.visit_(name, 0, torch.randn(n_visits), _batches(n_visits, batch_size, n), 0.9)
    assert len(steps) == n_visits
    return steps


@pytest.mark.parametrize("memory_bytes", [None, 0])
@pytest.mark.parametrize("name", _NAMES)
def test_every_visit_consists_of_the_same_operations_and_none_of_them_waits(
    monkeypatch: pytest.MonkeyPatch, name: str, memory_bytes: int | None
) -> None:
    first, *others = _steps_of(monkeypatch, name, 48, 8, memory_bytes)
    assert all(step == first for step in others)


@pytest.mark.parametrize("name", _NAMES)
def test_the_number_of_operations_does_not_depend_on_the_number_of_images(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    few = _steps_of(monkeypatch, name, 12, 6, None)[0]
    many = _steps_of(monkeypatch, name, 96, 16, None)[0]
    assert [operation for operation, _ in few] == [operation for operation, _ in many]


def _n_calls(step: _Operations, operation: str) -> int:
    return sum(name == operation for name, _ in step)


def test_what_comes_before_the_visited_layer_is_computed_once_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = _steps_of(monkeypatch, "hidden.weight", 48, 8, None)[0]
    anew = _steps_of(monkeypatch, "hidden.weight", 48, 8, 0)[0]
    assert _n_calls(kept, "aten.convolution") == 0
    assert _n_calls(anew, "aten.convolution") == 2


def test_visits_of_the_last_layer_multiply_no_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("last.weight", "last.bias"):
        step = _steps_of(monkeypatch, name, 48, 8, None)[0]
        assert not {"aten.mm", "aten.addmm", "aten.convolution"} & {name for name, _ in step}


def test_candidates_go_through_one_channel_until_the_next_convolution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = _steps_of(monkeypatch, "conv1.weight", 48, 8, None)[0]
    convolutions = [shapes[:2] for name, shapes in step if name == "aten.convolution"]
    assert convolutions == [
        ((8, 1, 6, 6), (4, 1, 3, 3)),  # all channels with the kept weight
        ((8, 1, 6, 6), (3, 1, 3, 3)),  # the visited one of three candidates
        ((24, 1, 6, 6), (4, 1, 3, 3)),  # the share of the channel's change in the next layer
        ((8, 4, 6, 6), (4, 4, 3, 3)),  # the next layer with the kept weight
    ]


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[DeviceBatches]:
    """Grows with every session that the engine starts."""
    started: list[DeviceBatches] = []

    def starting(*arguments: Any) -> DeviceBatches:
        started.append(DeviceBatches(*arguments))
        return started[-1]

    monkeypatch.setattr(device_engine, "DeviceBatches", starting)
    return started


def test_a_session_goes_on_over_consecutive_calls(sessions: list[DeviceBatches]) -> None:
    model = _Network()
    engine, batches = DeviceEngine(model, *_data()), _batches(20)
    for first in (0, 1, 5, 12):
        engine.visit_("conv2.weight", first, torch.randn(3), batches, 1.0)
    assert len(sessions) == 1


def _other_batches(engine: DeviceEngine, model: nn.Module, batches: Batches) -> None:
    engine.visit_("conv2.weight", 3, torch.randn(3), _batches(20), 1.0)


def _other_parameter(engine: DeviceEngine, model: nn.Module, batches: Batches) -> None:
    engine.visit_("norm1.bias", 3, torch.randn(1), batches, 1.0)


def _earlier_weights(engine: DeviceEngine, model: nn.Module, batches: Batches) -> None:
    engine.visit_("conv2.weight", 1, torch.randn(3), batches, 1.0)


def _changed_weights(engine: DeviceEngine, model: nn.Module, batches: Batches) -> None:
    nn.init.ones_(model.get_parameter("conv1.bias"))
    engine.visit_("conv2.weight", 5, torch.randn(3), batches, 1.0)


def _weights_in_another_place(engine: DeviceEngine, model: nn.Module, batches: Batches) -> None:
    weights = model.get_parameter("conv2.weight")
    weights.data = weights.data.clone()
    before = weights.detach().clone()
    engine.visit_("conv2.weight", 5, torch.randn(9), batches, 0.5)
    assert not torch.equal(weights, before)


@pytest.mark.parametrize(
    "goes_on",
    [
        _other_batches, _other_parameter, _earlier_weights, _changed_weights,
        _weights_in_another_place,
    ],
)  # fmt: skip
def test_a_new_session_starts_where_anything_has_changed(
    sessions: list[DeviceBatches],
    goes_on: Callable[[DeviceEngine, nn.Module, Batches], None],
) -> None:
    model, batches = _Network(), _batches(20)
    engine = DeviceEngine(model, *_data())
    engine.visit_("conv2.weight", 2, torch.randn(3), batches, 1.0)
    goes_on(engine, model, batches)
    assert len(sessions) == 2


def test_batches_that_no_visit_draws_are_not_prepared(sessions: list[DeviceBatches]) -> None:
    engine = DeviceEngine(_Network(), *_data())
    drawn = torch.tensor([1, 1, 4, 2, 4, 4])
    batches = Batches(torch.arange(48).view(6, 8), drawn)
    engine.visit_("norm1.weight", 2, torch.randn(2), batches, 1.0)
    assert sessions[0].n_slots == 2


@given(st.lists(st.floats(width=32), min_size=3, max_size=3))
def test_the_choice_is_that_of_the_reference_engine(losses: list[float]) -> None:
    assert chosen_candidate(torch.tensor(losses, dtype=torch.float64)).tolist() == [choose(losses)]


def test_a_network_that_is_not_known_is_refused_at_once() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Softmax(1))
    with pytest.raises(UnsupportedNetwork, match="holds a module of type Softmax"):
        DeviceEngine(model, *_data())


def test_other_numbers_than_float32_are_refused() -> None:
    inputs, targets = _data()
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).double()
    with pytest.raises(UnsupportedNetwork, match=r"it holds torch.float64 on cpu, not torch.float"):
        DeviceEngine(model, inputs, targets)


# ------------------------------------------------------------------------------- on a CUDA device


class _FakeGraph:
    def __init__(self, log: list[str]) -> None:
        self._log = log

    def replay(self) -> None:
        self._log.append("replayed")


def test_the_first_steps_are_the_warm_up_of_the_one_that_is_captured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a device: what is called, and in which order."""
    log: list[str] = []
    mode = ["carried out"]

    class Stream:
        def __init__(self, device: torch.device | None = None) -> None: ...

        def wait_stream(self, stream: Stream) -> None:
            log.append("waited")

    @contextmanager
    def within(*_: object, **__: object) -> Iterator[None]:
        yield

    @contextmanager
    def capturing(graph: _FakeGraph, stream: Stream) -> Iterator[None]:
        mode[0] = "captured"
        yield
        mode[0] = "carried out"

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "device", within)
    monkeypatch.setattr(torch.cuda, "graph", capturing)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: _FakeGraph(log))
    steps = CapturedSteps(lambda: log.append(mode[0]), torch.device("cuda"))

    steps.run(N_EAGER_STEPS - 1)
    assert log == ["waited", *["carried out"] * (N_EAGER_STEPS - 1), "waited"]
    log.clear()
    steps.run(4)
    assert log == ["waited", "carried out", "waited", "captured", *["replayed"] * 3]
    log.clear()
    steps.run(5)
    assert log == ["replayed"] * 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("memory_bytes", [None, 0])
def test_losses_on_a_cuda_device_are_those_of_the_processor(memory_bytes: int | None) -> None:
    model, data = _Network(), _data()
    on_device = copy.deepcopy(model).cuda()
    engine = DeviceEngine(on_device, *(d.cuda() for d in data), memory_bytes=memory_bytes)
    reference = ReferenceEngine(model, *data)
    for name, weights in model.named_parameters():
        n = weights.numel()
        batches, deltas = _batches(n), torch.randn(n) * 0.1
        for first in range(0, n, 50):
            arguments = (name, first, deltas[first : first + 50], batches, 0.999)
            torch.testing.assert_close(
                engine.visit_(*arguments).losses, reference.visit_(*arguments).losses,
                rtol=1e-5, atol=1e-7,
            )  # fmt: skip
            # a tie within rounding may have gone either way
            on_device.load_state_dict(model.state_dict())
