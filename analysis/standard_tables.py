"""The tables of a report: the comparisons with their titles, captions and formats."""

from __future__ import annotations

import pandas as pd

from analysis import comparisons
from analysis.attempts import interruptions
from analysis.frames import Frames, option_columns
from analysis.objectives import Direction, Objective
from analysis.pareto_tables import objective_column, pareto_table
from analysis.tables import Column, Table
from analysis.wording import dimension_label, format_number, listed, metric_label, optimizer_label

_NETWORK = Column("Network", "text", ("architecture",))
_BATCH = Column("Batch", "number", ("batch_size",))
_OPTIMISER = Column("Optimiser", "optimizer", ("optimizer",))
_OVER_SEEDS = "Mean ± standard deviation over the seeds"
_MOST_VALUES = 10
"""Values of a number that have a row each; more are put together in ranges."""
_PRUNED = (
    "Pruned runs have no final figure and are left out, so a value whose runs were often pruned "
    "looks better than it is."
)


def standard_tables(frames: Frames) -> tuple[Table, ...]:
    """The tables that the records support, the main comparison first, then the Pareto set.

    The Pareto set is for several objectives; a single choice goes by the first of them.

    With several sweeps every table has a row for each of them; a choice of the best setting goes
    by the objective's direction of the first sweep.
    """
    runs, (sweep, *_) = frames.runs, frames.sweeps
    direction, metric = sweep.direction, sweep.metric
    is_one_of_several = len(sweep.objectives) > 1
    tables = [
        _main(runs, direction, metric),
        pareto_table(frames) if is_one_of_several else None,
        _settings(runs, direction, metric),
        _best(runs, sweep.objectives[0], is_one_of_several),
        *(_effect(runs, dimension) for dimension in comparisons.varied(runs)),
        _cost(runs),
        _failures(runs),
        _interruptions(frames),
    ]
    found = [table for table in tables if table is not None]
    return tuple(_with_sweep(table) for table in found)


def _main(runs: pd.DataFrame, direction: Direction, metric: str) -> Table:
    names = comparisons.optimizers(runs)
    frame = comparisons.optimizers_by_architecture_and_batch_size(runs, direction=direction)
    columns = [_NETWORK, _BATCH]
    for name in names:
        for header, figure in (("val. %", "validation_accuracy"), ("test %", "test_accuracy")):
            fields = (f"{name}_{figure}_mean", f"{name}_{figure}_std", f"{name}_n_seeds")
            columns.append(Column(f"{optimizer_label(name)} {header}", "accuracy", fields))
    labels = [optimizer_label(name) for name in names]
    caption = (
        f"Each optimiser with the best of its settings by mean {metric_label(metric)}; the test "
        f"accuracy is that setting’s and chose nothing. {_OVER_SEEDS}."
    )
    if len(names) > 1:
        fields = ("difference", "difference_low", "difference_high")
        columns.append(Column(f"{labels[0]} − {labels[1]}, test", "difference", fields))
        caption += (
            f" The difference is {labels[0]}’s test accuracy less {labels[1]}’s in percentage "
            "points, with its 95 % interval (Welch) where both have two seeds or more."
        )
    done = runs[runs["state"] == "finished"]
    if len(done) and done["objective"].isna().all():
        caption += (
            f" No {metric_label(metric)} was measured: where there were several settings, none "
            "could be chosen."
        )
    if names:
        columns.append(Column("Seeds", "seeds", tuple(f"{name}_n_seeds" for name in names)))
    title = f"{labels[0]} against {listed(labels[1:])}" if len(labels) > 1 else "Accuracy"
    return Table(
        name="optimizers_by_architecture_and_batch_size",
        title=f"{title} by network and batch size",
        caption=caption,
        frame=frame,
        columns=tuple(columns),
    )


def _settings(runs: pd.DataFrame, direction: Direction, metric: str) -> Table | None:
    options = _in_setting(runs)
    if not options:
        return None
    within = ["architecture", "batch_size"]
    best = comparisons.best_configurations(runs, within=within, direction=direction)
    keys = ["sweep", "architecture", "batch_size", "optimizer"]
    frame = best[[*keys, *options, "n_candidates", "trial"]]
    return Table(
        name="chosen_settings",
        title="The settings behind the comparison",
        caption="What each optimiser is compared with above: of the candidates that finished, the "
        f"one with the best mean {metric_label(metric)}.",
        frame=frame,
        columns=(
            _NETWORK,
            _BATCH,
            _OPTIMISER,
            Column("Setting", "setting", tuple(options)),
            Column("Candidates", "count", ("n_candidates",)),
            Column("Trial", "number", ("trial",)),
        ),
    )


def _best(runs: pd.DataFrame, objective: Objective, is_one_of_several: bool) -> Table:
    options, metric = _in_setting(runs), objective.metric
    frame = comparisons.best_configurations(runs, direction=objective.direction)
    # the frame has the objective under that name, whatever it is
    kind = objective_column(objective)
    shown = Column(kind.header, kind.kind, ("objective_mean",))
    return Table(
        name="best_configurations",
        title="The best configuration of each optimiser"
        + (f" by {metric_label(metric)} alone" if is_one_of_several else ""),
        caption=f"Of the candidates that finished, the one with the best mean "
        f"{metric_label(metric)}. {_OVER_SEEDS}.",
        frame=frame,
        columns=(
            _OPTIMISER,
            _NETWORK,
            _BATCH,
            *((Column("Setting", "setting", tuple(options)),) if options else ()),
            *(() if metric in comparisons.METRICS else (shown,)),
            _accuracy("Validation %", "validation_accuracy"),
            _accuracy("Test %", "test_accuracy"),
            Column("Seeds", "number", ("n_seeds",)),
            Column("Candidates", "count", ("n_candidates",)),
            Column("Trial", "number", ("trial",)),
        ),
    )


