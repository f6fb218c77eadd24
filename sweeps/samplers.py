"""How the trials choose among the configurations: Optuna's samplers, by name with their options."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from rso_core.errors import InvalidInput
from sweeps.domains import constraint_fault
from sweeps.sections import OWN, OwnClass, Reference, Section, as_fault, named, section_tag

Crossover = Literal["uniform", "blxalpha", "spx", "sbx", "vsbx", "undx"]
"""How two or three parents become a child."""


class Sampling(Section):
    """What is known of a sampler without asking it."""

    is_listing: ClassVar[bool] = False
    """Whether every point of the space is tried once."""
    draws_independently: ClassVar[bool] = False
    """Whether every value is drawn by itself, whatever else was drawn."""
    learns: ClassVar[bool] = False
    """Whether what is suggested depends on earlier results."""
    asks_ahead: ClassVar[bool] = False
    """Whether to ask before earlier results are told costs nothing in what is suggested."""
    most_objectives: ClassVar[int | None] = None
    """How many objectives it can have; None: any number."""
    heeds_constraints: ClassVar[bool] = False
    """Whether it keeps away from what violates constraints."""

    @property
    def searches_each(self) -> int | None:
        """Trials for each combination of the listed values, which has a search of its own."""
        return None


class GridSampling(Sampling):
    """Every combination of the space once, in the order of the sweep file."""

    is_listing: ClassVar[bool] = True
    asks_ahead: ClassVar[bool] = True

    name: Literal["grid"] = "grid"


class BruteForceSampling(Sampling):
    """Every combination of the space once, in an order drawn with the sweep's seed."""

    is_listing: ClassVar[bool] = True
    asks_ahead: ClassVar[bool] = True

    name: Literal["brute_force"] = "brute_force"


class RandomSampling(Sampling):
    """Every value drawn independently."""

    draws_independently: ClassVar[bool] = True
    asks_ahead: ClassVar[bool] = True

    name: Literal["random"] = "random"


class QmcSampling(Sampling):
    """A quasi-random sequence, which covers the space more evenly than random draws.

    Options that exist under some optimisers only are drawn at random.
    """

    asks_ahead: ClassVar[bool] = True

    name: Literal["qmc"] = "qmc"
    qmc_type: Literal["sobol", "halton"] = Field(default="sobol", description="The sequence")
    scramble: bool = Field(
        default=False, description="Whether the sequence is randomised with the sweep's seed"
    )


class TpeSampling(Sampling):
    """The tree-structured Parzen estimator: draws more from where good trials lay."""

    learns: ClassVar[bool] = True
    heeds_constraints: ClassVar[bool] = True

    name: Literal["tpe"] = "tpe"
    n_startup_trials: int = Field(
        default=10, ge=0, description="Trials drawn at random before the estimator is used"
    )
    n_ei_candidates: int = Field(
        default=24, ge=1, description="Values among which the most promising one is taken"
    )
    multivariate: bool | None = Field(
        default=None,
        description="Whether the dimensions are drawn together; null: where there is one objective",
    )
    group: bool = Field(
        default=False,
        description="Whether options that exist under some optimisers only are drawn together too",
    )
    constant_liar: bool = Field(
        default=True,
        description="Whether trials that still run count as poor ones, so that the next trials "
        "keep away from them",
    )
    prior_weight: float | None = Field(
        default=None,
        gt=0,
        description="Weight of the whole range beside one trial; null: 1",
    )

    trials_each: int | None = Field(
        default=None,
        ge=1,
        description="Trials for each combination of the listed values, with a search of its own "
        "over the ranges; a combination without ranges has one. null: one search over all",
    )

    @property
    def searches_each(self) -> int | None:
        """See `Sampling.searches_each`."""
        return self.trials_each

    @model_validator(mode="after")
    def _groups_are_drawn_together(self) -> TpeSampling:
        if self.group and self.multivariate is False:
            raise constraint_fault(
                "cannot have 'group' true where 'multivariate' is false; leave one of them out"
            )
        return self


class GpSampling(Sampling):
    """A Gaussian process; for expensive trials, at most some hundreds of them."""

    learns: ClassVar[bool] = True
    heeds_constraints: ClassVar[bool] = True

    name: Literal["gp"] = "gp"
    n_startup_trials: int = Field(
        default=10, ge=0, description="Trials drawn at random before the process is used"
    )
    deterministic_objective: bool = Field(
        default=False, description="Whether the same configuration has always the same objective"
    )


