"""Where a report keeps its tables and charts, below its folder."""

from __future__ import annotations

import re


def table_file(name: str, ending: str) -> str:
    """The file of a table: `tables/cost.csv`."""
    return f"tables/{_plain(name)}.{ending}"


def chart_file(name: str, ending: str) -> str:
    """The file of a chart: `charts/pareto_front.svg`."""
    return f"charts/{_plain(name)}.{ending}"


def _plain(name: str) -> str:
    # an option of a user's own optimiser may have any name
    return re.sub("[^A-Za-z0-9_.-]+", "-", name)
