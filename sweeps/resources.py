"""What a run is given: CPUs, GPUs, workers; for all runs of a sweep, or by their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rso_core.configuration import Configuration
from rso_core.optimizers import optimizer_class
from rso_core.validation import shown
from sweeps.conditions import Condition
from sweeps.scalars import constraint_fault
from sweeps.sections import Section


@dataclass(frozen=True, slots=True, order=True)
class Needs:
    """What one run takes of the machines."""

    cpus: int = 1
    """CPU cores of each of its workers, and threads."""
    gpus: float = 0.0
    """GPUs of each of its workers: a share of one, or a whole number."""
    workers: int = 1
    """Actors that share its batches."""

    def of_worker(self) -> dict[str, float]:
        """By Ray's names, what one of its workers holds; nothing that is 0."""
        held = {"CPU": float(self.cpus), "GPU": self.gpus}
        return {name: amount for name, amount in held.items() if amount}


def _share_or_whole(gpus: float | None) -> float | None:
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise constraint_fault(f"must be at most 1 or a whole number, got {gpus!r}")
    return gpus


class ResourceRule(Section):
    """What the runs of some configurations are given instead."""

    when: Condition = Field(description="The configurations: dimensions, and the values they have")
    cpus_per_run: int | None = Field(default=None, ge=1, description="Instead of the sweep's")
    gpus_per_run: float | None = Field(default=None, ge=0, description="Instead of the sweep's")
    workers_per_run: int | None = Field(default=None, ge=1, description="Instead of the sweep's")

    _gpus = field_validator("gpus_per_run")(_share_or_whole)

    @model_validator(mode="after")
    def _says_something(self) -> ResourceRule:
        if (self.cpus_per_run, self.gpus_per_run, self.workers_per_run) == (None, None, None):
            raise constraint_fault(
                "must say 'cpus_per_run', 'gpus_per_run' or 'workers_per_run' beside 'when'"
            )
        return self

    def applied(self, needs: Needs) -> Needs:
        """The needs of a run for which it holds, whose needs without it are these."""
        return Needs(
            needs.cpus if self.cpus_per_run is None else self.cpus_per_run,
            needs.gpus if self.gpus_per_run is None else self.gpus_per_run,
            needs.workers if self.workers_per_run is None else self.workers_per_run,
        )


def _rules_form(value: object) -> object:
    if not isinstance(value, list | tuple) or not all(
        isinstance(rule, Mapping | ResourceRule) for rule in value
    ):
        raise constraint_fault(
            "must be a list of mappings of 'when' and what is given there, such as "
            f"gpus_per_run, got {shown(value)}"
        )
    return tuple(value)


class Resources(Section):
    """What a run is given, and how many run at once."""

    cpus_per_run: int = Field(
        default=1, ge=1, description="CPU cores, and threads, of a run, or of each of its workers"
    )
    gpus_per_run: float = Field(
        default=0.0,
        ge=0,
        description="GPUs of a run, or of each of its workers: a share of one, or a whole number",
    )
    workers_per_run: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Actors that share the batches of a run and add up their losses, on whatever "
        "machines; of optimisers that can, which is rso: others have one",
    )
    rules: Annotated[tuple[ResourceRule, ...], BeforeValidator(_rules_form)] = Field(
        default=(),
        description="What the runs of some configurations are given instead: all rules whose "
        "'when' holds, a later one over an earlier one",
    )
    concurrency: int | None = Field(
        default=None, ge=1, description="Most runs at once; null: as many as the machines can hold"
    )

    _gpus = field_validator("gpus_per_run")(_share_or_whole)

    def needs_of(self, configuration: Configuration) -> Needs:
        """What a run of a configuration is given."""
        usual = Needs(self.cpus_per_run, self.gpus_per_run, self.workers_per_run)
        if self.are_the_same:
            return usual  # a driver asks for thousands of runs again and again
        values = configuration.values()
        values |= {f"{configuration.optimizer}.{name}": value for name, value in values.items()}
        needs = usual
        for rule in self.rules:
            if rule.when.holds(values):
                needs = rule.applied(needs)
        is_shared = getattr(optimizer_class(configuration.optimizer), "shares_batches", False)
        n_workers = min(needs.workers, configuration.batch_size) if is_shared else 1
        return replace(needs, workers=n_workers)

    @property
    def are_the_same(self) -> bool:
        """Whether all runs are given the same."""
        return not self.rules and self.workers_per_run == 1

    def kinds(self) -> tuple[Needs, ...]:
        """The needs that its runs may have, so far as they are known without a configuration."""
        usual = Needs(self.cpus_per_run, self.gpus_per_run, self.workers_per_run)
        return tuple(dict.fromkeys([usual, *(rule.applied(usual) for rule in self.rules)]))
