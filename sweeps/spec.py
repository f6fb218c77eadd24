"""What a sweep file says, as immutable models with every default written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.config import JsonDict

from rso_core.configuration import configured_cycles
from rso_core.datasets import DataOptions
from rso_core.validation import shown
from sweeps.combinations import n_trials_of
from sweeps.conditions import WrittenConstraints
from sweeps.logging_options import LoggingOptions
from sweeps.pruners import NoPruning, WrittenPruner
from sweeps.resources import Resources
from sweeps.samplers import GridSampling, WrittenSampler
from sweeps.scalars import WrittenPoints, constraint_fault
from sweeps.sections import Section
from sweeps.space import MAIN_DIMENSIONS, Space
from sweeps.written_values import LARGEST_SEED as LARGEST_SEED  # others take it from here
from sweeps.written_values import MOST_SEEDS, Name, OptionalName, RunFolders, Seeds

Metric = Literal[
    "validation_accuracy",
    "validation_loss",
    "test_accuracy",
    "test_loss",
    "training_loss",
    "training_s",
    "n_images_passed",
    "n_visited",
]
"""A figure of a run: an accuracy or a loss after its last cycle, or a cost of all its cycles."""
COSTS = ("training_s", "n_images_passed", "n_visited")
"""The metrics that add up over the cycles."""
Direction = Literal["maximize", "minimize"]

EXAMPLE: Any = {
    "name": "quickstart",
    "data": {"name": "mnist", "train_size": 20000},
    "budget": {"cycles": 5},
    "space": {
        "architecture": ["one_conv", "two_conv"],
        "batch_size": [256, 1024],
        "optimizer": ["rso", "sgd"],
        "perturbation_std": [0.5, 1.0],
        "learning_rate": {"low": 0.001, "high": 1.0, "log": True},
        "rso.weight_decay": 0.0001,
    },
    "sampler": "tpe",
    "pruner": "median",
    "trials": 20,
    "seeds": 2,
}
"""A sweep file's content, for the JSON schema."""


class Budget(Section):
    """How long each run trains."""

    cycles: int = Field(
        default=5,
        ge=1,
        description="Cycles (RSO) or epochs (gradient methods) of every run; where the space has "
        "'cycles', of those that have none by it",
    )


def _without_default(schema: JsonDict) -> None:
    del schema["default"]


class Objective(Section):
    """What makes one trial better than another."""

    metric: Metric = Field(
        default="validation_accuracy",
        description="The figure by which trials are compared",
    )
    direction: Direction = Field(
        default="maximize",
        description="Default: maximize an accuracy, minimize a loss or a cost",
        # the schema could only name one of the two as the default
        json_schema_extra=_without_default,
    )

    @model_validator(mode="before")
    @classmethod
    def _direction_follows_metric(cls, data: Any) -> Any:
        if isinstance(data, Objective):
            return data
        if not isinstance(data, Mapping):
            raise constraint_fault(
                f"must be a mapping of 'metric' and 'direction', got {shown(data)}"
            )
        if "direction" in data:
            return data
        is_accuracy = str(data.get("metric", "validation_accuracy")).endswith("_accuracy")
        return {**data, "direction": "maximize" if is_accuracy else "minimize"}


def _objectives(value: object) -> object:
    if not isinstance(value, list | tuple):
        return (value,)
    if not value:
        raise constraint_fault("must list at least one objective, got []")
    return tuple(value)


def _each_metric_once(objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
    metrics = [objective.metric for objective in objectives]
    for index, metric in enumerate(metrics):
        if metric in metrics[:index]:
            raise constraint_fault(f"must list every metric once, got {metric!r} again")
    return objectives


class Repetitions(Section):
    """More seeds for the trials that may be the best, until their mean is known well enough."""

    half_width: float = Field(
        gt=0,
        description="Half the width of the interval of a trial's mean, in the objective's unit, "
        "below which it needs no more seeds",
    )
    most_seeds: int = Field(
        default=10, ge=2, le=MOST_SEEDS, description="Seeds that a trial has at the most"
    )
    confidence: float = Field(
        default=0.95, gt=0, lt=1, description="Of the interval, by Student's t distribution"
    )


class Stop(Section):
    """When no further trial is begun; those that are under way are finished."""

    wall_clock_s: float | None = Field(
        default=None, gt=0, description="Seconds that the sweep has been driven; null: no limit"
    )
    images_passed: int | None = Field(
        default=None, ge=1, description="Images passed in all runs together; null: no limit"
    )
    target: float | None = Field(
        default=None, description="A trial's objective is as good as this; null: none is enough"
    )
    no_improvement_trials: int | None = Field(
        default=None,
        ge=1,
        description="Trials in a row, in the order in which they ended, that were no better than "
        "the best before them; null: no limit",
    )


class Checkpoints(Section):
    """What is kept of the state of runs, so that they can be gone on with elsewhere."""

    every_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds between two checkpoints of a run; one more at the end of a cycle, "
        "unless the last is younger than a second",
    )
    keep_final_weights: bool = Field(
        default=False, description="Whether weights/ keeps the final weights of finished runs"
    )


class Limits(Section):
    """When a run is given up."""

    attempts: int = Field(
        default=5,
        ge=1,
        description="Times that a run is begun without getting further, where its actor or its "
        "machine dies; then it fails",
    )
    run_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that an attempt at a run may take; then the run fails. null: no limit",
    )


class StudyOptions(Section):
    """Where the Optuna study is kept."""

    storage: str | None = Field(
        default=None,
        min_length=1,
        description="An RDB address (postgresql+psycopg://, mysql+pymysql://, sqlite:///) or "
        "grpc://HOST:PORT of Optuna's proxy; ${NAME} stands for an environment variable. "
        "null: study.journal in the run folder",
    )
    name: OptionalName = Field(
        default=None,
        description="The study's name in that storage; null: the sweep's name",
        max_length=100,
    )


