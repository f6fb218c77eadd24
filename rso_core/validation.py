"""pydantic's faults as sentences for users: field, constraint, value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rso_core.errors import nearest

_TYPES = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "string": "a text",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def sentences(error: ValidationError, prefix: str = "") -> tuple[str, ...]:
    """One sentence for each field at fault, without a full stop.

    Args:
        error: what pydantic raised for a model whose fields are scalars.
        prefix: what stands before the field's name, such as `rso.`.
    """
    by_field: dict[str, list[Mapping[str, Any]]] = {}
    for fault in error.errors(include_url=False):
        by_field.setdefault(str(fault["loc"][0]) if fault["loc"] else "", []).append(fault)
    return tuple(_sentence(prefix + field, faults) for field, faults in by_field.items())


def _sentence(field: str, faults: list[Mapping[str, Any]]) -> str:
    # a field of several types (a name or a number) has a fault for each: any of them would do
    constraints = list(dict.fromkeys(_constraint(fault) for fault in faults))
    value = faults[0]["input"]
    if faults[0]["type"] == "value_error":
        return f"'{field}' {constraints[0]}" if field else constraints[0]
    sentence = f"'{field}' must be {' or '.join(constraints)}, got {value!r}"
    names = [name for fault in faults for name in _names(fault)]
    if isinstance(value, str) and names:
        hint = nearest(value, names)
        sentence += f"; {hint}" if hint.startswith("did") else ""
    return sentence


def _constraint(fault: Mapping[str, Any]) -> str:
    kind, context = str(fault["type"]), fault.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"])
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {context[key]}"
    if kind == "value_error":
        return str(context["error"])
    for stem, words in _TYPES.items():
        if kind.startswith(stem):
            return words
    return str(fault["msg"])


def _names(fault: Mapping[str, Any]) -> list[str]:
    if fault["type"] != "literal_error":
        return []
    return str(fault["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
