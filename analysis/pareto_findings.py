"""What a sweep with several objectives came to, in sentences: its Pareto set and the ends of it."""

from __future__ import annotations

import pandas as pd

from analysis.dominance import judged_trials
from analysis.formats import format_metric
from analysis.frames import Frames
from analysis.objectives import Objective
from analysis.wording import listed, metric_label

_MOST_NAMED = 3


def pareto_sentences(frames: Frames) -> list[str]:
    """How large the Pareto set of the first sweep is, and what its ends are.

    None for a sweep with one objective, and where no trial has come to its end.
    """
    sweep = frames.sweeps[0]
    objectives = sweep.objectives
    if len(objectives) < 2:
        return []
    judged = judged_trials(frames.runs[frames.runs["sweep"] == sweep.name], objectives)
    chosen = judged[judged["is_pareto"].astype(bool)]
    if chosen.empty:
        return []
    aims = listed([f"{o.superlative} {metric_label(o.metric)}" for o in objectives])
    if len(judged) == 1:
        trial = chosen["trial"].iloc[0]
        names = listed([metric_label(objective.metric) for objective in objectives])
        return [
            f"Only trial {trial} ran to its end: there is nothing to weigh its {names} against."
        ]
    values = chosen[[f"{o.metric}_mean" for o in objectives]].drop_duplicates()
    if len(values) == 1:
        figures = _figures(chosen.iloc[0], objectives)
        return [
            f"{_trials(chosen).capitalize()} had the {aims} of all {len(judged):,} trials that "
            f"ran to their end: {figures}."
        ]
    return [
        f"{len(chosen):,} of the {len(judged):,} trials that ran to their end are in the Pareto "
        f"set of {aims}: none of the others is as good as any of these in all of them at once.",
        *(_end(chosen, objective, objectives) for objective in objectives),
    ]


def _end(chosen: pd.DataFrame, objective: Objective, objectives: tuple[Objective, ...]) -> str:
    """The trials of the set with the best of one objective, and what they have of the others."""
    column = chosen[f"{objective.metric}_mean"]
    best = column.max() if objective.direction == "maximize" else column.min()
    own = chosen[column == best]
    others = tuple(other for other in objectives if other != objective)
    figure = format_metric(objective.metric, best)
    rest = f", with {_figures(own.iloc[0], others)}" if len(own) == 1 else ""
    return (
        f"The {objective.superlative} mean {metric_label(objective.metric)}, {figure}, is that of "
        f"{_trials(own)}{rest}."
    )


def _figures(row: pd.Series, objectives: tuple[Objective, ...]) -> str:
    return listed(
        [
            f"{metric_label(o.metric)} {format_metric(o.metric, row[f'{o.metric}_mean'])}"
            for o in objectives
        ]
    )


def _trials(rows: pd.DataFrame) -> str:
    """`trial 4`, `trials 4 and 7`, `trials 4, 7, 8 and 12 more`."""
    numbers = [str(number) for number in sorted(rows["trial"])]
    if len(numbers) > _MOST_NAMED:
        numbers = [*numbers[:_MOST_NAMED], f"{len(numbers) - _MOST_NAMED:,} more"]
    return f"{'trial' if len(rows) == 1 else 'trials'} {listed(numbers)}"
