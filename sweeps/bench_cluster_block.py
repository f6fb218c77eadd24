"""One sweep on a simulated cluster: what the driver takes, and whether anything was lost."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sweeps.bench_cluster_nodes import Leaving, simulated_nodes
from sweeps.bench_cluster_outcome import check_one_result_each
from sweeps.bench_scheduler_sweep import Load, Say, drive_load, warm_executor
from sweeps.bench_scheduler_trial import bench_folder
from sweeps.ray_connection import on_loopback
from sweeps.ray_executor import RayExecutor
from sweeps.runs import Run, RunEnded, RunEvent

_LEAVING: tuple[Leaving, ...] = ("killed", "removed")
"""By turns."""


@dataclass(frozen=True, slots=True)
class Block:
    """A sweep to be driven on a cluster that is started for it."""

    trials: int
    nodes: int
    actors: int
    """A whole number for each node."""
    seconds: float
    """That a trial's one run sleeps."""
    n_leaving: int
    """Nodes that go while it runs, another one coming in the place of each."""


@dataclass(frozen=True, slots=True)
class BlockTimes:
    """What the driver took over it."""

    nodes: int
    actors: int
    trials: int
    seconds: float
    wall_s: float
    driver_ms_per_trial: float
    """Processor time of the driver's process, all of its threads and those of Ray included; what
    it waits is none. The nodes are other processes."""
    turnaround_ms: float
    """Time on the clock from when the driver is handed a run's end to when the next run has been
    given to an actor: the median."""
    handover_ms: float
    """The same from when the actor said that its run has ended, so that Ray's way to the driver is
    in it, and what the other processes of this machine take from both: the median."""
    n_killed: int
    """Nodes whose raylet got a SIGKILL and that were replaced before the sweep ended."""
    n_removed: int
    """Nodes that were asked to leave, likewise."""
    n_cut: int
    """Attempts at runs that were cut short, and made again elsewhere."""


def measure_block(block: Block, say: Say) -> BlockTimes:
    """Starts a cluster and its actors, drives a sweep there, and sees that no trial lacks a result.

    The driver, its records, its study and its executor are those of `rso-sweep run`; a trial's
    training sleeps. A sweep of a trial for each actor goes before. Nodes go at even shares of the
    sweep, by turns with a SIGKILL and gracefully.

    Args:
        block: the sweep and its cluster.
        say: is told from time to time how far it is.

    Raises:
        InvalidInput: the cluster does not start, the current folder cannot be written, or a trial
            has not exactly one result.
    """
    say("starting nodes")
    n_cut: list[int] = []

    def look(path: Path) -> None:
        n_cut.append(check_one_result_each(path, block.trials))

    with (
        bench_folder() as parent,
        simulated_nodes(block.nodes, block.actors // block.nodes) as nodes,
        on_loopback(),
        warm_executor(
            _WatchedRayExecutor,
            nodes.address,
            block.actors,
            block.seconds,
            parent / "run",
            "--nodes",
        ) as executor,
    ):
        throw_away = Load(block.actors, block.actors, block.seconds, "random")
        drive_load(throw_away, executor, parent / "run", say)
        watch = executor.watch = Watch()
        watch.on_run_ended = Churn(nodes.replace, block.trials, block.n_leaving)
        load = Load(block.trials, block.actors, block.seconds, "random")
        times = drive_load(load, executor, parent / "run", say, look)
        replaced = Counter(nodes.replaced())
    return BlockTimes(
        nodes=block.nodes,
        actors=block.actors,
        trials=block.trials,
        seconds=block.seconds,
        wall_s=times.wall_s,
        driver_ms_per_trial=times.driver_ms_per_trial,
        turnaround_ms=1000 * statistics.median(watch.turnarounds_s),
        handover_ms=1000 * statistics.median(watch.handovers_s),
        n_killed=replaced["killed"],
        n_removed=replaced["removed"],
        n_cut=n_cut[0],
    )


class Watch:
    """Notes how long an executor's slots wait for their next run.

    Attributes:
        turnarounds_s: from a poll that told of a run's end to when the next run was started.
        handovers_s: from that end, to go by its worker's clock, to the same.
        on_run_ended: is called once for every run that has ended.
    """

    def __init__(self) -> None:
        self.turnarounds_s: list[float] = []
        self.handovers_s: list[float] = []
        self.on_run_ended: Callable[[], object] = _nothing
        self._freed: list[tuple[float, float]] = []

    def polled(self, events: Sequence[RunEvent]) -> None:
        """A poll has given these events."""
        moment = time.perf_counter()
        # a slot that was not filled before this poll had no run to wait for
        self._freed = [
            (moment, datetime.fromisoformat(event.ended_at).timestamp())
            for event in events
            if isinstance(event, RunEnded)
        ]
        for _ in self._freed:
            self.on_run_ended()

    def started(self) -> None:
        """A run has been given to an actor."""
        if self._freed:
            polled, ended = self._freed.pop()
            self.turnarounds_s.append(time.perf_counter() - polled)
            self.handovers_s.append(time.time() - ended)


class _WatchedRayExecutor(RayExecutor):
    """A `RayExecutor` that is watched."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.watch = Watch()

    def start(self, run: Run) -> None:
        """See `Executor.start`."""
        super().start(run)
        self.watch.started()

    def poll(self, timeout_s: float) -> list[RunEvent]:
        """See `Executor.poll`."""
        events = super().poll(timeout_s)
        self.watch.polled(events)
        return events


class Churn:
    """Lets nodes go as runs end: the first after one share of the trials, and so on.

    Args:
        replace: is called with the way in which one is to go, by turns.
        n_trials: of one run each.
        n_leaving: how many go.
    """

    def __init__(self, replace: Callable[[Leaving], object], n_trials: int, n_leaving: int) -> None:
        self._replace = replace
        self._n_ended = 0
        every = n_trials / (n_leaving + 1)
        self._due = [
            (every * (index + 1), leaving)
            for index, leaving in enumerate(itertools.islice(itertools.cycle(_LEAVING), n_leaving))
        ]

    def __call__(self) -> None:
        """A run has ended."""
        self._n_ended += 1
        while self._due and self._n_ended >= self._due[0][0]:
            self._replace(self._due.pop(0)[1])


def _nothing() -> None:
    """Nobody wants to know."""
