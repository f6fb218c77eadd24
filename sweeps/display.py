"""How a sweep is shown while it runs: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rso_core.configuration import Configuration
from rso_core.records import CycleRecord
from sweeps.durations import duration
from sweeps.progress import RunningRun, SweepProgress
from sweeps.runs import Run, RunBegan, RunEnded
from sweeps.spec import Objective
from sweeps.storage.redaction import redacted

if TYPE_CHECKING:
    from sweeps.driver import Display

_MOST_RUNS_SHOWN = 16
_PLAIN_INTERVAL_S = 30.0
_LIVE_INTERVAL_S = 0.2
"""Drawing takes milliseconds, and with many actors there are hundreds of refreshes a second."""


class LiveDisplay:
    """A view that is drawn anew in place until it is closed; a line above it for every end."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()
        self._drawn = -math.inf

    def run_began(self, run: Run, began: RunBegan) -> None:
        """See `driver.Display`; the view itself shows what is trained."""

    def run_ended(self, run: Run, ended: RunEnded, last: CycleRecord | None) -> None:
        """See `driver.Display`."""
        self._live.console.print(_ended_line(run, ended, last))

    def trial_refused(self, number: int, reason: str) -> None:
        """See `driver.Display`."""
        self._live.console.print(_refused_line(number, reason))

    def run_noticed(self, run: Run, notice: str) -> None:
        """See `driver.Display`."""
        self._live.console.print(_notice_line(run, notice))

    def suspending(self, n_runs: int) -> None:
        """See `driver.Display`."""
        self._live.console.print(_suspending_line(n_runs))

    def refresh(self, progress: SweepProgress) -> None:
        """See `driver.Display`."""
        if time.monotonic() - self._drawn >= _LIVE_INTERVAL_S:
            self._live.update(_view(progress), refresh=True)
            self._drawn = time.monotonic()

    def close(self) -> None:
        """See `driver.Display`."""
        self._live.stop()


