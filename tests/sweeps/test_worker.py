"""The worker: what it begins from, what it keeps, and how it leaves off."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.networks import build_network
from rso_core.records import CycleRecord, Progress
from rso_core.training import Training, train
from sweeps.runs import (
    LAST_EVENTS,
    CycleEnded,
    Run,
    RunBegan,
    RunEnded,
    RunEvent,
    RunNoticed,
    RunProgressed,
    RunSuspended,
)
from sweeps.storage.checkpoints import CheckpointFolder, UnusableCheckpoint, position
from sweeps.storage.places import StorageFailed, open_place
from sweeps.worker import Worker


def _run(optimizer: str, cycles: int, **options: Any) -> Run:
    values = {"architecture": "mlp()", "batch_size": 25, "optimizer": optimizer, **options}
    return Run(0, 0, Configuration.from_values(values, cycles))


@pytest.fixture(params=["rso", "sgd"])
def run(request: pytest.FixtureRequest) -> Run:
    """Of a second or less."""
    return _run(request.param, cycles=3 if request.param == "rso" else 100)


@pytest.fixture(params=["rso", "sgd"])
def slow_run(request: pytest.FixtureRequest) -> Run:
    """That can be left in the middle."""
    if request.param == "sgd":
        return _run("sgd", cycles=300)
    return _run("rso", cycles=1, engine="reference")


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    """Of a run folder, for checkpoints as often as they can be written."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "sweep.yaml").write_text("name: x\n")
    return CheckpointFolder(open_place(str(tmp_path)), every_s=1e-6, keep_final_weights=True)


def _until(worker: Worker, done: Callable[[RunEvent], bool]) -> list[RunEvent]:
    events: list[RunEvent] = []
    deadline = time.monotonic() + 60
    while not any(map(done, events)):
        assert time.monotonic() < deadline, events
        events += worker.poll(0.05)
    return events


def _is_last(event: RunEvent) -> bool:
    return isinstance(event, LAST_EVENTS)


def _records(events: list[RunEvent]) -> list[CycleRecord]:
    records = [event.record for event in events if isinstance(event, CycleEnded)]
    return [replace(record, training_s=0.0, evaluation_s=0.0) for record in records]


def _undisturbed(run: Run, data: Dataset) -> list[CycleRecord]:
    records = train(run.configuration, data, run.seed)
    return [replace(record, training_s=0.0, evaluation_s=0.0) for record in records]


