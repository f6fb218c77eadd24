"""From a sweep's name to its records: what `rso-sweep run` does before the report."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset, load_dataset
from rso_core.engine_choice import announce_fallback
from rso_core.errors import InvalidInput
from rso_core.training import fresh_network
from sweeps.display import LiveDisplay, PlainDisplay, label
from sweeps.driver import run_sweep
from sweeps.durations import duration
from sweeps.executors import Executor, InlineExecutor
from sweeps.presets import preset_names, preset_text
from sweeps.progress import SweepProgress
from sweeps.run_folder import RunFolder, check_output, free_name
from sweeps.spec import SweepSpec
from sweeps.sweep_file import load_sweep, parse_sweep
from sweeps.work import WorkCounter

ExecutorName = Literal["ray", "inline"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sweep."""

    folder: Path
    progress: SweepProgress


def launch(
    sweep: str,
    *,
    out: Path | None,
    overrides: Sequence[str],
    executor: ExecutorName,
    address: str | None,
    command: Sequence[str],
    console: Console,
) -> Outcome:
    """Runs a sweep from its file to its last record.

    Args:
        sweep: a preset's name, or a sweep file.
        out: the run folder; None for the sweep file's `output`, else `runs/NAME` or, where that
            exists, the first free of `runs/NAME-2`, `runs/NAME-3`, ...
        overrides: the values of `--set`.
        executor: where runs are trained.
        address: of a Ray cluster; None for this machine.
        command: the command line, for the records.
        console: where progress is shown.

    Raises:
        InvalidInput: anything that the user can put right; nothing has been written then.
        KeyboardInterrupt: Ctrl-C; what has ended is in the run folder.
    """
    spec = read_sweep(sweep, overrides)
    path = out or (Path(spec.output) if spec.output else free_name(spec.run_folder))
    check_output(path)
    if address is not None and executor == "inline":
        raise InvalidInput("'--address' names a Ray cluster, and '--executor inline' uses no Ray")
    data = load_dataset(spec.data)
    work = WorkCounter(data)
    check_against_data(spec, data, work)
    kernels = _start_compiling(spec)
    with console.status("starting Ray") if executor == "ray" else nullcontext():
        running = _executor(spec, executor, data, address)
    with closing(running):
        if kernels is not None:
            with console.status("compiling RSO's kernels, once on this machine: half a minute"):
                kernels.result()
        folder = RunFolder.create(path, spec, command)
        console.print(_opening(spec, running, executor, path), soft_wrap=True)
        try:
            display = (LiveDisplay if console.is_terminal else PlainDisplay)(console)
            with closing(display):
                progress = run_sweep(spec, folder, running, work, display)
        except KeyboardInterrupt:
            console.print(
                f"interrupted; what has ended is in {path}: "
                f"`rso-sweep report {path}` makes tables of it",
                soft_wrap=True,
            )
            raise
    console.print(_closing(progress), soft_wrap=True)
    return Outcome(path, progress)


def read_sweep(sweep: str, overrides: Sequence[str] = ()) -> SweepSpec:
    """Reads a preset by its name, or a sweep file; a file of a preset's name wins.

    Raises:
        InvalidInput: a line for every fault.
    """
    path = Path(sweep)
    looks_like_a_file = path.suffix in (".yaml", ".yml") or len(path.parts) > 1
    if path.is_file() or (looks_like_a_file and sweep not in preset_names()):
        return load_sweep(path, overrides)
    return parse_sweep(preset_text(sweep), f"preset {sweep}", overrides)


def check_against_data(spec: SweepSpec, data: Dataset, work: WorkCounter) -> None:
    """Builds every network of the space once, and holds the batch sizes against the data.

    Raises:
        InvalidInput: a network that the data does not fit, or a batch larger than the data.
    """
    largest = spec.space.largest_batch_size()
    if largest > data.n_training_images:
        raise InvalidInput(
            f"'space.batch_size' must be an integer from 1 to {data.n_training_images}, "
            f"the training images that '{spec.data.name}' leaves, got {largest}"
        )
    for architecture in spec.space["architecture"].domain.listed():
        for optimizer in spec.space.optimizers():
            values = {"architecture": architecture, "batch_size": 1, "optimizer": optimizer}
            configuration = Configuration.from_values(values, spec.budget.cycles)
            work.count(configuration)
            if optimizer == "rso":
                announce_fallback(fresh_network(configuration, data, seed=0), data.input_shape)


def _start_compiling(spec: SweepSpec) -> Future[None] | None:
    """Compiles RSO's kernels beside what is done meanwhile; they are kept for the actors."""
    if "rso" not in spec.space.optimizers():
        return None
    from rso_core.incremental.preparation import prepare_kernels  # takes a second to import

    pool = ThreadPoolExecutor(1)
    prepared = pool.submit(prepare_kernels)
    pool.shutdown(wait=False)
    return prepared


def _executor(spec: SweepSpec, name: ExecutorName, data: Dataset, address: str | None) -> Executor:
    resources = spec.resources
    if name == "inline":
        return InlineExecutor(data, n_threads=resources.cpus_per_run)
    from sweeps.ray_executor import RayExecutor  # Ray is not needed for the inline executor

    return RayExecutor(
        data,
        cpus_per_run=resources.cpus_per_run,
        gpus_per_run=resources.gpus_per_run,
        concurrency=resources.concurrency,
        address=address,
    )


def _opening(spec: SweepSpec, executor: Executor, name: ExecutorName, path: Path) -> str:
    n_trials, n_seeds = spec.n_trials(), len(spec.seeds)
    n_slots = min(executor.n_slots, n_trials * n_seeds)
    where = "in this process" if name == "inline" else f"in {n_slots} Ray actors"
    if n_slots == 1 and name == "ray":
        where = "in a Ray actor"
    return (
        f"[bold]{spec.name}[/bold]: {n_trials} trials x {n_seeds} "
        f"{'seed' if n_seeds == 1 else 'seeds'} = {n_trials * n_seeds} runs of "
        f"{spec.budget.cycles} cycles {where}, into [bold]{path}[/bold]"
    )


def _closing(progress: SweepProgress) -> str:
    parts = [f"{progress.n_trials_finished} of {progress.n_trials} trials finished"]
    if progress.n_trials_pruned:
        parts.append(f"{progress.n_trials_pruned} pruned")
    if progress.n_trials_failed:
        parts.append(f"[bold red]{progress.n_trials_failed} failed[/bold red]")
    line = f"{', '.join(parts)} in {duration(progress.elapsed_s)}"
    if progress.best is not None:
        line += f"; best: trial {progress.best.trial}, {label(progress.best.configuration)}"
    return line
