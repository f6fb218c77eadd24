"""The options of RSO."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rso_core.batches import Drawing
from rso_core.engine_choice import EngineName
from rso_core.initialisation import Initialisation
from rso_core.sigma import Annealing, Sampler, SigmaRule


class RSOOptions(BaseModel):
    """The options of RSO; each default is the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    perturbation_std: float = Field(default=1.0, gt=0, description="Factor on sigma.")
    initialisation: Initialisation = Field(
        default="he",
        description="he: by fan-in; glorot: uniform, zero biases; model: as torch made it.",
    )
    sigma: SigmaRule | float = Field(
        default="he", description="he: by fan-in; pooled: the STMOZOO notebook's rule; or a number."
    )
    batch_norm_sigma: float = Field(
        default=0.167,
        gt=0,
        description="Sigma of scales and shifts (the authors' code); not for pooled.",
    )
    sampler: Sampler = Field(default="normal", description="Distribution of the perturbations.")
    annealing: Annealing = Field(default="paper", description="Schedule by which sigma falls.")
    final_fraction: float = Field(
        default=0.1, ge=0, le=1, description="What is left of sigma at the end of the annealing."
    )
    layer_order: Literal["last_to_first", "first_to_last"] = Field(
        default="last_to_first", description="Order in which a cycle visits the layers."
    )
    visit_biases: bool = Field(default=True, description="Whether biases are visited.")
    visit_batch_norm: bool = Field(
        default=True, description="Whether scales and shifts are visited."
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="w becomes w (1 - weight_decay) at every visit (authors: 1e-4).",
    )
    batch_drawing: Drawing = Field(
        default="fresh", description="A fresh batch for every weight, or one of the coarser ways."
    )

    double_softmax: bool = Field(
        default=False,
        description="Whether candidates are scored with a softmax before that of the cross entropy "
        "(what the STMOZOO notebook does with original).",
    )

    engine: EngineName = Field(
        default="auto",
        description="What visits the weights; all make the same decisions. auto: incremental "
        "where it knows the network, else reference: plain forward passes.",
    )
    engine_memory_gib: float = Field(
        default=6.0,
        gt=0,
        description="What the incremental engine may keep of the batches, in GiB; "
        "with less it is slower.",
    )

    @field_validator("sigma")
    @classmethod
    def _positive_sigma(cls, sigma: SigmaRule | float) -> SigmaRule | float:
        if isinstance(sigma, float) and sigma <= 0:
            raise ValueError(f"must be he, pooled or a number of more than 0, got {sigma}")
        return sigma
