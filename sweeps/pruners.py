"""Whether unpromising trials are stopped early: Optuna's pruners, by name with their options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sweeps.sections import Section, named


class NoPruning(Section):
    """Every run trains to its end."""

    name: Literal["none"] = "none"


class MedianPruning(Section):
    """A trial is stopped where it is worse than the median of the earlier trials."""

    name: Literal["median"] = "median"
    n_startup_trials: int = Field(
        default=5, ge=0, description="Trials that are finished before any trial is stopped"
    )
    n_warmup_cycles: int = Field(
        default=1, ge=0, description="Cycles of a trial before it may be stopped"
    )


Pruner = NoPruning | MedianPruning
WrittenPruner = Annotated[
    Pruner,
    Field(discriminator="name"),
    BeforeValidator(
        named("none", "median"),
        json_schema_input_type=Literal["none", "median"] | Pruner,
    ),
]