class _Telling:
    """A training that tells of progress, twenty times at short intervals, and then of one cycle."""

    def __init__(self, *arguments: Any, on_progress: Any, **options: Any) -> None:
        self._on_progress = on_progress
        self.records: list[CycleRecord] = []

    def __iter__(self) -> Iterator[CycleRecord]:
        for n_done in range(1, 21):
            self._on_progress(Progress(cycle=1, n_done=n_done, n_total=20))
            time.sleep(0.01)
        yield CycleRecord(1, 0.0, 0, 0, 0, 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def weights(self) -> dict[str, torch.Tensor]:
        return {}


@pytest.mark.parametrize(("progress_linger_s", "n_answers"), [(60.0, 1), (0.0, 5)])
def test_where_many_are_asked_mere_progress_waits_for_what_matters(
    tiny_data: Dataset, progress_linger_s: float, n_answers: int
) -> None:
    worker = Worker(tiny_data, 1, training=_Telling)
    worker.start(_run("sgd", cycles=1))
    answers = [worker.poll(10.0)]  # that it has begun
    while not (answers[-1] and _is_last(answers[-1][-1])):
        answers.append(worker.poll(10.0, 0.0, progress_linger_s))
    events = [event for answer in answers for event in answer]
    assert isinstance(events[0], RunBegan)
    assert len(_records(events)) == 1
    told = [event.progress.n_done for event in events if isinstance(event, RunProgressed)]
    assert told == sorted(told)
    assert told[-1] == 20
    if n_answers == 1:  # all progress, the cycle and the end, or the end a moment later
        assert len(answers) <= 3
    else:
        assert len(answers) >= n_answers


@pytest.mark.parametrize("end", ["finished", "stopped", "suspended", "failed"])
def test_a_run_that_is_over_leaves_nothing_in_memory(
    slow_run: Run, tiny_data: Dataset, end: str
) -> None:
    """Python may look for circles many runs later, and an engine keeps gigabytes."""
    begun: list[weakref.ref[Training]] = []

    def training(configuration: Configuration, *arguments: Any, **options: Any) -> Training:
        configuration = replace(configuration, batch_size=101 if end == "failed" else 25)
        made = Training(configuration, *arguments, **options)
        begun.append(weakref.ref(made))
        return made

    run = slow_run if end != "finished" else _run("rso", cycles=1)
    # what torch imports for its first optimiser keeps the frames in which it was made
    Training(run.configuration, tiny_data, seed=0)
    worker = Worker(tiny_data, n_threads=1, training=training)
    gc.disable()
    try:
        worker.start(run)
        if end in ("stopped", "suspended"):
            _until(worker, lambda event: isinstance(event, RunProgressed | CycleEnded))
            worker.stop(run.name) if end == "stopped" else worker.suspend()
        _until(worker, _is_last)
        worker.wait(60)
        assert [made() for made in begun] == ([] if end == "failed" else [None])
    finally:
        gc.enable()


def test_a_run_that_is_suspended_goes_on_in_another_worker_with_the_same_records(
    slow_run: Run, folder: CheckpointFolder, tiny_data: Dataset
) -> None:
    run, n_workers = slow_run, 0
    expected = _undisturbed(run, tiny_data)
    while True:
        n_workers += 1
        worker = Worker(tiny_data, 1, checkpoints=folder)
        worker.start(run)
        events = _until(worker, lambda e: isinstance(e, RunProgressed | CycleEnded) or _is_last(e))
        time.sleep(0.3)
        worker.suspend()
        if not any(map(_is_last, events)):
            events += _until(worker, _is_last)
        worker.wait(10)
        assert isinstance(events[0], RunBegan)
        records = _records(events)
        assert records == expected[: len(records)]
        if isinstance(events[-1], RunEnded):
            break
        assert events[-1] == RunSuspended(run.name)
    assert events[-1].state == "finished"
    assert records == expected
    assert n_workers > 1


def test_a_worker_says_from_where_it_goes_on(
    folder: CheckpointFolder, tiny_data: Dataset, run: Run
) -> None:
    training = Training(run.configuration, tiny_data, run.seed)
    next(iter(training))
    folder.write(run.name, training.state_dict())
    worker = Worker(tiny_data, 1, checkpoints=folder)
    worker.start(run)
    events = _until(worker, _is_last)
    assert isinstance(events[0], RunBegan)
    assert events[0].resumed_from == (1, 0)
    cycles = run.configuration.cycles
    assert [record.cycle for record in _records(events)] == list(range(1, cycles + 1))


def test_a_suspended_worker_begins_nothing(run: Run, tiny_data: Dataset) -> None:
    worker = Worker(tiny_data, 1)
    worker.suspend()
    worker.start(replace(run, configuration=replace(run.configuration, cycles=10_000)))
    assert isinstance(_until(worker, _is_last)[-1], RunSuspended)


@pytest.mark.parametrize("damage", ["cut", "garbage", "another run's"])
def test_a_checkpoint_that_cannot_be_used_costs_the_run_nothing_but_time(
    run: Run, folder: CheckpointFolder, tiny_data: Dataset, damage: str, tmp_path: Path
) -> None:
    training = Training(run.configuration, tiny_data, run.seed + (damage == "another run's"))
    next(iter(training))
    folder.write(run.name, training.state_dict())
    (path,) = (tmp_path / "checkpoints").iterdir()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "garbage":
        path.write_bytes(b"\0" * 5000)
    worker = Worker(tiny_data, 1, checkpoints=folder)
    worker.start(run)
    events = _until(worker, _is_last)
    (notice,) = [event.notice for event in events if isinstance(event, RunNoticed)]
    what = "cannot be used" if damage == "another run's" else "is damaged"
    assert notice.startswith(f"its checkpoint {what} (")
    assert notice.endswith("); it begins anew")
    assert "\n" not in notice
    assert _records(events) == _undisturbed(run, tiny_data)


class _Failing:
    """A place that can be read and not written."""

    def __init__(self, place: Any) -> None:
        self._place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    def write(self, name: str, content: bytes) -> None:
        raise StorageFailed(f"'{name}' cannot be written (No space left on device)")


def test_a_full_disk_is_told_of_once_and_ends_no_run(
    run: Run, folder: CheckpointFolder, tiny_data: Dataset
) -> None:
    full = replace(folder, place=_Failing(folder.place))  # type: ignore[arg-type]
    worker = Worker(tiny_data, 1, checkpoints=replace(full, keep_final_weights=False))
    worker.start(run)
    events = _until(worker, _is_last)
    assert [event.notice for event in events if isinstance(event, RunNoticed)] == [
        f"its checkpoint cannot be written: 'checkpoints/{run.name}.pt' cannot be written "
        "(No space left on device)"
    ]
    assert isinstance(events[-1], RunEnded)
    assert events[-1].state == "finished"


def test_a_machine_that_does_not_see_the_run_folder_says_so_and_makes_none(
    run: Run, tiny_data: Dataset, tmp_path: Path
) -> None:
    elsewhere = CheckpointFolder(open_place(str(tmp_path / "elsewhere")), 1e-6)
    worker = Worker(tiny_data, 1, checkpoints=elsewhere)
    worker.start(run)
    events = _until(worker, _is_last)
    (notice,) = [event.notice for event in events if isinstance(event, RunNoticed)]
    assert notice.startswith("the run folder is not to be seen from ")
    assert isinstance(events[-1], RunEnded)
    assert not (tmp_path / "elsewhere").exists()


def test_final_weights_are_those_of_the_trained_network(
    run: Run, folder: CheckpointFolder, tiny_data: Dataset, tmp_path: Path
) -> None:
    worker = Worker(tiny_data, 1, checkpoints=folder)
    worker.start(run)
    _until(worker, _is_last)
    weights = torch.load(tmp_path / "weights" / f"{run.name}.pt", weights_only=True)
    model = build_network("mlp()", (1, 28, 28), 10)
    model.load_state_dict(weights)
    training = Training(run.configuration, tiny_data, run.seed)
    for _ in training:
        pass
    for name, tensor in training.weights().items():
        assert torch.equal(weights[name], tensor)


# ----------------------------------------------------------------------- runs that are given more


@pytest.fixture(params=["rso", "sgd"])
def quick_run(request: pytest.FixtureRequest) -> Run:
    """Of two cycles; nothing in it depends on their number."""
    if request.param == "sgd":
        return _run("sgd", cycles=2, momentum=0.9)
    return _run("rso", cycles=2, annealing="none")


def _trained(run: Run, folder: CheckpointFolder, data: Dataset) -> list[RunEvent]:
    worker = Worker(data, 1, checkpoints=folder)
    worker.start(run)
    events = _until(worker, _is_last)
    worker.wait(10)
    folder.delete(run.name)  # as the driver does
    return events


def _with_cycles(run: Run, cycles: int) -> Run:
    return replace(run, configuration=replace(run.configuration, cycles=cycles))


def _began(events: list[RunEvent]) -> RunBegan:
    return next(event for event in events if isinstance(event, RunBegan))


def _notices(events: list[RunEvent]) -> list[str]:
    return [event.notice for event in events if isinstance(event, RunNoticed)]


def test_a_finished_run_goes_on_for_more_cycles_from_its_final_state(
    quick_run: Run, folder: CheckpointFolder, tiny_data: Dataset, tmp_path: Path
) -> None:
    assert _began(_trained(quick_run, folder, tiny_data)).resumed_from == (0, 0)
    grown = _with_cycles(quick_run, 4)
    events = _trained(grown, folder, tiny_data)
    assert _began(events).resumed_from == (2, 0)
    assert _notices(events) == []
    assert _records(events) == _undisturbed(grown, tiny_data)
    assert {event.progress.cycle for event in events if isinstance(event, RunProgressed)} <= {3, 4}
    training = Training(grown.configuration, tiny_data, grown.seed)
    list(training)
    weights = torch.load(tmp_path / "weights" / f"{grown.name}.pt", weights_only=True)
    assert all(torch.equal(weights[name], w) for name, w in training.weights().items())
    assert position(folder.read_final(grown.name)) == (4, 0)


def test_a_run_that_is_cut_short_as_it_grows_goes_on_from_its_checkpoint(
    quick_run: Run, folder: CheckpointFolder, tiny_data: Dataset
) -> None:
    _trained(quick_run, folder, tiny_data)
    grown = _with_cycles(quick_run, 4)
    state = folder.read_final(quick_run.name)
    training = Training(grown.configuration, tiny_data, grown.seed, state=state)
    next(iter(training))
    folder.write(grown.name, training.state_dict())
    events = _trained(grown, folder, tiny_data)
    assert _began(events).resumed_from == (3, 0)
    assert _records(events) == _undisturbed(grown, tiny_data)


@pytest.mark.parametrize("damage", ["cut", "garbage", "another run's", "of more cycles"])
def test_a_final_state_that_cannot_be_used_costs_the_run_nothing_but_time(
    quick_run: Run, folder: CheckpointFolder, tiny_data: Dataset, damage: str, tmp_path: Path
) -> None:
    left = _with_cycles(quick_run, 5 if damage == "of more cycles" else 2)
    left = replace(left, seed=left.seed + (damage == "another run's"))
    training = Training(left.configuration, tiny_data, left.seed)
    list(training)
    folder.write_final(quick_run.name, training.state_dict())
    path = tmp_path / "final_states" / f"{quick_run.name}.pt"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "garbage":
        path.write_bytes(b"\0" * 5000)
    grown = _with_cycles(quick_run, 3)
    events = _trained(grown, folder, tiny_data)
    (notice,) = _notices(events)
    what = "is damaged" if damage in ("cut", "garbage") else "cannot be used"
    assert notice.startswith(f"its final state {what} (")
    assert notice.endswith("); it begins anew")
    assert "\n" not in notice
    assert _records(events) == _undisturbed(grown, tiny_data)
    assert position(folder.read_final(grown.name)) == (3, 0)


@pytest.mark.parametrize("damage", ["is damaged", "cannot be used"])
def test_behind_a_checkpoint_that_cannot_be_used_there_is_the_final_state(
    quick_run: Run, folder: CheckpointFolder, tiny_data: Dataset, damage: str
) -> None:
    _trained(quick_run, folder, tiny_data)
    grown = _with_cycles(quick_run, 3)
    if damage == "is damaged":
        folder.place.write(f"checkpoints/{grown.name}.pt", b"\0" * 100)
    else:
        folder.write(grown.name, {"records": [], "optimizer": {}})
    events = _trained(grown, folder, tiny_data)
    (notice,) = _notices(events)
    assert notice.startswith(f"its checkpoint {damage} (")
    assert notice.endswith("); it goes on from its final state")
    assert _records(events) == _undisturbed(grown, tiny_data)
    assert {event.progress.cycle for event in events if isinstance(event, RunProgressed)} <= {3}


def test_a_run_of_which_the_weights_alone_are_kept_begins_anew(
    quick_run: Run, folder: CheckpointFolder, tiny_data: Dataset
) -> None:
    training = Training(quick_run.configuration, tiny_data, quick_run.seed)
    list(training)
    folder.write_weights(quick_run.name, training.weights())
    grown = _with_cycles(quick_run, 3)
    events = _trained(grown, folder, tiny_data)
    assert _began(events).resumed_from == (0, 0)
    assert _notices(events) == []
    assert _records(events) == _undisturbed(grown, tiny_data)


def test_a_sweep_that_does_not_ask_for_final_weights_keeps_none(
    quick_run: Run, folder: CheckpointFolder, tiny_data: Dataset, tmp_path: Path
) -> None:
    _trained(quick_run, replace(folder, keep_final_weights=False), tiny_data)
    assert folder.read_final(quick_run.name) is None
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "sweep.yaml"}


