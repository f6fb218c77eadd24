"""What the sections of a sweep file have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from rso_core.errors import InvalidInput, nearest
from rso_core.validation import listing, shown
from sweeps.domains import constraint_fault

_REFERENCE = r"^[^:\s]+:[^:\s]+$"
Reference = Annotated[str, Field(pattern=_REFERENCE)]
"""The name of a user's own class: `package.module:Class`."""
OWN = "own"
"""The tag, in a union of sections, of the one for a user's own class."""


class Section(BaseModel):
    """A mapping of a sweep file: immutable, and nothing in it that is not expected."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _options(value: object) -> object:
    if not isinstance(value, Mapping):
        raise constraint_fault(f"must be a mapping of the class's options, got {shown(value)}")
    return dict(value)


class OwnClass(Section):
    """A class of the user's own, with its options."""

    name: Reference = Field(description="module:Class, as Python imports it")
    options: Annotated[dict[str, Any], BeforeValidator(_options)] = Field(
        default_factory=dict, description="The keyword arguments of the class"
    )


def as_fault(error: InvalidInput, field: str) -> PydanticCustomError:
    """A problem whose sentence starts with the field's name, as a fault of the section."""
    return constraint_fault(str(error).removeprefix(f"'{field}' "))


def named(*names: str, allows_null: bool = False) -> Callable[[object], object]:
    """Lets a section be written as its name alone, and holds the name to those that exist.

    Args:
        names: those that exist, besides `module:Class`.
        allows_null: whether there may be no section at all.
    """
    valid = listing([*names, "module:Class", *(["null"] if allows_null else [])], "or")

    def expand(value: object) -> object:
        section = {"name": value} if isinstance(value, str) else value
        if isinstance(section, BaseModel) or (section is None and allows_null):
            return section
        if not isinstance(section, Mapping):
            raise constraint_fault(f"must be a name or a mapping with 'name', got {shown(value)}")
        name = section.get("name")
        is_own = isinstance(name, str) and re.match(_REFERENCE, name) is not None
        if name not in names and not is_own:
            hint = nearest(name, names) if isinstance(name, str) else ""
            hint = f"; {hint}" if hint.startswith("did") else ""
            raise constraint_fault(f"must be {valid}, got {shown(name)}{hint}")
        return section

    return expand


def section_tag(section: object) -> str:
    """Which section of a union is meant: its name, or `OWN` for a user's own class."""
    name = section.get("name") if isinstance(section, Mapping) else getattr(section, "name", None)
    return OWN if ":" in str(name) else str(name)
