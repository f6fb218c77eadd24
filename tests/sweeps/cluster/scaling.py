"""What the driver takes as sweeps grow, in its own process: the figures of `SCALING.md`.

    python -m tests.sweeps.cluster.scaling slots               # 2 to 1,000 slots
    python -m tests.sweeps.cluster.scaling trials --trials 100000
    python -m tests.sweeps.cluster.scaling trials --sampler tpe --trials 10000

The driver, its records and its study are those of a sweep; runs are over as soon as they are asked
for. Times are processor time of this process, waiting is none, so that they hold on a machine that
has other work, too. What the executor here takes to make up its events is left out.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rso_core.datasets import load_dataset
from rso_core.records import CycleRecord
from sweeps.bench_scheduler_training import bench_spec
from sweeps.bench_scheduler_trial import N_VALUES, accuracy
from sweeps.display import PlainDisplay
from sweeps.driver import Driver
from sweeps.driving import cost_of, study_store
from sweeps.progress import SweepProgress
from sweeps.run_folder import RunFolder
from sweeps.runs import START, CycleEnded, Run, RunBegan, RunEnded, RunEvent
from sweeps.search import Search
from sweeps.spec import SweepSpec
from sweeps.work import WorkCounter

SLOTS = (2, 8, 32, 128, 1_000)
MARKS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Trials at whose end a row is written."""
_MOMENT = "2026-01-01T00:00:00.000+00:00"