def test_a_run_that_is_pruned_leaves_no_final_state(
    folder: CheckpointFolder, tiny_data: Dataset
) -> None:
    run = _run("sgd", cycles=1000)
    worker = Worker(tiny_data, 1, checkpoints=folder)
    worker.stop(run.name)
    worker.start(run)
    last = _until(worker, _is_last)[-1]
    assert isinstance(last, RunEnded)
    assert last.state == "pruned"
    assert folder.read_final(run.name) is None


def test_a_full_disk_costs_a_finished_run_what_it_would_leave_and_no_more(
    quick_run: Run, folder: CheckpointFolder, tiny_data: Dataset
) -> None:
    full = replace(folder, place=_Failing(folder.place), every_s=1e9)  # type: ignore[arg-type]
    worker = Worker(tiny_data, 1, checkpoints=full)
    worker.start(replace(quick_run, configuration=replace(quick_run.configuration, cycles=1)))
    events = _until(worker, _is_last)
    why = "cannot be written (No space left on device)"
    assert _notices(events) == [
        f"its weights cannot be kept: 'weights/{quick_run.name}.pt' {why}",
        f"its final state cannot be kept: 'final_states/{quick_run.name}.pt' {why}",
    ]
    assert isinstance(events[-1], RunEnded)
    assert events[-1].state == "finished"


def test_a_checkpoint_holds_nothing_that_could_run(folder: CheckpointFolder, run: Run) -> None:
    torch.save({"state": Path("/")}, Path(folder.place.address_of(f"checkpoints/{run.name}.pt")))
    with pytest.raises(UnusableCheckpoint):
        folder.read(run.name)


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"records": 5, "optimizer": 5},
        {"records": [], "optimizer": 5},
        {"records": [], "optimizer": {"n_done": "x"}},
    ],
)
def test_the_position_of_what_is_no_state_is_the_start(state: Any) -> None:
    assert position(state) == (0, 0)


def test_a_run_begins_anew_from_what_is_no_state(
    run: Run, folder: CheckpointFolder, tiny_data: Dataset
) -> None:
    folder.write(run.name, {"records": 5, "optimizer": 5})
    worker = Worker(tiny_data, 1, checkpoints=folder)
    worker.start(run)
    assert _records(_until(worker, _is_last)) == _undisturbed(run, tiny_data)


@pytest.fixture(autouse=True)
def _few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
