"""What `rso-sweep run` and `rso-sweep resume` do before the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape

from rso_core.datasets import load_dataset
from rso_core.errors import InvalidInput
from sweeps.circumstances import Circumstances, ExecutorName, started_executor
from sweeps.display import LiveDisplay, PlainDisplay, label
from sweeps.driver import Driver
from sweeps.durations import duration
from sweeps.executors import Executor
from sweeps.interrupts import interrupts
from sweeps.located_yaml import read_yaml
from sweeps.progress import SweepProgress
from sweeps.provenance import versions
from sweeps.reading import check_against_data, read_sweep
from sweeps.run_folder import SWEEP_FILE, RunFolder, check_output, free_name
from sweeps.search import Search
from sweeps.spec import SweepSpec
from sweeps.storage.append_log import AppendLog
from sweeps.storage.places import StorageFailed, open_place
from sweeps.storage.redaction import redacted
from sweeps.storage.studies import StudyStore, check_new_study, open_study_store
from sweeps.storage.study_storage import StudyUnreachable
from sweeps.sweep_file import parse_sweep
from sweeps.work import WorkCounter

_RESUMABLE_SECTIONS = ("resources", "checkpoints", "limits", "study")
"""What may be changed when a sweep is resumed: nothing that decides on a number."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sweep."""

    folder: str
    """Its address."""
    progress: SweepProgress


class SweepStopped(Exception):  # noqa: N818  (it names what happened)
    """A sweep cannot go on for now; one line for the user, which says how it can later."""


def launch(
    sweep: str, out: str | None, overrides: Sequence[str], circumstances: Circumstances
) -> Outcome:
    """Runs a sweep from its file to its last record.

    Args:
        sweep: a preset's name, or a sweep file.
        out: the run folder; None for the sweep file's `output`, else `runs/NAME` or, where that
            exists, the first free of `runs/NAME-2`, `runs/NAME-3`, ...
        overrides: the values of `--set`.
        circumstances: how it is run.

    Raises:
        InvalidInput: anything that the user can put right; nothing has been written then.
        SweepStopped: the run folder or the study's storage fails.
        KeyboardInterrupt: a second Ctrl-C. After the first, the outcome is an interrupted one.
    """
    spec = read_sweep(sweep, overrides)
    address = _output(out, spec)
    data = load_dataset(spec.data)
    work = WorkCounter(data)
    check_against_data(spec, data, work)
    if spec.study.storage is not None:
        _check_new_study(_study_store(spec, None), spec.study.storage)
    with started_executor(spec, data, open_place(address), circumstances) as executor:
        folder = RunFolder.create(address, spec, circumstances.command, circumstances.recorded())
        with closing(folder), _resumable(address):
            driver = Driver(spec, folder, Search(spec, _study_store(spec, folder.journal)), work)
            circumstances.say(_opening(spec, executor, circumstances.executor, address))
            return _driven(driver, executor, address, circumstances)


def resume(
    address: str,
    overrides: Sequence[str],
    executor: ExecutorName | None,
    ray_address: str | None,
    command: Sequence[str],
    console: Console,
) -> Outcome:
    """Goes on with a sweep whose driver has ended, however it did.

    Args:
        address: its run folder.
        overrides: the values of `--set`, of sections that decide on no number.
        executor: where runs are trained; None for where they were.
        ray_address: of a Ray cluster, `local` for this machine; None for the one that was used.
        command: the command line, for the records.
        console: for what is said.

    Raises:
        InvalidInput: as `launch`; also if another driver has the folder.
        SweepStopped: the run folder or the study's storage fails.
        KeyboardInterrupt: a second Ctrl-C.
    """
    _check_resumable(overrides)
    with _resumable(address), closing(RunFolder.hold(address)) as folder:
        text = folder.sweep_text()
        spec = parse_sweep(text, folder.place.address_of(SWEEP_FILE), overrides)
        about = _provenance(text)
        used: ExecutorName = executor or ("inline" if about.get("executor") == "inline" else "ray")
        if ray_address is None and executor is None:
            ray_address = about.get("address")
        circumstances = Circumstances(used, ray_address, command, console)
        if folder.lock.predecessor is not None:
            gone = folder.lock.predecessor
            circumstances.say(f"the driver before, process {gone.pid} on {gone.host}, has died")
        circumstances.say(_version_note(about))
        data = load_dataset(spec.data)
        work = WorkCounter(data)
        check_against_data(spec, data, work)
        folder.tidy()
        driver = Driver(spec, folder, Search(spec, _study_store(spec, folder.journal)), work)
        folder.note_driver(command)
        ended = f"{driver.progress.n_trials_ended} of {spec.n_trials()} trials have ended"
        if not driver.has_work:
            circumstances.say(f"[bold]{spec.name}[/bold]: {ended}; nothing is left to do")
            return Outcome(address, driver.progress)
        with started_executor(spec, data, folder.place, circumstances) as running:
            circumstances.say(f"{_opening(spec, running, used, address)}; {ended}")
            return _driven(driver, running, address, circumstances)


