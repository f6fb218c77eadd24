"""The parts of the picture of a sweep that is watched, each with the lines that it can use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from analysis import Table
from analysis.comparisons import is_not_begun, varied
from analysis.formats import format_metric
from analysis.wording import MISSING, in_setting, metric_label, optimizer_label
from sweeps.storage.redaction import redacted
from sweeps.watching.braille import braille_chart
from sweeps.watching.moment import Moment
from sweeps.watching.standing import Curve, Standing
from sweeps.watching.tables import TerminalColumn, columns_of, line_of, plain, terminal_table
from sweeps.watching.training import TrainingRun, training_runs, words

_FEWEST_ROWS = 4
_FEWEST_RUNS = 2
_MOST_RUNS = 16
_MOST_LINES_OF_A_CURVE = 4
_WIDEST_CURVE = 60
_COLOURS = ("cyan", "yellow", "magenta", "green")
_MARKS = {
    "finished": ("done", "green"),
    "pruned": ("pruned", "yellow"),
    "failed": ("FAILED", "bold red"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of the picture, below its title."""

    title: str
    least: int
    """Lines without which it is left out, its title not among them."""
    most: int
    """Lines that it can use."""
    draw: Callable[[int], RenderableType]
    """What it shows in as many lines, from `least` to `most`, or in fewer."""


def training_part(standing: Standing, moment: Moment, width: int) -> Part | None:
    """The runs under way, the most advanced first; None for none."""
    runs = training_runs(standing, moment.points)
    if not runs:
        return None
    is_alive = moment.driver.is_alive
    columns = [
        _column("Trial", [str(run.trial) for run in runs]),
        _column("Seed", [MISSING if run.seed is None else str(run.seed) for run in runs]),
        _column("Configuration", [run.configuration or MISSING for run in runs], is_text=True),
        _column("Cycles done", [_cycles(run) for run in runs]),
        _column("Val. %", [_per_cent(run.validation_accuracy) for run in runs], rank=1),
        _column("Test %", [_per_cent(run.test_accuracy) for run in runs]),
    ]
    return Part(
        "Training now" if is_alive else "Begun and not ended",
        1 + min(_FEWEST_RUNS, len(runs)),
        1 + min(_MOST_RUNS, len(runs)),
        lambda n_lines: terminal_table(columns, width, n_lines),
    )


def comparison_part(standing: Standing, width: int) -> Part | None:
    """The optimisers side by side; None where nothing has finished."""
    table = standing.comparison
    if table is None:
        return None
    is_marked = any(any(own) for own in table.marks())
    marks = " (bold: best; italic: tied)" if is_marked else ""
    return _part(f"{table.title}{_so_far(standing)}{marks}", table, width)


def best_parts(standing: Standing, width: int) -> list[Part]:
    """The Pareto set, if there are several objectives, and the best of each optimiser."""
    return [_part(f"{table.title}{_so_far(standing)}", table, width) for table in standing.best]


