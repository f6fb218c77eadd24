"""The section `logging` of a sweep file: where runs are told of besides the run folder."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from rso_core.validation import shown
from sweeps.scalars import constraint_fault
from sweeps.sections import Section
from sweeps.storage.redaction import redacted_address


def _folder(value: object) -> object:
    if not isinstance(value, bool | str) or value == "":
        raise constraint_fault(f"must be true, false or a folder, got {shown(value)}")
    if isinstance(value, str) and "://" in value:
        raise constraint_fault(
            f"must be a folder of this machine, got '{redacted_address(value)}': TensorBoard's "
            "files are appended to; name a path"
        )
    return value


def _tracking_uri(value: object) -> object:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise constraint_fault(f"must be a tracking URI or null, got {shown(value)}")
    if isinstance(value, str) and redacted_address(value) != value:
        raise constraint_fault(
            f"must be a tracking URI without a password, got '{redacted_address(value)}'; "
            "MLflow takes it from MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN, and "
            "PostgreSQL from PGPASSWORD"
        )
    return value


class LoggingOptions(Section):
    """Where the cycles of every run are told of, besides the run folder."""

    tensorboard: Annotated[
        bool | str,
        BeforeValidator(_folder, json_schema_input_type=bool | Annotated[str, Field(min_length=1)]),
    ] = Field(
        default=False,
        description="Event files for TensorBoard: true for tensorboard/ in the run folder, or a "
        "folder in which the sweep gets one of its own; needs rso-sweep[tensorboard]",
    )
    mlflow: Annotated[
        str | None,
        BeforeValidator(
            _tracking_uri, json_schema_input_type=Annotated[str, Field(min_length=1)] | None
        ),
    ] = Field(
        default=None,
        description="MLflow's tracking URI, such as http://localhost:5000 or sqlite:///mlflow.db: "
        "an experiment for the sweep, a run for each of its runs; needs rso-sweep[mlflow]; "
        "null: none",
    )
