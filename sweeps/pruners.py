"""Whether unpromising trials are stopped early: Optuna's pruners, by name with their options."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from rso_core.errors import InvalidInput
from sweeps.domains import constraint_fault
from sweeps.sections import OWN, OwnClass, Reference, Section, as_fault, named, section_tag


class Pruning(Section):
    """What is known of a pruner without asking it."""

    steps: ClassVar[Literal["cycles", "seeds"]] = "cycles"
    """What is reported to it: the objective after each cycle, or each seed's final objective."""


class NoPruning(Pruning):
    """Every run trains to its end."""

    name: Literal["none"] = "none"


class _WaitingPruning(Pruning):
    """What pruners have in common that spare a trial's first cycles."""

    name: str
    n_warmup_cycles: int = Field(
        default=1, ge=0, description="Cycles of a trial before it may be stopped"
    )
    interval_cycles: int = Field(
        default=1, ge=1, description="Cycles from one look at a trial to the next"
    )


class _ComparingPruning(_WaitingPruning):
    """What pruners have in common that go by other trials at the same cycle."""

    n_startup_trials: int = Field(
        default=5, ge=0, description="Trials that are finished before any trial is stopped"
    )
    n_min_trials: int = Field(
        default=1, ge=1, description="Trials that must have come as far as the one looked at"
    )


class MedianPruning(_ComparingPruning):
    """A trial is stopped where it is worse than the median of the earlier trials."""

    name: Literal["median"] = "median"


class PercentilePruning(_ComparingPruning):
    """A trial is stopped where it is not among the best so many per cent of the earlier trials."""

    name: Literal["percentile"] = "percentile"
    percentile: float = Field(
        default=25.0, ge=0, le=100, description="Per cent of the trials that go on"
    )


class _HalvingPruning(Pruning):
    """What pruners have in common that let a share of the trials go on."""

    name: str
    reduction_factor: int = Field(
        default=4, ge=2, description="One in so many trials goes on to so many times the cycles"
    )
    bootstrap_count: int = Field(
        default=0, ge=0, description="Trials that must have come to a rung before one may go on"
    )


class SuccessiveHalvingPruning(_HalvingPruning):
    """Rungs at 1, 4, 16 ... cycles: of the trials that come to one, the best quarter goes on."""

    name: Literal["successive_halving"] = "successive_halving"
    min_early_stopping_rate: int = Field(
        default=0, ge=0, description="Rungs left out at the beginning"
    )


class HyperbandPruning(_HalvingPruning):
    """Several successive halvings, which differ in how early they stop a trial."""

    name: Literal["hyperband"] = "hyperband"
    reduction_factor: int = Field(
        default=3, ge=2, description="One in so many trials goes on to so many times the cycles"
    )


class ThresholdPruning(_WaitingPruning):
    """A trial is stopped where its objective leaves the bounds."""

    name: Literal["threshold"] = "threshold"
    lower: float | None = Field(
        default=None, description="Below it a trial is stopped; null: no bound"
    )
    upper: float | None = Field(
        default=None, description="Above it a trial is stopped; null: no bound"
    )

    @model_validator(mode="after")
    def _bounds_agree(self) -> ThresholdPruning:
        if self.lower is None and self.upper is None:
            raise constraint_fault(
                "must have 'lower' or 'upper' for threshold, which has no bound of its own"
            )
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise constraint_fault(
                f"must have 'lower' <= 'upper', got {self.lower!r} > {self.upper!r}"
            )
        return self


class WilcoxonPruning(Pruning):
    """A trial is stopped where its seeds are worse than those of the best trial, by a test.

    Seeds are compared in pairs (Wilcoxon's signed-rank test), when they have ended.
    """

    steps: ClassVar[Literal["cycles", "seeds"]] = "seeds"

    name: Literal["wilcoxon"] = "wilcoxon"
    p_threshold: float = Field(
        default=0.1, ge=0, le=1, description="The p value below which a trial is stopped"
    )
    n_startup_seeds: int = Field(
        default=2, ge=0, description="Seeds of a trial before it may be stopped; at least two"
    )


class OwnPruning(OwnClass, Pruning):
    """A pruner of the user's own, or of OptunaHub: `module:Class`."""

    @model_validator(mode="after")
    def _can_be_made(self) -> OwnPruning:
        from sweeps.own_classes import own_pruner  # only who names a class waits for optuna

        try:
            own_pruner(self.name, self.options)
        except InvalidInput as error:
            raise as_fault(error, "pruner") from None
        return self


