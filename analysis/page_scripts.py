"""What stands inline in a page: its stylesheet and scripts, their digests, and data for them."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any

import jinja2.utils
from markupsafe import Markup

CHART_PROGRAM = "charts.js"
"""What needs the programs of `chart_javascript`."""
PROGRAMS = ("look.js", "contents.js", "copying.js", "filtering.js", "tables.js", CHART_PROGRAM)
"""Our own, in the order in which they run; the first one does before the page is drawn."""


@functools.cache
def asset(name: str) -> str:
    """A stylesheet or a script of the package, fit to stand within its element."""
    return resources.files("analysis.templates").joinpath(name).read_text(encoding="utf-8")


def content_security_policy(scripts: Iterable[str]) -> str:
    """A policy under which these scripts alone run, none makes another, and nothing is fetched.

    Styles may stand inline, since Vega places its drawings with them.
    """
    digests = " ".join(dict.fromkeys(_digest(script) for script in scripts))
    return (
        f"default-src 'none'; script-src {digests or repr('none')}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def data_block(value: Any, name: str) -> Markup:
    """A `<script>` of that class that is no program: JSON, whose texts cannot end the element."""
    text = jinja2.utils.htmlsafe_json_dumps(value, json.dumps, separators=(",", ":"))
    return Markup('<script type="application/json" class="{}">{}</script>').format(name, text)


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
