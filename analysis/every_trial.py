"""The table of every trial of a sweep, the best first."""

from __future__ import annotations

import pandas as pd

from analysis import comparisons
from analysis.frames import Frames
from analysis.objectives import Objective
from analysis.pareto_tables import objective_column
from analysis.tables import Column, Table
from analysis.wording import INTERVAL, in_setting, metric_label

_COSTS = ("n_cycles", "training_s", "n_images_passed")
_RANKS = {"finished": 0, "running": 1, "pruned": 2, "failed": 3}


def every_trial_table(frames: Frames) -> Table:
    """Every trial with its configuration, its figures and its cost.

    The trials that ran to their end come first, the best in their sweep's first objective before
    the others, then those under way, those that were pruned and those that failed.
    """
    objectives = _objectives(frames)
    metrics = [objective.metric for objective in objectives]
    figures = list(dict.fromkeys([*metrics, *comparisons.METRICS]))
    made = _over_seeds(frames.runs, figures).join(_of_a_run(frames.runs), how="outer")
    # an option of the name of a figure would hide it
    varied = [name for name in comparisons.varied(frames.runs) if name not in made]
    options = tuple(in_setting(varied))
    described = ["sweep", "trial", "state", "optimizer", "architecture", "batch_size", *options]
    trials = _best_first(frames.trials, frames)[[*described, "n_seeds"]]
    frame = trials.join(made, on=["sweep", "trial"])
    several = (Column("Sweep", "text", ("sweep",)),) if frame["sweep"].nunique() > 1 else ()
    setting = (Column("Setting", "setting", options),) if options else ()
    return Table(
        name="every_trial",
        title="Every trial",
        caption=_caption(frames),
        frame=frame,
        columns=(
            *several,
            Column("Trial", "number", ("trial",)),
            Column("State", "text", ("state",)),
            Column("Optimiser", "optimizer", ("optimizer",)),
            Column("Network", "text", ("architecture",)),
            Column("Batch", "number", ("batch_size",)),
            *setting,
            *(objective_column(each) for each in objectives if each.metric not in _ALWAYS_SHOWN),
            Column("Validation %", "accuracy", _accuracy("validation_accuracy")),
            Column("Test %", "accuracy", _accuracy("test_accuracy")),
            Column("Seeds", "count", ("n_seeds",)),
            Column("Cycles", "number", ("n_cycles",)),
            Column("Training", "seconds", ("training_s",)),
            Column("Images passed", "count", ("n_images_passed",)),
        ),
    )


_ALWAYS_SHOWN = (*comparisons.METRICS, "training_s", "n_images_passed")


def _objectives(frames: Frames) -> list[Objective]:
    """Those of all sweeps, each metric once."""
    of_all = [objective for sweep in frames.sweeps for objective in sweep.objectives]
    return list({objective.metric: objective for objective in reversed(of_all)}.values())[::-1]


def _over_seeds(runs: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """`_mean` and `_std` of the finished runs of each trial, where all of them have the figure."""
    done = runs[runs["state"] == "finished"]
    by_trial = done[metrics].astype("float64").groupby([done["sweep"], done["trial"]])
    whole = by_trial.count().eq(by_trial.size(), axis="index")
    means, deviations = by_trial.mean().where(whole), by_trial.std().where(whole)
    return means.add_suffix("_mean").join(deviations.add_suffix("_std"))


def _of_a_run(runs: pd.DataFrame) -> pd.DataFrame:
    """The cycles and costs of a run on average, over all that were begun, whatever their state."""
    begun = runs[~comparisons.is_not_begun(runs)]
    costs = begun[list(_COSTS)].astype("float64")
    return costs.groupby([begun["sweep"], begun["trial"]]).mean()


def _best_first(trials: pd.DataFrame, frames: Frames) -> pd.DataFrame:
    signs = {s.name: -1.0 if s.direction == "maximize" else 1.0 for s in frames.sweeps}
    order = trials[["sweep", "trial"]].assign(
        rank=trials["state"].map(_RANKS).astype("float64"),
        cost=trials["objective_mean"] * trials["sweep"].map(signs).astype("float64"),
    )
    order = order.sort_values(["rank", "cost", "sweep", "trial"], kind="stable")
    return trials.loc[order.index].reset_index(drop=True)


def _accuracy(metric: str) -> tuple[str, ...]:
    return (f"{metric}_mean", f"{metric}_std", "n_seeds")


def _caption(frames: Frames) -> str:
    metrics = dict.fromkeys(metric_label(sweep.metric) for sweep in frames.sweeps)
    caption = f"The best mean {' or '.join(metrics)} first. {INTERVAL} "
    if not (frames.trials["state"] == "finished").all():
        caption += (
            "Trials that did not run to their end come last, with the figures of the runs that "
            "did. "
        )
    return caption + "Cycles, training time and images passed are those of one run, on average."
