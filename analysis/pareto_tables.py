"""The table of the Pareto set, and how an objective is shown in a table."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import comparisons
from analysis.dominance import judged_trials
from analysis.frames import Frames
from analysis.objectives import Objective
from analysis.pareto import compared_objectives, pareto_set
from analysis.tables import Column, Kind, Table
from analysis.wording import counted, listed, metric_label


def pareto_table(frames: Frames, objectives: Sequence[Objective] | None = None) -> Table:
    """The trials of the Pareto set, the best in the first objective first.

    Args:
        frames: of one or more sweeps, each with a set of its own.
        objectives: if not given those of the first sweep; where it has one, that one against the
            training time.
    """
    chosen = compared_objectives(frames.sweeps[0]) if objectives is None else tuple(objectives)
    runs = frames.runs
    frame = pareto_set(runs, chosen)
    main = ("architecture", "batch_size")
    options = tuple(name for name in comparisons.varied(runs) if name not in main)
    several = (Column("Sweep", "text", ("sweep",)),) if runs["sweep"].nunique() > 1 else ()
    setting = (Column("Setting", "setting", options),) if options else ()
    aims = listed([f"{o.superlative} {metric_label(o.metric)}" for o in chosen])
    return Table(
        name="pareto_set",
        title=f"The Pareto set: {aims}",
        caption=f"Of {counted(len(judged_trials(runs, chosen)), 'trial')} that ran to their end, "
        "those that no other one equals in all of these figures and betters in one. Means over "
        "the seeds; a cost is that of one run, all its cycles together.",
        frame=frame,
        columns=(
            *several,
            Column("Trial", "number", ("trial",)),
            *(objective_column(objective) for objective in chosen),
            Column("Seeds", "number", ("n_seeds",)),
            Column("Optimiser", "optimizer", ("optimizer",)),
            Column("Network", "text", ("architecture",)),
            Column("Batch", "number", ("batch_size",)),
            *setting,
        ),
    )


def objective_column(objective: Objective) -> Column:
    """The column that shows an objective, with its unit, of a frame like that of `pareto_set`."""
    metric = objective.metric
    mean, label = f"{metric}_mean", metric_label(metric).capitalize()
    if metric.endswith("_accuracy"):
        return Column(f"{label} %", "accuracy", (mean, f"{metric}_std", "n_seeds"))
    if metric.endswith("_loss"):
        return Column(f"{label} (nats)", "number", (mean,))
    kind: Kind = "seconds" if metric == "training_s" else "count"
    return Column(label, kind, (mean,))
