"""What a sweep was trained on: its data set, and a text by which the same data can be told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from analysis.addresses import without_credentials


def dataset_name(specification: Mapping[str, Any]) -> str | None:
    """The name of the data set that a sweep file asks for; None where it does not say."""
    data = specification.get("data")
    name = data.get("name") if isinstance(data, Mapping) else None
    return without_credentials(name) if isinstance(name, str) else None


def canonical_data(specification: Mapping[str, Any]) -> str | None:
    """The data of a sweep file as JSON: equal texts mean the same data, split and all.

    The order in which it is written makes no difference, nor do passwords and tokens, which are
    not in it. None where the file does not say, or says what no text can hold.
    """
    data = specification.get("data")
    if not isinstance(data, Mapping):
        return None
    try:
        return json.dumps(_plain(data), sort_keys=True)
    except RecursionError:  # a YAML file may have lists that hold themselves
        return None


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {without_credentials(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(without_credentials(str(item)) for item in value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return without_credentials(str(value))  # a text, or a date