def _output(out: str | None, spec: SweepSpec) -> str:
    address = spec.output if out is None else out
    if address is None:
        try:
            address = free_name(str(spec.run_folder))
        except StorageFailed as error:
            raise InvalidInput(f"{error}; name the run folder with '--out'") from error
    check_output(address)
    return address


def _check_new_study(store: StudyStore, storage: str) -> None:
    try:
        check_new_study(store, storage)
    except StudyUnreachable as error:  # nothing has begun yet
        raise InvalidInput(str(error)) from error


def _driven(
    driver: Driver, executor: Executor, address: str, circumstances: Circumstances
) -> Outcome:
    console = circumstances.console
    later = f"`rso-sweep resume {escape(redacted(address))}` goes on with it"
    try:
        display = (LiveDisplay if console.is_terminal else PlainDisplay)(console)
        with interrupts() as signals, closing(display):
            progress = driver.run(executor, display, signals.is_requested)
    except KeyboardInterrupt:
        circumstances.say(f"stopped at once; {later}")
        raise
    circumstances.say(f"interrupted; {later}" if progress.is_interrupted else _closing(progress))
    return Outcome(address, progress)


@contextmanager
def _resumable(address: str) -> Iterator[None]:
    """Within it a failing storage stops the sweep with a line that says how to go on."""
    try:
        yield
    except (StorageFailed, StudyUnreachable) as error:
        raise SweepStopped(
            f"{error}; once that is put right, `rso-sweep resume {redacted(address)}` goes on: "
            "what was complete is kept"
        ) from error


def _study_store(spec: SweepSpec, journal: AppendLog | None) -> StudyStore:
    if spec.study.storage is not None and "***" in spec.study.storage:
        raise InvalidInput(
            "'study.storage' has a password that is kept nowhere; give the address again with "
            "--set study.storage=..., best with ${NAME} of an environment variable in it"
        )
    name = spec.study.name or spec.name
    return open_study_store(spec.study.storage, name, journal)


def _check_resumable(overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key.partition(".")[0] not in _RESUMABLE_SECTIONS:
            allowed = ", ".join(_RESUMABLE_SECTIONS[:-1]) + f" and {_RESUMABLE_SECTIONS[-1]}"
            raise InvalidInput(
                f"'{key}' cannot be changed when a sweep is resumed, only {allowed} can "
                f"(--set {redacted(override)})"
            )


def _provenance(text: str) -> Mapping[str, Any]:
    content = read_yaml(text).content
    found = content.get("provenance") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _version_note(about: Mapping[str, Any]) -> str:
    before, now = about.get("versions"), versions()
    if not isinstance(before, dict):
        return ""
    changed = [
        f"{name} {before[name]} before, {now[name]} now"
        for name in before
        if name in now and before[name] != now[name]
    ]
    if not changed:
        return ""
    return f"[yellow]numbers may differ in the last digits: {'; '.join(changed)}[/yellow]"


def _opening(spec: SweepSpec, executor: Executor, name: ExecutorName, address: str) -> str:
    n_trials, n_seeds = spec.n_trials(), len(spec.seeds)
    n_slots = min(executor.n_slots, n_trials * n_seeds)
    where = "in this process" if name == "inline" else f"in {n_slots} Ray actors"
    if n_slots == 1 and name == "ray":
        where = "in a Ray actor"
    return (
        f"[bold]{spec.name}[/bold]: {n_trials} trials x {n_seeds} "
        f"{'seed' if n_seeds == 1 else 'seeds'} = {n_trials * n_seeds} runs of "
        f"{spec.budget.cycles} cycles {where}, into [bold]{escape(redacted(address))}[/bold]"
    )


def _closing(progress: SweepProgress) -> str:
    parts = [f"{progress.n_trials_finished} of {progress.n_trials} trials finished"]
    if progress.n_trials_pruned:
        parts.append(f"{progress.n_trials_pruned} pruned")
    if progress.n_trials_failed:
        parts.append(f"[bold red]{progress.n_trials_failed} failed[/bold red]")
    line = f"{', '.join(parts)} in {duration(progress.elapsed_s)}"
    if progress.best is not None:
        line += f"; best: trial {progress.best.trial}, {escape(label(progress.best.configuration))}"
    return line
