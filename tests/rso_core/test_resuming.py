"""A run that is left at any time and gone on with from its state gives the same numbers."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rso_core.batches import Drawing
from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.incremental import engine as incremental_engine
from rso_core.optimizers import rso as rso_module
from rso_core.optimizers import sgd as sgd_module
from rso_core.records import CycleRecord, Progress
from rso_core.sigma import annealing_factor
from rso_core.training import Training, UnusableState

_TIMES = {"training_s": 0.0, "evaluation_s": 0.0}


@pytest.fixture(autouse=True)
def _all_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rso_module, sgd_module):
        monkeypatch.setattr(module, "PROGRESS_INTERVAL_S", -1.0)


def _configuration(optimizer: str, architecture: str, **options: Any) -> Configuration:
    values = {"architecture": architecture, "batch_size": 30, "optimizer": optimizer, **options}
    return Configuration.from_values(values, cycles=3)


def _without_times(records: list[CycleRecord]) -> list[CycleRecord]:
    return [dataclasses.replace(record, **_TIMES) for record in records]


def _stored(state: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from a file, read without executing code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


class _States:
    """The states at all times at which progress is told, and after every cycle."""

    def __init__(
        self,
        configuration: Configuration,
        data: Dataset,
        seed: int = 3,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.at_progress: list[dict[str, Any]] = []
        self.training = Training(configuration, data, seed, on_progress=self._take, state=state)
        self.after_cycles = []
        for _ in self.training:
            self.after_cycles.append(_stored(self.training.state_dict()))

    def _take(self, _: Progress) -> None:
        self.at_progress.append(_stored(self.training.state_dict()))


def _network_with_everything(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 2, 3),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(8, n_classes),
    )


def _network_that_draws_numbers(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0.1 * torch.randn(x.shape)

    return nn.Sequential(nn.Flatten(), Noisy(), nn.Linear(36, n_classes))


_EVERYTHING = f"{__name__}:_network_with_everything"
_NOISY = f"{__name__}:_network_that_draws_numbers"


@pytest.mark.parametrize(
    ("optimizer", "architecture", "options"),
    [
        ("rso", _EVERYTHING, {}),
        ("rso", _EVERYTHING, {"engine": "reference", "weight_decay": 1e-3}),
        ("rso", _NOISY, {}),
        ("rso", "mlp(5)", {"batch_drawing": "layer", "sampler": "ternary"}),
        ("rso", "mlp(5)", {"batch_drawing": "cycle", "layer_order": "first_to_last"}),
        ("rso", "mlp(5)", {"batch_drawing": "with_replacement"}),
        ("sgd", _EVERYTHING, {"momentum": 0.9, "schedule": "cosine"}),
        ("sgd", "mlp(5)", {"schedule": "step", "step_cycles": 1}),
        ("adam", _NOISY, {}),
    ],
)
def test_every_state_leads_to_the_numbers_of_the_undisturbed_run(
    optimizer: str,
    architecture: str,
    options: dict[str, Any],
    small_data: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incremental_engine, "RESUMABLE_FLOP", 50_000.0)
    configuration = _configuration(optimizer, architecture, **options)
    run = _States(configuration, small_data)
    assert len(run.at_progress) >= 12
    some = run.at_progress[:: max(1, len(run.at_progress) // 8)]
    for state in [*some, run.at_progress[-1], *run.after_cycles]:
        resumed = Training(configuration, small_data, 3, state=state)
        n_known = len(resumed.records)
        new = list(resumed)
        assert [record.cycle for record in new] == list(range(n_known + 1, 4))
        assert _without_times(resumed.records) == _without_times(run.training.records)
        for name, weights in run.training.weights().items():
            assert torch.equal(resumed.weights()[name], weights), name


@settings(max_examples=8, deadline=None)
@given(
    drawing=st.sampled_from(["fresh", "with_replacement", "layer", "cycle"]),
    flop=st.sampled_from([1.0, 3e4, 1e6, 1e12]),
    places=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    seed=st.integers(0, 2**31),
)
def test_a_run_may_be_interrupted_again_and_again(
    drawing: Drawing, flop: float, places: list[float], seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental_engine, "RESUMABLE_FLOP", flop)
        data = _noise(seed)
        configuration = _configuration("rso", _EVERYTHING, batch_drawing=drawing)
        undisturbed = Training(configuration, data, seed)
        with pytest.MonkeyPatch.context() as all_at_once:  # the others visit one by one
            all_at_once.setattr(rso_module, "PROGRESS_INTERVAL_S", 1e9)
            list(undisturbed)
        state: dict[str, Any] | None = None
        for place in places:
            states = _States(configuration, data, seed, state).at_progress
            if states:
                state = states[round(place * (len(states) - 1))]
        resumed = Training(configuration, data, seed, state=state)
        list(resumed)
        assert _without_times(resumed.records) == _without_times(undisturbed.records)
        assert all(
            torch.equal(resumed.weights()[name], weights)
            for name, weights in undisturbed.weights().items()
        )


def _noise(seed: int) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, Any] = {}
    for part, n in (("train", 90), ("validation", 10), ("test", 20)):
        parts[f"{part}_inputs"] = torch.randn(n, 1, 6, 6, generator=generator)
        parts[f"{part}_targets"] = torch.randint(3, (n,), generator=generator)
    return Dataset(name="noise", n_classes=3, **parts)


@pytest.mark.parametrize("optimizer", ["rso", "sgd"])
def test_seconds_go_on_from_those_of_the_state(optimizer: str, small_data: Dataset) -> None:
    configuration = _configuration(optimizer, "mlp(5)")
    run = _States(configuration, small_data)
    state = run.at_progress[len(run.at_progress) // 3 - 1]  # within the first cycle
    place = "cycle" if optimizer == "rso" else "epoch"
    state["optimizer"][place]["seconds"] += 1000.0
    record = next(iter(Training(configuration, small_data, 3, state=state)))
    assert 1000 < record.training_s < 1100


def test_a_state_does_not_change_as_its_training_goes_on(small_data: Dataset) -> None:
    for optimizer in ("rso", "sgd"):
        training = Training(_configuration(optimizer, "mlp(5)"), small_data, 0)
        rest = iter(training)
        next(rest)
        state = training.state_dict()
        before = _stored(state)
        list(rest)
        assert _flat(state) == _flat(before)


def _flat(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.tolist()
    if isinstance(state, dict):
        return {key: _flat(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_flat(value) for value in state]
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "its 'seed' is 4, not 3"),
        ({"format": 0}, "its 'format' is 0, not 1"),
        ({"cycles": 9}, "its 'cycles' is 9, not 3 or fewer"),
        ({"n_training_images": 7}, "its 'n_training_images' is 7, not 120"),
        ({"configuration": {}}, "its 'configuration' is {}, not {'architecture': 'mlp(5)'"),
        ({"optimizer": {}}, "KeyError: 'model'"),
        ({"records": [{}]}, "KeyError: 'layers'"),
    ],
)
def test_a_state_of_something_else_is_refused(
    change: dict[str, Any], message: str, small_data: Dataset
) -> None:
    configuration = _configuration("rso", "mlp(5)")
    training = Training(configuration, small_data, 3)
    next(iter(training))
    with pytest.raises(UnusableState) as caught:
        Training(configuration, small_data, 3, state={**training.state_dict(), **change})
    assert message in str(caught.value)


def test_a_cycle_that_has_begun_keeps_its_sigma_as_the_number_of_cycles_grows(
    small_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental_engine, "RESUMABLE_FLOP", 50_000.0)
    run = _States(_configuration("rso", "mlp(5)"), small_data)  # annealed over three cycles
    state = next(
        state for state in run.at_progress if len(state["records"]) == 1 and _is_within(state)
    )
    values = _configuration("rso", "mlp(5)").values()
    monkeypatch.setattr(rso_module, "PROGRESS_INTERVAL_S", 1e9)
    grown = Training(Configuration.from_values(values, cycles=5), small_data, 3, state=state)
    second, third, *_ = list(grown)
    assert _without_times([second]) == _without_times(run.training.records[1:2])
    first = run.training.records[0]
    for layer, before in zip(third.layers, first.layers, strict=True):
        assert layer.sigma == before.sigma * annealing_factor("paper", 0.1, 3, 5)


def _is_within(state: dict[str, Any]) -> bool:
    """Whether a layer has been begun and not ended."""
    return len(state["optimizer"]["cycle"]["chosen_losses"]) > 0


def test_a_layer_with_much_work_can_be_resumed_within_it() -> None:
    from rso_core.incremental.engine import IncrementalEngine
    from rso_core.networks import build_network

    model = build_network("paper_mnist", (1, 28, 28), 10)
    engine = IncrementalEngine(model, torch.zeros(10, 1, 28, 28), torch.zeros(10, dtype=torch.long))
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    name = next(n for n in sizes if sizes[n] > 2000)
    few, many = (engine.resumable_every(name, size) for size in (64, 5000))
    assert few > sizes[name]
    assert 20 < many < sizes[name]
    last = list(sizes)[-2]
    assert engine.resumable_every(last, 5000) > sizes[last]