def _effect(runs: pd.DataFrame, dimension: str) -> Table:
    options = option_columns(runs)
    numeric = pd.api.types.is_numeric_dtype(runs[dimension])
    in_ranges = numeric and runs[dimension].nunique() > _MOST_VALUES
    frame = _effect_of_ranges(runs, dimension) if in_ranges else _effect_of(runs, dimension)
    shown = runs[runs["optimizer"].isin(frame["optimizer"])]
    averaged = [dimension_label(n) for n in comparisons.varied(shown) if n != dimension]
    caption = f"{_OVER_SEEDS}" + (
        f" of the average over {listed(averaged)}, every distinct configuration with the same "
        "weight."
        if averaged
        else "; nothing else was varied."
    )
    if in_ranges:
        caption += " The values that were tried are put together in four ranges."
    if not comparisons.is_balanced(shown, dimension):
        caption += (
            " The values were not all run with the same settings of the rest, so that a "
            f"difference between rows need not be due to the {dimension_label(dimension)}."
        )
    if (runs["state"] == "pruned").any():
        caption += f" {_PRUNED}"
    size = (Column("Parameters", "count", ("n_parameters",)),)
    label = dimension_label(dimension)
    return Table(
        name=f"effect_of_{dimension}",
        title=f"The effect of {label}" if dimension in options else f"The effect of the {label}",
        caption=caption,
        frame=frame,
        columns=(
            Column(
                label if dimension in options else label.capitalize(),
                "number" if numeric else "text",
                (dimension,),
            ),
            *(size if dimension == "architecture" else ()),
            _OPTIMISER,
            _accuracy("Validation %", "validation_accuracy", "validation_accuracy_n_seeds"),
            _accuracy("Test %", "test_accuracy", "test_accuracy_n_seeds"),
            Column("Seeds", "number", ("test_accuracy_n_seeds",)),
            Column("Configurations", "count", ("n_configurations",)),
        ),
    )


def _effect_of(runs: pd.DataFrame, dimension: str) -> pd.DataFrame:
    frame = comparisons.effect_of(runs, dimension)
    if dimension not in option_columns(runs):
        return frame
    # an optimiser that had one value of an option has no effect of it to show
    several = frame.groupby("optimizer")[dimension].transform("nunique") > 1
    return frame[several].reset_index(drop=True)


def _effect_of_ranges(runs: pd.DataFrame, dimension: str) -> pd.DataFrame:
    """`effect_of` a dimension drawn from a continuum: a row for each quarter of its values."""
    values = runs[dimension].astype("float64")
    ranged = f"range of {dimension}"
    number = pd.qcut(values, 4, labels=False, duplicates="drop").astype("Int64")
    frame = _effect_of(runs.assign(**{ranged: number}), ranged)
    ends = values.groupby(number).agg(["min", "max"])
    texts = {i: f"{format_number(e.min())} to {format_number(e.max())}" for i, e in ends.iterrows()}
    return frame.assign(**{ranged: frame[ranged].map(texts)}).rename(columns={ranged: dimension})


def _cost(runs: pd.DataFrame) -> Table:
    return Table(
        name="cost",
        title="What a run cost",
        caption="Mean of one run, over the finished runs. An RSO cycle visits every weight once "
        "and passes three batches for each visit; a gradient method’s cycle is an epoch. Images "
        "passed are forward passes; a gradient method’s backward passes come on top.",
        frame=comparisons.cost(runs),
        columns=(
            _OPTIMISER,
            _NETWORK,
            Column("Parameters", "count", ("n_parameters",)),
            Column("Runs", "count", ("n_runs",)),
            Column("Cycles", "number", ("n_cycles",)),
            Column("Training", "seconds", ("training_s",)),
            Column("Evaluation", "seconds", ("evaluation_s",)),
            Column("Images passed", "count", ("n_images_passed",)),
            Column("Weight visits", "count", ("n_visited",)),
        ),
    )


def _failures(runs: pd.DataFrame) -> Table | None:
    frame = comparisons.failures(runs)
    if frame.empty:
        return None
    return Table(
        name="failures",
        title="Failed and pruned runs",
        caption="These runs have no part in any comparison.",
        frame=frame,
        columns=(
            Column("State", "text", ("state",)),
            Column("Trial", "number", ("trial",)),
            Column("Seed", "number", ("seed",)),
            _OPTIMISER,
            _NETWORK,
            _BATCH,
            Column("Cycles", "number", ("n_cycles",)),
            Column("Reason", "text", ("reason",)),
        ),
    )


def _interruptions(frames: Frames) -> Table | None:
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
            Column("State", "text", ("state",)),
            Column("Trial", "number", ("trial",)),
            Column("Seed", "number", ("seed",)),
            _OPTIMISER,
            _NETWORK,
            _BATCH,
            Column("Cut short", "count", ("n_cut_short",)),
            Column("Hosts", "text", ("hosts",)),
            Column("Reasons", "text", ("reasons",)),
        ),
    )


def _accuracy(header: str, metric: str, n_seeds: str = "n_seeds") -> Column:
    return Column(header, "accuracy", (f"{metric}_mean", f"{metric}_std", n_seeds))


def _in_setting(runs: pd.DataFrame) -> list[str]:
    """What a setting says: all that was varied and has no column of its own."""
    return [n for n in comparisons.varied(runs) if n not in ("architecture", "batch_size")]


def _with_sweep(table: Table) -> Table:
    if table.frame["sweep"].nunique() < 2:
        return table
    columns = (Column("Sweep", "text", ("sweep",)), *table.columns)
    return Table(table.name, table.title, table.caption, table.frame, columns)
