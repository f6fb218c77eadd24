"""What came out of a sweep, in sentences that say no more than the numbers do."""

from __future__ import annotations

import pandas as pd

from analysis import comparisons
from analysis.frames import Frames
from analysis.pareto_findings import pareto_sentences
from analysis.run_folder import SweepMetadata
from analysis.tables import format_accuracy, format_seconds
from analysis.wording import counted, dimension_label, listed, metric_label, optimizer_label


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


def findings(frames: Frames) -> list[str]:
    """The main results, in the order of the tables; none where no run has finished."""
    runs, sweep = frames.runs, frames.sweeps[0]
    best = comparisons.best_configurations(runs, direction=sweep.direction)
    table = comparisons.optimizers_by_architecture_and_batch_size(runs, direction=sweep.direction)
    return [
        *pareto_sentences(frames),
        *_head_to_head(table, comparisons.optimizers(runs), sweep),
        *_best(best, sweep.metric),
        *_batch_sizes(runs),
        *_times(comparisons.cost(runs)),
    ]


_STATES = ("finished", "pruned", "failed", "running")


def _head_to_head(table: pd.DataFrame, names: list[str], sweep: SweepMetadata) -> list[str]:
    if "difference" not in table:
        return []
    pairs = table.dropna(subset=["difference"])
    if pairs.empty:
        return []
    first, second = (optimizer_label(name) for name in names[:2])
    ahead = int((pairs["difference"] > 0).sum())
    low, high = 100 * pairs["difference"].min(), 100 * pairs["difference"].max()
    extent = (
        f"{_signed(low)} points"
        if len(pairs) == 1
        else f"between {_signed(low)} and {_signed(high)} points"
    )
    setting = "the best setting of each"
    if len(sweep.objectives) > 1:
        setting = f"the setting of each that was best in mean {metric_label(sweep.metric)}"
    sentence = (
        f"With {setting}, {first} had the higher mean test accuracy in "
        f"{_share(ahead, len(pairs))} of network and batch size that both finished "
        f"({first} less {second}: {extent})."
    )
    judged = pairs.dropna(subset=["difference_low"])
    if judged.empty:
        return [sentence, "With a single seed these differences have no measure of chance."]
    clear = (judged["difference_low"] > 0) | (judged["difference_high"] < 0)
    return [
        sentence,
        f"The 95 % interval of the difference leaves out zero in "
        f"{_share(int(clear.sum()), len(judged))} with two seeds or more.",
    ]


def _best(best: pd.DataFrame, metric: str) -> list[str]:
    sentences = []
    for row in best.to_dict("records"):
        name, n_candidates = optimizer_label(row["optimizer"]), row["n_candidates"]
        what = f"{row['architecture']} with batch size {row['batch_size']} (trial {row['trial']})"
        accuracy = format_accuracy(
            row["test_accuracy_mean"], row["test_accuracy_std"], row["n_seeds"]
        )
        if n_candidates > 1:
            sentences.append(
                f"Of {n_candidates:,} finished {name} configurations, {what} had the best mean "
                f"{metric_label(metric)}; its test accuracy in per cent is {accuracy}."
            )
        else:
            sentences.append(
                f"The only finished {name} configuration is {what}; its test accuracy in per cent "
                f"is {accuracy}."
            )
    return sentences


def _batch_sizes(runs: pd.DataFrame) -> list[str]:
    """The batch size with the highest average for each optimiser that had several."""
    effect = comparisons.effect_of(runs, "batch_size").dropna(subset=["validation_accuracy_mean"])
    if not comparisons.is_balanced(runs, "batch_size"):
        return []
    sentences = []
    for name in comparisons.optimizers(runs):
        own = effect[effect["optimizer"] == name].sort_values("validation_accuracy_mean")
        if len(own) < 2:
            continue
        worst, best = own.iloc[0], own.iloc[-1]
        sentences.append(
            f"On average over everything else, {optimizer_label(name)}’s validation accuracy was "
            f"highest with {dimension_label('batch_size')} {best['batch_size']} "
            f"({100 * best['validation_accuracy_mean']:.2f} %) and lowest with "
            f"{worst['batch_size']} ({100 * worst['validation_accuracy_mean']:.2f} %)."
        )
    return sentences


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


def _signed(points: float) -> str:
    return f"{points:+.2f}".replace("-", "−")