_Objectives = Annotated[
    tuple[Objective, ...],
    BeforeValidator(
        _objectives,
        json_schema_input_type=Objective | Annotated[list[Objective], Field(min_length=1)],
    ),
    AfterValidator(_each_metric_once),
]


class SweepSpec(Section):
    """One search over configurations, as a sweep file describes it.

    What pydantic checks here is each field by itself; `sweeps.sweep_file.parse_sweep` checks all.
    """

    model_config = ConfigDict(
        title="rso-sweep: a sweep file",
        json_schema_extra={"examples": [EXAMPLE]},
    )

    name: Name = Field(description="Names the run folder: letters, digits, '-', '_' and '.'")
    data: DataOptions = Field(
        default_factory=DataOptions, description="The data set, and how it is split"
    )
    budget: Budget = Field(default_factory=Budget, description="How long each run trains")
    space: Space = Field(
        description="The dimensions: architecture, batch_size, optimizer, and options of the "
        "listed optimisers, bare (learning_rate) or as rso.weight_decay. Each is a value, a list, "
        "a range {low, high, step, log}, {choices} or {value}; 'when' makes it exist only where "
        "other dimensions have given values",
        json_schema_extra={"required": list(MAIN_DIMENSIONS)},
    )
    constraints: WrittenConstraints = Field(
        default=(),
        description="What is allowed of the space: 'require' must hold wherever 'when' holds",
    )
    first: WrittenPoints = Field(
        default=(),
        description="Points to try first, as mappings of dimensions to values; the values of the "
        "dimensions that one leaves out are drawn, or, in a grid, tried in turn",
    )
    sampler: WrittenSampler = Field(
        default_factory=GridSampling, description="How the trials choose among the configurations"
    )
    pruner: WrittenPruner = Field(
        default_factory=NoPruning, description="Whether unpromising trials are stopped early"
    )
    trials: int | None = Field(
        default=None,
        ge=1,
        description="Configurations to try; null: all that the sampler has. Needed by all samplers "
        "but grid, brute_force, and tpe with 'trials_each'",
    )
    objective: _Objectives = Field(
        default=(Objective(),),
        description="What makes one trial better than another; several: the trials that no other "
        "one beats in all of them",
    )
    seeds: Seeds = Field(
        default=(0,), description="One run of every configuration for each; 3 means [0, 1, 2]"
    )
    repetitions: Repetitions | None = Field(
        default=None, description="More seeds where they are needed; null: the seeds alone"
    )
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED, description="Of the sampler")
    stop: Stop = Field(default_factory=Stop, description="When no further trial is begun")
    warm_start: RunFolders = Field(
        default=(),
        description="Run folders, as paths or addresses, whose results the sampler is to know",
    )
    resources: Resources = Field(
        default_factory=Resources, description="What a run is given, and how many run at once"
    )
    checkpoints: Checkpoints = Field(
        default_factory=Checkpoints, description="What is kept of the state of runs"
    )
    limits: Limits = Field(default_factory=Limits, description="When a run is given up")
    study: StudyOptions = Field(
        default_factory=StudyOptions, description="Where the Optuna study is kept"
    )
    logging: LoggingOptions = Field(
        default_factory=LoggingOptions,
        description="Where runs are told of besides the run folder",
    )
    output: str | None = Field(
        default=None,
        min_length=1,
        description="The run folder: a path, or an address such as s3://bucket/folder; "
        "null: runs/NAME",
    )

    @model_validator(mode="after")
    def _space_has_constraints(self) -> SweepSpec:
        # a sweep file has them beside the space, but whoever has the space must not lose them
        constraints = self.constraints or self.space.constraints
        # frozen, but not yet in anyone's hands
        object.__setattr__(self, "space", replace(self.space, constraints=constraints))
        object.__setattr__(self, "constraints", constraints)
        return self

    @property
    def run_folder(self) -> Path:
        """Where the sweep is kept; relative to the folder that the command is run in."""
        return Path(self.output) if self.output else Path("runs") / self.name

    def cycles_of(self, point: Mapping[str, Any]) -> int:
        """The cycles of the runs of a configuration, given by the values of its dimensions."""
        return configured_cycles(point, self.budget.cycles)

    def most_cycles(self) -> int:
        """The cycles of the longest runs."""
        return self.space.cycles(self.budget.cycles)[1]

    def cycles_in_words(self) -> str:
        """`1 cycle`, `5 cycles` or `1 to 10 cycles`: of a run."""
        fewest, most = self.space.cycles(self.budget.cycles)
        if fewest == most:
            return "1 cycle" if most == 1 else f"{most:,} cycles"
        return f"{fewest:,} to {most:,} cycles"

    def n_trials(self) -> int:
        """How many configurations are tried: no more than a grid has."""
        n_planned = self.n_planned()
        if n_planned is None:
            assert self.trials is not None, "checked when the sweep file was read"
            return self.trials
        return n_planned if self.trials is None else min(self.trials, n_planned)

    def n_planned(self) -> int | None:
        """How many configurations the sampler tries in all; None for one that goes on for ever."""
        if self.sampler.is_listing:
            n_combinations = self.space.n_combinations()
            assert n_combinations is not None, "checked when the sweep file was read"
            return n_combinations
        if self.sampler.searches_each is None:
            return None
        return n_trials_of(self.space, self.sampler.searches_each)


def json_schema() -> dict[str, Any]:
    """The JSON schema of a sweep file, for editors."""
    schema = SweepSpec.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["provenance"] = {
        "description": "Written into a run folder's sweep.yaml; ignored when it is read",
    }
    return schema
