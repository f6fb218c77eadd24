"""What the sections of a sweep file have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel, ConfigDict

from rso_core.errors import nearest
from sweeps.domains import constraint_fault


class Section(BaseModel):
    """A mapping of a sweep file: immutable, and nothing in it that is not expected."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def named(*names: str) -> Callable[[object], object]:
    """Lets a section be written as its name alone, and holds the name to those that exist."""

    def expand(value: object) -> object:
        section = {"name": value} if isinstance(value, str) else value
        if isinstance(section, BaseModel):
            return section
        if not isinstance(section, Mapping):
            raise constraint_fault(f"must be a name or a mapping with 'name', got {value!r}")
        name = section.get("name")
        if name not in names:
            listing = f"{', '.join(names[:-1])} or {names[-1]}"
            hint = nearest(name, names) if isinstance(name, str) else ""
            hint = f"; {hint}" if hint.startswith("did") else ""
            raise constraint_fault(f"must be {listing}, got {name!r}{hint}")
        return section

    return expand
