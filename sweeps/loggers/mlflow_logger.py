"""MLflow: an experiment for the sweep, and in it a run for each of its runs."""

from __future__ import annotations

import logging
import time
from itertools import count
from typing import TYPE_CHECKING

from rso_core.records import CycleRecord
from sweeps.loggers.figures import figures, parameters
from sweeps.runs import Run, RunState

if TYPE_CHECKING:
    from mlflow import MlflowClient

_STATUSES = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
_SWEEP, _RUN, _STATE = "rso_sweep.sweep", "rso_sweep.run", "rso_sweep.state"
"""The tags by which an experiment and a run are found again, and the state of a run that ended."""
_MOST_METRICS = 1000
"""In a request, as MLflow has it."""


def mlflow_client(tracking_uri: str) -> MlflowClient:
    """A client, without changing what the rest of the process takes for its tracking server.

    Raises:
        Exception: whatever MLflow does with an address that it cannot use.
    """
    from mlflow import MlflowClient

    # it would write into the display how it makes its tables
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=tracking_uri)


class MlflowLogger:
    """Parameters, and metrics whose step is the cycle; a `RunLogger`.

    What an earlier driver has begun is found by its tags, and gone on with.
    """

    def __init__(self, tracking_uri: str, sweep: str, name: str) -> None:
        """Finds the sweep's experiment, or makes it.

        Args:
            tracking_uri: of the server or the database.
            sweep: by which the sweep is known; see `sweep_identity`.
            name: of a new experiment; numbered where another sweep has it.
        """
        self._client = mlflow_client(tracking_uri)
        self._experiment = self._found_experiment(sweep) or self._new_experiment(sweep, name)
        self._runs: dict[str, str] = {}

    def run_began(self, run: Run) -> None:
        self._client.update_run(self._id(run), status="RUNNING")

    def cycle_ended(self, run: Run, record: CycleRecord) -> None:
        from mlflow.entities import Metric

        moment = int(time.time() * 1000)
        metrics = [
            Metric(name, value, moment, record.cycle) for name, value in figures(record).items()
        ]
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._id(run), metrics[start : start + _MOST_METRICS])

    def run_ended(self, run: Run, state: RunState) -> None:
        self._client.set_tag(self._id(run), _STATE, state)
        self._client.set_terminated(self._id(run), _STATUSES[state])
        del self._runs[run.name]

    def close(self) -> None:
        while self._runs:
            _, run_id = self._runs.popitem()
            self._client.update_run(run_id, status="SCHEDULED")  # until the sweep is gone on with

    def _id(self, run: Run) -> str:
        """MLflow's name of the run, which is made if it is not there."""
        from mlflow.entities import Param

        if run.name in self._runs:
            return self._runs[run.name]
        condition = f"tags.`{_RUN}` = '{run.name}'"
        found = self._client.search_runs([self._experiment], condition, max_results=1)
        if found:
            known = found[0]
        else:
            known = self._client.create_run(
                self._experiment, tags={_RUN: run.name}, run_name=run.name
            )
        run_id: str = known.info.run_id
        if not known.data.params:  # a driver may have died before it wrote them
            given = parameters(run)
            self._client.log_batch(
                run_id, params=[Param(name, str(value)) for name, value in given.items()]
            )
        self._runs[run.name] = run_id
        return run_id

    def _found_experiment(self, sweep: str) -> str | None:
        condition = f"tags.`{_SWEEP}` = '{sweep}'"
        found = self._client.search_experiments(filter_string=condition, max_results=1)
        return found[0].experiment_id if found else None

    def _new_experiment(self, sweep: str, name: str) -> str:
        from mlflow.exceptions import MlflowException

        for number in count(1):
            try:
                return self._client.create_experiment(
                    name if number == 1 else f"{name}-{number}", tags={_SWEEP: sweep}
                )
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        raise AssertionError("there is always another number")
