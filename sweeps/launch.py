"""What `rso-sweep run` does with a sweep file before the report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from rso_core.datasets import load_dataset
from rso_core.errors import InvalidInput
from sweeps.circumstances import Circumstances, started_executor
from sweeps.driver import Driver
from sweeps.driving import Outcome, cost_of, driven, opening, resumable, study_store
from sweeps.loggers import check_loggers
from sweeps.output_address import check_output, free_name
from sweeps.reading import check_against_data, read_sweep
from sweeps.run_folder import RunFolder
from sweeps.search import Search
from sweeps.spec import SweepSpec
from sweeps.stopwatch import Stopwatch
from sweeps.storage.places import StorageFailed, open_place
from sweeps.storage.studies import StudyStore, check_new_study
from sweeps.storage.study_storage import StudyUnreachable
from sweeps.warm_start import warm_trials
from sweeps.work import WorkCounter


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
    stopwatch = Stopwatch()
    spec = read_sweep(sweep, overrides)
    address = _output(out, spec)
    stopwatch.lap("the sweep file")
    data = load_dataset(spec.data)
    work = WorkCounter(data)
    check_against_data(spec, data, work)
    if spec.study.storage is not None:
        _check_new_study(study_store(spec, None), spec.study.storage)
    check_loggers(spec.logging, address)
    warm = warm_trials(spec, circumstances.say)
    stopwatch.lap("the data")
    with started_executor(spec, data, open_place(address), circumstances) as executor:
        stopwatch.lap("Ray")
        folder = RunFolder.create(
            address, spec, circumstances.command, circumstances.recorded(), warm
        )
        with closing(folder), resumable(address):
            store = study_store(spec, folder.journal)
            driver = Driver(spec, folder, Search(spec, store, cost_of(work), warm=warm), work)
            stopwatch.lap("the run folder and the study")
            folder.note_start(stopwatch.began_at, stopwatch.phases_s)
            circumstances.say(opening(spec, executor, circumstances.executor, address))
            return driven(driver, spec, executor, address, circumstances)


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
