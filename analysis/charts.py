"""The charts of a report, the main ones first."""

from __future__ import annotations

from dataclasses import replace

from analysis import comparisons
from analysis.ablation_charts import ablation_charts
from analysis.curve_charts import learning_charts
from analysis.drawings import Drawing, NamedChart
from analysis.frames import Frames
from analysis.heat_maps import heat_maps
from analysis.history_charts import history_charts
from analysis.layer_charts import layer_charts
from analysis.paired_charts import paired_charts
from analysis.parallel_charts import parallel_charts
from analysis.pareto_charts import pareto_charts
from analysis.slice_charts import slice_charts

__all__ = ["Drawing", "NamedChart", "standard_charts"]


def standard_charts(frames: Frames) -> tuple[NamedChart, ...]:
    """The charts that the records of one sweep support; none where no run has finished.

    Those of one family come one after the other. With several objectives the Pareto set comes
    first.
    """
    if not (frames.runs["state"] == "finished").any():
        return ()
    compared = replace(frames, runs=comparisons.comparable(frames.runs))
    several = len(frames.sweeps[0].objectives) > 1
    pareto = pareto_charts(compared)
    charts = [
        *(pareto if several else ()),
        *learning_charts(compared),
        *ablation_charts(compared),
        *paired_charts(compared),
        *heat_maps(compared),
        *slice_charts(compared),
        *parallel_charts(compared),
        *(() if several else pareto),
        # the order of the layers is an option, varied or not
        *layer_charts(frames),
        *history_charts(compared),
    ]
    return _distinctly_named(charts)


def _distinctly_named(charts: list[NamedChart]) -> tuple[NamedChart, ...]:
    """Options whose names differ in what a file's name cannot hold have a file each."""
    names: set[str] = set()
    distinct = []
    for chart in charts:
        name, number = chart.name, 1
        while name.casefold() in names:
            number += 1
            name = f"{chart.name}-{number}"
        names.add(name.casefold())
        distinct.append(replace(chart, name=name))
    return tuple(distinct)
