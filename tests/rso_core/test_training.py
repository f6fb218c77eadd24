"""One training run: what is equal between runs, what they leave alone, and what they reach."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import rso_core
from rso_core.configuration import Configuration
from rso_core.datasets import DataOptions, Dataset, load_dataset
from rso_core.errors import InvalidInput
from rso_core.optimizers import OPTIMIZERS
from rso_core.records import CycleRecord, Progress
from rso_core.training import Training, TrainingDiverged, fresh_network, train

SUBPROCESS = """
import json, sys
from dataclasses import asdict
import torch
from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.training import train

path, values, cycles, seed = sys.argv[1], json.loads(sys.argv[2]), *map(int, sys.argv[3:])
data = Dataset(**torch.load(path))
for record in train(Configuration.from_values(values, cycles), data, seed):
    print(json.dumps(asdict(record)))
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user's module with networks and an optimiser; its name."""
    name = "own_code_for_training"
    (tmp_path / f"{name}.py").write_text(
        textwrap.dedent(
            """
            import copy
            import torch
            from pydantic import BaseModel, ConfigDict
            from torch import nn
            from torch.nn import functional
            from rso_core.evaluation import evaluate
            from rso_core.records import CycleOutcome

            def batch_norm(input_shape, n_classes):
                return nn.Sequential(
                    nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                    nn.Flatten(), nn.Linear(16, n_classes),
                )

            def dropout(input_shape, n_classes):
                return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, n_classes))

            def no_dropout(input_shape, n_classes):
                return nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(36, n_classes))

            drawn = []

            class Noisy(nn.Linear):
                def forward(self, inputs):
                    if self.training:
                        drawn.append(torch.rand(()).item())
                    return super().forward(inputs)

            def noisy(input_shape, n_classes):
                return nn.Sequential(nn.Flatten(), Noisy(36, n_classes))

            def wrong_logits(input_shape, n_classes):
                return nn.Sequential(nn.Flatten(), nn.Linear(36, n_classes + 1))

            class SignDescentOptions(BaseModel):
                model_config = ConfigDict(frozen=True, extra="forbid")
                step: float = 0.01

            class SignDescent:
                Options = SignDescentOptions

                def __init__(self, model, inputs, targets, *, batch_size, cycles, options,
                             generator, on_progress=None):
                    self.model, self.inputs, self.targets = model, inputs, targets
                    self.cycle, self.cycles, self.step = 0, cycles, options.step

                @staticmethod
                def n_visits(model, options):
                    return 0

                def state_dict(self):
                    return {"cycle": self.cycle, "model": copy.deepcopy(self.model.state_dict())}

                def load_state_dict(self, state):
                    self.cycle = state["cycle"]
                    self.model.load_state_dict(state["model"])

                def run(self):
                    parameters = list(self.model.parameters())
                    while self.cycle < self.cycles:
                        loss = functional.cross_entropy(self.model(self.inputs), self.targets)
                        with torch.no_grad():
                            for p, g in zip(parameters, torch.autograd.grad(loss, parameters)):
                                p -= self.step * g.sign()
                        self.cycle += 1
                        yield CycleOutcome(self.cycle, loss.item(), 0, 0, len(self.targets), 0.0)

                def prepare_evaluation_(self):
                    pass

                def evaluate(self, inputs, targets):
                    return evaluate(self.model, inputs, targets)

            class Half:
                Options = SignDescentOptions

                def run(self):
                    pass
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """2000 training and 1000 test images."""
    options = DataOptions(train_size=2000, validation_size=0, test_size=1000)
    return load_dataset(options, tmp_path_factory.mktemp("cache"))


def _configuration(optimizer: str, cycles: int = 2, **values: Any) -> Configuration:
    defaults = {"architecture": "mlp(4)", "batch_size": 30, "optimizer": optimizer}
    return Configuration.from_values(defaults | values, cycles)


def _records(
    configuration: Configuration, data: Dataset, seed: int = 0, **options: Any
) -> list[dict[str, Any]]:
    return [_without_times(asdict(x)) for x in train(configuration, data, seed, **options)]


def _without_times(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not name.endswith("_s")}


# ------------------------------------------------------------------------------- reproducibility


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_is_repeated_exactly(small_data: Dataset, optimizer: str) -> None:
    configuration = _configuration(optimizer)
    first = _records(configuration, small_data)
    torch.manual_seed(99)
    torch.rand(5)
    assert _records(configuration, small_data) == first
    assert _records(configuration, small_data, seed=1) != first


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_another_thread_gives_the_same_numbers(small_data: Dataset, optimizer: str) -> None:
    configuration = _configuration(optimizer)
    found: list[list[dict[str, Any]]] = []
    thread = threading.Thread(target=lambda: found.append(_records(configuration, small_data)))
    thread.start()
    thread.join()
    assert found == [_records(configuration, small_data)]


def test_another_process_gives_the_same_numbers(small_data: Dataset, tmp_path: Path) -> None:
    torch.save(vars(small_data), tmp_path / "data.pt")
    configuration = _configuration("rso")
    arguments = [str(tmp_path / "data.pt"), json.dumps(configuration.values()), "2", "5"]
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", SUBPROCESS, *arguments],
        cwd=Path(rso_core.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    elsewhere = [_without_times(json.loads(line)) for line in finished.stdout.splitlines()]
    here = json.loads(json.dumps(_records(configuration, small_data, seed=5)))
    assert elsewhere == here


def test_dropout_is_drawn_from_the_runs_own_state(small_data: Dataset, own_code: str) -> None:
    configuration = _configuration("sgd", architecture=f"{own_code}:dropout")
    runs = []
    for state in (1, 2):
        torch.manual_seed(state)
        runs.append(_records(configuration, small_data))
    assert runs[0] == runs[1]


def test_a_networks_own_noise_is_drawn_anew_in_every_cycle_and_for_every_seed(
    small_data: Dataset, own_code: str
) -> None:
    configuration = _configuration("sgd", 3, architecture=f"{own_code}:noisy", batch_size=120)
    for seed in range(3):
        _records(configuration, small_data, seed)
    drawn = sys.modules[own_code].drawn
    assert len(set(drawn)) == len(drawn) == 9


def test_two_runs_that_take_turns_do_not_disturb_each_other(
    small_data: Dataset, own_code: str
) -> None:
    configuration = _configuration("sgd", architecture=f"{own_code}:dropout")
    alone = _records(configuration, small_data)
    turns = zip(
        train(configuration, small_data, 0), train(configuration, small_data, 0), strict=True
    )
    for expected, (left, right) in zip(alone, turns, strict=True):
        assert _without_times(asdict(left)) == _without_times(asdict(right)) == expected


def test_a_network_starts_from_the_seeds_weights(small_data: Dataset) -> None:
    once, again, other = (
        fresh_network(_configuration("sgd"), small_data, seed).state_dict() for seed in (0, 0, 1)
    )
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    assert not torch.equal(once["linear.weight"], other["linear.weight"])


# --------------------------------------------------------------------------- what is left alone


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_callers_random_state_and_thread_count_are_left_alone(
    small_data: Dataset, optimizer: str
) -> None:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    during: list[int] = []
    try:
        state = torch.get_rng_state()
        for _ in train(_configuration(optimizer), small_data, 0, n_threads=1):
            during.append(torch.get_num_threads())
            assert torch.equal(torch.get_rng_state(), state)
        assert during == [2, 2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)


def test_a_run_uses_as_many_threads_as_it_is_told(
    small_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rso_core.optimizers.sgd.PROGRESS_INTERVAL_S", -1.0)
    seen = set()
    _records(
        _configuration("sgd"),
        small_data,
        n_threads=2,
        on_progress=lambda _: seen.add(torch.get_num_threads()),
    )
    assert seen == {2}
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_read_only_data_is_enough(small_data: Dataset, optimizer: str) -> None:
    arrays = {
        name: value.numpy().copy()
        for name, value in vars(small_data).items()
        if isinstance(value, torch.Tensor)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch knows no read-only tensors
        for array in arrays.values():
            array.setflags(write=False)
        shared = replace(small_data, **{n: torch.from_numpy(a) for n, a in arrays.items()})
    configuration = _configuration(optimizer)
    assert _records(configuration, shared) == _records(configuration, small_data)


# -------------------------------------------------------------------------------------- records


def test_a_record_is_that_of_the_network_after_its_cycle(small_data: Dataset) -> None:
    """Trained on one batch of all images, softmax regression can be followed by hand."""
    configuration = _configuration("sgd", architecture="mlp()", batch_size=120, learning_rate=0.5)
    model = fresh_network(configuration, small_data, seed=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for record in train(configuration, small_data, 3):
        assert isinstance(record, CycleRecord)
        loss = _loss(model, small_data.train_inputs, small_data.train_targets)
        assert record.training_loss == pytest.approx(loss.item(), rel=1e-5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for part in ("validation", "test"):
            inputs = getattr(small_data, f"{part}_inputs")
            targets = getattr(small_data, f"{part}_targets")
            expected = _loss(model, inputs, targets).item()
            assert getattr(record, f"{part}_loss") == pytest.approx(expected, rel=1e-5)
            accuracy = (model(inputs).argmax(1) == targets).double().mean().item()
            assert getattr(record, f"{part}_accuracy") == accuracy


def test_without_held_out_data_the_validation_figures_are_none(small_data: Dataset) -> None:
    data = replace(
        small_data,
        validation_inputs=small_data.validation_inputs[:0],
        validation_targets=small_data.validation_targets[:0],
    )
    for record in train(_configuration("sgd"), data, 0):
        assert record.validation_loss is None
        assert record.validation_accuracy is None
        assert 0 <= record.test_accuracy <= 1


def test_a_record_is_there_as_soon_as_its_cycle_is_over(
    small_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rso_core.optimizers.sgd.PROGRESS_INTERVAL_S", -1.0)
    seen: list[Progress] = []
    run = train(_configuration("sgd", cycles=3), small_data, 0, on_progress=seen.append)
    for cycle in (1, 2, 3):
        assert next(run).cycle == cycle
        assert {progress.cycle for progress in seen} == set(range(1, cycle + 1))


# --------------------------------------------------------------------------------------- faults


def test_a_run_that_diverges_is_ended(small_data: Dataset) -> None:
    configuration = _configuration("sgd", learning_rate=1e30, cycles=9)
    where = r"^the loss in cycle 1 is (nan|inf) at batch \d of 4$"
    with pytest.raises(TrainingDiverged, match=where):
        _records(configuration, small_data)


@pytest.mark.parametrize("engine", ["incremental", "reference"])
def test_a_weight_that_is_kept_at_no_finite_loss_ends_the_run(
    small_data: Dataset, engine: str
) -> None:
    inputs = small_data.train_inputs.clone()
    inputs[5] = float("nan")
    broken = replace(small_data, train_inputs=inputs)
    configuration = _configuration("rso", engine=engine)
    where = r"^the loss in cycle 1 is nan at weight [0-3] of linear\d?\.(weight|bias)$"
    with pytest.raises(TrainingDiverged, match=where):
        _records(configuration, broken)


def test_a_run_whose_last_step_destroys_the_network_gives_no_record(small_data: Dataset) -> None:
    configuration = _configuration("sgd", learning_rate=1e38, batch_size=120, cycles=1)
    with pytest.raises(TrainingDiverged, match=r"^the validation loss after cycle 1 is (nan|inf)$"):
        _records(configuration, small_data)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_network_that_does_not_fit_the_data_is_refused(
    small_data: Dataset, own_code: str, optimizer: str
) -> None:
    configuration = _configuration(optimizer, architecture=f"{own_code}:wrong_logits")
    with pytest.raises(InvalidInput) as caught:
        _records(configuration, small_data)
    assert str(caught.value) == (
        "'architecture' must give logits of shape [2, 3] for inputs of shape [2, 1, 6, 6], "
        "got shape [2, 4]"
    )


def test_a_built_in_network_that_needs_larger_images_is_refused(small_data: Dataset) -> None:
    data = replace(small_data, train_inputs=small_data.train_inputs[..., :3, :3])
    with pytest.raises(InvalidInput, match="'architecture' two_conv needs images"):
        _records(_configuration("rso", architecture="two_conv"), data)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_batch_larger_than_the_data_is_refused(small_data: Dataset, optimizer: str) -> None:
    with pytest.raises(InvalidInput, match=r"'batch_size' must be an integer from 1 to 120"):
        _records(_configuration(optimizer, batch_size=121), small_data)


# -------------------------------------------------------------------------------- what is reached


@pytest.mark.parametrize(
    ("optimizer", "options", "accuracy"),
    [("rso", {"batch_size": 128}, 0.75), ("sgd", {"batch_size": 32, "learning_rate": 0.02}, 0.85)],
)
def test_mnist_is_learnt(
    mnist: Dataset, optimizer: str, options: dict[str, Any], accuracy: float
) -> None:
    configuration = _configuration(optimizer, 3, architecture="mlp()", **options)
    records = list(train(configuration, mnist, 0))
    assert records[-1].test_accuracy > accuracy
    assert records[-1].training_loss < records[0].training_loss


def test_a_network_with_batch_norm_evaluates_well_under_rso(
    small_data: Dataset, own_code: str
) -> None:
    configuration = _configuration("rso", 8, architecture=f"{own_code}:batch_norm", batch_size=60)
    *_, last = train(configuration, small_data, 0)
    assert last.test_accuracy > 0.8


def test_dropout_is_off_under_rso(small_data: Dataset, own_code: str) -> None:
    runs = [
        _records(_configuration("rso", architecture=f"{own_code}:{network}"), small_data)
        for network in ("dropout", "no_dropout")
    ]
    assert runs[0] == runs[1]


# ------------------------------------------------------------------------- a user's own optimiser


def test_a_users_optimiser_trains(small_data: Dataset, own_code: str) -> None:
    name = f"{own_code}:SignDescent"
    configuration = _configuration(name, 20, **{f"{name}.step": 0.02, "rso.sigma": 0.5})
    assert configuration.values()["step"] == 0.02
    records = list(train(configuration, small_data, 0))
    assert records[-1].training_loss < 0.5 * records[0].training_loss
    assert records[-1].test_accuracy > 0.8
    training = Training(configuration, small_data, 0)
    assert [record.cycle for record in itertools.islice(training, 7)] == [*range(1, 8)]
    resumed = Training(configuration, small_data, 0, state=training.state_dict())
    assert [r.test_loss for r in resumed] == [r.test_loss for r in records[7:]]


@pytest.mark.parametrize("attribute", ["Half", "dropout", "SignDescentOptions"])
def test_a_users_class_that_is_no_optimiser_is_refused(own_code: str, attribute: str) -> None:
    name = f"{own_code}:{attribute}"
    with pytest.raises(InvalidInput) as caught:
        _configuration(name)
    assert str(caught.value) == (
        "'optimizer' must name a class with Options, n_visits, run, state_dict, "
        "load_state_dict, prepare_evaluation_ and evaluate "
        f"(see rso_core.optimizers.Optimizer), got '{name}'"
    )


def _loss(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(model(inputs), targets)
