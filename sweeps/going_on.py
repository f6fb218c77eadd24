"""What `rso-sweep resume` does, and `rso-sweep run` with a run folder: going on with a sweep."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from rso_core.datasets import Dataset, load_dataset
from rso_core.errors import InvalidInput
from sweeps.circumstances import Circumstances, ExecutorName, started_executor
from sweeps.driver import Driver
from sweeps.driving import (
    Outcome,
    cost_of,
    driven,
    opening,
    resumable,
    study_store,
)
from sweeps.growing import grown, with_growth_completed
from sweeps.growth import check_growth, earlier_spaces
from sweeps.located_yaml import read_yaml
from sweeps.loggers import check_loggers
from sweeps.provenance import versions
from sweeps.reading import check_against_data, read_sweep
from sweeps.run_folder import SWEEP_FILE, RunFolder
from sweeps.search import Search
from sweeps.spec import SweepSpec
from sweeps.storage.holder import driven_by, read_holder
from sweeps.storage.places import StorageFailed, open_place
from sweeps.storage.redaction import redacted
from sweeps.sweep_file import parse_sweep
from sweeps.work import WorkCounter

_RESUMABLE_SECTIONS = ("resources", "checkpoints", "limits", "study", "logging")
"""What may be changed when a sweep is resumed: nothing that decides on a number."""


def is_run_folder(sweep: str) -> bool:
    """Whether what was named as a sweep is the run folder of one."""
    try:
        return "://" in sweep or (Path(sweep) / SWEEP_FILE).is_file()
    except OSError:  # a name that is too long, a folder that cannot be searched
        return False


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
    with resumable(address), closing(RunFolder.hold(address)) as folder:
        text = folder.sweep_text()
        spec = parse_sweep(text, folder.place.address_of(SWEEP_FILE), overrides)
        about = _provenance(text)
        circumstances = _circumstances(about, executor, ray_address, command, console)
        _tell_of_before(about, folder, circumstances)
        earlier_spaces(about)
        data, work = _checked(spec, address)
        folder.tidy()
        about = with_growth_completed(folder, text, about)
        return _gone_on_with(spec, about, folder, address, circumstances, data, work)


def check_resumable(address: str, overrides: Sequence[str]) -> SweepSpec:
    """Finds out whether `resume` would begin, and takes and changes nothing.

    Args:
        address: the run folder.
        overrides: the values of `--set`.

    Raises:
        InvalidInput: it is no run folder, a driver has it, or the overrides cannot be.
    """
    _check_resumable(overrides)
    place = open_place(address)
    try:
        if not place.exists(SWEEP_FILE):
            shown = place.address_of()
            raise InvalidInput(f"'{shown}' is not a run folder: it has no {SWEEP_FILE}")
        text = RunFolder(place).sweep_text()
        record = read_holder(place)
    except StorageFailed as error:
        raise InvalidInput(str(error)) from error
    if record is not None and not record.holder.has_died_on(platform.node()):
        raise driven_by(place, record.holder, platform.node())
    return parse_sweep(text, place.address_of(SWEEP_FILE), overrides)


def grow(
    address: str,
    sweep: str | None,
    overrides: Sequence[str],
    *,
    retries_failed: bool,
    executor: ExecutorName | None,
    ray_address: str | None,
    command: Sequence[str],
    console: Console,
) -> Outcome:
    """Goes on with a sweep, ended or not, that is to have more than it had.

    Args:
        address: its run folder.
        sweep: a sweep file that says what it is to be; None for its own with the overrides.
        overrides: the values of `--set`.
        retries_failed: whether failed trials run again.
        executor: where runs are trained; None for where they were.
        ray_address: of a Ray cluster, `local` for this machine; None for the one that was used.
        command: the command line, for the records.
        console: for what is said.

    Raises:
        InvalidInput: as `resume`; also a change that would make its results another sweep's.
        SweepStopped: the run folder or the study's storage fails.
        KeyboardInterrupt: a second Ctrl-C.
    """
    of_study = [override for override in overrides if _section(override) == "study"]
    with resumable(address), closing(RunFolder.hold(address)) as folder:
        text, name = folder.sweep_text(), folder.place.address_of(SWEEP_FILE)
        about = _provenance(text)
        before = parse_sweep(text, name, of_study)
        if sweep is None:
            after = parse_sweep(text, name, [*_whole_plan(before), *overrides])
        else:
            after = read_sweep(sweep, overrides)
        # where the study is kept is no part of what is asked
        after = after.model_copy(update={"study": before.study, "trials": after.n_trials()})
        circumstances = _circumstances(about, executor, ray_address, command, console)
        _tell_of_before(about, folder, circumstances)
        earlier_spaces(about)
        check_growth(before, after, {})
        data, work = _checked(after, address)
        folder.tidy()
        about = with_growth_completed(folder, text, about)
        after, about = grown(folder, before, after, about, retries_failed, circumstances.say)
        return _gone_on_with(after, about, folder, address, circumstances, data, work)


def _whole_plan(before: SweepSpec) -> list[str]:
    """An override that lets a sweep of all that is planned stay one, whatever the space gains."""
    n_planned = before.n_planned()
    return ["trials=null"] if n_planned is not None and before.trials == n_planned else []


def _circumstances(
    about: Mapping[str, Any],
    executor: ExecutorName | None,
    ray_address: str | None,
    command: Sequence[str],
    console: Console,
) -> Circumstances:
    used: ExecutorName = executor or ("inline" if about.get("executor") == "inline" else "ray")
    if ray_address is None and executor is None:
        ray_address = about.get("address")
    return Circumstances(used, ray_address, command, console)


def _tell_of_before(
    about: Mapping[str, Any], folder: RunFolder, circumstances: Circumstances
) -> None:
    if folder.lock.predecessor is not None:
        gone = folder.lock.predecessor
        circumstances.say(f"the driver before, process {gone.pid} on {gone.host}, has died")
    circumstances.say(_version_note(about))


def _checked(spec: SweepSpec, address: str) -> tuple[Dataset, WorkCounter]:
    """Its data, which it fits."""
    check_loggers(spec.logging, address)
    data = load_dataset(spec.data)
    work = WorkCounter(data)
    check_against_data(spec, data, work)
    return data, work


def _gone_on_with(
    spec: SweepSpec,
    about: Mapping[str, Any],
    folder: RunFolder,
    address: str,
    circumstances: Circumstances,
    data: Dataset,
    work: WorkCounter,
) -> Outcome:
    store = study_store(spec, folder.journal)
    warm = folder.warm_trials()
    search = Search(spec, store, cost_of(work), earlier_spaces(about), warm)
    driver = Driver(spec, folder, search, work)
    folder.note_driver(circumstances.command)
    ended = f"{driver.progress.n_trials_ended} of {spec.n_trials()} trials have ended"
    if not driver.has_work:
        why = driver.progress.stop_reason
        if why is not None:
            folder.note_end(why)
        because = "" if why is None else f", since {why}"
        circumstances.say(f"[bold]{spec.name}[/bold]: {ended}; nothing is left to do{because}")
        return Outcome(address, driver.progress)
    with started_executor(spec, data, folder.place, circumstances) as running:
        line = opening(spec, running, circumstances.executor, address)
        circumstances.say(f"{line}; {ended}")
        return driven(driver, spec, running, address, circumstances)


def _check_resumable(overrides: Sequence[str]) -> None:
    for override in overrides:
        if _section(override) not in _RESUMABLE_SECTIONS:
            key = override.partition("=")[0].strip()
            allowed = ", ".join(_RESUMABLE_SECTIONS[:-1]) + f" and {_RESUMABLE_SECTIONS[-1]}"
            raise InvalidInput(
                f"'{key}' cannot be changed when a sweep is resumed, only {allowed} can "
                f"(--set {redacted(override)})"
            )


def _section(override: str) -> str:
    return override.partition("=")[0].strip().partition(".")[0]


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
