"""pydantic's faults with a sweep file, in the words of a sweep file."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from rso_core.errors import nearest
from sweeps.domains import Choices, Range
from sweeps.spec import SweepSpec

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and with what."""

    path: Path
    """Keys and list positions from the top of the sweep file."""
    sentence: str
    """Field, constraint, value and next step: the whole message but for the place."""


def field_faults(error: ValidationError, content: Mapping[str, Any]) -> list[Fault]:
    """One fault for every field that pydantic found at fault.

    Args:
        error: what `SweepSpec` raised for the content.
        content: as read from the file.
    """
    faults: dict[Path, Fault] = {}
    for found in error.errors(include_url=False):
        path = _path(found["loc"], content, is_missing=found["type"] == "missing")
        # a field of several types has a fault for each; they make the same sentence
        faults.setdefault(path, Fault(path, _sentence(path, found, content)))
    return list(faults.values())


def field_name(path: Path) -> str:
    """'space.batch_size', in quotes, for a value in it at any depth of lists."""
    keys = [key for key in path if isinstance(key, str)]
    return f"'{'.'.join(keys)}'" if keys else "the sweep file"


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def listing(names: Collection[str], word: str) -> str:
    """'a, b or c'; there must be at least one."""
    *others, last = names
    return f"{', '.join(others)} {word} {last}" if others else last


def _path(loc: tuple[str | int, ...], content: Any, *, is_missing: bool) -> Path:
    """Leaves out of pydantic's location what is not in the file: the names of union members."""
    path: list[str | int] = []
    for index, key in enumerate(loc):
        if isinstance(content, Mapping) and key in content:
            content = content[str(key)]
        elif isinstance(content, list) and isinstance(key, int) and key < len(content):
            content = content[key]
        elif not (is_missing and index == len(loc) - 1):
            continue
        path.append(key)
    return tuple(path)


def _sentence(path: Path, found: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    name = field_name(path)
    kind = str(found["type"])
    if kind == "sentence":
        return f"{name} {found['ctx']['sentence']}"
    if kind == "extra_forbidden":
        return f"{name} is not a key of {_owner(path, content)}"
    constraint = _constraint(path, content)
    if kind == "missing":
        return f"{name} is missing" + (f"; it must be {constraint}" if constraint else "")
    value = shown(_value(path, content))
    if not constraint:  # a validator of a model that has words of its own
        return f"{name} {str(found['msg']).removeprefix('Value error, ')}, got {value}"
    return f"{name} must be {constraint}, got {value}{_literal_hint(path, content)}"


def _owner(path: Path, content: Mapping[str, Any]) -> str:
    """What has no such key, and the nearest key that it has."""
    *parents, key = path
    valid = [field for model in _models(tuple(parents), content) for field in model.model_fields]
    owner = field_name(tuple(parents)) if parents else "a sweep file"
    hint = nearest(str(key), valid)
    return f"{owner}{', ' if hint.startswith('did') else '; '}{hint}"


def _value(path: Path, content: Any) -> Any:
    for key in path:
        content = content[key]
    return content


def _models(path: Path, content: Mapping[str, Any]) -> list[type[BaseModel]]:
    """The models that describe the mapping at a path."""
    if not path:
        return [SweepSpec]
    if path[0] == "space":
        return [Choices] if "choices" in _value(path, content) else [Range]
    models = [part for part in _types(_field(path, content)) if _is_model(part)]
    section = _value(path, content)
    name = section.get("name") if isinstance(section, Mapping) else None
    named = [model for model in models if _default_name(model) == name]
    return named or models


def _default_name(model: type[BaseModel]) -> object:
    return model.model_fields["name"].default if "name" in model.model_fields else None


def _field(path: Path, content: Mapping[str, Any]) -> FieldInfo | None:
    """What the model says of the field at a path."""
    *parents, key = (part for part in path if isinstance(part, str))
    for model in _models(tuple(parents), content):
        if key in model.model_fields:
            return model.model_fields[key]
    return None


def _is_model(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _types(field: FieldInfo | None) -> list[Any]:
    return [] if field is None else [part for part, _ in _flat(field.annotation, field.metadata)]


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


def _constraint(path: Path, content: Mapping[str, Any]) -> str:
    """What a value must be, from the field's type and bounds: 'an integer of at least 1'."""
    if path == ("space",):
        return "a mapping of 'architecture', 'batch_size', 'optimizer' and their options"
    if path[:1] == ("space",) and len(path) < 3:
        return ""
    field = _field(path, content)
    if field is None:
        return ""
    words = [_words(part, said) for part, said in _flat(field.annotation, field.metadata)]
    return " or ".join(dict.fromkeys(word for word in words if word))


def _words(part: Any, metadata: list[Any]) -> str:
    if _is_model(part):
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
    words = {"ge": "of at least", "gt": "of more than", "le": "of at most", "lt": "of less than"}
    return "".join(f" {words[name]} {bound}" for name, bound in bounds.items())


def _literal_hint(path: Path, content: Mapping[str, Any]) -> str:
    value = _value(path, content)
    names = [
        name
        for part in _types(_field(path, content))
        if get_origin(part) is Literal
        for name in get_args(part)
    ]
    hint = nearest(value, names) if isinstance(value, str) and names else ""
    return f"; {hint}" if hint.startswith("did") else ""
