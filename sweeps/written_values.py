"""Names, seeds and run folders as a sweep file may write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from rso_core.validation import shown
from sweeps.scalars import constraint_fault

MOST_SEEDS = 10_000
"""More runs of one configuration than this are taken for a slip."""
LARGEST_SEED = 2**32 - 1  # numpy takes no larger one


def _name(value: object) -> object:
    if not isinstance(value, str):
        raise constraint_fault(f"must be a text, got {value!r}; write it in quotes")
    if value in (".", "..") or not re.fullmatch(_NAME_PATTERN, value) or len(value) > 100:
        raise constraint_fault(
            "must be 1 to 100 letters, digits, '-', '_' and '.', "
            f"since a folder is named after it, got {value!r}"
        )
    return value


def _optional_name(value: object) -> object:
    return value if value is None else _name(value)


def _seeds(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MOST_SEEDS:
            raise constraint_fault(
                f"must be a number of seeds from 1 to {MOST_SEEDS} or a list of seeds, got {value}"
            )
        return tuple(range(value))
    if not isinstance(value, list | tuple):
        raise constraint_fault(f"must be a list of seeds or their number, got {value!r}")
    if not value:
        raise constraint_fault("must list at least one seed, got []")
    for index, seed in enumerate(value):
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
            raise constraint_fault(f"must be integers from 0 to {LARGEST_SEED}, got {seed!r}")
        if seed in value[:index]:
            raise constraint_fault(f"must list every seed once, got {seed} again")
    return tuple(value)


def _run_folders(value: object) -> object:
    folders = [value] if isinstance(value, str) else value
    if not isinstance(folders, list | tuple):
        raise constraint_fault(f"must be a list of run folders, got {shown(value)}")
    known: list[str] = []
    for folder in folders:
        if not isinstance(folder, str) or not folder:
            raise constraint_fault(f"must name run folders by non-empty texts, got {shown(folder)}")
        if _without_slash(folder) in known:
            raise constraint_fault(f"must list every run folder once, got {shown(folder)} again")
        known.append(_without_slash(folder))
    return tuple(folders)


def _without_slash(folder: str) -> str:
    return folder.rstrip("/") or folder


_NAME_PATTERN = r"[A-Za-z0-9._-]+"
Name = Annotated[str, Field(pattern=f"^{_NAME_PATTERN}$", max_length=100), BeforeValidator(_name)]
OptionalName = Annotated[str | None, BeforeValidator(_optional_name)]
_Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Seeds = Annotated[
    tuple[_Seed, ...],
    BeforeValidator(
        _seeds,
        json_schema_input_type=Annotated[int, Field(ge=1, le=MOST_SEEDS)]
        | Annotated[list[_Seed], Field(min_length=1, json_schema_extra={"uniqueItems": True})],
    ),
]
_RunFolder = Annotated[str, Field(min_length=1)]
RunFolders = Annotated[
    tuple[_RunFolder, ...],
    BeforeValidator(
        _run_folders,
        json_schema_input_type=_RunFolder
        | Annotated[list[_RunFolder], Field(json_schema_extra={"uniqueItems": True})],
    ),
]
