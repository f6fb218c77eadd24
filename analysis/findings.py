"""What came out of a sweep, in sentences that say no more than the numbers do."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis import comparisons
from analysis.budgets import cumulative_cycles
from analysis.comparison_tables import best_table, equal_budget_table, main_table, target_table
from analysis.cost_tables import cost_table
from analysis.effect_tables import effect_tables
from analysis.formats import (
    format_accuracy,
    format_budget,
    format_difference,
    format_estimate,
    format_seconds,
)
from analysis.frames import Frames
from analysis.paired import SIGNIFICANT
from analysis.pareto_findings import pareto_sentences
from analysis.run_folder import SweepMetadata
from analysis.tables import Table
from analysis.wording import (
    counted,
    dimension_label,
    format_number,
    listed,
    metric_label,
    optimizer_label,
)


def progress(frames: Frames) -> list[str]:
    """How far the sweep has come, and what is missing from the results."""
    trials, runs = frames.trials, frames.runs
    (sweep, *_), stopped = frames.sweeps, stop_reason(frames)
    asked = sweep.specification.get("trials")
    states = trials["state"].value_counts()
    counts = {state: int(states.get(state, 0)) for state in _STATES}
    ended = len(trials) - counts["running"]
    sentences = []
    if runs.empty:
        sentences.append("No run has been recorded yet.")
    elif not (runs["state"] == "finished").any():
        sentences.append("No run has finished, so there is nothing to compare.")
    if stopped is not None:
        at_most = f" of at most {asked:,}" if isinstance(asked, int) else ""
        sentences.append(
            f"The sweep’s own rule ended it after {counted(ended, 'trial')}{at_most}: {stopped}."
        )
    elif isinstance(asked, int) and ended < asked:
        number = f"the at most {counted(asked, 'trial')}" if sweep.limits_itself else ""
        number = number or f"the {counted(asked, 'trial')}"
        sentences.append(f"{ended:,} of {number} asked for have ended.")
    running = int((runs["state"] == "running").sum())
    if running:
        sentences.append(
            f"{counted(running, 'run')} had begun and not ended when this was written; a run’s "
            "cycles count in the comparisons only once it has finished."
        )
    if len(trials):
        told = [f"{number:,} {state}" for state, number in counts.items() if number]
        n_finished = int((runs["state"] == "finished").sum())
        sentences.append(
            f"{counted(len(trials), 'trial').capitalize()}: {listed(told)}; "
            f"{counted(n_finished, 'finished run')}."
        )
    return sentences


def is_unfinished(frames: Frames) -> bool:
    """Whether runs are under way, fewer trials have ended than asked, or none has finished.

    A sweep that its own rule has ended has had as many as it asked for.
    """
    states = frames.trials["state"]
    asked = frames.sweeps[0].specification.get("trials")
    short = isinstance(asked, int) and int((states != "running").sum()) < asked
    short = short and stop_reason(frames) is None
    running = bool((frames.runs["state"] == "running").any())
    return short or running or not (frames.runs["state"] == "finished").any()


def stop_reason(frames: Frames) -> str | None:
    """Why the first sweep had begun no further trial when its last driver ended; None if not."""
    drivers = frames.drivers[frames.drivers["sweep"] == frames.sweeps[0].name]
    reason = drivers["stop_reason"].iloc[-1] if len(drivers) else None
    return None if pd.isna(reason) else str(reason)


def findings(frames: Frames, tables: Sequence[Table] = ()) -> list[str]:
    """The main results, in the order of the tables; none where no run has finished.

    Args:
        frames: of one or more sweeps; the sentences are about the first.
        tables: `standard_tables(frames)`, where they are at hand.
    """
    runs, sweep = frames.runs, frames.sweeps[0]
    if not (runs["state"] == "finished").any():
        return []
    found = {table.name: table.frame for table in tables or _needed_tables(frames)}
    names = comparisons.optimizers(runs)
    return [
        *pareto_sentences(frames),
        *_head_to_head(found["optimizers_by_architecture_and_batch_size"], names, sweep),
        *_equal_budgets(found.get("optimizers_at_equal_budget"), names),
        *_targets(found.get("optimizers_to_target")),
        *_best(found["best_configurations"], sweep.metric),
        *(
            sentence
            for dimension in comparisons.varied(runs)
            if (effect := found.get(f"effect_of_{dimension}")) is not None
            for sentence in _effect(effect, runs, dimension)
        ),
        *_times(found["cost"]),
    ]


def _needed_tables(frames: Frames) -> list[Table]:
    """Those of the standard tables that the sentences are about."""
    cycles = cumulative_cycles(frames)
    budgets = equal_budget_table(frames, (), cycles)
    target = target_table(frames, None, cycles)
    return [
        main_table(frames),
        *(table for table in (budgets, target) if table is not None),
        best_table(frames),
        *effect_tables(frames),
        cost_table(frames),
    ]


_STATES = ("finished", "pruned", "failed", "running")


def _head_to_head(table: pd.DataFrame, names: list[str], sweep: SweepMetadata) -> list[str]:
    if "difference" not in table:
        return []
    pairs = table.dropna(subset=["difference"])
    if pairs.empty:
        return []
    first, second = (optimizer_label(name) for name in names[:2])
    setting = "the best setting of each"
    if len(sweep.objectives) > 1:
        setting = f"the setting of each that was best in mean {metric_label(sweep.metric)}"
    ahead = int((pairs["difference"] > 0).sum())
    sentence = (
        f"With {setting}, {first} had the higher mean test accuracy in "
        f"{_share(ahead, len(pairs))} of network and batch size that both finished "
        f"({first} less {second}: {_extent(pairs)})."
    )
    return [sentence, _chance(pairs, first, second)]


def _chance(pairs: pd.DataFrame, first: str, second: str) -> str:
    """How many of the differences are more than chance, and whose they are."""
    tested = pairs.dropna(subset=["p_holm"])
    if tested.empty:
        return "With a single seed these differences have no measure of chance."
    clear = tested[tested["p_holm"] < SIGNIFICANT]
    told = f"by paired t tests{', corrected for their number' if len(tested) > 1 else ''}"
    if clear.empty:
        return (
            f"None of these differences can be told from chance with so few seeds ({told}, at 5 %)."
            if len(tested) > 1
            else f"This difference cannot be told from chance with so few seeds ({told}, at 5 %)."
        )
    sides = [
        f"{name} ahead in {number}"
        for name, number in (
            (first, int((clear["difference"] > 0).sum())),
            (second, int((clear["difference"] < 0).sum())),
        )
        if number
    ]
    return (
        f"More than chance are {len(clear):,} of the {counted(len(tested), 'difference')} with two "
        f"seeds or more, {listed(sides)} ({told}, at 5 %)."
    )


def _equal_budgets(table: pd.DataFrame | None, names: list[str]) -> list[str]:
    """Who was ahead at each kind of budget, over the networks."""
    if table is None or "difference" not in table:
        return []
    pairs = table.dropna(subset=["difference"])
    first = optimizer_label(names[0])
    told = []
    for kind, own in pairs.groupby("budget", sort=False):
        ahead = int((own["difference"] > 0).sum())
        where = "the network" if len(own) == 1 else f"{len(own):,} networks"
        who = f"{ahead or 'none'} of {where}" if len(own) > 1 else ("ahead" if ahead else "behind")
        told.append(f"{who} at equal {_BUDGETS[str(kind)]} ({_extent(own)})")
    if not told:
        return []
    verb = "was ahead on" if pairs.groupby("budget").size().max() > 1 else "was"
    return [f"Each at its best setting for the budget, {first} {verb} {listed(told)}."]


def _targets(table: pd.DataFrame | None) -> list[str]:
    """What each optimiser needed for the target of its network."""
    if table is None:
        return []
    sentences = []
    for network, own in list(table.groupby("architecture", sort=False))[:4]:
        told, target = [], own["target"].iloc[0]
        for row in own.to_dict("records"):
            reached = f"{row['n_reached']} of {counted(row['n_runs'], 'run')}"
            needed = (
                f"{optimizer_label(row['optimizer'])} took {format_seconds(row['seconds'])} and "
                f"{format_budget('cycles', row['cycles'])} in the median ({reached} got there)"
                if pd.notna(row["seconds"])
                else f"{optimizer_label(row['optimizer'])} got there in {reached}"
            )
            told.append(needed)
        sentences.append(
            f"To a test accuracy of {format_number(100 * target)} % on {network}, {listed(told)}."
        )
    return sentences


def _best(best: pd.DataFrame, metric: str) -> list[str]:
    """The best configuration of each optimiser of the first sweep, and its test accuracy."""
    if best.empty:
        return []
    told = []
    for row in best[best["sweep"] == best["sweep"].iloc[0]].to_dict("records"):
        what = f"{row['architecture']} with batch size {row['batch_size']} (trial {row['trial']})"
        figures = (row["test_accuracy_mean"], row["test_accuracy_std"], row["n_seeds"])
        accuracy = "no test accuracy"
        if pd.notna(figures[0]):
            accuracy = f"test accuracy {_per_cent(format_accuracy(*figures))}"
        name, n_candidates = optimizer_label(row["optimizer"]), row["n_candidates"]
        of = f"of {n_candidates:,} finished" if n_candidates > 1 else "the only one finished"
        told.append(f"for {name}, {of}, {what}: {accuracy}")
    by = f" by mean {metric_label(metric)}" if (best["n_candidates"] > 1).any() else ""
    return [f"The best configuration{by} is {'; '.join(told)}."]


def _effect(effect: pd.DataFrame, runs: pd.DataFrame, dimension: str) -> list[str]:
    """The best and the worst value of a dimension for each optimiser, and if that is chance."""
    if not comparisons.is_balanced(runs, dimension):
        return []
    known = effect.dropna(subset=["validation_accuracy_mean"])
    known = known[known["sweep"] == known["sweep"].iloc[0]] if len(known) else known
    told: list[str] = []
    for name in comparisons.optimizers(known):
        own = known[known["optimizer"] == name].sort_values("validation_accuracy_mean")
        if len(own) > 1:
            beginning = "’s" if told else "’s mean validation accuracy"
            told.append(f"{optimizer_label(name)}{beginning} {_best_and_worst(own, dimension)}")
    if not told:
        return []
    label = dimension_label(dimension)
    return [f"Over all settings of the rest, by {label}: {'; '.join(told)}."]


def _best_and_worst(own: pd.DataFrame, dimension: str) -> str:
    """`is highest with 1024 (88.9 ± 2.5 %), lowest with 64 (77.7 ± 3.2 %)`."""
    marks = own["validation_accuracy_mark"].fillna("")
    doubt = ""
    if marks.iloc[-1] != "best":
        doubt = ", which with a single seed may be chance"
    elif marks.iloc[0] == "tied":
        doubt = ", which these seeds cannot tell apart"
    parts = ("mean", "low", "high", "n_seeds")
    best, worst = (
        f"{format_number(row[dimension])} "
        f"({_per_cent(format_estimate(*(row[f'validation_accuracy_{part}'] for part in parts)))})"
        for _, row in own.iloc[[-1, 0]].iterrows()
    )
    return f"is highest with {best}, lowest with {worst}{doubt}"


def _per_cent(figure: str) -> str:
    """`88.9 ± 2.5 %` on one line; `88.90 % (1 seed)`."""
    value, _, rest = figure.partition(" ")
    text = f"{value} % {rest}" if rest.startswith("(") else f"{figure} %"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _extent(pairs: pd.DataFrame) -> str:
    """`−1.6 [−5.1, +1.9] points`, or between which the differences lie."""
    if len(pairs) == 1:
        row = pairs.iloc[0]
        ends = (row["difference"], row["difference_low"], row["difference_high"])
        return f"{format_difference(*ends)} points"
    low, high = pairs["difference"].min(), pairs["difference"].max()
    return f"between {_signed(low)} and {_signed(high)} points"


def _times(cost: pd.DataFrame) -> list[str]:
    if cost.empty:
        return []
    seconds = (cost["training_s"] * cost["n_runs"]).groupby(cost["optimizer"]).sum()
    counts = cost.groupby("optimizer")["n_runs"].sum()
    names = comparisons.optimizers(cost)
    told = [
        f"{format_seconds(seconds[name] / counts[name])} with {optimizer_label(name)}"
        for name in names
    ]
    return [f"On average a finished run trained for {listed(told)}."]


def _share(number: int, total: int) -> str:
    if total == 1:
        return f"{number} of 1 pair"
    return f"{f'{number:,}' if number else 'none'} of the {total:,} pairs"


def _signed(share: float) -> str:
    return format_difference(share, float("nan"), float("nan"))


_BUDGETS = {
    "cycles": "cycles",
    "images": "images passed",
    "seconds": "training time",
    "updates": "updates of each weight",
}
