"""The programs that draw a page's charts: Vega, Vega-Lite and vega-embed."""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from importlib import metadata
from pathlib import Path

import vl_convert


@functools.cache
def chart_javascript() -> str:
    """The script that leaves `vegaEmbed` in the window, fit to stand within a script element.

    To bundle it takes seconds, so it is kept in a cache folder, where one can be written to:
    `report` in $RSO_SWEEP_CACHE, else in `rso-sweep` in $XDG_CACHE_HOME, else in `~/.cache`.
    """
    path = _cache() / "report" / f"vega-of-vl-convert-{metadata.version('vl-convert-python')}.js"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_bytes().decode()
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    script = bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    with contextlib.suppress(OSError):
        _keep(script, path)
    return script


def _cache() -> Path:
    own = os.environ.get("RSO_SWEEP_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "rso-sweep"


def _keep(script: str, path: Path) -> None:
    """Puts it there whole, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(script.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
