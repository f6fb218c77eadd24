"""Sweep files that come with the project: `rso-sweep presets` lists them."""

from __future__ import annotations

from importlib import resources

from rso_core.errors import InvalidInput, nearest


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """The sweep file of a preset, comments and all.

    Raises:
        InvalidInput: there is none of that name.
    """
    if name not in preset_names():
        raise InvalidInput(
            f"'{name}' is neither a preset nor a file; {nearest(name, preset_names())}"
        )
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def preset_summary(name: str) -> str:
    """The first comment line of a preset: what it is for."""
    return preset_text(name).splitlines()[0].removeprefix("#").strip()