def main() -> None:
    """Measures what the command line says, and prints it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=["slots", "trials"])
    parser.add_argument("--trials", type=int, default=2_000, help="of each sweep")
    parser.add_argument("--sampler", default="random")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".scaling-", dir=Path.cwd()) as scratch:
        if asked.what == "slots":
            by_slots(Path(scratch), asked.trials, asked.sampler)
        else:
            by_trials(Path(scratch), asked.trials, asked.sampler)


def by_slots(scratch: Path, n_trials: int, sampler: str) -> None:
    """A sweep for each number of slots, three times: by how much comes at a time."""
    with counted_syncs() as syncs:
        _driven(scratch / "first", bench_spec(sampler, 100), AnsweringExecutor(2, "run"))
        rows = []
        for n_slots in SLOTS:
            for together in ("all", "run", "event"):
                executor = AnsweringExecutor(n_slots, together)
                before = syncs[0]
                spec = bench_spec(sampler, n_trials)
                cpu_s = _driven(scratch / f"{n_slots}-{together}", spec, executor)
                rows.append(
                    (
                        n_slots,
                        f"one {together}" if together != "all" else "all",
                        1000 * (cpu_s - executor.spent_s) / n_trials,
                        1000 * (cpu_s - executor.spent_s) / executor.n_polls,
                        executor.n_polls / n_trials,
                        (syncs[0] - before) / n_trials,
                    )
                )
    print_table(
        ("slots", "events at a time", "ms a trial", "ms a poll", "polls a trial", "fsyncs a trial"),
        rows,
    )


def by_trials(scratch: Path, n_trials: int, sampler: str) -> None:
    """One sweep of many trials: what each thousand more takes, then what going on with it takes."""
    folder, spec = scratch / "sweep", bench_spec(sampler, n_trials)
    executor = AnsweringExecutor(8, "run")
    marks = [mark for mark in MARKS if mark <= n_trials]
    moments: list[tuple[Any, ...]] = []

    def look(progress: SweepProgress) -> None:
        if len(moments) < len(marks) and progress.n_trials_ended >= marks[len(moments)]:
            cpu_s = time.process_time() - executor.spent_s
            moments.append((progress.n_trials_ended, cpu_s, _resident_mb(), *_sizes_mb(folder)))

    began, resident_mb = time.process_time(), _resident_mb()
    _driven(folder, spec, executor, look)
    n_before, before_s, before_mb = 0, began, resident_mb
    rows = []
    for n_ended, cpu_s, mb, *sizes_mb in moments:
        n = n_ended - n_before
        rows.append(
            (n_ended, 1000 * (cpu_s - before_s) / n, 1000 * (mb - before_mb) / n, mb, *sizes_mb)
        )
        n_before, before_s, before_mb = n_ended, cpu_s, mb
    print_table(
        ("trials", "ms a trial", "KB a trial", "resident MB", "study.journal MB", "records MB"),
        rows,
    )
    _print_going_on(folder, spec)


def _print_going_on(folder: Path, spec: SweepSpec) -> None:
    """What opening such a sweep takes: to resume it, and to report on it."""
    from analysis.frames import load

    rows = []

    def timed(what: str, call: Callable[[], Any]) -> Any:
        began, resident_mb = time.process_time(), _resident_mb()
        found = call()
        spent_s = time.process_time() - began
        rows.append((what, spent_s, 1e6 * spent_s / spec.n_trials(), _resident_mb() - resident_mb))
        return found

    with closing(RunFolder.hold(str(folder))) as held:
        timed("tidying the run folder", held.tidy)
        store = timed("replaying study.journal", lambda: study_store(spec, held.journal))
        work = WorkCounter(load_dataset(spec.data))
        search = timed("opening the study", lambda: Search(spec, store, cost_of(work)))
        timed("the records, and each trial", lambda: Driver(spec, held, search, work))
    timed("analysis.frames.load", lambda: load(folder))
    print()
    print_table(("going on", "s", "us a trial", "MB more"), rows)


class AnsweringExecutor:
    """Trains nothing: runs are over at once, and tell of it as they are asked.

    Args:
        n_slots: as many as one likes.
        together: what a poll gives: `all` there is, one `run`'s events or one `event`.

    Attributes:
        n_polls: so far.
        spent_s: processor time spent in here.
    """

    def __init__(self, n_slots: int, together: str) -> None:
        self.n_slots = n_slots
        self.n_polls = 0
        self.spent_s = 0.0
        self._together = together
        self._running: deque[deque[RunEvent]] = deque()

    @property
    def n_free(self) -> int:
        """See `Executor`; so all below."""
        return self.n_slots - len(self._running)

    def startable(self, waiting: Sequence[Run]) -> list[Run]:
        return list(itertools.islice(waiting, self.n_free))

    def expect(self, waiting: Sequence[Run], n_more: int) -> None:
        pass

    def start(self, run: Run) -> None:
        began = time.process_time()
        self._running.append(deque(_events(run)))
        self.spent_s += time.process_time() - began

    def poll(self, timeout_s: float) -> list[RunEvent]:
        began = time.process_time()
        self.n_polls += 1
        n_runs = len(self._running) if self._together == "all" else 1
        n_events = 1 if self._together == "event" else N_VALUES + 2
        events: list[RunEvent] = []
        for _ in range(n_runs):
            waiting = self._running.popleft()
            events += [waiting.popleft() for _ in range(n_events)]
            if waiting:  # by turns, as runs that train side by side
                self._running.append(waiting)
        self.spent_s += time.process_time() - began
        return events

    def stop(self, run: str) -> None:
        raise AssertionError("nothing is pruned here")

    def abandon(self, run: str) -> None:
        raise AssertionError("nothing hangs here")

    def suspend(self) -> None:
        raise AssertionError("nothing is interrupted here")

    def close(self) -> None:
        """Holds nothing."""


def _events(run: Run) -> Iterator[RunEvent]:
    options: Any = run.configuration.options
    yield RunBegan(run.name, START, "host", 1, _MOMENT)
    for cycle in range(1, N_VALUES + 1):
        value = accuracy(
            run.configuration.batch_size,
            options.perturbation_std,
            options.weight_decay,
            options.final_fraction,
            run.seed,
            cycle,
        )
        yield CycleEnded(
            run.name,
            CycleRecord(
                cycle=cycle,
                training_loss=1 - value,
                n_visited=0,
                n_accepted=0,
                n_images_passed=0,
                training_s=0.1,
                validation_loss=1 - value,
                validation_accuracy=value,
                test_loss=1 - value,
                test_accuracy=value,
            ),
        )
    yield RunEnded(run.name, "finished", None, "host", 1, _MOMENT, _MOMENT)


def _driven(
    folder: Path,
    spec: SweepSpec,
    executor: AnsweringExecutor,
    look: Callable[[SweepProgress], object] = lambda progress: None,
) -> float:
    """Drives a sweep to its end; the processor time that it took."""
    from rich.console import Console

    work = WorkCounter(load_dataset(spec.data))
    with (
        Path(os.devnull).open("w") as nowhere,
        closing(RunFolder.create(str(folder), spec, ["scaling"], {})) as created,
    ):
        search = Search(spec, study_store(spec, created.journal), cost_of(work))
        driver = Driver(spec, created, search, work)
        began = time.process_time()
        progress = driver.run(executor, _Looking(Console(file=nowhere), look))
        spent_s = time.process_time() - began
    assert progress.n_trials_finished == spec.n_trials()
    return spent_s


class _Looking(PlainDisplay):
    """Writes every line that a log would have, and looks on."""

    def __init__(self, console: Any, look: Callable[[SweepProgress], object]) -> None:
        super().__init__(console)
        self._look = look

    def refresh(self, progress: SweepProgress) -> None:
        super().refresh(progress)
        self._look(progress)


@contextmanager
def counted_syncs() -> Iterator[list[int]]:
    """Within it the first item counts the waits for the disk."""
    count, sync = [0], os.fsync

    def counted(descriptor: Any) -> None:
        count[0] += 1
        sync(descriptor)

    os.fsync = counted
    try:
        yield count
    finally:
        os.fsync = sync


def print_table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints Markdown."""
    print(f"| {' | '.join(titles)} |\n|{' ---: |' * len(titles)}")
    for row in rows:
        cells = (f"{cell:,.3g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int)
                 else str(cell) for cell in row)  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _sizes_mb(folder: Path) -> tuple[float, float]:
    """Of the journal and of all records."""
    records = sum(path.stat().st_size for path in (folder / "records").iterdir())
    return (folder / "study.journal").stat().st_size / 1e6, records / 1e6


if __name__ == "__main__":
    main()
