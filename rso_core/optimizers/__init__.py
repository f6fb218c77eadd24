"""The optimisers, looked up by name in this one place; each lives in a file of its own.

A new one is a class that satisfies `Optimizer` in a file beside these, and a line in `OPTIMIZERS`;
a user's own is named as `package.module:Class` and needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeGuard

from pydantic import BaseModel

from rso_core.errors import InvalidInput, nearest
from rso_core.optimizers.interface import Optimizer, ProgressCallback
from rso_core.optimizers.rso import RSO
from rso_core.optimizers.rso_options import RSOOptions
from rso_core.optimizers.sgd import SGD, Adam, AdamOptions, SGDOptions
from rso_core.references import resolve

OPTIMIZERS: Mapping[str, type[Optimizer]] = MappingProxyType({"rso": RSO, "sgd": SGD, "adam": Adam})

_MEMBERS = (
    "Options",
    "n_visits",
    "run",
    "state_dict",
    "load_state_dict",
    "prepare_evaluation_",
    "evaluate",
)


def optimizer_class(name: str, field: str = "optimizer") -> type[Optimizer]:
    """The optimiser of that name, built in or `package.module:Class`.

    Raises:
        InvalidInput: there is none of that name, or the class is not an `Optimizer`.
    """
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]
    if ":" not in name:
        raise InvalidInput(
            f"'{field}' must be an optimiser, got '{name}'; {nearest(name, OPTIMIZERS)}"
        )
    found = resolve(name, field)
    if not _is_optimizer(found):
        raise InvalidInput(
            f"'{field}' must name a class with {', '.join(_MEMBERS[:-1])} and {_MEMBERS[-1]} "
            f"(see rso_core.optimizers.Optimizer), got '{name}'"
        )
    return found


def _is_optimizer(found: object) -> TypeGuard[type[Optimizer]]:
    options = getattr(found, "Options", None)
    return (
        isinstance(found, type)
        and isinstance(options, type)
        and issubclass(options, BaseModel)
        and all(hasattr(found, member) for member in _MEMBERS)
    )


__all__ = [
    "OPTIMIZERS",
    "RSO",
    "SGD",
    "Adam",
    "AdamOptions",
    "Optimizer",
    "ProgressCallback",
    "RSOOptions",
    "SGDOptions",
    "optimizer_class",
]
