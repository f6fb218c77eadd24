"""The first lines about a sweep that is watched: what it compares, how far it is, who drives it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from rich.text import Text

from analysis import SweepMetadata
from analysis.comparisons import architectures, optimizers
from analysis.datasets import dataset_name
from analysis.wording import counted, format_number, listed, metric_label, optimizer_label
from sweeps.durations import duration
from sweeps.storage.redaction import redacted
from sweeps.watching.moment import Moment
from sweeps.watching.standing import Counts, Standing
from sweeps.watching.tables import line_of, plain
from sweeps.watching.times import driven_s, left_s
from sweeps.watching.training import MAIN, begun_kinds, own_cycles, with_configurations

_LABEL = 8
"""Characters before what a line says."""
_NARROWEST_BAR, _WIDEST_BAR = 10, 40
_MOST_CHOICES = 6
_STATES = {"finished": "", "running": "green", "pruned": "yellow", "failed": "bold red"}


def head(standing: Standing, moment: Moment, folder: str, width: int) -> list[Text]:
    """The lines; none is wider than the terminal.

    Args:
        standing: the sweep by its records.
        moment: what is seen of it now.
        folder: the run folder as the user gave it.
        width: of the terminal.
    """
    sweep, counts = standing.frames.sweeps[0], standing.counts
    names = _names(standing)
    aims = listed([metric_label(objective.metric) for objective in sweep.objectives])
    title = line_of().append_text(plain(sweep.name, "bold")).append("  ").append_text(plain(names))
    title.append(f"{' ' if names else ''}by {aims}")
    lines = [
        title,
        plain(" · ".join(_asked(standing)), "dim"),
        _trials(standing, moment, width),
        _runs(counts, moment),
        *_wrapped("driver", _driver(counts, moment, folder), width),
    ]
    if counts.stopped is not None:
        lines += _wrapped("stopped", f"by its own rule: {redacted(counts.stopped)}", width)
    if moment.note is not None:
        lines += _wrapped("note", redacted(moment.note), width, "yellow")
    return lines


def _names(standing: Standing) -> str:
    """`RSO against SGD`."""
    names = _choices(standing.frames.sweeps[0], "optimizer") or optimizers(standing.frames.runs)
    labels = [optimizer_label(name) for name in names]
    return f"{labels[0]} against {listed(labels[1:])}" if len(labels) > 1 else "".join(labels)


def _asked(standing: Standing) -> list[str]:
    """What the sweep asks for."""
    sweep, runs = standing.frames.sweeps[0], standing.frames.runs
    batches = [str(size) for size in sorted(runs["batch_size"].dropna().unique())]
    told = [
        dataset_name(sweep.specification),
        _listed(_choices(sweep, "architecture") or architectures(runs)),
        f"batch {_listed(_choices(sweep, 'batch_size') or batches)}",
        None if sweep.n_seeds is None else counted(sweep.n_seeds, "seed"),
        _cycles(standing),
    ]
    return [each for each in told if each and each != "batch "]


def _cycles(standing: Standing) -> str | None:
    """`10 cycles` or `1, 10 cycles`: of the runs; None where the sweep file does not say."""
    sweep, budget = standing.frames.sweeps[0], standing.n_cycles
    own = [number for name in own_cycles(standing) for number in _choices(sweep, name)]
    if not own:
        return None if budget is None else counted(budget, "cycle")
    numbers = dict.fromkeys([*own, *([] if budget is None else [str(budget)])])
    return f"{_listed(list(numbers))} cycles"


def _choices(sweep: SweepMetadata, name: str) -> list[str]:
    """The values of a dimension as the sweep file has them; none where it does not say."""
    space = sweep.specification.get("space")
    written = space.get(name) if isinstance(space, dict) else None
    if isinstance(written, dict):
        if "low" in written and "high" in written:
            return [f"{format_number(written['low'])} to {format_number(written['high'])}"]
        written = written.get("choices", written.get("value"))
    values = written if isinstance(written, list) else [written]
    return [str(value) for value in values if isinstance(value, str | int | float)]


def _listed(values: Sequence[str]) -> str:
    if len(values) > _MOST_CHOICES:
        return ", ".join([*values[: _MOST_CHOICES - 1], "…", values[-1]])
    return ", ".join(values)


def _trials(standing: Standing, moment: Moment, width: int) -> Text:
    counts = standing.counts
    told = _ended(counts)
    driven = driven_s(standing.frames, moment.now, is_driven=moment.driver.is_alive)
    if driven is not None:
        told += f", {duration(driven)}"
        told += " in all" if counts.is_complete else " so far"
    left = _left_s(standing, moment, driven)
    if left is not None:
        told += f", about {duration(left)} left"
    line = line_of().append("trials".ljust(_LABEL), "dim")
    room = min(_WIDEST_BAR, width - _LABEL - 1 - len(told))
    if counts.n_trials and room >= _NARROWEST_BAR:
        share = 1.0 if counts.is_complete else min(1.0, counts.n_ended / counts.n_trials)
        n_done = round(share * room)
        line.append("━" * n_done, "green").append("─" * (room - n_done), "dim").append(" ")
    return line.append(told)


def _ended(counts: Counts) -> str:
    if counts.n_trials is None:
        return f"{counts.n_ended} ended"
    at_most = "at most " if counts.may_stop or counts.stopped is not None else ""
    return f"{counts.n_ended} of {at_most}{counts.n_trials} ended"


def _left_s(standing: Standing, moment: Moment, driven: float | None) -> float | None:
    counts, n_cycles = standing.counts, standing.n_cycles
    if counts.is_complete or not moment.driver.is_alive:
        return None
    if counts.n_runs is None or n_cycles is None or driven is None:
        return None
    runs = with_configurations(standing, moment.points)
    cycles = standing.frames.cycles
    seconds = (cycles["training_s"] + cycles["evaluation_s"]).groupby(cycles["run"]).last()
    return left_s(
        runs,
        runs["run"].map(seconds).astype("float64"),
        begun_kinds(standing, moment.points),
        n_runs=counts.n_runs,
        n_cycles=n_cycles,
        driven_s=driven,
        n_kinds=_n_kinds(standing.frames.sweeps[0]),
    )


def _n_kinds(sweep: SweepMetadata) -> int | None:
    """The combinations of the main dimensions of a grid; None for any other sampler."""
    sampler = sweep.specification.get("sampler")
    if not isinstance(sampler, dict) or sampler.get("name") != "grid":
        return None
    return math.prod(len(_choices(sweep, name)) or 1 for name in MAIN)


def _runs(counts: Counts, moment: Moment) -> Text:
    line = line_of().append("runs".ljust(_LABEL), "dim")
    shown = [state for state in _STATES if counts.states.get(state)]
    for place, state in enumerate(shown):
        words = "begun, not ended" if state == "running" and not moment.driver.is_alive else state
        line.append(", " if place else "", "").append(
            f"{counts.states[state]:,} {words}", _STATES[state]
        )
        if state == "pruned" and counts.n_not_begun:
            line.append(f" ({counts.n_not_begun:,} not begun)")
    if not shown:
        line.append("none yet")
    if counts.n_runs is not None and counts.stopped is None:
        line.append(f", of {'at most ' if counts.may_stop else ''}{counts.n_runs:,}")
    return line.append(f" · {_age(moment, has_records=bool(shown))}")


def _age(moment: Moment, *, has_records: bool) -> str:
    if moment.last_record_at is None:
        return "last record some time ago" if has_records else "no record yet"
    # another machine's clock may be ahead
    age_s = max(0.0, (moment.now - moment.last_record_at).total_seconds())
    return f"last record {duration(age_s)} ago"


def _driver(counts: Counts, moment: Moment, folder: str) -> str:
    driver = moment.driver
    if driver.is_alive:
        return driver.words or "unknown"
    gone = "none" if driver.words is None else driver.words
    if counts.is_complete:
        return f"{gone}: the sweep is over"
    unless = ", unless 'stop' ends it" if counts.may_stop else ""
    return f"{gone}: `rso-sweep resume {redacted(folder)}` goes on{unless}"


def _wrapped(label: str, words: str, width: int, style: str = "") -> list[Text]:
    """A line that is told whole, on as many as it needs."""
    room = max(20, width - _LABEL)
    parts = textwrap.wrap(plain(words).plain, room, break_on_hyphens=False) or [""]
    lines = []
    for place, part in enumerate(parts):
        line = line_of().append(("" if place else label).ljust(_LABEL), "dim")
        lines.append(line.append(part, style))
    return lines
