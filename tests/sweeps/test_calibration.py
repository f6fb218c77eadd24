"""What cycles take: measured on this machine, and read from the records of an earlier sweep."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from rso_core.configuration import Configuration, Scalar
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from rso_core.incremental.preparation import prepare_kernels
from rso_core.training import train
from sweeps.calibration import calibrate
from sweeps.cost import CostModel, kind_of
from sweeps.earlier_times import earlier_times
from sweeps.work import START_S, WorkCounter

OWN = """
from torch import nn
from rso_core.optimizers import RSO, SGD

class Visiting(RSO):
    '''Visits weights in a way that nobody knows.'''

class Stepping(SGD):
    pass

class Failing(SGD):
    def run(self):
        raise RuntimeError("no such luck")
"""


def configuration(
    architecture: str = "mlp()", optimizer: str = "rso", cycles: int = 1, **options: Scalar
) -> Configuration:
    values = {"architecture": architecture, "batch_size": 25, "optimizer": optimizer, **options}
    return Configuration.from_values(values, cycles)


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    """Compiled or loaded, as before a user's calibration."""
    prepare_kernels()


@pytest.fixture
def work(tiny_data: Dataset) -> WorkCounter:
    return WorkCounter(tiny_data)


def test_the_ends_of_the_batch_sizes_of_every_kind_are_measured(
    tiny_data: Dataset, work: WorkCounter
) -> None:
    listed = [
        configuration(optimizer=optimizer, batch_size=batch_size, cycles=3)
        for optimizer in ("rso", "sgd", "adam")
        for batch_size in (50, 10, 25, 100)
    ]
    listed.append(configuration(engine="reference", cycles=3))
    found = calibrate(listed, tiny_data, work, limit_s=1.0, clock=time.process_time)
    kinds = [(cycle.kind[1], cycle.work.engine) for cycle in found]
    assert kinds[0] == ("rso", "reference")  # what costs most comes first
    of_each = [("adam", "gradient"), ("rso", "incremental"), ("sgd", "gradient")]
    assert sorted(kinds[1:]) == sorted(2 * of_each)
    assert all(cycle.training_s > 0 and cycle.evaluation_s > 0 for cycle in found)
    flop = {cycle.work.n_flop for cycle in found if cycle.work.engine == "incremental"}
    assert flop == {work.count(configuration(batch_size=b)).n_flop for b in (10, 100)}


@pytest.mark.parametrize("optimizer", ["rso", "sgd"])
@pytest.mark.parametrize("limit_s", [0.1, 1.0])  # a sample, and all visits
def test_a_calibrated_run_takes_about_as_long_as_predicted(
    tiny_data: Dataset, work: WorkCounter, optimizer: str, limit_s: float
) -> None:
    c = configuration("one_conv", optimizer, batch_size=10, cycles=3)
    list(train(c, tiny_data, seed=0))  # to warm up
    ratios = []
    for _ in range(3):  # in seconds of the processor, which others do not hold up
        measured = calibrate([c], tiny_data, work, limit_s=limit_s, clock=time.process_time)
        predicted_s = CostModel(work.count, measured).predicted_s(c) - START_S
        started = time.process_time()
        list(train(c, tiny_data, seed=0))
        ratios.append(predicted_s / (time.process_time() - started))
    assert 1 / 2 < statistics.median(ratios) < 2


def test_calibration_ends_when_its_time_is_up(tiny_data: Dataset, work: WorkCounter) -> None:
    listed = [configuration(engine="reference", batch_size=b) for b in (10, 100)]
    started = time.process_time()
    found = calibrate(listed, tiny_data, work, limit_s=0.2, clock=time.process_time)
    took_s = time.process_time() - started
    assert len(found) == 2
    assert took_s < min(cycle.training_s for cycle in found)  # each has 23,550 passes
    assert calibrate(listed, tiny_data, work, limit_s=0.0) == []


