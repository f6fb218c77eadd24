"""What `rso-sweep check` does: reads a sweep file and says what the sweep amounts to and costs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from rich.console import Console

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset, load_dataset
from rso_core.errors import InvalidInput
from sweeps.calibration import calibrate
from sweeps.combinations import Point
from sweeps.cost import CostModel, makespan
from sweeps.display import label
from sweeps.durations import duration
from sweeps.earlier_times import earlier_times
from sweeps.points import KnownPoints, typical_configurations
from sweeps.pruners import NoPruning
from sweeps.reading import check_against_data, read_sweep
from sweeps.spec import SweepSpec
from sweeps.storage.redaction import redacted
from sweeps.work import WorkCounter

_N_TYPICAL = 500
"""Configurations in which every kind of run is looked for."""
_MOST_KINDS_NAMED = 3


def check_lines(
    sweep: str,
    overrides: Sequence[str],
    *,
    is_to_calibrate: bool = False,
    like: str | None = None,
    n_workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """The lines to print about a sound sweep.

    Args:
        sweep: a preset's name, or a sweep file.
        overrides: the values of `--set`.
        is_to_calibrate: whether to measure this machine.
        like: a run folder by whose records to go instead.
        n_workers: that train at once; None for as many as this machine would hold.
        console: where progress is shown.

    Raises:
        InvalidInput: a line for every fault.
    """
    _check_options(is_to_calibrate, like, n_workers)
    spec = read_sweep(sweep, overrides)
    data = load_dataset(spec.data)
    work = WorkCounter(data)
    check_against_data(spec, data, work)
    known = _known_times(spec, data, work, is_to_calibrate, like, console or Console(quiet=True))
    amount = _Amount.of(spec, work, known.model)
    n_workers = n_workers or _n_workers(spec)
    n_trials, n_seeds = spec.n_trials(), len(spec.seeds)
    workers = "1 worker" if n_workers == 1 else f"{n_workers:,} workers"
    bound = "at most about" if _ends_early(spec) and spec.repetitions is None else "about"
    return [
        f"{spec.name}: sound",
        f"data    {spec.data.name}: {data.n_training_images:,} training, "
        f"{len(data.validation_targets):,} validation and {len(data.test_targets):,} test images",
        f"trials  {n_trials:,}, sampler {spec.sampler.name}",
        f"runs    {n_trials * n_seeds:,}: {n_seeds} "
        f"{'seed' if n_seeds == 1 else 'seeds'} a trial, {spec.cycles_in_words()} a run",
        f"visits  {amount.visits}",
        f"work    {flop_words(amount.n_flop)} to train, evaluations aside",
        f"time    {bound} {duration(amount.seconds(n_workers))} on {workers}, {known.how}",
        f"longest about {duration(amount.longest_s)} for a run: {amount.longest}",
        *(f"note    {note}" for note in [*_notes(spec), *known.notes]),
    ]


def flop_words(n_flop: float) -> str:
    """Floating-point operations as `512 FLOP`, `3.2 GFLOP` or `12 PFLOP`."""
    unit = 0
    while n_flop >= 999.5 and unit < len(_PREFIXES) - 1:
        n_flop /= 1000
        unit += 1
    decimals = 1 if unit and n_flop < 9.95 else 0
    return f"{n_flop:,.{decimals}f} {_PREFIXES[unit]}FLOP"


_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def _check_options(is_to_calibrate: bool, like: str | None, n_workers: int | None) -> None:
    problems = []
    if n_workers is not None and n_workers < 1:
        problems.append(f"'--workers' must be an integer of at least 1, got {n_workers}")
    if is_to_calibrate and like is not None:
        problems.append(
            "'--calibrate' measures this machine, and '--like' goes by records; leave one out"
        )
    if problems:
        raise InvalidInput(*problems)


@dataclass(frozen=True, slots=True)
class _KnownTimes:
    """By what the time is predicted."""

    model: CostModel
    how: str
    """In words."""
    notes: list[str]


def _known_times(
    spec: SweepSpec,
    data: Dataset,
    work: WorkCounter,
    is_to_calibrate: bool,
    like: str | None,
    console: Console,
) -> _KnownTimes:
    typical = typical_configurations(spec, _N_TYPICAL)
    notes: list[str] = []
    if is_to_calibrate:
        device = _device(spec)
        _compile(spec, device, console)
        started = time.perf_counter()
        with console.status("measuring this machine"):
            measured = calibrate(
                typical, data, work, n_threads=spec.resources.cpus_per_run, device=device
            )
        took_s = time.perf_counter() - started
        how = f"calibrated on this machine in {duration(took_s)}"
    elif like is not None:
        earlier = earlier_times(like, spec, data, work)
        measured, how = earlier.cycles, f"by the records of {redacted(like)}"
        n_threads = spec.resources.cpus_per_run
        if earlier.n_threads != {n_threads}:
            had = ", ".join(str(n) for n in sorted(earlier.n_threads))
            notes.append(f"its runs had {had} threads, those of this sweep have {n_threads}")
    else:
        notes.append("--calibrate measures this machine within seconds, --like DIR goes by records")
        return _KnownTimes(CostModel(work.count), "for a nominal machine", notes)
    model = CostModel(work.count, measured)
    unmeasured = dict.fromkeys(
        f"{configuration.optimizer} {configuration.architecture}"
        for configuration in typical
        if not model.is_measured(configuration)
    )
    if unmeasured:
        some = list(unmeasured)[:_MOST_KINDS_NAMED]
        more = len(unmeasured) - len(some)
        names = ", ".join(some) + (f" and {more} more" if more else "")
        notes.append(f"nothing is known of {names}: taken to be off like the others")
    return _KnownTimes(model, how, notes)


@dataclass(frozen=True, slots=True)
class _Amount:
    """What all runs come to."""

    visits: str
    """In words."""
    n_flop: float
    runs_s: list[float]
    """Predicted for each run, in the order in which they are begun."""
    longest_s: float
    longest: str
    """Which run that is."""

    @classmethod
    def of(cls, spec: SweepSpec, work: WorkCounter, model: CostModel) -> _Amount:
        """Counts them: all that are planned, else as many like random ones."""
        n_seeds = len(spec.seeds)
        n_visits, n_flop, runs_s = 0.0, 0.0, []
        longest_s, longest = 0.0, None
        for configuration in _in_order(spec, work):
            of_run, seconds = work.count(configuration), model.predicted_s(configuration)
            n_visits += n_seeds * of_run.n_visits
            n_flop += n_seeds * of_run.n_flop
            runs_s += [seconds] * n_seeds
            if seconds > longest_s:
                longest_s, longest = seconds, configuration
        visits = f"{n_visits:,.0f} weight visits, each with three candidates"
        if spec.n_planned() is None:
            visits = f"about {n_visits:,.0f} weight visits, to go by random configurations"
        return cls(visits, n_flop, runs_s, longest_s, "none" if longest is None else label(longest))

    def seconds(self, n_workers: int) -> float:
        """Until the last run has ended."""
        return makespan(self.runs_s, n_workers)


def _in_order(spec: SweepSpec, work: WorkCounter) -> Iterator[Configuration]:
    """A configuration for each trial that does not fail at once, in the order of the trials."""
    n_trials = spec.n_trials()
    if spec.n_planned() is None:
        typical = typical_configurations(spec)
        yield from (typical[number % len(typical)] for number in range(n_trials) if typical)
        return
    if spec.sampler.name == "grid" and not spec.first:  # the same, but each is made only once
        runnable = list(_runnable(spec, spec.space.grid()))
        runnable.sort(key=lambda configuration: -work.count(configuration).cost)
        yield from runnable[:n_trials]
        return
    known = KnownPoints(spec, lambda configuration: work.count(configuration).cost)
    points = (point for number in range(n_trials) if (point := known.given(number)) is not None)
    yield from _runnable(spec, points)


def _runnable(spec: SweepSpec, points: Iterable[Point]) -> Iterator[Configuration]:
    for point in points:
        with suppress(InvalidInput):  # such a trial fails at once
            yield Configuration.from_values(point, spec.budget.cycles)


def _n_workers(spec: SweepSpec) -> int:
    """How many runs this machine would train at once."""
    resources = spec.resources
    n_workers = (os.cpu_count() or 1) // resources.cpus_per_run
    if resources.gpus_per_run and torch.cuda.is_available():
        n_workers = min(n_workers, int(torch.cuda.device_count() / resources.gpus_per_run))
    return max(1, min(n_workers, resources.concurrency or n_workers))


def _device(spec: SweepSpec) -> str:
    if not spec.resources.gpus_per_run:
        return "cpu"
    if not torch.cuda.is_available():
        raise InvalidInput(
            "'--calibrate' must be called where runs can be trained, but this machine has no GPU, "
            f"and 'resources.gpus_per_run' is {spec.resources.gpus_per_run:g}"
        )
    return "cuda"


def _compile(spec: SweepSpec, device: str, console: Console) -> None:
    """Has RSO's kernels compiled, which is not to be measured."""
    if "rso" in spec.space.optimizers() and device == "cpu":
        from rso_core.incremental.preparation import prepare_kernels  # takes a second to import

        with console.status("compiling RSO's kernels, once on this machine: half a minute"):
            prepare_kernels()


def _ends_early(spec: SweepSpec) -> list[str]:
    """Why the sweep may be less than all of its runs."""
    reasons = []
    if not isinstance(spec.pruner, NoPruning):
        reasons.append(f"pruner {spec.pruner.name} stops runs early")
    if any(value is not None for value in spec.stop.model_dump().values()):
        reasons.append("'stop' may end the sweep before its last trial")
    return reasons


def _notes(spec: SweepSpec) -> Iterable[str]:
    reasons = _ends_early(spec)
    if reasons:
        yield f"it may be less: {', and '.join(reasons)}"
    if spec.repetitions is not None:
        most, n_seeds = spec.repetitions.most_seeds, len(spec.seeds)
        if most > n_seeds:
            yield (
                f"it may be more, up to {most / n_seeds:.2g} times: 'repetitions' gives a trial "
                f"that may be the best up to {most} seeds"
            )
