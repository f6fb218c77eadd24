"""The tables of what runs cost, and of those that did not come to their end undisturbed."""

from __future__ import annotations

from analysis import comparisons
from analysis.attempts import interruptions
from analysis.comparison_tables import BATCH, NETWORK, OPTIMISER
from analysis.frames import Frames
from analysis.tables import Column, Table

_OF_A_RUN = (
    Column("State", "text", ("state",)),
    Column("Trial", "number", ("trial",)),
    Column("Seed", "number", ("seed",)),
    OPTIMISER,
    NETWORK,
    BATCH,
)


def cost_table(frames: Frames) -> Table:
    """What a finished run cost on average, for each optimiser and network."""
    return Table(
        name="cost",
        title="What a run cost",
        caption="Mean of one run, over the finished runs. An RSO cycle visits every weight once "
        "and passes three batches for each visit; a gradient method’s cycle is an epoch. Images "
        "passed are forward passes; a gradient method’s backward passes come on top.",
        frame=comparisons.cost(frames.runs),
        columns=(
            OPTIMISER,
            NETWORK,
            Column("Parameters", "count", ("n_parameters",)),
            Column("Runs", "count", ("n_runs",)),
            Column("Cycles", "number", ("n_cycles",)),
            Column("Training", "seconds", ("training_s",)),
            Column("Evaluation", "seconds", ("evaluation_s",)),
            Column("Images passed", "count", ("n_images_passed",)),
            Column("Weight visits", "count", ("n_visited",)),
        ),
    )


def failures_table(frames: Frames) -> Table | None:
    """The failed and the pruned runs; None where there are none."""
    frame = comparisons.failures(frames.runs)
    if frame.empty:
        return None
    return Table(
        name="failures",
        title="Failed and pruned runs",
        caption="These runs have no part in any comparison.",
        frame=frame,
        columns=(
            *_OF_A_RUN,
            Column("Cycles", "number", ("n_cycles",)),
            Column("Reason", "text", ("reason",)),
        ),
    )


def interruptions_table(frames: Frames) -> Table | None:
    """The runs that were cut short and begun again; None where there are none."""
    frame = interruptions(frames.attempts, frames.runs)
    if frame.empty:
        return None
    return Table(
        name="interruptions",
        title="Runs that were cut short",
        caption="By the death of an actor or of its machine. A run that was cut short goes on "
        "from the last state that was kept of it, or begins anew, and counts as any other; the "
        "state is the one in the end, the hosts and the reasons, the latest first, are those of "
        "the attempts that were cut short.",
        frame=frame,
        columns=(
            *_OF_A_RUN,
            Column("Cut short", "count", ("n_cut_short",)),
            Column("Hosts", "text", ("hosts",)),
            Column("Reasons", "text", ("reasons",)),
        ),
    )
