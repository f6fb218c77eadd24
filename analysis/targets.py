"""What runs need to reach a target; those that never reach it count as needing more than they had.

Such a run is censored (Kaplan and Meier 1958) and not left out: to average over those that reached
the target alone would flatter a method that rarely does.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from analysis.budgets import USED, BudgetKind, cumulative_cycles
from analysis.frames import Frames
from analysis.objectives import Objective


def needed_for(
    frames: Frames,
    target: float,
    *,
    metric: str = "test_accuracy",
    kind: BudgetKind = "cycles",
    cycles: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What each run needed to reach a target, from its first cycle that did.

    Args:
        frames: of one or more sweeps.
        target: an accuracy (share of 1) to reach, or a loss (nats) to get down to.
        metric: a column of `Frames.cycles`.
        kind: what is counted.
        cycles: `cumulative_cycles(frames)`, where there it is at hand.

    Returns:
        A row for each run with the index of `Frames.runs`: `needed`, where it did not reach the
        target all that it used; `is_reached`. Missing for a run without a cycle.
    """
    cycles = cumulative_cycles(frames) if cycles is None else cycles
    values = cycles[metric].astype("float64")
    rises = Objective.of(metric).direction == "maximize"
    reaching = cycles[values >= target if rises else values <= target]
    used = USED[kind]
    reached = reaching.groupby("row")[used].first().astype("float64").reindex(frames.runs.index)
    spent = cycles.groupby("row")[used].last().astype("float64").reindex(frames.runs.index)
    return pd.DataFrame(
        {
            "needed": reached.fillna(spent),
            "is_reached": reached.notna().astype("boolean").mask(spent.isna()),
        }
    )


def median_needed(needed: pd.Series, is_reached: pd.Series) -> float:
    """The median of what runs need, where those that did not reach the target need more.

    By the product-limit estimate; NaN where so many did not reach it that there is none.
    """
    known = needed.notna() & is_reached.notna()
    amounts = needed[known].to_numpy("float64")
    censored = ~is_reached[known].to_numpy("bool")
    if not amounts.size or censored.all():
        return float("nan")
    survival = stats.ecdf(stats.CensoredData.right_censored(amounts, censored)).sf
    below = survival.quantiles[survival.probabilities <= 0.5 + 1e-12]
    return float(below[0]) if below.size else float("nan")


def common_target(finals: list[pd.Series], metric: str = "test_accuracy") -> float | None:
    """A round target that every group reached on average in the end, the hardest there is.

    Args:
        finals: for each group of runs the figures that they ended with.
        metric: what the figures are: an accuracy is rounded down to half points, a loss up to
            a twentieth.

    Returns:
        None where a group has no figures.
    """
    means = [float(own.mean()) for own in finals]
    if not means or np.isnan(means).any():
        return None
    if Objective.of(metric).direction == "maximize":
        return float(np.floor(min(means) * 200 + 1e-9) / 200)
    return float(np.ceil(max(means) * 20 - 1e-9) / 20)
