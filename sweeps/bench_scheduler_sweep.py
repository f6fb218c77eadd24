"""How long the driver takes over its trials: whole sweeps, whose runs do nothing but sleep."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from rso_core.datasets import load_dataset
from rso_core.errors import InvalidInput
from sweeps.bench_scheduler_training import UNTIL_STOPPED, bench_spec, sleeping
from sweeps.bench_scheduler_trial import bench_folder
from sweeps.display import PlainDisplay
from sweeps.driver import Driver
from sweeps.driving import cost_of, study_store
from sweeps.executors import Executor
from sweeps.points import typical_configurations
from sweeps.progress import SweepProgress
from sweeps.ray_connection import start_cluster
from sweeps.ray_executor import RayExecutor
from sweeps.resources import Resources
from sweeps.run_folder import RunFolder
from sweeps.runs import Run, RunBegan, RunEnded
from sweeps.search import Search
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.storage.places import LocalPlace
from sweeps.work import WorkCounter

_POLL_S = 0.5
_MOST_START_S = 300.0
_MOST_START_S_PER_ACTOR = 30.0
"""How long all actors together may take to come up: so many seconds, or so many for each."""
_N_APPENDS = 50
_SHOWN_EVERY_S = 0.5

Say = Callable[[str], object]
_Ray = TypeVar("_Ray", bound=RayExecutor)


@dataclass(frozen=True, slots=True)
class Load:
    """A sweep to be driven."""

    trials: int
    actors: int
    seconds: float
    """That a trial's one run sleeps."""
    sampler: str

    @property
    def ideal_s(self) -> float:
        """What the trials would take if driving them took nothing."""
        return self.trials * self.seconds / self.actors


@dataclass(frozen=True, slots=True)
class SweepTimes:
    """What driving it took, from the driver's first question to its last record."""

    trials: int
    actors: int
    seconds: float
    sampler: str
    wall_s: float
    ideal_s: float
    overhead_ms_per_trial: float
    """Of the wall's time, beyond the ideal's."""
    driver_ms_per_trial: float
    """Processor time of the driver's process, Ray's threads in it included."""
    ratio_to_ideal: float | None
    """None if the trials do not sleep; so `idle_share`."""
    idle_share: float | None
    """Of the actors' time: a share of 1."""
    actors_up_s: float | None = None
    """Until Ray was there and every actor had begun a run, before the measurement."""


def measure_sweeps(loads: Sequence[Load], say: Say) -> Iterator[SweepTimes]:
    """Drives sweeps, one after the other, each in a folder of its own beneath the current one.

    Sweeps next to each other with the same actors share these. Everything is what `rso-sweep run`
    uses; only the training is another one.

    Args:
        loads: the sweeps.
        say: is told from time to time how far it is.

    Raises:
        InvalidInput: the current folder cannot be written, no such sampler, Ray does not start.
    """
    loads = list(loads)
    while loads:
        actors, seconds = loads[0].actors, loads[0].seconds
        say("starting Ray and its actors")
        began = time.perf_counter()
        with (
            bench_folder() as parent,
            warm_executor(
                RayExecutor, start_cluster(actors), actors, seconds, parent / "run"
            ) as executor,
        ):
            up_s = time.perf_counter() - began
            throw_away = Load(actors, actors, seconds, "random")
            drive_load(throw_away, executor, parent / "run", say)
            while loads and (loads[0].actors, loads[0].seconds) == (actors, seconds):
                times = drive_load(loads.pop(0), executor, parent / "run", say)
                yield replace(times, actors_up_s=up_s)


