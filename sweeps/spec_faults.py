"""pydantic's faults with a sweep file, in the words of a sweep file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from rso_core.errors import nearest
from rso_core.validation import constraint, is_model, members, nearest_name, shown
from sweeps.domains import Choices, Range
from sweeps.sections import OwnClass
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
        if _is_in_a_mapping_for_a_name(path, content):
            path = path[:2]
            faults.setdefault(path, Fault(path, _no_name(path, content)))
            continue
        # a field of several types has a fault for each; they make the same sentence
        faults.setdefault(path, Fault(path, _sentence(path, found, content)))
    return list(faults.values())


def field_name(path: Path) -> str:
    """'space.batch_size', in quotes, for a value in it at any depth of lists."""
    keys = [key for key in path if isinstance(key, str)]
    return f"'{'.'.join(keys)}'" if keys else "the sweep file"


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


def _is_in_a_mapping_for_a_name(path: Path, content: Mapping[str, Any]) -> bool:
    if path[:1] != ("space",) or path[1:2] not in (("architecture",), ("optimizer",)):
        return False
    written = _value(path[:2], content)
    return isinstance(written, Mapping) and not {"choices", "low", "high"} & set(written)


def _no_name(path: Path, content: Mapping[str, Any]) -> str:
    written = _value(path, content)
    sentence = f"{field_name(path)} must be a name or a list of names, got {shown(written)}"
    match list(written.items()):
        case [(str(module), str(function))]:  # `own: network` is a mapping in YAML
            sentence += f"; did you mean '{module}:{function}'?"
    return sentence


def _sentence(path: Path, found: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    name = field_name(path)
    kind = str(found["type"])
    if kind == "sentence":
        return f"{name} {found['ctx']['sentence']}"
    if kind == "extra_forbidden":
        return f"{name} is not a key of {_owner(path, content)}"
    expected = _constraint(path, content)
    if kind == "missing":
        return f"{name} is missing" + (f"; it must be {expected}" if expected else "")
    value = shown(_value(path, content))
    if not expected:  # a validator of a model that has words of its own
        return f"{name} {str(found['msg']).removeprefix('Value error, ')}, got {value}"
    return f"{name} must be {expected}, got {value}{_hint(path, content)}"


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
    models = [part for part in members(_field(path, content)) if is_model(part)]
    section = _value(path, content)
    name = section.get("name") if isinstance(section, Mapping) else None
    return [model for model in models if _is_named(model, name)] or models


def _is_named(model: type[BaseModel], name: object) -> bool:
    if issubclass(model, OwnClass):
        return ":" in str(name)
    return "name" in model.model_fields and model.model_fields["name"].default == name


def _field(path: Path, content: Mapping[str, Any]) -> FieldInfo | None:
    """What the model says of the field at a path."""
    *parents, key = (part for part in path if isinstance(part, str))
    for model in _models(tuple(parents), content):
        if key in model.model_fields:
            return model.model_fields[key]
    return None


def _constraint(path: Path, content: Mapping[str, Any]) -> str:
    """What a value must be, from the field's type and bounds: 'an integer of at least 1'."""
    if path == ("space",):
        return "a mapping of 'architecture', 'batch_size', 'optimizer' and their options"
    if path[:1] == ("space",) and len(path) < 3:
        return ""
    field = _field(path, content)
    if field is None:
        return ""
    return constraint(field)


def _hint(path: Path, content: Mapping[str, Any]) -> str:
    field = _field(path, content)
    return nearest_name(field, _value(path, content)) if field is not None else ""