def test_users_own_optimisers_are_measured_where_that_can_be_done(
    tiny_data: Dataset, work: WorkCounter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_optimisers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    listed = [
        configuration(optimizer=f"own_optimisers:{name}")
        for name in ("Visiting", "Stepping", "Failing")
    ]
    found = calibrate(listed, tiny_data, work, limit_s=0.2)
    assert [cycle.kind[1] for cycle in found] == ["own_optimisers:Stepping"]


def test_calibration_changes_nothing_of_the_data(tiny_data: Dataset, work: WorkCounter) -> None:
    inputs, targets = tiny_data.train_inputs.clone(), tiny_data.train_targets.clone()
    calibrate([configuration(), configuration(optimizer="sgd")], tiny_data, work, limit_s=0.1)
    assert tiny_data.train_inputs.equal(inputs)
    assert tiny_data.train_targets.equal(targets)


@pytest.fixture
def folder(spec: Any, drive: Any, scripted: Any, tmp_path: Path) -> Path:
    """A sweep of SGD with mlp(), whose cycles took 0.1 s and 0.01 s for the evaluation."""
    drive(spec(), tmp_path / "earlier", scripted(lambda run: [0.5, 0.6]))
    return tmp_path / "earlier"


def test_cycles_of_an_earlier_sweep_say_what_runs_take(
    folder: Path, spec: Any, tiny_data: Dataset, work: WorkCounter
) -> None:
    found = earlier_times(str(folder), spec(), tiny_data, work)
    assert [kind_of(configuration(optimizer="sgd"))] == [cycle.kind for cycle in found.cycles]
    model = CostModel(work.count, found.cycles)
    seven = configuration(optimizer="sgd", cycles=7)
    assert model.predicted_s(seven) == pytest.approx(START_S + 7 * 0.11)
    assert (found.n_threads, found.hosts) == ({1}, {"host"})


def test_a_sweep_on_other_data_is_counted_on_that_data(
    folder: Path, spec: Any, tiny_data: Dataset
) -> None:
    small, large = spec(), spec("data.train_size=1000")
    found = earlier_times(str(folder), large, tiny_data, WorkCounter(tiny_data))
    assert found.cycles[0].work.n_training_images == small.data.train_size


def test_a_sweep_that_is_being_written_can_be_read(
    folder: Path, spec: Any, tiny_data: Dataset, work: WorkCounter
) -> None:
    for name in ("cycles", "runs"):
        with (folder / f"records/{name}.jsonl").open("a") as log:
            log.write('{"trial": 3, "run": "trial-3-se')
    assert len(earlier_times(str(folder), spec(), tiny_data, work).cycles) == 1


def test_a_cycle_that_was_held_up_does_not_count(
    folder: Path, spec: Any, tiny_data: Dataset, work: WorkCounter
) -> None:
    path = folder / "records/cycles.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["training_s"] = 1000.0
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert earlier_times(str(folder), spec(), tiny_data, work).cycles[0].training_s == 0.1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "sweep.yaml").unlink(), "'--like' must be a run folder, got '.*', without"),
        (
            lambda f: (f / "records/runs.jsonl").write_text(""),
            r"'--like' must be a run folder with a cycle of a run that has ended, .* '--calibrate'",
        ),
        (
            lambda f: (f / "records/runs.jsonl").write_text('{"run": "x", "host": "y"}\n'),
            r"'--like' must be a run folder of this program, .* \(KeyError: 'architecture'\)",
        ),
        (
            lambda f: (f / "records/runs.jsonl").write_text("}\n{}\n"),
            "'--like' must be a folder that can be read, .* is damaged",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_line(
    folder: Path, spec: Any, tiny_data: Dataset, work: WorkCounter, damage: Any, message: str
) -> None:
    damage(folder)
    with pytest.raises(InvalidInput, match=message) as caught:
        earlier_times(str(folder), spec(), tiny_data, work)
    assert len(caught.value.problems) == 1