def drive_load(
    load: Load,
    executor: Executor,
    path: Path,
    say: Say,
    look: Callable[[Path], object] | None = None,
) -> SweepTimes:
    """Drives a sweep with an executor that is warm, whose runs sleep as the load says.

    Args:
        load: the sweep.
        executor: trains the runs.
        path: of the run folder, where nothing is; nothing is left there.
        say: is told from time to time how far it is.
        look: is shown the run folder of the sweep that has ended, while it is there.

    Raises:
        InvalidInput: the folder cannot be made, no such sampler, or a trial fails.
    """
    spec = bench_spec(load.sampler, load.trials)
    work = WorkCounter(load_dataset(spec.data))
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        folder = RunFolder.create(str(path), spec, ["rso-sweep", "bench"], {})
        with closing(folder):
            search = Search(spec, study_store(spec, folder.journal), cost_of(work))
            driver = Driver(spec, folder, search, work)
            began, processed = time.perf_counter(), time.process_time()
            progress = driver.run(executor, _Shown(Console(file=nowhere), say))
            wall_s = time.perf_counter() - began
            driver_s = time.process_time() - processed
    if look is not None:
        look(path)
    shutil.rmtree(path)
    if progress.n_trials_finished != load.trials:
        raise InvalidInput(
            f"'--trials' must all finish to be measured, got {progress.n_trials_finished} of "
            f"{load.trials}: actors were lost, perhaps for want of memory"
        )
    return SweepTimes(
        trials=load.trials,
        actors=load.actors,
        seconds=load.seconds,
        sampler=load.sampler,
        wall_s=wall_s,
        ideal_s=load.ideal_s,
        overhead_ms_per_trial=1000 * (wall_s - load.ideal_s) / load.trials,
        driver_ms_per_trial=1000 * driver_s / load.trials,
        ratio_to_ideal=wall_s / load.ideal_s if load.ideal_s else None,
        idle_share=1 - load.ideal_s / wall_s if load.ideal_s else None,
    )


@contextmanager
def warm_executor(
    kind: Callable[..., _Ray],
    address: str,
    actors: int,
    seconds: float,
    path: Path,
    option: str = "--actors",
) -> Iterator[_Ray]:
    """An executor with a CPU for each of its actors, which have all begun a run.

    Args:
        kind: `RayExecutor`, or a class that watches one.
        address: of the cluster.
        actors: how many.
        seconds: that each training sleeps in all.
        path: of the run folder.
        option: that asked for the actors, for the message.

    Raises:
        InvalidInput: they do not come up.
    """
    spec = bench_spec("random", 1)
    executor = kind(
        load_dataset(spec.data),
        Resources(concurrency=actors),
        address=address,
        checkpoints=CheckpointFolder(LocalPlace(str(path)), spec.checkpoints.every_s),
        training=sleeping(seconds),
    )
    with closing(executor):
        warm_up(executor, actors, option)
        yield executor


def warm_up(executor: Executor, actors: int, option: str = "--actors") -> None:
    """Holds every actor with a run that does not end, until all of them have begun.

    Args:
        executor: has room for so many.
        actors: how many.
        option: that asked for them, for the message.

    Raises:
        InvalidInput: they do not come up.
    """
    configuration = typical_configurations(bench_spec("random", 1), 1)[0]
    runs = [Run(trial, UNTIL_STOPPED, configuration) for trial in range(actors)]
    for run in runs:
        executor.start(run)
    n_begun = n_ended = 0
    most_s = max(_MOST_START_S, actors * _MOST_START_S_PER_ACTOR)
    deadline = time.monotonic() + most_s
    while n_ended < actors:
        if time.monotonic() > deadline:
            raise InvalidInput(
                f"'{option}' must be as many as this machine can hold, got {actors}: "
                f"{n_begun} were up after {most_s:.0f} s"
            )
        for event in executor.poll(_POLL_S):
            n_begun += isinstance(event, RunBegan)
            n_ended += isinstance(event, RunEnded)
            if isinstance(event, RunBegan) and n_begun == actors:
                for run in runs:
                    executor.stop(run.name)


def durable_append_ms() -> float:
    """What a durable line costs in the current folder: the median.

    Raises:
        InvalidInput: it cannot be written.
    """
    times = []
    with bench_folder() as folder:
        place = LocalPlace(str(folder))
        for _ in range(_N_APPENDS):
            began = time.perf_counter()
            place.append("lines", b"x" * 200)
            times.append(time.perf_counter() - began)
    return 1000 * sorted(times)[_N_APPENDS // 2]


class _Shown(PlainDisplay):
    """Writes every line that a log would have, and says how far the sweep is."""

    def __init__(self, console: Console, say: Say) -> None:
        super().__init__(console)
        self._say = say
        self._shown = time.monotonic()

    def refresh(self, progress: SweepProgress) -> None:
        """See `driver.Display`."""
        super().refresh(progress)
        if time.monotonic() - self._shown >= _SHOWN_EVERY_S:
            self._shown = time.monotonic()
            self._say(f"{progress.n_trials_ended:,} of {progress.n_trials:,} trials")
