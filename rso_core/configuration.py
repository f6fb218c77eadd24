"""What one actor trains: network, batch size, optimiser and its options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ValidationError

from rso_core.errors import InvalidInput, nearest
from rso_core.networks import canonical_architecture, check_architecture
from rso_core.optimizers import OPTIMIZERS, optimizer_class
from rso_core.validation import sentences

Scalar = bool | int | float | str | None

CYCLES = "cycles"
"""Named like an option of every optimiser: how long a configuration trains."""
_MAIN_FIELDS = ("architecture", "batch_size", "optimizer")


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of a sweep's space, checked.

    Build it with `from_values`, which checks; `values` is its inverse.
    """

    architecture: str
    """A built-in network (`one_conv`, `mlp(64,32)`) or `package.module:function`."""
    batch_size: int
    """Images, from 1 to the size of the training set."""
    optimizer: str
    options: BaseModel
    """The `Options` of that optimiser."""
    cycles: int
    """Cycles (RSO) or epochs (SGD) to train for, at least 1."""

    @classmethod
    def from_values(cls, values: Mapping[str, Scalar], cycles: int) -> Configuration:
        """Checks flat values and builds the configuration.

        Args:
            values: `architecture`, `batch_size`, `optimizer`, and `cycles` or options of that
                optimiser by their bare name or as `rso.weight_decay`; a prefixed one wins over a
                bare one, and one with another optimiser's prefix is left out.
            cycles: of a configuration whose values have none, at least 1.

        Raises:
            InvalidInput: a line for every fault.
        """
        problems = [f"'{field}' is missing" for field in _MAIN_FIELDS if field not in values]
        if problems:
            raise InvalidInput(*problems)
        architecture = str(values["architecture"])
        optimizer = str(values["optimizer"])
        with _collected(problems):
            check_architecture(architecture, "architecture")
        with _collected(problems):
            _check_positive("batch_size", values["batch_size"])
        with _collected(problems):
            options = _options(optimizer, values)
        cycles = configured_cycles(values, cycles)
        with _collected(problems):
            _check_positive("cycles", cycles)
        if problems:
            raise InvalidInput(*problems)
        return cls(
            architecture=canonical_architecture(architecture),
            batch_size=cast("int", values["batch_size"]),
            optimizer=optimizer,
            options=options,
            cycles=cycles,
        )

    def values(self) -> dict[str, Scalar]:
        """The flat values, with every option written out."""
        return {
            "architecture": self.architecture,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer,
            **self.options.model_dump(mode="json"),
        }


def configured_cycles(values: Mapping[str, Scalar], cycles: int) -> int:
    """The cycles that flat values of a configuration ask for.

    Args:
        values: as `Configuration.from_values` takes them; they are not checked.
        cycles: of values that have none.
    """
    own = f"{values.get('optimizer')}.{CYCLES}"
    return cast("int", values.get(own, values.get(CYCLES, cycles)))


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """Notes the faults found within it, so that the checks after it are made as well."""
    try:
        yield
    except InvalidInput as error:
        problems.extend(error.problems)


def _check_positive(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"'{field}' must be an integer of at least 1, got {value!r}")


def _options(optimizer: str, values: Mapping[str, Scalar]) -> BaseModel:
    options_class = optimizer_class(optimizer).Options
    for key in values:
        # of users' own optimisers, whose names hold a colon, there is no list
        if (name := _prefix(key)[:-1]) and name not in OPTIMIZERS and ":" not in name:
            raise InvalidInput(
                f"'{key}' must begin with an optimiser's name; {nearest(name, OPTIMIZERS)}"
            )
    bare = {k: v for k, v in values.items() if k not in _MAIN_FIELDS and not _prefix(k)}
    own = {k[len(_prefix(k)) :]: v for k, v in values.items() if _prefix(k) == f"{optimizer}."}
    given = {name: value for name, value in (bare | own).items() if name != CYCLES}
    unknown = [name for name in given if name not in options_class.model_fields]
    if unknown:
        raise InvalidInput(
            *(
                f"'{name}' is not an option of {optimizer}; "
                f"{nearest(name, options_class.model_fields)}"
                for name in unknown
            )
        )
    try:
        return options_class.model_validate(given)
    except ValidationError as error:
        raise InvalidInput(*sentences(error, options_class)) from None


def _prefix(key: str) -> str:
    head, dot, _ = key.rpartition(".")
    return head + dot
