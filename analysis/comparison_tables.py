"""The tables of optimisers against each other: to their end, at equal budgets, to a target."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis import comparisons
from analysis.budgets import BUDGET_KINDS, Budget
from analysis.frames import Frames
from analysis.head_to_head import (
    optimizers_at_equal_budget,
    optimizers_by_architecture_and_batch_size,
    optimizers_to_target,
)
from analysis.objectives import Objective
from analysis.pareto_tables import objective_column
from analysis.tables import Column, Table
from analysis.wording import (
    INTERVAL,
    MARKS,
    METHOD,
    in_setting,
    listed,
    metric_label,
    optimizer_label,
)

NETWORK = Column("Network", "text", ("architecture",))
BATCH = Column("Batch", "number", ("batch_size",))
OPTIMISER = Column("Optimiser", "optimizer", ("optimizer",))


def main_table(frames: Frames) -> Table:
    """The optimisers side by side for every network and batch size, with what tells them apart."""
    runs, metric = frames.runs, frames.sweeps[0].metric
    names = comparisons.optimizers(runs)
    labels = [optimizer_label(name) for name in names]
    frame = optimizers_by_architecture_and_batch_size(runs, direction=frames.sweeps[0].direction)
    caption = f"{_chosen_by(frame, names, metric)} {INTERVAL}"
    if len(names) > 1:
        caption += f" {MARKS} {_differences(labels)}"
    caption += f" {METHOD}"
    done = runs[runs["state"] == "finished"]
    if len(done) and done["objective"].isna().all():
        caption += (
            f" No {metric_label(metric)} was measured: where there were several settings, none "
            "could be chosen."
        )
    seeds = (Column("Seeds", "seeds", tuple(f"{name}_n_seeds" for name in names)),)
    title = f"{labels[0]} against {listed(labels[1:])}" if len(labels) > 1 else "Accuracy"
    return Table(
        name="optimizers_by_architecture_and_batch_size",
        title=f"{title} by network and batch size",
        caption=caption,
        frame=frame,
        columns=(
            NETWORK,
            BATCH,
            *(
                _estimate(f"{optimizer_label(name)} test %", f"{name}_test_accuracy")
                for name in names
            ),
            *_difference_columns(labels),
            *(seeds if names else ()),
        ),
    )


def _chosen_by(frame: pd.DataFrame, names: Sequence[str], metric: str) -> str:
    """How the settings of the main table were chosen."""
    counts = [frame[f"{name}_n_candidates"].max() for name in names]
    if counts and all(pd.notna(count) and count == 1 for count in counts):
        return "Each optimiser has one setting, so that nothing was chosen."
    chosen = f"Each optimiser with the best of its settings by mean {metric_label(metric)}; the "
    if metric.startswith("test_"):
        return chosen + "test figures chose it, so that its accuracy is a little too good."
    return chosen + "test accuracy is that setting’s and chose nothing."


def equal_budget_table(
    frames: Frames, budgets: Sequence[Budget], cycles: pd.DataFrame
) -> Table | None:
    """The optimisers side by side at equal cycles, images, seconds and updates; None for one.

    Args:
        frames: of one or more sweeps.
        budgets: those to hold to; of each kind one that all optimisers can meet if none is given.
        cycles: `budgets.cumulative_cycles(frames)`.
    """
    frame = optimizers_at_equal_budget(frames, budgets or BUDGET_KINDS, cycles=cycles)
    if frame.empty:
        return None
    names = [n for n in comparisons.optimizers(frames.runs) if f"{n}_used" in frame]
    labels = [optimizer_label(name) for name in names]
    return Table(
        name="optimizers_at_equal_budget",
        title=f"{labels[0]} against {listed(labels[1:])} at equal budgets",
        caption="Each optimiser with the setting, of any batch size, that had the best mean "
        f"{metric_label(frames.sweeps[0].metric)} within the budget; records are made after whole "
        f"cycles, so a run stands at its last one within the budget. Used: by {listed(labels)} on "
        f"average. {'' if budgets else _COMMON}Images are forward passes. An update of a "
        f"weight is a visit to it for RSO and a batch for a gradient method. {INTERVAL} {MARKS}",
        frame=frame,
        columns=(
            NETWORK,
            Column("At most", "budget", ("budget", "amount")),
            *(
                _estimate(f"{label} test %", f"{name}_test_accuracy")
                for name, label in zip(names, labels, strict=True)
            ),
            *_difference_columns(labels)[:2],
            Column("Used", "used", ("budget", *(f"{name}_used" for name in names))),
        ),
    )


def target_table(frames: Frames, target: float | None, cycles: pd.DataFrame) -> Table | None:
    """What each optimiser needs to reach a test accuracy; None for one optimiser.

    Args:
        frames: of one or more sweeps.
        target: a share of 1; for each network one that all reached if not given.
        cycles: `budgets.cumulative_cycles(frames)`.
    """
    frame = optimizers_to_target(frames, target, cycles=cycles)
    if frame.empty:
        return None
    return Table(
        name="optimizers_to_target",
        title="What it takes to reach a test accuracy",
        caption=("" if target is not None else _REACHED)
        + "Medians over the runs of the best setting, at the first record at the target or above; "
        "a run that never reached it counts as needing more than all that it had, and where most "
        "of them did not there is no median.",
        frame=frame,
        columns=(
            NETWORK,
            Column("Target %", "percent", ("target",)),
            OPTIMISER,
            Column("Reached", "reached", ("n_reached", "n_runs")),
            Column("Cycles", "number", ("cycles",)),
            Column("Images", "count", ("images",)),
            Column("Time", "seconds", ("seconds",)),
            Column("Updates a weight", "number", ("updates",)),
        ),
    )


_COMMON = (
    "The budget is the largest that the best settings all used up; where one had ended before the "
    "other’s first cycle, that first cycle. "
)
_REACHED = (
    "The target is, for each network, the highest half point that the best setting of every "
    "optimiser reached on average in the end. "
)


def settings_table(frames: Frames) -> Table | None:
    """The settings that the main table compares; None where nothing was varied."""
    runs, sweep = frames.runs, frames.sweeps[0]
    options = in_setting(comparisons.varied(runs))
    if not options:
        return None
    within = ["architecture", "batch_size"]
    best = comparisons.best_configurations(runs, within=within, direction=sweep.direction)
    keys = ["sweep", "architecture", "batch_size", "optimizer"]
    validation = [f"validation_accuracy_{part}" for part in ("mean", "std")]
    return Table(
        name="chosen_settings",
        title="The settings behind the comparison",
        caption="What each optimiser is compared with above: of the candidates that finished, the "
        f"one with the best mean {metric_label(sweep.metric)}. {INTERVAL}",
        frame=best[[*keys, *options, *validation, "n_seeds", "n_candidates", "trial"]],
        columns=(
            NETWORK,
            BATCH,
            OPTIMISER,
            Column("Setting", "setting", tuple(options)),
            accuracy("Validation %", "validation_accuracy"),
            Column("Candidates", "count", ("n_candidates",)),
            Column("Trial", "number", ("trial",)),
        ),
    )


def best_table(frames: Frames) -> Table:
    """The best configuration of each optimiser, with its options."""
    runs, objective = frames.runs, frames.sweeps[0].objectives[0]
    options, metric = in_setting(comparisons.varied(runs)), objective.metric
    frame = comparisons.best_configurations(runs, direction=objective.direction)
    alone = f" by {metric_label(metric)} alone" if len(frames.sweeps[0].objectives) > 1 else ""
    setting = (Column("Setting", "setting", tuple(options)),) if options else ()
    return Table(
        name="best_configurations",
        title=f"The best configuration of each optimiser{alone}",
        caption="Of the candidates that finished, the one with the best mean "
        f"{metric_label(metric)}. {INTERVAL}",
        frame=frame,
        columns=(
            OPTIMISER,
            NETWORK,
            BATCH,
            *setting,
            *(() if metric in comparisons.METRICS else (_objective(objective),)),
            accuracy("Validation %", "validation_accuracy"),
            accuracy("Test %", "test_accuracy"),
            Column("Seeds", "number", ("n_seeds",)),
            Column("Candidates", "count", ("n_candidates",)),
            Column("Trial", "number", ("trial",)),
        ),
    )


def accuracy(header: str, metric: str, n_seeds: str = "n_seeds") -> Column:
    """The column of an accuracy that a frame has as mean and deviation."""
    return Column(header, "accuracy", (f"{metric}_mean", f"{metric}_std", n_seeds))


def _estimate(header: str, prefix: str) -> Column:
    name = prefix.removesuffix("_test_accuracy")
    fields = (f"{prefix}_mean", f"{prefix}_low", f"{prefix}_high", f"{name}_n_seeds")
    return Column(header, "estimate", fields, mark=f"{prefix}_mark")


def _objective(objective: Objective) -> Column:
    # the frame has the objective under that name, whatever it is
    kind = objective_column(objective)
    return Column(kind.header, kind.kind, ("objective_mean",))


def _difference_columns(labels: list[str]) -> tuple[Column, ...]:
    """How the first two differ: in points, whether by chance, and how often one is ahead."""
    if len(labels) < 2:
        return ()
    first, second = labels[:2]
    fields = ("difference", "difference_low", "difference_high")
    return (
        Column(f"{first} − {second}", "difference", fields),
        Column("p", "p_value", ("p_holm",)),
        Column(f"P({first} > {second})", "share", ("probability",)),
    )


def _differences(labels: list[str]) -> str:
    first, second = labels[:2]
    return (
        f"{first} − {second}: the difference of their test accuracies in percentage points, seed "
        "by seed, with its 95 % interval, and p, the probability of one as large if they were "
        f"alike. P({first} > {second}): the probability that a run of {first} ends above one of "
        f"{second}."
    )
