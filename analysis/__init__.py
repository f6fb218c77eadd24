"""Reads run folders: frames, comparison tables, charts and the report.

The public names are imported when they are first used, so that `import analysis` costs nothing
and altair is imported only where charts are drawn:

    frames = analysis.load("runs/my-sweep")
    analysis.compare(frames.runs, rows=["architecture"], columns=["optimizer"])
    analysis.write_report("runs/my-sweep")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.attempts import interruptions
    from analysis.comparisons import (
        best_configurations,
        compare,
        cost,
        effect_of,
        failures,
        optimizers_by_architecture_and_batch_size,
    )
    from analysis.frames import Frames, load
    from analysis.objectives import Objective
    from analysis.pareto import pareto_set
    from analysis.pareto_charts import pareto_chart
    from analysis.pareto_tables import pareto_table
    from analysis.report import Report, write_report
    from analysis.run_folder import SweepMetadata, UnreadableRunFolder
    from analysis.tables import Table

__all__ = [
    "Frames",
    "Objective",
    "Report",
    "SweepMetadata",
    "Table",
    "UnreadableRunFolder",
    "best_configurations",
    "compare",
    "cost",
    "effect_of",
    "failures",
    "interruptions",
    "load",
    "optimizers_by_architecture_and_batch_size",
    "pareto_chart",
    "pareto_set",
    "pareto_table",
    "write_report",
]

_MODULES = {
    "Frames": "analysis.frames",
    "Objective": "analysis.objectives",
    "Report": "analysis.report",
    "SweepMetadata": "analysis.run_folder",
    "Table": "analysis.tables",
    "UnreadableRunFolder": "analysis.run_folder",
    "interruptions": "analysis.attempts",
    "load": "analysis.frames",
    "pareto_chart": "analysis.pareto_charts",
    "pareto_set": "analysis.pareto",
    "pareto_table": "analysis.pareto_tables",
    "write_report": "analysis.report",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'analysis' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES.get(name, "analysis.comparisons")), name)
