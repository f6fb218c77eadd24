"""What commands that drive a sweep have in common: from the driver to the closing line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from rich.markup import escape

from rso_core.configuration import Configuration
from rso_core.errors import InvalidInput
from sweeps.circumstances import Circumstances, ExecutorName
from sweeps.display import LiveDisplay, ObservedDisplay, PlainDisplay, label
from sweeps.driver import Display, Driver
from sweeps.durations import duration
from sweeps.executors import Executor
from sweeps.interrupts import interrupts
from sweeps.loggers import open_loggers
from sweeps.metrics import RayMeter, SweepMetrics
from sweeps.progress import SweepProgress
from sweeps.search import SearchFailed
from sweeps.spec import SweepSpec
from sweeps.storage.append_log import AppendLog
from sweeps.storage.places import StorageFailed
from sweeps.storage.redaction import redacted
from sweeps.storage.studies import StudyStore, open_study_store
from sweeps.storage.study_storage import StudyUnreachable
from sweeps.work import WorkCounter


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sweep."""

    folder: str
    """Its address."""
    progress: SweepProgress


class SweepStopped(Exception):  # noqa: N818  (it names what happened)
    """A sweep cannot go on for now; one line for the user, which says how it can later."""


def driven(
    driver: Driver, spec: SweepSpec, executor: Executor, address: str, circumstances: Circumstances
) -> Outcome:
    """Drives a sweep to its end or an interrupt, and says which.

    Raises:
        KeyboardInterrupt: a second Ctrl-C. After the first, the outcome is an interrupted one.
    """
    console = circumstances.console
    later = f"`rso-sweep resume {escape(redacted(address))}` goes on with it"
    try:
        display: Display = (LiveDisplay if console.is_terminal else PlainDisplay)(console)
        logger = open_loggers(
            spec.logging, address, spec.name, lambda line: circumstances.say(escape(line))
        )
        with interrupts() as signals, ExitStack() as opened:
            opened.callback(display.close)
            opened.callback(logger.close)
            if circumstances.executor == "ray":
                metrics = SweepMetrics(spec.name, lambda: executor.n_slots, RayMeter())
                opened.callback(metrics.close)
                display = ObservedDisplay(display, metrics.update)
            progress = driver.run(executor, display, signals.is_requested, logger)
    except KeyboardInterrupt:
        circumstances.say(f"stopped at once; {later}")
        raise
    circumstances.say(f"interrupted; {later}" if progress.is_interrupted else _closing(progress))
    return Outcome(address, progress)


@contextmanager
def resumable(address: str) -> Iterator[None]:
    """Within it a failing storage stops the sweep with a line that says how to go on.

    Raises:
        SweepStopped: it has failed, or a user's own sampler or pruner has.
    """
    try:
        yield
    except (StorageFailed, StudyUnreachable, SearchFailed) as error:
        raise SweepStopped(
            f"{error}; once that is put right, `rso-sweep resume {redacted(address)}` goes on: "
            "what was complete is kept"
        ) from error


def study_store(spec: SweepSpec, journal: AppendLog | None) -> StudyStore:
    """Where the sweep's study is kept.

    Raises:
        InvalidInput: an address that cannot be used, or whose password is missing.
    """
    if spec.study.storage is not None and "***" in spec.study.storage:
        raise InvalidInput(
            "'study.storage' has a password that is kept nowhere; give the address again with "
            "--set study.storage=..., best with ${NAME} of an environment variable in it"
        )
    return open_study_store(spec.study.storage, study_name(spec), journal)


def study_name(spec: SweepSpec) -> str:
    """The name of the sweep's study in its storage."""
    return spec.study.name or spec.name


def cost_of(work: WorkCounter) -> Callable[[Configuration], float]:
    """By which a grid puts its longest runs first."""
    return lambda configuration: work.count(configuration).cost


def opening(spec: SweepSpec, executor: Executor, name: ExecutorName, address: str) -> str:
    """The line with which a sweep begins."""
    n_trials, n_seeds = spec.n_trials(), len(spec.seeds)
    where = "in this process" if name == "inline" else _actors(spec, executor)
    return (
        f"[bold]{spec.name}[/bold]: {n_trials} trials x {n_seeds} "
        f"{'seed' if n_seeds == 1 else 'seeds'} = {n_trials * n_seeds} runs of "
        f"{spec.cycles_in_words()} {where}, into [bold]{escape(redacted(address))}[/bold]"
    )


def _actors(spec: SweepSpec, executor: Executor) -> str:
    n_slots = min(executor.n_slots, spec.n_trials() * len(spec.seeds))
    if n_slots == 0:
        return "on a cluster that has yet to add machines for them"
    n_actors = n_slots * spec.resources.workers_per_run
    return "in a Ray actor" if n_actors == 1 else f"in {n_actors} Ray actors"


def _closing(progress: SweepProgress) -> str:
    parts = [f"{progress.n_trials_finished} of {progress.n_trials} trials finished"]
    if progress.n_trials_pruned:
        parts.append(f"{progress.n_trials_pruned} pruned")
    if progress.n_trials_failed:
        parts.append(f"[bold red]{progress.n_trials_failed} failed[/bold red]")
    line = f"{', '.join(parts)} in {duration(progress.elapsed_s)}"
    if progress.stop_reason is not None:
        line = f"stopped, since {progress.stop_reason}: {line}"
    if progress.best is not None:
        line += f"; best: trial {progress.best.trial}, {escape(label(progress.best.configuration))}"
    elif progress.pareto:
        line += f"; Pareto set of {len(progress.pareto)} trials"
    return line
