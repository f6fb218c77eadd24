"""What one dimension of a space may be: a fixed value, a list of choices, or a range of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rso_core.configuration import Scalar

if TYPE_CHECKING:
    import optuna


def constraint_fault(sentence: str) -> PydanticCustomError:
    """A fault whose text is ours, whole: the sentence that follows the field's name."""
    return PydanticCustomError("sentence", "{sentence}", {"sentence": sentence})


def _scalar(value: object) -> object:
    if not (value is None or isinstance(value, bool | int | float | str)):
        raise constraint_fault(f"must be a number, a text, true, false or null, got {value!r}")
    return _finite(value)


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise constraint_fault(f"must be a number, got {value!r}")
    return _finite(value)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise constraint_fault(f"must be finite, got {value!r}")
    return value


_ScalarValue = Annotated[bool | int | float | str | None, BeforeValidator(_scalar)]
_Number = Annotated[int | float, BeforeValidator(_number)]


def _choices(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise constraint_fault(f"must be a list of values, got {value!r}")
    if not value:
        raise constraint_fault("must list at least one value, got []")
    for index, item in enumerate(value):
        if item in value[:index]:
            raise constraint_fault(f"must list every value once, got {item!r} again")
    return tuple(value)


_ScalarValues = Annotated[tuple[_ScalarValue, ...], BeforeValidator(_choices)]


class Fixed(BaseModel):
    """One value, the same in every configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    value: _ScalarValue

    def suggest(self, name: str, trial: optuna.trial.BaseTrial) -> Scalar:
        """The value; the trial is not asked."""
        return self.value

    def listed(self) -> tuple[Scalar, ...]:
        """Its value alone."""
        return (self.value,)

    def n_listed(self) -> int:
        """1."""
        return 1

    def ends(self) -> tuple[Scalar, ...]:
        """Its value alone."""
        return (self.value,)

    def written(self) -> Any:
        """As a sweep file writes it."""
        return self.value


class Choices(BaseModel):
    """A list of values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    choices: _ScalarValues = Field(description="The values to choose from", min_length=1)

    def suggest(self, name: str, trial: optuna.trial.BaseTrial) -> Scalar:
        """One of the values, chosen by the trial."""
        value: Scalar = trial.suggest_categorical(name, self.choices)
        return value

    def listed(self) -> tuple[Scalar, ...]:
        """All of them, in the file's order."""
        return self.choices

    def n_listed(self) -> int:
        """How many."""
        return len(self.choices)

    def ends(self) -> tuple[Scalar, ...]:
        """All of them: a list has no order that could bound it."""
        return self.choices

    def written(self) -> Any:
        """As a sweep file writes it."""
        return list(self.choices)


class Range(BaseModel):
    """Numbers from `low` to `high`, both included; integers where both are written as integers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    low: _Number = Field(description="The smallest value")
    high: _Number = Field(description="The largest value, included")
    step: _Number | None = Field(
        default=None, description="Distance of neighbouring values, counted from 'low'"
    )
    log: bool = Field(default=False, description="Search the logarithm of the value evenly")

    @field_validator("step")
    @classmethod
    def _step_is_positive(cls, step: float | None) -> float | None:
        if step is not None and step <= 0:
            raise constraint_fault(f"must be a number of more than 0, got {step!r}")
        return step

    @model_validator(mode="after")
    def _parts_agree(self) -> Range:
        if self.low > self.high:
            raise constraint_fault(f"must have 'low' <= 'high', got {self.low!r} > {self.high!r}")
        if self.log and self.step is not None:
            raise constraint_fault("cannot have both 'log' and 'step'; leave one out")
        if self.log and self.low <= 0:
            raise constraint_fault(f"must have 'low' above 0 where 'log' is true, got {self.low!r}")
        if self.is_integer and isinstance(self.step, float):
            raise constraint_fault(
                f"must have an integer 'step' where 'low' and 'high' are integers, "
                f"got {self.step!r}; write 'low' as {float(self.low)!r} for a range of numbers"
            )
        return self

    @property
    def is_integer(self) -> bool:
        """Whether its values are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, name: str, trial: optuna.trial.BaseTrial) -> Scalar:
        """A number of the range, chosen by the trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(name, self.low, int(self._last()), step=step, log=self.log)
        return trial.suggest_float(
            name, self.low, float(self._last()), step=self.step, log=self.log
        )

    def listed(self) -> tuple[Scalar, ...]:
        """low, low + step, ... up to high; the range must have a step."""
        return tuple(self._value(index) for index in range(self.n_listed() or 0))

    def n_listed(self) -> int | None:
        """How many values it has; None without a step."""
        if self.step is None:
            return None
        return (_exact(self.high) - _exact(self.low)) // _exact(self.step) + 1

    def ends(self) -> tuple[Scalar, ...]:
        """Its smallest and its largest value."""
        return (self._value(0), self._last())

    def written(self) -> Any:
        """As a sweep file writes it."""
        return self.model_dump(exclude_defaults=True)

    def _last(self) -> int | float:
        """The largest value that the steps reach, at most `high`; optuna warns of any other."""
        n = self.n_listed()
        if n is None:
            return self.high if self.is_integer else float(self.high)
        return self._value(n - 1)

    def _value(self, index: int) -> int | float:
        # exact, as written: 0.1 + 2 * 0.1 is 0.3, not 0.30000000000000004
        value = _exact(self.low) + index * _exact(self.step or 0)
        return int(value) if self.is_integer else float(value)


Domain = Fixed | Choices | Range


def _exact(number: float) -> Fraction:
    return Fraction(str(number))


def _form(value: object) -> str:
    """Which of the forms of a dimension a value has; the name is the tag of the union below."""
    if isinstance(value, Mapping):
        return "choices" if "choices" in value else "range"
    if isinstance(value, list | tuple):
        return "list"
    return type(value).__name__.lower() if isinstance(value, BaseModel) else "value"


WrittenDomain = Annotated[
    Annotated[_ScalarValue, Tag("value")]
    | Annotated[_ScalarValues, Tag("list")]
    | Annotated[Range, Tag("range")]
    | Annotated[Choices, Tag("choices")],
    Discriminator(_form),
]
"""A dimension as a sweep file may write it."""