class CmaEsSampling(Sampling):
    """CMA-ES: an evolution strategy over the numbers; lists of values are drawn at random."""

    learns: ClassVar[bool] = True
    most_objectives: ClassVar[int | None] = 1

    name: Literal["cmaes"] = "cmaes"
    n_startup_trials: int = Field(
        default=1, ge=0, description="Trials drawn at random before the strategy is used"
    )
    sigma0: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation of the first draws, where every range is 0 to 1; "
        "null: a sixth",
    )
    population_size: int | None = Field(
        default=None, ge=4, description="Trials of a generation; null: by the number of dimensions"
    )
    consider_pruned_trials: bool = Field(
        default=False, description="Whether trials that were stopped early count"
    )
    use_separable_cma: bool = Field(
        default=False, description="Whether the dimensions are taken to be unrelated"
    )
    with_margin: bool = Field(
        default=False, description="Whether integers and steps are kept from freezing at one value"
    )
    lr_adapt: bool = Field(
        default=False, description="Whether the learning rate is adapted; for noisy objectives"
    )

    @model_validator(mode="after")
    def _one_variant(self) -> CmaEsSampling:
        variants = ("use_separable_cma", "with_margin", "lr_adapt")
        chosen = [f"'{name}'" for name in variants if getattr(self, name)]
        if len(chosen) > 1:
            raise constraint_fault(f"cannot have {' and '.join(chosen)} true; leave one of them")
        return self


class GeneticSampling(Sampling):
    """What NSGA-II and NSGA-III have in common."""

    learns: ClassVar[bool] = True
    heeds_constraints: ClassVar[bool] = True

    name: str
    population_size: int = Field(default=50, ge=2, description="Trials of a generation")
    mutation_prob: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Probability that a child's value is drawn anew; null: 1 / number of values",
    )
    crossover: Crossover = Field(
        default="uniform", description="How the numbers of parents become those of a child"
    )
    crossover_prob: float = Field(
        default=0.9, ge=0, le=1, description="Probability that a child has more than one parent"
    )
    swapping_prob: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Probability that a value comes from the second parent; of lists of values, "
        "and of all values where the crossover is uniform",
    )

    @model_validator(mode="after")
    def _has_parents_enough(self) -> GeneticSampling:
        if self.crossover in ("spx", "undx") and self.population_size < 3:
            raise constraint_fault(
                f"must have a 'population_size' of at least 3 for crossover {self.crossover}, "
                f"which takes three parents, got {self.population_size}"
            )
        return self


class Nsga2Sampling(GeneticSampling):
    """NSGA-II: a genetic algorithm, for one objective or a few."""

    name: Literal["nsga2"] = "nsga2"


class Nsga3Sampling(GeneticSampling):
    """NSGA-III: a genetic algorithm for many objectives."""

    name: Literal["nsga3"] = "nsga3"
    dividing_parameter: int = Field(
        default=3,
        ge=1,
        description="Parts into which each objective is divided by the points of reference",
    )


class OwnSampling(OwnClass, Sampling):
    """A sampler of the user's own, or of OptunaHub: `module:Class`."""

    learns: ClassVar[bool] = True

    @model_validator(mode="after")
    def _can_be_made(self) -> OwnSampling:
        from sweeps.own_classes import own_sampler  # only who names a class waits for optuna

        try:
            own_sampler(self.name, self.options, seed=0)
        except InvalidInput as error:
            raise as_fault(error, "sampler") from None
        return self


SAMPLER_NAMES = ("grid", "random", "tpe", "gp", "cmaes", "nsga2", "nsga3", "qmc", "brute_force")
Sampler = Annotated[
    Annotated[GridSampling, Tag("grid")]
    | Annotated[RandomSampling, Tag("random")]
    | Annotated[TpeSampling, Tag("tpe")]
    | Annotated[GpSampling, Tag("gp")]
    | Annotated[CmaEsSampling, Tag("cmaes")]
    | Annotated[Nsga2Sampling, Tag("nsga2")]
    | Annotated[Nsga3Sampling, Tag("nsga3")]
    | Annotated[QmcSampling, Tag("qmc")]
    | Annotated[BruteForceSampling, Tag("brute_force")]
    | Annotated[OwnSampling, Tag(OWN)],
    Discriminator(section_tag),
]
WrittenSampler = Annotated[
    Sampler,
    BeforeValidator(
        named(*SAMPLER_NAMES),
        json_schema_input_type=Literal[
            "grid", "random", "tpe", "gp", "cmaes", "nsga2", "nsga3", "qmc", "brute_force"
        ]
        | Reference
        | Sampler,
    ),
]
