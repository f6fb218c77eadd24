"""The user's own modules, which travel with a job: `module:Class` must resolve there, too."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rso_core.errors import InvalidInput

PROJECT_PACKAGES = ("rso_core", "sweeps", "analysis")
"""This project's own, which travel anyway."""
MOST_BYTES = 10 * 1024**2
"""Of the user's own modules together."""
_MOST_FOLDERS = 5000
_REFERENCE = re.compile(r"([A-Za-z_]\w*)(?:\.\w+)*:[A-Za-z_]")
_NEVER = frozenset({"__pycache__", "node_modules", "runs"})


@dataclass(frozen=True, slots=True)
class OwnModules:
    """Python files of the user's."""

    folder: Path
    """Below which they lie."""
    files: tuple[Path, ...] = ()
    """Relative to the folder, sorted."""
    named: tuple[str, ...] = ()
    """Those modules at the top that the sweep names, sorted."""


def own_modules(folder: Path, sweep: Any) -> OwnModules:
    """All Python files of a folder and its packages, if a sweep names a module that lies there.

    Hidden folders, virtual environments, run folders, caches, what is no package by its name, and
    this project's own packages are left out; so is all that is not Python, such as data.

    Args:
        folder: from which the command is run.
        sweep: the content of a sweep file: mappings, lists and scalars.

    Raises:
        InvalidInput: they are too large to travel, or the folder too large to look through.
    """
    return modules_below(folder, set(_top_modules(sweep)))


def modules_below(folder: Path, names: Iterable[str]) -> OwnModules:
    """As `own_modules`, where the names of the modules at the top are known."""
    named = tuple(sorted(name for name in names if _is_here(folder, name)))
    if not named:
        return OwnModules(folder)
    sizes = {path.relative_to(folder): path.stat().st_size for path in _python_files(folder)}
    if sum(sizes.values()) > MOST_BYTES:
        largest = max(sizes, key=lambda path: sizes[path])
        raise InvalidInput(
            f"the Python files of '{folder}' travel with the job and must be at most "
            f"{_megabytes(MOST_BYTES)} together, got {_megabytes(sum(sizes.values()))}; the "
            f"largest is '{largest}' with {_megabytes(sizes[largest])}; move what the sweep does "
            "not need out of the folder"
        )
    return OwnModules(folder, tuple(sorted(sizes)), named)


def _top_modules(content: Any) -> Iterator[str]:
    """The first parts of what looks like `package.module:name`, among keys and values."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _top_modules(key)
            yield from _top_modules(value)
    elif isinstance(content, list | tuple):
        for item in content:
            yield from _top_modules(item)
    elif isinstance(content, str):
        found = _REFERENCE.match(content)
        if found and found[1] not in PROJECT_PACKAGES:
            yield found[1]


def _is_here(folder: Path, module: str) -> bool:
    return (folder / f"{module}.py").is_file() or (folder / module).is_dir()


def _python_files(folder: Path) -> Iterator[Path]:
    for n_folders, (place, folders, files) in enumerate(os.walk(folder)):
        if n_folders >= _MOST_FOLDERS:
            raise InvalidInput(
                f"'{folder}' has more than {_MOST_FOLDERS} folders, in which the modules that the "
                "sweep names could lie; run from a folder that holds no more than your modules"
            )
        here = Path(place)
        folders[:] = sorted(name for name in folders if _may_hold_modules(here / name, folder))
        yield from (here / name for name in files if name.endswith(".py"))


def _may_hold_modules(path: Path, top: Path) -> bool:
    name = path.name
    if not name.isidentifier() or name in _NEVER:
        return False
    if path.parent == top and name in PROJECT_PACKAGES:
        return False
    is_environment = (path / "pyvenv.cfg").exists()
    is_run_folder = (path / "sweep.yaml").exists() and (path / "records").is_dir()
    return not is_environment and not is_run_folder


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1024**2:.1f} MiB"
