"""Pictures of charts, drawn in a process of their own while this one goes on.

The library that draws keeps Python's lock meanwhile, so that threads would not do.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import vl_convert

_PNG_PPI = 150
_PROGRAM = "analysis.picturing"


class Picture(NamedTuple):
    """One chart drawn."""

    svg: str
    png: bytes
    """For slides and pages; print has the others."""
    pdf: bytes
    """A page of its size, to be set in a paper."""


def picture_of(specification: dict[str, Any]) -> Picture:
    """Draws a Vega-Lite specification; no browser takes part."""
    svg = vl_convert.vegalite_to_svg(specification)
    return Picture(svg, vl_convert.svg_to_png(svg, ppi=_PNG_PPI), vl_convert.svg_to_pdf(svg))


def begin_pictures(
    specifications: Sequence[dict[str, Any]],
) -> Callable[[], list[Picture]]:
    """Begins to draw specifications in a process of its own.

    Returns:
        What waits for the pictures; where that process could not do it, it draws them itself.
    """
    if not specifications:
        return list
    pool = ThreadPoolExecutor(1)
    begun = pool.submit(_drawn_elsewhere, json.dumps(list(specifications)))
    pool.shutdown(wait=False)
    return lambda: begun.result() or [picture_of(each) for each in specifications]


def _drawn_elsewhere(specifications: str) -> list[Picture] | None:
    """The pictures, drawn by a process that has nothing of this one; None if it failed."""
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", _PROGRAM],
            input=specifications.encode(),
            capture_output=True,
            check=True,
            env=environment,
        )
        drawn = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return [Picture(svg, base64.b64decode(png), base64.b64decode(pdf)) for svg, png, pdf in drawn]


def _main() -> None:
    pictures = [picture_of(specification) for specification in json.load(sys.stdin)]
    json.dump(
        [
            (svg, base64.b64encode(png).decode(), base64.b64encode(pdf).decode())
            for svg, png, pdf in pictures
        ],
        sys.stdout,
    )


if __name__ == "__main__":
    _main()
