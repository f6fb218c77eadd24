"""pydantic's faults with a sweep file, in the words of a sweep file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from rso_core.errors import nearest
from rso_core.validation import constraint, is_model, members, nearest_name, shown
from sweeps.domains import Choices, Fixed, Range
from sweeps.sections import OwnClass
from sweeps.spec import SweepSpec

Path = tuple[str | int, ...]

_FORMS: Mapping[str, type[BaseModel]] = {"choices": Choices, "value": Fixed}
"""The forms of a dimension by the key that tells them from a range."""
_NAMES = ("architecture", "optimizer")
"""The dimensions whose values are names, so that they cannot be ranges."""


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
        if _is_in_a_mapping_without_form(path, content):
            path = path[:2]
            faults.setdefault(path, Fault(path, _no_form(path, content)))
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


def _is_in_a_mapping_without_form(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether it is in a dimension that is neither a range nor a list nor a value."""
    if path[:1] != ("space",) or len(path) < 2:
        return False
    written = _value(path[:2], content)
    return isinstance(written, Mapping) and not {*_FORMS, "low", "high"} & set(written)


def _no_form(path: Path, content: Mapping[str, Any]) -> str:
    written = _value(path, content)
    keys = [*_FORMS] if path[1] in _NAMES else [*_FORMS, "low", "high"]
    hints = [nearest(key, keys) for key in written]
    hint = next((f"; {hint}" for hint in hints if hint.startswith("did")), "")
    match list(written.items()):
        case [(str(module), str(function))] if path[1] in _NAMES and not hint:
            hint = f"; did you mean '{module}:{function}'?"  # `own: network` is a mapping in YAML
    if path[1] not in _NAMES:
        forms = "have 'value', 'choices', or 'low' and 'high'"
    else:
        forms = "have 'value' or 'choices'" if "when" in written else "be a name or a list of names"
    return f"{field_name(path)} must {forms}, got {shown(written)}{hint}"


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
    section = _value(path, content)
    if path[0] == "space":
        return [next((form for key, form in _FORMS.items() if key in section), Range)]
    models = [part for part in _parts(_field(path, content)) if is_model(part)]
    name = section.get("name") if isinstance(section, Mapping) else None
    return [model for model in models if _is_named(model, name)] or models


def _is_named(model: type[BaseModel], name: object) -> bool:
    if issubclass(model, OwnClass):
        return ":" in str(name)
    return "name" in model.model_fields and model.model_fields["name"].default == name


def _field(path: Path, content: Mapping[str, Any]) -> FieldInfo | None:
    """What the model says of the field at a path, or of the one whose list has it."""
    *parents, key = path
    if isinstance(key, int):
        return _field(tuple(parents), content)
    return next(
        (
            model.model_fields[key]
            for model in _models(tuple(parents), content)
            if key in model.model_fields
        ),
        None,
    )


def _parts(field: FieldInfo | None) -> Iterator[Any]:
    """The types that a field's value may have, or the items of a value that is a tuple."""
    for part in members(field):
        yield from get_args(part) if get_origin(part) is tuple else (part,)


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
