"""Conditions on a configuration: when a dimension exists, and what a sweep allows.

They name dimensions and values; nothing in them is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic_core import core_schema

from rso_core.configuration import Scalar
from rso_core.validation import shown
from sweeps.scalars import (
    Number,
    ScalarValue,
    ScalarValues,
    constraint_fault,
    is_number,
    nonempty_mapping,
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What some dimensions of a configuration must be; it holds where all of them are."""

    entries: tuple[tuple[str, Accepted], ...]
    """Dimensions, named as in the space, each with the values that it may have."""

    def holds(self, values: Mapping[str, Scalar]) -> bool:
        """Whether it holds for the values of a configuration; not where a dimension is absent."""
        return all(name in values and wanted.accepts(values[name]) for name, wanted in self.entries)

    def n_broken(self, values: Mapping[str, Scalar]) -> int:
        """How many of its entries a configuration breaks; an absent dimension breaks none."""
        return sum(
            name in values and not wanted.accepts(values[name]) for name, wanted in self.entries
        )

    def names(self) -> tuple[str, ...]:
        """The dimensions that it hangs on."""
        return tuple(name for name, _ in self.entries)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Accepted | Scalar | Sequence[Scalar]]) -> Condition:
        """Builds one; a scalar is the one value that is accepted, a sequence lists several."""
        return cls(tuple((name, _accepted(wanted)) for name, wanted in mapping.items()))

    def to_mapping(self) -> dict[str, Any]:
        """As a sweep file writes it."""
        return {name: wanted.written() for name, wanted in self.entries}

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """In a sweep file it is a mapping; pydantic checks it as one, then it becomes this."""
        check = nonempty_mapping(
            "must be a mapping of dimensions to the values that they must have"
        )

        def validate(value: Any, inner: core_schema.ValidatorFunctionWrapHandler) -> Condition:
            return value if isinstance(value, cls) else cls.from_mapping(inner(check(value)))

        return core_schema.no_info_wrap_validator_function(
            validate,
            handler.generate_schema(dict[str, WrittenAccepted]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_mapping),
        )


class OneOf(BaseModel):
    """Some values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    values: ScalarValues

    def accepts(self, value: Scalar) -> bool:
        """Whether it is one of them."""
        return value in self.values

    def named(self) -> tuple[Scalar, ...]:
        """The values that it names."""
        return self.values

    def written(self) -> Any:
        """As a sweep file writes it."""
        return self.values[0] if len(self.values) == 1 else list(self.values)


class Bounds(BaseModel):
    """All values from `at_least` to `at_most`, both included, but for some."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    at_least: Number | None = Field(default=None, description="The smallest number")
    at_most: Number | None = Field(default=None, description="The largest number, included")
    excluded: Annotated[
        ScalarValues | None,
        BeforeValidator(
            lambda value: (value,) if isinstance(value, bool | int | float | str) else value,
            json_schema_input_type=bool | int | float | str | list[bool | int | float | str | None],
        ),
    ] = Field(default=None, alias="not", description="A value, or a list of values, that it is not")

    @model_validator(mode="after")
    def _parts_agree(self) -> Bounds:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise constraint_fault(
                f"must have 'at_least' <= 'at_most', got {self.at_least!r} > {self.at_most!r}"
            )
        return self

    def accepts(self, value: Scalar) -> bool:
        """Whether a value is within the bounds; only numbers are, where there are any."""
        if value in self.named():
            return False
        if self.at_least is None and self.at_most is None:
            return True
        if not is_number(value):
            return False
        is_large = self.at_least is None or value >= self.at_least
        return is_large and (self.at_most is None or value <= self.at_most)

    def named(self) -> tuple[Scalar, ...]:
        """The values that it excludes by name."""
        return self.excluded or ()

    def written(self) -> Any:
        """As a sweep file writes it."""
        written = self.model_dump(exclude_defaults=True, by_alias=True)
        if self.excluded is not None:
            written["not"] = OneOf(values=self.excluded).written()
        return written


Accepted = OneOf | Bounds
"""The values of a dimension that a condition accepts."""


def _accepted(written: Accepted | Scalar | Sequence[Scalar]) -> Accepted:
    if isinstance(written, BaseModel):
        return written
    if isinstance(written, str) or not isinstance(written, Sequence):
        return OneOf(values=(written,))
    return OneOf(values=tuple(written))


def _bounds_form(value: object) -> object:
    if isinstance(value, Mapping) and (not value or set(value) - {"at_least", "at_most", "not"}):
        raise constraint_fault(
            "must be a value, a list of values, or a mapping of 'at_least', 'at_most' and 'not', "
            f"got {shown(value)}"
        )
    return value


def _form(value: object) -> str:
    """Which of the forms below a value has; the name is its tag."""
    if isinstance(value, Mapping | Bounds):
        return "bounds"
    return "list" if isinstance(value, list | tuple) else "value"


WrittenAccepted = Annotated[
    Annotated[ScalarValue, Tag("value")]
    | Annotated[ScalarValues, Tag("list")]
    | Annotated[Bounds, BeforeValidator(_bounds_form), Tag("bounds")],
    Discriminator(_form),
]
"""Accepted values as a sweep file may write them."""


def _count(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise constraint_fault(f"must be an integer of at least 0, got {shown(value)}")
    return value


class Constraint(BaseModel):
    """What a configuration must be where a condition holds; one that is not is not allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    when: Condition | None = Field(default=None, description="Where it applies; null: everywhere")
    require: Condition = Field(
        description="What must hold there; a dimension that a configuration lacks is never at fault"
    )
    exceptions: Annotated[int, BeforeValidator(_count)] = Field(
        default=0,
        json_schema_extra={"minimum": 0},
        description="How many entries of 'require' may be broken; 1: what differs from them in one "
        "dimension at a time",
    )

    def violation(self, values: Mapping[str, Scalar]) -> float:
        """How many entries of `require` too many are broken; 0 where it is allowed."""
        if self.when is not None and not self.when.holds(values):
            return 0.0
        return float(max(0, self.require.n_broken(values) - self.exceptions))

    def names(self) -> tuple[str, ...]:
        """The dimensions that it hangs on."""
        return tuple(name for _, condition in self.parts() for name in condition.names())

    def parts(self) -> Iterator[tuple[str, Condition]]:
        """Its conditions, by the key under which a sweep file has them."""
        if self.when is not None:
            yield "when", self.when
        yield "require", self.require

    @model_serializer
    def _written(self) -> dict[str, Any]:
        written: dict[str, Any] = {key: part.to_mapping() for key, part in self.parts()}
        return {**written, "exceptions": self.exceptions} if self.exceptions else written


def _constraint_form(value: object) -> object:
    if isinstance(value, Constraint):
        return value
    keys = set(value) if isinstance(value, Mapping) else set()
    if "require" not in keys or keys - {"when", "require", "exceptions"}:
        raise constraint_fault(
            "must list mappings of 'require' and, if need be, 'when' and 'exceptions', "
            f"got {shown(value)}"
        )
    return value


def _constraints_form(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise constraint_fault(
            f"must be a list of mappings of 'when' and 'require', got {shown(value)}"
        )
    return tuple(value)


WrittenConstraints = Annotated[
    tuple[Annotated[Constraint, BeforeValidator(_constraint_form)], ...],
    BeforeValidator(_constraints_form),
]
"""Constraints as a sweep file may write them."""
