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
    from analysis.ablations import ablation_table, ablations
    from analysis.any_table import comparison_table
    from analysis.attempts import interruptions
    from analysis.budgets import Budget, runs_within
    from analysis.comparing import compare
    from analysis.comparisons import best_configurations, cost, failures
    from analysis.effects import effect_of
    from analysis.errors import NoSuchFile
    from analysis.every_trial import every_trial_table
    from analysis.frames import Frames, load
    from analysis.head_to_head import (
        optimizers_at_equal_budget,
        optimizers_by_architecture_and_batch_size,
        optimizers_to_target,
    )
    from analysis.importances import importance, importance_table
    from analysis.objectives import Objective
    from analysis.pareto import pareto_set
    from analysis.pareto_charts import pareto_chart
    from analysis.pareto_tables import pareto_table
    from analysis.published import published_figures, published_table
    from analysis.report import Report, write_report
    from analysis.reproduced import reproduced, reproduced_table
    from analysis.run_folder import SweepMetadata, UnreadableRunFolder
    from analysis.standard_tables import standard_tables
    from analysis.statistics import Estimate, estimate
    from analysis.tables import Table
    from analysis.targets import needed_for

__all__ = [
    "Budget",
    "Estimate",
    "Frames",
    "NoSuchFile",
    "Objective",
    "Report",
    "SweepMetadata",
    "Table",
    "UnreadableRunFolder",
    "ablation_table",
    "ablations",
    "best_configurations",
    "compare",
    "comparison_table",
    "cost",
    "effect_of",
    "estimate",
    "every_trial_table",
    "failures",
    "importance",
    "importance_table",
    "interruptions",
    "load",
    "needed_for",
    "optimizers_at_equal_budget",
    "optimizers_by_architecture_and_batch_size",
    "optimizers_to_target",
    "pareto_chart",
    "pareto_set",
    "pareto_table",
    "published_figures",
    "published_table",
    "reproduced",
    "reproduced_table",
    "runs_within",
    "standard_tables",
    "write_report",
]

_MODULES = {
    "Budget": "analysis.budgets",
    "Estimate": "analysis.statistics",
    "Frames": "analysis.frames",
    "NoSuchFile": "analysis.errors",
    "Objective": "analysis.objectives",
    "Report": "analysis.report",
    "SweepMetadata": "analysis.run_folder",
    "Table": "analysis.tables",
    "UnreadableRunFolder": "analysis.run_folder",
    "ablation_table": "analysis.ablations",
    "ablations": "analysis.ablations",
    "best_configurations": "analysis.comparisons",
    "compare": "analysis.comparing",
    "comparison_table": "analysis.any_table",
    "cost": "analysis.comparisons",
    "effect_of": "analysis.effects",
    "estimate": "analysis.statistics",
    "every_trial_table": "analysis.every_trial",
    "failures": "analysis.comparisons",
    "importance": "analysis.importances",
    "importance_table": "analysis.importances",
    "interruptions": "analysis.attempts",
    "load": "analysis.frames",
    "needed_for": "analysis.targets",
    "optimizers_at_equal_budget": "analysis.head_to_head",
    "optimizers_by_architecture_and_batch_size": "analysis.head_to_head",
    "optimizers_to_target": "analysis.head_to_head",
    "pareto_chart": "analysis.pareto_charts",
    "pareto_set": "analysis.pareto",
    "pareto_table": "analysis.pareto_tables",
    "published_figures": "analysis.published",
    "published_table": "analysis.published",
    "reproduced": "analysis.reproduced",
    "reproduced_table": "analysis.reproduced",
    "runs_within": "analysis.budgets",
    "standard_tables": "analysis.standard_tables",
    "write_report": "analysis.report",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'analysis' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)
