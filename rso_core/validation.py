"""pydantic's faults as sentences for users: field, constraint, value, the nearest name."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from rso_core.errors import nearest


def sentences(error: ValidationError, model: type[BaseModel], prefix: str = "") -> tuple[str, ...]:
    """One sentence for each field at fault, without a full stop.

    Args:
        error: what pydantic raised for the model.
        model: its fields are scalars.
        prefix: what stands before a field's name, such as `data.`.
    """
    found: dict[str, str] = {}
    for fault in error.errors(include_url=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        # a field of several types has a fault for each; they make the same sentence
        found.setdefault(name, _sentence(name, fault, model, prefix))
    return tuple(found.values())


def constraint(field: FieldInfo) -> str:
    """What a value must be, from the field's type and bounds: 'an integer of at least 1'."""
    words = [_words(part, said) for part, said in _flat(field.annotation, field.metadata)]
    return " or ".join(dict.fromkeys(word for word in words if word))


def nearest_name(field: FieldInfo, value: object) -> str:
    """The hint that ends a sentence where a name was all but right; empty elsewhere."""
    names = [n for part in members(field) if get_origin(part) is Literal for n in get_args(part)]
    hint = nearest(value, names) if isinstance(value, str) and names else ""
    return f"; {hint}" if hint.startswith("did") else ""


def members(field: FieldInfo | None) -> list[Any]:
    """The types that a field's value may have."""
    return [] if field is None else [part for part, _ in _flat(field.annotation, field.metadata)]


def is_model(part: object) -> TypeGuard[type[BaseModel]]:
    """Whether it is a pydantic model."""
    return isinstance(part, type) and issubclass(part, BaseModel)


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def listing(names: Collection[str], word: str) -> str:
    """'a, b or c'; there must be at least one."""
    *others, last = names
    return f"{', '.join(others)} {word} {last}" if others else last


def _sentence(name: str, fault: Mapping[str, Any], model: type[BaseModel], prefix: str) -> str:
    field = model.model_fields.get(name)
    if fault["type"] == "value_error":  # a validator of a model that has words of its own
        words = str(fault["ctx"]["error"])
        return f"'{prefix}{name}' {words}" if name else words
    if field is None:
        hint = nearest(name, model.model_fields)
        return f"'{prefix}{name}' is not an option; {hint}"
    value = fault["input"]
    return (
        f"'{prefix}{name}' must be {constraint(field)}, got {shown(value)}"
        f"{nearest_name(field, value)}"
    )


def _flat(annotation: Any, metadata: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """The members of a union, each with what is said about it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        yield from _flat(inner, [*metadata, *more])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _flat(member, metadata)
    else:
        yield annotation, metadata


def _words(part: Any, metadata: list[Any]) -> str:
    if is_model(part):
        return f"a mapping with keys such as '{next(iter(part.model_fields))}'"
    if get_origin(part) is Literal:
        return listing([str(name) for name in get_args(part)], "or")
    if part in (int, float):
        return ("an integer" if part is int else "a number") + _bounds(metadata)
    if part is str and any(getattr(said, "min_length", 0) for said in metadata):
        return "a non-empty text"
    return {bool: "true or false", str: "a text", type(None): "null"}.get(part, "")


def _bounds(metadata: list[Any]) -> str:
    bounds = {
        name: getattr(said, name)
        for said in metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(said, name, None) is not None
    }
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    said = " and ".join(f"{words[name]} {bound:g}" for name, bound in bounds.items())
    return f" of {said}" if said else ""
