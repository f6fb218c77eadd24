"""The Pareto set of a sweep: the trials that are a best choice for somebody."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.columns import CONFIGURATION
from analysis.dominance import judged_trials
from analysis.frames import option_columns
from analysis.objectives import Objective
from analysis.run_folder import SweepMetadata


def pareto_set(runs: pd.DataFrame, objectives: Sequence[Objective]) -> pd.DataFrame:
    """The trials to which no trial of the same sweep is preferable in all objectives.

    None is at least as good everywhere and better somewhere. Trials with equal figures stay
    together; `judged_trials` says which trials are left out.

    Args:
        runs: `Frames.runs`.
        objectives: at least one.

    Returns:
        `sweep`, `trial`, `architecture`, `batch_size`, `optimizer`, `cycles`, every option,
        `n_parameters`, `n_seeds`, and `_mean` and `_std` of each objective's metric; the best in
        the first objective first, then by the second and so on.
    """
    trials = described_trials(runs, objectives)
    kept = trials[trials["is_pareto"].astype(bool)].drop(columns="is_pareto")
    order = [f"{objective.metric}_mean" for objective in objectives]
    ascending = [objective.direction == "minimize" for objective in objectives]
    return kept.sort_values(
        ["sweep", *order, "trial"], ascending=[True, *ascending, True], kind="stable"
    ).reset_index(drop=True)


def described_trials(runs: pd.DataFrame, objectives: Sequence[Objective]) -> pd.DataFrame:
    """`judged_trials` with the configuration of each, in the columns of `pareto_set`."""
    judged = judged_trials(runs, objectives)
    described = [*CONFIGURATION, *option_columns(runs), "n_parameters"]
    of_a_trial = runs.drop_duplicates(["sweep", "trial"])[["sweep", "trial", *described]]
    table = judged.merge(of_a_trial, on=["sweep", "trial"], how="left")
    figures = [name for name in judged.columns if name not in ("sweep", "trial")]
    return table[["sweep", "trial", *described, *figures]]


def compared_objectives(sweep: SweepMetadata) -> tuple[Objective, ...]:
    """The objectives of a sweep; where it has one, that one against the time that it takes."""
    if len(sweep.objectives) > 1:
        return sweep.objectives
    (only,) = sweep.objectives
    other = "training_s" if only.metric != "training_s" else "validation_accuracy"
    return (only, Objective.of(other))
