"""What one dimension of a space may be: a fixed value, a list of choices, or a range of numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Protocol

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from rso_core.configuration import Scalar
from rso_core.validation import listing, shown
from sweeps.conditions import Accepted, Bounds, Condition
from sweeps.scalars import Number, ScalarValue, ScalarValues, exact, is_number
from sweeps.scalars import constraint_fault as constraint_fault  # others take it from here

_When = Annotated[
    Condition | None,
    Field(description="What other dimensions must be for this one to exist; null: nothing"),
]


class Suggesting(Protocol):
    """An optuna trial, or what stands in for one: chooses values when it is asked for them."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        ...

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """An integer from low to high."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from low to high."""
        ...


class _WrittenOut(BaseModel):
    """What domains have in common that write each of their values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @abstractmethod
    def listed(self) -> tuple[Scalar, ...]:
        """All of its values, in the file's order."""

    def n_listed(self) -> int:
        """How many."""
        return len(self.listed())

    def ends(self) -> tuple[Scalar, ...]:
        """All of them: a list has no order that could bound it."""
        return self.listed()

    def contains(self, value: Scalar) -> bool:
        """Whether it is one of them."""
        return value in self.listed()

    def own(self, value: Scalar) -> Scalar:
        """One of its values as it is written here: 1 for a 1.0 that equals it."""
        return self.listed()[self.listed().index(value)]

    def can_be(self, accepted: Accepted) -> bool:
        """Whether one of its values is accepted."""
        return any(accepted.accepts(value) for value in self.listed())

    def described(self) -> str:
        """Its values, for a message."""
        return listing([shown(value) for value in self.listed()], "or")


class Fixed(_WrittenOut):
    """One value, the same in every configuration."""

    value: ScalarValue = Field(description="The value")
    when: _When = None

    def suggest(self, name: str, trial: Suggesting) -> Scalar:
        """The value; the trial is not asked."""
        return self.value

    def listed(self) -> tuple[Scalar, ...]:
        """Its value alone."""
        return (self.value,)

    def written(self) -> Any:
        """As a sweep file writes it."""
        return _with_condition({"value": self.value}, self.when) if self.when else self.value


class Choices(_WrittenOut):
    """A list of values."""

    choices: ScalarValues = Field(description="The values to choose from", min_length=1)
    when: _When = None

    def suggest(self, name: str, trial: Suggesting) -> Scalar:
        """One of the values, chosen by the trial."""
        value: Scalar = trial.suggest_categorical(name, self.choices)
        return value

    def listed(self) -> tuple[Scalar, ...]:
        """All of them, in the file's order."""
        return self.choices

    def written(self) -> Any:
        """As a sweep file writes it."""
        choices = list(self.choices)
        return _with_condition({"choices": choices}, self.when) if self.when else choices


class Range(BaseModel):
    """Numbers from `low` to `high`, both included; integers where both are written as integers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    low: Number = Field(description="The smallest value")
    high: Number = Field(description="The largest value, included")
    step: Number | None = Field(
        default=None, description="Distance of neighbouring values, counted from 'low'"
    )
    log: bool = Field(default=False, description="Search the logarithm of the value evenly")
    when: _When = None

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

    def suggest(self, name: str, trial: Suggesting) -> Scalar:
        """A number of the range, chosen by the trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(name, self.low, int(self._last()), step=step, log=self.log)
        drawn = trial.suggest_float(
            name, self.low, float(self._last()), step=self.step, log=self.log
        )
        # optuna adds up the steps: 0.1 + 2 * 0.1 is no value of this range
        return drawn if self.step is None else self._value(round((drawn - self.low) / self.step))

    def listed(self) -> tuple[Scalar, ...]:
        """low, low + step, ... up to high; the range must have a step."""
        return tuple(self._value(index) for index in range(self.n_listed() or 0))

    def n_listed(self) -> int | None:
        """How many values it has; None without a step."""
        if self.step is None:
            return None
        return (exact(self.high) - exact(self.low)) // exact(self.step) + 1

    def ends(self) -> tuple[Scalar, ...]:
        """Its smallest and its largest value."""
        return (self._value(0), self._last())

    def written(self) -> Any:
        """As a sweep file writes it."""
        written = self.model_dump(exclude_defaults=True, exclude={"when"})
        return _with_condition(written, self.when)

    def contains(self, value: Scalar) -> bool:
        """Whether it is a number of the range."""
        if not is_number(value):
            return False
        number = exact(value)
        step = self._exact_step()
        is_on_a_step = not step or (number - exact(self.low)) % step == 0
        return is_on_a_step and exact(self.low) <= number <= exact(self.high)

    def own(self, value: Scalar) -> Scalar:
        """A number of the range with the type of the others: 1.0 for a 1 among floats."""
        assert is_number(value), "it is in the range"
        return int(value) if self.is_integer else float(value)

    def can_be(self, accepted: Accepted) -> bool:
        """Whether one of its numbers is accepted."""
        if not isinstance(accepted, Bounds):
            return any(self.contains(value) for value in accepted.values)
        low, high, step = exact(self.low), exact(self._last()), self._exact_step()
        if accepted.at_least is not None and exact(accepted.at_least) > low:
            above = exact(accepted.at_least) - low
            low += -(-above // step) * step if step else above
        if accepted.at_most is not None and exact(accepted.at_most) < high:
            below = exact(accepted.at_most) - low
            high = low + below // step * step if step else low + below
        if low >= high or not step:
            return low < high or (low == high and float(low) not in accepted.named())
        n_excluded = sum(self.contains(value) for value in accepted.named())
        first = (low + index * step for index in range(n_excluded + 1))
        return any(float(number) not in accepted.named() for number in first if number <= high)

    def described(self) -> str:
        """Its values, for a message."""
        kind = "an integer" if self.is_integer else "a number"
        step = "" if self.step is None else f" in steps of {self.step!r}"
        return f"{kind} from {self.low!r} to {self.high!r}{step}"

    def _exact_step(self) -> Fraction:
        """The distance of neighbouring values; 0 where there is none."""
        return exact(self.step or (1 if self.is_integer else 0))

    def _last(self) -> int | float:
        """The largest value that the steps reach, at most `high`; optuna warns of any other."""
        n = self.n_listed()
        if n is None:
            return self.high if self.is_integer else float(self.high)
        return self._value(n - 1)

    def _value(self, index: int) -> int | float:
        # exact, as written: 0.1 + 2 * 0.1 is 0.3, not 0.30000000000000004
        value = exact(self.low) + index * exact(self.step or 0)
        return int(value) if self.is_integer else float(value)


Domain = Fixed | Choices | Range


def _with_condition(written: dict[str, Any], when: Condition | None) -> dict[str, Any]:
    return written if when is None else {**written, "when": when.to_mapping()}


def _form(value: object) -> str:
    """Which of the forms of a dimension a value has; the name is the tag of the union below."""
    if isinstance(value, Mapping):
        return next((form for key, form in _FORMS.items() if key in value), "range")
    if isinstance(value, list | tuple):
        return "list"
    return type(value).__name__.lower() if isinstance(value, BaseModel) else "value"


_FORMS = {"choices": "choices", "value": "fixed"}
"""The forms of a mapping by the key that tells them from a range."""

WrittenDomain = Annotated[
    Annotated[ScalarValue, Tag("value")]
    | Annotated[ScalarValues, Tag("list")]
    | Annotated[Range, Tag("range")]
    | Annotated[Choices, Tag("choices")]
    | Annotated[Fixed, Tag("fixed")],
    Discriminator(_form),
]
"""A dimension as a sweep file may write it."""
