"""What one actor trains: network, batch size, optimiser and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from rso_core.errors import InvalidInput, nearest
from rso_core.networks import canonical_architecture, check_architecture
from rso_core.optimizers import optimizer_class
from rso_core.validation import sentences

Scalar = bool | int | float | str | None

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
            values: `architecture`, `batch_size`, `optimizer`, and options of that optimiser by
                their bare name or as `rso.weight_decay`; a prefixed one wins over a bare one, and
                one with another optimiser's prefix is left out.
            cycles: at least 1.

        Raises:
            InvalidInput: a line for every fault.
        """
        problems = [f"'{field}' is missing" for field in _MAIN_FIELDS if field not in values]
        if problems:
            raise InvalidInput(*problems)
        architecture = str(values["architecture"])
        optimizer = str(values["optimizer"])
        check_architecture(architecture, "architecture")
        batch_size = _positive("batch_size", values["batch_size"])
        return cls(
            architecture=canonical_architecture(architecture),
            batch_size=batch_size,
            optimizer=optimizer,
            options=_options(optimizer, values),
            cycles=_positive("cycles", cycles),
        )

    def values(self) -> dict[str, Scalar]:
        """The flat values, with every option written out."""
        return {
            "architecture": self.architecture,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer,
            **self.options.model_dump(mode="json"),
        }


def _positive(field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"'{field}' must be an integer of at least 1, got {value!r}")
    return value


def _options(optimizer: str, values: Mapping[str, Scalar]) -> BaseModel:
    options_class = optimizer_class(optimizer).Options
    bare = {k: v for k, v in values.items() if k not in _MAIN_FIELDS and not _prefix(k)}
    own = {k[len(_prefix(k)) :]: v for k, v in values.items() if _prefix(k) == f"{optimizer}."}
    given = bare | own
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
        raise InvalidInput(*sentences(error)) from None


def _prefix(key: str) -> str:
    head, dot, _ = key.rpartition(".")
    return head + dot