class PlainDisplay:
    """A line for every run that begins or ends, and one every half minute, for logs.

    Each names the run as the logs of the actors do, and the machine that trains it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = time.monotonic()
        self._hosts: dict[str, str] = {}
        """Of the runs that are trained."""

    def run_began(self, run: Run, began: RunBegan) -> None:
        """See `driver.Display`."""
        self._hosts[run.name] = began.host
        self._print(_began_line(run, began), run)

    def run_ended(self, run: Run, ended: RunEnded, last: CycleRecord | None) -> None:
        """See `driver.Display`."""
        self._hosts.setdefault(run.name, ended.host)
        self._print(_ended_line(run, ended, last), run)
        del self._hosts[run.name]

    def trial_refused(self, number: int, reason: str) -> None:
        """See `driver.Display`."""
        self._print(_refused_line(number, reason))

    def run_noticed(self, run: Run, notice: str) -> None:
        """See `driver.Display`."""
        self._print(_notice_line(run, notice), run)

    def suspending(self, n_runs: int) -> None:
        """See `driver.Display`."""
        self._print(_suspending_line(n_runs))

    def refresh(self, progress: SweepProgress) -> None:
        """See `driver.Display`."""
        if time.monotonic() - self._said >= _PLAIN_INTERVAL_S:
            self._said = time.monotonic()
            self._print(_summary(progress))

    def close(self) -> None:
        """See `driver.Display`."""

    def _print(self, line: Text, run: Run | None = None) -> None:
        if run is not None:
            host = self._hosts.get(run.name)
            line.append(f" ({run.name} on {host})" if host else f" ({run.name})", "dim")
        # what is no terminal has no colours: rich would take half a millisecond to find that out
        print(line.plain, file=self._console.file, flush=True)


class ObservedDisplay:
    """A display that lets somebody else see the progress, too.

    Args:
        display: shows it.
        observe: is given the progress whenever the display is.
    """

    def __init__(self, display: Display, observe: Callable[[SweepProgress], None]) -> None:
        self._display = display
        self._observe = observe
        self.run_began = display.run_began
        self.run_ended = display.run_ended
        self.run_noticed = display.run_noticed
        self.trial_refused = display.trial_refused
        self.suspending = display.suspending
        self.close = display.close

    def refresh(self, progress: SweepProgress) -> None:
        """See `driver.Display`."""
        self._display.refresh(progress)
        self._observe(progress)


def label(configuration: Configuration) -> str:
    """A configuration in a few words: what it is, and the options that are not the default."""
    fields = type(configuration.options).model_fields
    options = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in configuration.options.model_dump().items()
        if value != fields[name].get_default(call_default_factory=True)
    ]
    main = f"{configuration.optimizer:<4} {configuration.architecture}"
    return ", ".join([f"{main}, batch {configuration.batch_size}", *options])


def _began_line(run: Run, began: RunBegan) -> Text:
    line = Text.assemble(("begun  ", "dim"), f"trial {run.trial:>3} seed {run.seed}  ")
    line.append(label(run.configuration))
    n_cycles, n_done = began.resumed_from
    if n_cycles or n_done:
        line.append(f", goes on in cycle {n_cycles + 1} of {run.configuration.cycles}")
    return line


def _ended_line(run: Run, ended: RunEnded, last: CycleRecord | None) -> Text:
    mark, style = {
        "finished": ("done", "green"),
        "pruned": ("pruned", "yellow"),
        "failed": ("FAILED", "bold red"),
    }[ended.state]
    line = Text.assemble((f"{mark:<7}", style), f"trial {run.trial:>3} seed {run.seed}  ")
    line.append(label(run.configuration))
    if ended.reason:
        line.append(f": {redacted(ended.reason)}", "red")
    elif last is not None:
        line.append(f"  {_accuracies(last)}", "dim")
    return line


def _refused_line(number: int, reason: str) -> Text:
    return Text.assemble(("FAILED ", "bold red"), f"trial {number:>3}  ", (redacted(reason), "red"))


def _notice_line(run: Run, notice: str) -> Text:
    return Text.assemble(
        ("note   ", "yellow"),
        f"trial {run.trial:>3} seed {run.seed}  ",
        (redacted(notice), "yellow"),
    )


def _suspending_line(n_runs: int) -> Text:
    runs = "1 run writes its checkpoint" if n_runs == 1 else f"{n_runs} runs write checkpoints"
    return Text(f"stopping: {runs}; interrupt again to stop at once", "yellow")


def _accuracies(record: CycleRecord) -> str:
    parts = [f"test {record.test_accuracy:.2%}"]
    if record.validation_accuracy is not None:
        parts.insert(0, f"validation {record.validation_accuracy:.2%}")
    return ", ".join(parts)


def _summary(progress: SweepProgress) -> Text:
    line = Text.assemble((f"{progress.n_trials_ended} of {progress.n_trials} trials", "bold"))
    line.append(f", {len(progress.running)} running")
    if progress.n_trials_pruned:
        line.append(f", {progress.n_trials_pruned} pruned", "yellow")
    if progress.n_trials_failed:
        line.append(f", {progress.n_trials_failed} failed", "bold red")
    line.append(f" · {duration(progress.elapsed_s)} so far")
    left = progress.left_s()
    if left is not None:
        line.append(f", about {duration(left)} left")
    line.append(_best(progress), "green")
    if progress.stop_reason is not None:
        line.append(f" · no further trial: {redacted(progress.stop_reason)}", "yellow")
    return line


def _best(progress: SweepProgress) -> str:
    """The best trial, or the best in each of several objectives."""
    if not progress.pareto:
        return ""
    if progress.best is not None:
        best = progress.best
        return f" · best {_value(progress.objectives[0], best.value)} (trial {best.trial})"
    n_trials = len(progress.pareto)
    ends = []
    for index, objective in enumerate(progress.objectives):
        choose = max if objective.direction == "maximize" else min
        end = choose(progress.pareto, key=lambda best: best.values[index])
        ends.append(f"{_value(objective, end.values[index])} (trial {end.trial})")
    trials = "1 trial" if n_trials == 1 else f"{n_trials} trials"
    return f" · Pareto set of {trials}: {', '.join(ends)}"


def _value(objective: Objective, value: float) -> str:
    metric = objective.metric
    if metric.endswith("accuracy"):
        shown = f"{value:.2%}"
    elif metric.startswith("n_"):
        shown = f"{value:,.0f}"
    elif metric.endswith("_s"):
        shown = duration(value) if value >= 60 else f"{value:.3g} s"
    else:
        shown = f"{value:.4g}"
    return f"{metric.removeprefix('n_').removesuffix('_s').replace('_', ' ')} {shown}"


def _view(progress: SweepProgress) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    running = list(progress.running.values())
    for run in running[:_MOST_RUNS_SHOWN]:
        table.add_row(*_running_row(run))
    if len(running) > _MOST_RUNS_SHOWN:
        table.add_row(f"and {len(running) - _MOST_RUNS_SHOWN} more")
    return Group(Text(), table, _summary(progress))


def _running_row(running: RunningRun) -> tuple[RenderableType, ...]:
    run = running.run
    cycles = run.configuration.cycles
    cycle = running.progress.cycle if running.progress else 1
    return (
        Text(f"trial {run.trial:>3} seed {run.seed}"),
        Text(label(run.configuration)),
        Text(f"cycle {cycle:>{len(str(cycles))}} of {cycles}"),
        ProgressBar(total=1.0, completed=running.share_done, width=16),
        Text(_accuracies(running.last) if running.last else "", "dim"),
    )