WrappedPruner = Annotated[
    Annotated[MedianPruning, Tag("median")]
    | Annotated[PercentilePruning, Tag("percentile")]
    | Annotated[SuccessiveHalvingPruning, Tag("successive_halving")]
    | Annotated[HyperbandPruning, Tag("hyperband")]
    | Annotated[ThresholdPruning, Tag("threshold")]
    | Annotated[OwnPruning, Tag(OWN)],
    Discriminator(section_tag),
]
_WrittenWrappedPruner = Annotated[
    WrappedPruner | None,
    BeforeValidator(
        named(
            *("median", "percentile", "successive_halving", "hyperband", "threshold"),
            allows_null=True,
        ),
        json_schema_input_type=Literal[
            "median", "percentile", "successive_halving", "hyperband", "threshold"
        ]
        | Reference
        | WrappedPruner
        | None,
    ),
]


class PatientPruning(Pruning):
    """A trial is stopped when it has not improved for some cycles."""

    name: Literal["patient"] = "patient"
    patience: int = Field(
        default=3, ge=0, description="Cycles that a trial may go on without improving"
    )
    min_delta: float = Field(
        default=0.0, ge=0, description="By how much its objective may fall behind in them"
    )
    wrapped: _WrittenWrappedPruner = Field(
        default=None,
        description="The pruner that decides once patience has run out; null: the trial is stopped",
    )


Pruner = Annotated[
    Annotated[NoPruning, Tag("none")]
    | Annotated[MedianPruning, Tag("median")]
    | Annotated[PercentilePruning, Tag("percentile")]
    | Annotated[SuccessiveHalvingPruning, Tag("successive_halving")]
    | Annotated[HyperbandPruning, Tag("hyperband")]
    | Annotated[ThresholdPruning, Tag("threshold")]
    | Annotated[PatientPruning, Tag("patient")]
    | Annotated[WilcoxonPruning, Tag("wilcoxon")]
    | Annotated[OwnPruning, Tag(OWN)],
    Discriminator(section_tag),
]
PRUNER_NAMES = (
    *("none", "median", "percentile", "successive_halving", "hyperband"),
    *("threshold", "patient", "wilcoxon"),
)
WrittenPruner = Annotated[
    Pruner,
    BeforeValidator(
        named(*PRUNER_NAMES),
        json_schema_input_type=Literal[
            "none",
            "median",
            "percentile",
            "successive_halving",
            "hyperband",
            "threshold",
            "patient",
            "wilcoxon",
        ]
        | Reference
        | Pruner,
    ),
]


def futile(pruning: Pruning, n_cycles: int, n_seeds: int) -> str | None:
    """Why a pruner could never stop a trial of a sweep early, if so; None if it could.

    Runs of a single cycle are let pass: nothing can stop them, and nobody expects it.

    Args:
        pruning: the section of the sweep file.
        n_cycles: of every run.
        n_seeds: the most that a trial has.

    Returns:
        What follows the field's name: constraint, value and the next step.
    """
    if isinstance(pruning, WilcoxonPruning):
        return _futile_test(pruning, n_seeds)
    if n_cycles == 1:
        return None
    match pruning:
        case PatientPruning(patience=patience) if patience + 2 > n_cycles:
            return (
                f"must have a 'patience' of at most {n_cycles - 2} to stop a trial of "
                f"{n_cycles} cycles, got {patience}"
            )
        case PatientPruning(wrapped=Pruning() as wrapped):
            return futile(wrapped, n_cycles, n_seeds)
        case SuccessiveHalvingPruning(reduction_factor=factor, min_early_stopping_rate=rate):
            if factor**rate >= n_cycles:
                return (
                    f"must have its first rung before a trial's last cycle, {n_cycles}, "
                    f"got {factor} ** {rate} cycles; lower 'min_early_stopping_rate'"
                )
        case MedianPruning() | PercentilePruning() | ThresholdPruning():
            if pruning.n_warmup_cycles >= n_cycles:
                return (
                    f"must have fewer 'n_warmup_cycles' than a trial has cycles, {n_cycles}, "
                    f"to stop it early, got {pruning.n_warmup_cycles}"
                )
    return None


def _futile_test(pruning: WilcoxonPruning, n_seeds: int) -> str | None:
    if pruning.p_threshold == 0:
        return "must have a 'p_threshold' above 0 to stop any trial, got 0"
    # the smallest p value of n pairs is 2 ** -n, where all of them are worse
    least_pairs = math.floor(-math.log2(pruning.p_threshold)) + 1
    least = max(2, pruning.n_startup_seeds, least_pairs) + 1
    if n_seeds >= least:
        return None
    return (
        f"needs at least {least} 'seeds' to stop a trial before its last one, got {n_seeds}; "
        "list more, or choose a pruner that looks at cycles, such as median"
    )
