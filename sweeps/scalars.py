"""The single values that a sweep file may hold, and faults with them in words of our own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Annotated, TypeGuard

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from rso_core.validation import shown


def constraint_fault(sentence: str) -> PydanticCustomError:
    """A fault whose text is ours, whole: the sentence that follows the field's name."""
    return PydanticCustomError("sentence", "{sentence}", {"sentence": sentence})


def exact(number: float) -> Fraction:
    """A number as it was written: 0.1 is a tenth, not the nearest binary fraction."""
    return Fraction(str(number))


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is an integer or a float; true and false are neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scalar(value: object) -> object:
    if not (value is None or isinstance(value, bool | int | float | str)):
        raise constraint_fault(f"must be a number, a text, true, false or null, got {value!r}")
    return _finite(value)


def _number(value: object) -> object:
    if not is_number(value):
        raise constraint_fault(f"must be a number, got {value!r}")
    return _finite(value)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise constraint_fault(f"must be finite, got {value!r}")
    return value


def _each_once(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise constraint_fault(f"must be a list of values, got {value!r}")
    if not value:
        raise constraint_fault("must list at least one value, got []")
    for index, item in enumerate(value):
        if item in value[:index]:
            raise constraint_fault(f"must list every value once, got {item!r} again")
    return tuple(value)


def _points(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise constraint_fault(
            f"must be a list of mappings of dimensions to values, got {shown(value)}"
        )
    for index, point in enumerate(value):
        if point in value[:index]:
            raise constraint_fault(f"must list every point once, got {shown(point)} again")
    return tuple(value)


def nonempty_mapping(constraint: str) -> Callable[[object], object]:
    """Holds a value to a mapping with at least one entry; the words are for what is none."""

    def check(value: object) -> object:
        if not isinstance(value, Mapping) or not value:
            raise constraint_fault(f"{constraint}, got {shown(value)}")
        return value

    return check


ScalarValue = Annotated[bool | int | float | str | None, BeforeValidator(_scalar)]
Number = Annotated[int | float, BeforeValidator(_number)]
ScalarValues = Annotated[tuple[ScalarValue, ...], BeforeValidator(_each_once)]
"""At least one, each once."""
_POINTS = "must list mappings of dimensions to values"
WrittenPoints = Annotated[
    tuple[Annotated[dict[str, ScalarValue], BeforeValidator(nonempty_mapping(_POINTS))], ...],
    BeforeValidator(_points),
]
"""Values of some or all dimensions of a space, any number of times."""
