"""Which loggers a sweep has: checks that they can be had, and opens them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from rso_core.errors import InvalidInput, reason
from rso_core.records import CycleRecord
from sweeps.loggers.background import BackgroundLogger
from sweeps.loggers.interface import RunLogger
from sweeps.loggers.sweep_identity import own_folder, sweep_identity
from sweeps.logging_options import LoggingOptions
from sweeps.runs import Run, RunState
from sweeps.storage.places import LocalPlace, Place, open_place
from sweeps.storage.redaction import redacted


def open_loggers(
    options: LoggingOptions,
    folder_address: str,
    spec_name: str,
    notice: Callable[[str], None],
) -> RunLogger:
    """Opens what the options ask for. A driver has one, for as long as it holds the run folder.

    Nothing that it is asked to do raises or takes long; only `close` may wait, some seconds.

    Args:
        options: of the sweep; checked by `check_loggers`.
        folder_address: of the run folder, which exists.
        spec_name: of the sweep.
        notice: is given a line, in the caller's thread, for each logger that fails; once.
    """
    place = open_place(folder_address)
    loggers: list[RunLogger] = []
    if options.tensorboard is not False:
        given = options.tensorboard
        loggers.append(
            BackgroundLogger("TensorBoard", lambda: _tensorboard(given, place, spec_name), notice)
        )
    if options.mlflow is not None:
        uri = options.mlflow
        loggers.append(BackgroundLogger("MLflow", lambda: _mlflow(uri, place, spec_name), notice))
    return _Together(tuple(loggers))


def check_loggers(options: LoggingOptions, folder_address: str) -> None:
    """Finds out, before a sweep begins, whether its loggers can be had.

    A server is not asked; where MLflow's tracking URI is a database, it is opened.

    Args:
        options: of the sweep.
        folder_address: of the run folder, which need not exist yet.

    Raises:
        InvalidInput: a package is not installed, TensorBoard's files would be where nothing can
            be appended, or MLflow cannot use the tracking URI; a line for each.
    """
    problems: list[str] = []
    if options.tensorboard is not False:
        _note(problems, "tensorboard", "tensorboard")
    if options.tensorboard is True and "://" in folder_address:
        problems.append(
            "'logging.tensorboard' must be a folder of this machine, got true for the run folder "
            f"'{redacted(folder_address)}'; name a path"
        )
    if options.mlflow is not None and _note(problems, "mlflow", "mlflow"):
        try:
            from sweeps.loggers.mlflow_logger import mlflow_client

            mlflow_client(options.mlflow)
        except Exception as error:  # the stores of MLflow have errors of their own
            problems.append(
                "'logging.mlflow' must be a tracking URI that MLflow can use, got "
                f"'{redacted(options.mlflow)}' ({redacted(reason(error))}); "
                "such as http://localhost:5000 or sqlite:///mlflow.db"
            )
    if problems:
        raise InvalidInput(*problems)


class _Together:
    """Tells several loggers, or none, in turn."""

    def __init__(self, loggers: tuple[RunLogger, ...]) -> None:
        self._loggers = loggers

    def run_began(self, run: Run) -> None:
        for logger in self._loggers:
            logger.run_began(run)

    def cycle_ended(self, run: Run, record: CycleRecord) -> None:
        for logger in self._loggers:
            logger.cycle_ended(run, record)

    def run_ended(self, run: Run, state: RunState) -> None:
        for logger in self._loggers:
            logger.run_ended(run, state)

    def close(self) -> None:
        for logger in self._loggers:
            logger.close()


NO_LOGGER: RunLogger = _Together(())
"""Tells nobody."""


def _tensorboard(given: bool | str, place: Place, spec_name: str) -> RunLogger:
    from sweeps.loggers.tensorboard_logger import TensorBoardLogger

    if isinstance(given, str):
        name = PurePosixPath(place.address.rstrip("/")).name or spec_name
        return TensorBoardLogger(own_folder(Path(given), name, sweep_identity(place)))
    assert isinstance(place, LocalPlace), "checked before the sweep began"
    return TensorBoardLogger(place.path / "tensorboard")


def _mlflow(uri: str, place: Place, spec_name: str) -> RunLogger:
    from sweeps.loggers.mlflow_logger import MlflowLogger

    return MlflowLogger(uri, sweep_identity(place), spec_name)


def _note(problems: list[str], module: str, extra: str) -> bool:
    """Whether a module is installed; if not, that is a problem."""
    if importlib.util.find_spec(module) is not None:
        return True
    problems.append(
        f"'logging.{extra}' needs {module}, which is not installed; "
        f"pip install 'rso-sweep[{extra}]'"
    )
    return False
