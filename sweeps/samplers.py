"""How the trials choose among the configurations: Optuna's samplers, by name with their options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sweeps.sections import Section, named


class GridSampling(Section):
    """Every combination of the space once."""

    name: Literal["grid"] = "grid"


class RandomSampling(Section):
    """Every value drawn independently."""

    name: Literal["random"] = "random"


class TpeSampling(Section):
    """The tree-structured Parzen estimator: draws more from where good trials lay."""

    name: Literal["tpe"] = "tpe"
    n_startup_trials: int = Field(
        default=10, ge=0, description="Trials drawn at random before the estimator is used"
    )
    n_ei_candidates: int = Field(
        default=24, ge=1, description="Values among which the most promising one is taken"
    )


Sampler = GridSampling | RandomSampling | TpeSampling
WrittenSampler = Annotated[
    Sampler,
    Field(discriminator="name"),
    BeforeValidator(
        named("grid", "random", "tpe"),
        json_schema_input_type=Literal["grid", "random", "tpe"] | Sampler,
    ),
]