def curves_part(standing: Standing, width: int) -> Part | None:
    """The best run of each optimiser, cycle by cycle, all on one scale; None for none."""
    curves = standing.curves
    if not curves:
        return None
    metric = metric_label(curves[0].metric).capitalize()
    return Part(
        f"{metric} of the best run of each optimiser, cycle by cycle",
        len(curves),
        len(curves) * _MOST_LINES_OF_A_CURVE,
        lambda n_lines: _curves(curves, width, min(n_lines // len(curves), _MOST_LINES_OF_A_CURVE)),
    )


def ended_part(standing: Standing) -> Part | None:
    """The runs that ended last, the latest first; None for none."""
    runs = standing.frames.runs
    ended = runs[runs["state"].isin(["finished", "pruned"]) & ~is_not_begun(runs)]
    return _listed("Ended last", ended, standing)


def failed_part(standing: Standing) -> Part | None:
    """The runs that failed, with the reason, the latest first; None for none."""
    runs = standing.frames.runs
    failed = runs[runs["state"] == "failed"]
    return _listed("Failed", failed, standing)


def _so_far(standing: Standing) -> str:
    return "" if standing.counts.is_complete else ", so far"


def _part(title: str, table: Table, width: int) -> Part:
    columns, n_rows = columns_of(table), len(table.frame)
    return Part(
        title,
        1 + min(_FEWEST_ROWS, n_rows),
        1 + n_rows,
        lambda n_lines: terminal_table(columns, width, n_lines),
    )


def _column(
    header: str, cells: list[str], *, is_text: bool = False, rank: int = 0
) -> TerminalColumn:
    return TerminalColumn(header, tuple(plain(cell) for cell in cells), is_text, rank)


def _cycles(run: TrainingRun) -> str:
    return f"{run.n_cycles} of {run.n_cycles_asked or '?'}"


def _per_cent(share: float) -> str:
    return f"{100 * share:.2f}" if math.isfinite(share) else MISSING


def _listed(title: str, runs: pd.DataFrame, standing: Standing) -> Part | None:
    if runs.empty:
        return None
    latest = runs.sort_values("ended_at", ascending=False, kind="stable", na_position="last")
    options = in_setting(varied(standing.frames.runs))
    records = latest.iloc[:_MOST_RUNS].to_dict("records")
    figures = [_figures(run) for run in records]
    room = max(len(each) for each in figures)
    lines = [
        _ended_line(run, options, own.ljust(room))
        for run, own in zip(records, figures, strict=True)
    ]
    number = f": {len(runs):,}" if title == "Failed" else ""
    return Part(
        f"{title}{number}",
        min(_FEWEST_RUNS, len(lines)),
        len(lines),
        lambda n_lines: Group(*lines[:n_lines]),
    )


def _ended_line(run: Mapping[Any, Any], options: list[str], figures: str) -> Text:
    mark, style = _MARKS[run["state"]]
    seed = "" if pd.isna(run["seed"]) else f" seed {run['seed']}"
    line = line_of().append(f"{mark:<7}", style).append(f"trial {run['trial']:>3}{seed}  ")
    if isinstance(run["reason"], str):
        line.append_text(plain(redacted(run["reason"]), style)).append("  ")
    elif figures:
        line.append(f"{figures}  ", "dim")
    return line.append_text(plain(words(run, options)))


def _figures(run: Mapping[Any, Any]) -> str:
    """The accuracies that a run ended with; nothing for one that failed."""
    named = (("val.", run["validation_accuracy"]), ("test", run["test_accuracy"]))
    known = [f"{name} {_per_cent(share)}" for name, share in named if math.isfinite(share)]
    return f"{', '.join(known)} %" if known and run["state"] != "failed" else ""


def _curves(curves: tuple[Curve, ...], width: int, n_lines: int) -> RenderableType:
    known = [value for curve in curves for value in curve.values if math.isfinite(value)]
    low, high = min(known), max(known)
    sides = [(optimizer_label(curve.optimizer), _ends(curve)) for curve in curves]
    name_width = max(plain(name).cell_len for name, _ in sides)
    end_width = max(len(ends) for _, ends in sides)
    room = max(8, min(_WIDEST_CURVE, width - name_width - end_width - 2))
    grid = RichTable.grid(padding=(0, 1, 0, 0))
    for _ in range(3):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    for place, (curve, (name, ends)) in enumerate(zip(curves, sides, strict=True)):
        drawn = braille_chart(
            curve.values,
            low=low,
            high=high,
            n_characters=room,
            n_lines=n_lines,
            n_steps=max(len(each.values) for each in curves),
        )
        colour = _COLOURS[place % len(_COLOURS)]
        grid.add_row(plain(name, colour), Text("\n".join(drawn), colour), line_of(ends))
    return grid


def _ends(curve: Curve) -> str:
    """`62.10 % → 91.02 % (trial 3, seed 0)`."""
    known = [value for value in curve.values if math.isfinite(value)]
    first, last = (format_metric(curve.metric, value) for value in (known[0], known[-1]))
    return f"{first} → {last} (trial {curve.trial}, seed {curve.seed})"
