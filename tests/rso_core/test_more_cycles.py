"""A training that is over can be gone on with for more cycles."""

from __future__ import annotations

import io
import math
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from rso_core.records import CycleRecord
from rso_core.sigma import annealing_factor
from rso_core.training import Training, UnusableState, fresh_network

State = dict[str, Any]


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user's module with an optimiser, and with one whose state holds its number of cycles."""
    name = "own_code_for_more_cycles"
    (tmp_path / f"{name}.py").write_text(
        textwrap.dedent(
            """
            import copy
            import torch
            from pydantic import BaseModel, ConfigDict
            from rso_core.evaluation import evaluate
            from rso_core.records import CycleOutcome

            class Options(BaseModel):
                model_config = ConfigDict(frozen=True, extra="forbid")
                step: float = 0.01

            class RandomWalk:
                Options = Options

                def __init__(self, model, inputs, targets, *, batch_size, cycles, options,
                             generator, on_progress=None):
                    self.model, self.generator, self.step = model, generator, options.step
                    self.inputs, self.targets = inputs, targets
                    self.cycle, self.cycles = 0, cycles

                @staticmethod
                def n_visits(model, options):
                    return 0

                def state_dict(self):
                    return {
                        "cycle": self.cycle,
                        "generator": self.generator.get_state(),
                        "model": copy.deepcopy(self.model.state_dict()),
                    }

                def load_state_dict(self, state):
                    self.cycle = state["cycle"]
                    self.generator.set_state(state["generator"])
                    self.model.load_state_dict(state["model"])

                def run(self):
                    while self.cycle < self.cycles:
                        for p in self.model.parameters():
                            p.data += self.step * torch.randn(p.shape, generator=self.generator)
                        self.cycle += 1
                        loss, _ = evaluate(self.model, self.inputs, self.targets)
                        yield CycleOutcome(self.cycle, loss, 0, 0, len(self.targets), 0.0)

                def prepare_evaluation_(self):
                    pass

                def evaluate(self, inputs, targets):
                    return evaluate(self.model, inputs, targets)

            class Stubborn(RandomWalk):
                def state_dict(self):
                    return super().state_dict() | {"cycles": self.cycles}

                def load_state_dict(self, state):
                    super().load_state_dict(state)
                    self.cycles = state["cycles"]

            class Proud(RandomWalk):
                def load_state_dict(self, state):
                    assert state["cycle"] == self.cycles, "a finished walk is perfect"
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def _configuration(optimizer: str, cycles: int, **options: Any) -> Configuration:
    values = {"architecture": "mlp(5)", "batch_size": 30, "optimizer": optimizer, **options}
    return Configuration.from_values(values, cycles)


def _trained(configuration: Configuration, data: Dataset, state: State | None = None) -> Training:
    training = Training(configuration, data, 3, state=state)
    for _ in training:
        pass
    return training


def _final_state(configuration: Configuration, data: Dataset) -> State:
    """As it comes back from a file, read without executing code."""
    file = io.BytesIO()
    torch.save(_trained(configuration, data).state_dict(), file)
    file.seek(0)
    state: State = torch.load(file, weights_only=True)
    return state


def _records(training: Training) -> list[CycleRecord]:
    return [replace(record, training_s=0.0, evaluation_s=0.0) for record in training.records]


def _assert_equal(one: Training, other: Training) -> None:
    assert _records(one) == _records(other)
    weights = other.weights()
    assert all(torch.equal(weights[name], tensor) for name, tensor in one.weights().items())


@pytest.mark.parametrize("architecture", ["one_conv", "mlp(5)"])
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("rso", {"engine": "incremental", "annealing": "none"}),
        ("rso", {"engine": "incremental", "final_fraction": 1.0, "batch_drawing": "layer"}),
        ("rso", {"engine": "reference", "annealing": "none", "batch_drawing": "with_replacement"}),
        ("sgd", {"momentum": 0.9}),
        ("sgd", {"schedule": "step", "step_cycles": 1, "step_factor": 0.5}),
        ("adam", {"weight_decay": 1e-3}),
    ],
)
def test_a_training_that_is_given_more_cycles_is_one_that_had_them_from_the_start(
    optimizer: str, options: dict[str, Any], architecture: str, small_data: Dataset
) -> None:
    options = options | {"architecture": architecture}
    state = _final_state(_configuration(optimizer, 2, **options), small_data)
    grown = Training(_configuration(optimizer, 4, **options), small_data, 3, state=state)
    assert [record.cycle for record in grown.records] == [1, 2]
    assert [record.cycle for record in grown] == [3, 4]
    _assert_equal(grown, _trained(_configuration(optimizer, 4, **options), small_data))


@pytest.mark.parametrize("optimizer", ["rso", "sgd"])
def test_a_training_may_be_given_more_cycles_again_and_again(
    optimizer: str, small_data: Dataset
) -> None:
    options = {"annealing": "none"} if optimizer == "rso" else {"momentum": 0.5}
    state = None
    for cycles in (1, 2, 4):
        grown = _trained(_configuration(optimizer, cycles, **options), small_data, state)
        state = grown.state_dict()
    _assert_equal(grown, _trained(_configuration(optimizer, 4, **options), small_data))


def test_a_final_state_needs_no_more_training_for_the_same_number_of_cycles(
    small_data: Dataset,
) -> None:
    configuration = _configuration("rso", 2)
    state = _final_state(configuration, small_data)
    again = Training(configuration, small_data, 3, state=state)
    assert list(again) == []
    _assert_equal(again, _trained(configuration, small_data))


@pytest.mark.parametrize("annealing", ["paper", "authors"])
def test_sigma_is_annealed_over_the_new_number_of_cycles_from_there_on(
    annealing: Any, small_data: Dataset
) -> None:
    short, long = (_configuration("rso", cycles, annealing=annealing) for cycles in (2, 5))
    grown = _trained(long, small_data, _final_state(short, small_data))
    sigmas = [record.layers[0].sigma for record in grown.records]
    factors = [annealing_factor(annealing, 0.1, cycle, 2) for cycle in (1, 2)]
    factors += [annealing_factor(annealing, 0.1, cycle, 5) for cycle in (3, 4, 5)]
    assert sigmas == [sigmas[0] * factor for factor in factors]
    assert sigmas[2] > sigmas[1]


def test_a_cosine_goes_on_along_that_over_the_new_number_of_cycles(small_data: Dataset) -> None:
    """Softmax regression on one batch of all images, followed by hand; two parameter tensors."""
    options = {"architecture": "mlp()", "batch_size": 120, "learning_rate": 0.5}
    short, long = (_configuration("sgd", n, schedule="cosine", **options) for n in (2, 4))
    grown = _trained(long, small_data, _final_state(short, small_data))
    model = fresh_network(long, small_data, seed=3)
    for step, n_steps in enumerate((2, 2, 4, 4)):
        loss = functional.cross_entropy(model(small_data.train_inputs), small_data.train_targets)
        assert grown.records[step].training_loss == pytest.approx(loss.item(), rel=1e-5)
        parameters = list(model.parameters())
        rate = 0.5 * (1 + math.cos(math.pi * step / n_steps)) / 2
        with torch.no_grad():
            for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                p -= rate * gradient
    last = functional.cross_entropy(model(small_data.test_inputs), small_data.test_targets)
    assert grown.records[-1].test_loss == pytest.approx(last.item(), rel=1e-5)


def test_a_cosine_that_has_grown_is_resumed_to_the_last_bit(small_data: Dataset) -> None:
    short, long = (_configuration("sgd", n, schedule="cosine") for n in (2, 5))
    undisturbed = Training(long, small_data, 3, state=_final_state(short, small_data))
    next(iter(undisturbed))
    state = undisturbed.state_dict()
    resumed = _trained(long, small_data, state)
    twice = _trained(long, small_data, _final_state(short, small_data))
    _assert_equal(resumed, twice)


def test_a_state_with_more_cycles_than_are_asked_for_is_refused(small_data: Dataset) -> None:
    state = _final_state(_configuration("sgd", 3), small_data)
    with pytest.raises(UnusableState, match=r"^its 'cycles' is 3, not 2 or fewer$"):
        Training(_configuration("sgd", 2), small_data, 3, state=state)
    with pytest.raises(UnusableState, match=r"^it has records of 3 cycles, not 2$"):
        Training(_configuration("sgd", 2), small_data, 3, state=state | {"cycles": 2})
    with pytest.raises(UnusableState, match=r"^its 'cycles' is None, not 4 or fewer$"):
        Training(_configuration("sgd", 4), small_data, 3, state=state | {"cycles": None})


@pytest.mark.parametrize(
    ("seed", "options"), [(4, {}), (3, {"learning_rate": 0.5}), (3, {"batch_size": 31})]
)
def test_more_cycles_are_no_licence_for_another_training(
    seed: int, options: dict[str, Any], small_data: Dataset
) -> None:
    state = _final_state(_configuration("sgd", 2), small_data)
    with pytest.raises(UnusableState):
        Training(_configuration("sgd", 4, **options), small_data, seed, state=state)


# ------------------------------------------------------------------------- a user's own optimiser


def test_a_users_optimiser_is_given_more_cycles(small_data: Dataset, own_module: str) -> None:
    name = f"{own_module}:RandomWalk"
    state = _final_state(_configuration(name, 2), small_data)
    grown = _trained(_configuration(name, 4), small_data, state)
    _assert_equal(grown, _trained(_configuration(name, 4), small_data))


def test_a_users_optimiser_that_clings_to_its_number_of_cycles_is_told_so(
    small_data: Dataset, own_module: str
) -> None:
    name = f"{own_module}:Stubborn"
    state = _final_state(_configuration(name, 2), small_data)
    with pytest.raises(InvalidInput) as caught:
        _trained(_configuration(name, 4), small_data, state)
    assert str(caught.value) == (
        f"'optimizer' must yield an outcome for every cycle, but {name} ended before cycle 3 of 4; "
        "its state must not bring back the number of cycles, which may have grown since"
    )


def test_whatever_a_users_optimiser_raises_on_a_state_marks_it_as_unusable(
    small_data: Dataset, own_module: str
) -> None:
    name = f"{own_module}:Proud"
    state = _final_state(_configuration(name, 2), small_data)
    with pytest.raises(UnusableState, match="AssertionError: a finished walk is perfect"):
        Training(_configuration(name, 4), small_data, 3, state=state)
