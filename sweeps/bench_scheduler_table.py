"""What `rso-sweep bench scheduler` prints: tables, or one JSON object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.bench_scheduler_peers import PeerTimes
from sweeps.bench_scheduler_start import StartTimes
from sweeps.bench_scheduler_sweep import SweepTimes
from sweeps.provenance import provenance

_WIDEST_TABLE = 1000


@dataclass(frozen=True, slots=True)
class SchedulerTimes:
    """All that was measured."""

    durable_append_ms: float
    """What a durable line costs in the current folder: the median."""
    sweeps: Sequence[SweepTimes]
    start: StartTimes | None
    """None if it was not measured."""
    peers: Sequence[PeerTimes]


def print_json(times: SchedulerTimes) -> None:
    """Prints one object: `machine`, `durable_append_ms`, `sweeps`, `start` and `peers`."""
    sweeps = [
        asdict(sweep) | {"growth": growth(times.sweeps, index)}
        for index, sweep in enumerate(times.sweeps)
    ]
    about = provenance([])
    machine = {"machine": about["machine"], "versions": about["versions"]}
    print(json.dumps(machine | asdict(times) | {"sweeps": sweeps}, indent=2))


def print_tables(times: SchedulerTimes) -> None:
    """Prints the machine and the tables (Markdown, if it is not to a terminal) and their notes."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(_machine_line(times), soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDEST_TABLE
    console.print()
    console.print(_sweep_table(times.sweeps, _table(console)))
    console.print(
        "Overhead: time beyond the ideal, the trials' own seconds shared among the actors. "
        "Driver: processor time of the driver's process. Growth: overhead against that of the "
        "row before it with fewer trials.",
        soft_wrap=True,
    )
    if times.start is not None:
        console.print()
        console.print(_start_line(times.start), soft_wrap=True)
        console.print(_start_table(times.start, _table(console)))
    if times.peers:
        console.print()
        console.print(_peer_table(times, _table(console)))
        console.print("Peers: from the end of the first trial to that of the last.", soft_wrap=True)


def growth(sweeps: Sequence[SweepTimes], index: int) -> float | None:
    """A sweep's overhead against that of the one before it that has fewer trials, all else alike.

    None if there is none.
    """
    sweep = sweeps[index]
    for before in reversed(sweeps[:index]):
        is_alike = (before.actors, before.seconds, before.sampler) == (
            sweep.actors,
            sweep.seconds,
            sweep.sampler,
        )
        if is_alike and before.trials < sweep.trials:
            return sweep.overhead_ms_per_trial / before.overhead_ms_per_trial
    return None


def _machine_line(times: SchedulerTimes) -> str:
    about: dict[str, Any] = provenance([])
    machine, versions = about["machine"], about["versions"]
    return (
        f"{machine['processor']}, {machine['n_cpus']} CPUs, Ray {versions['ray']}, "
        f"Optuna {versions['optuna']}; a durable line takes {times.durable_append_ms:.2f} ms here"
    )


def _table(console: Console) -> Table:
    if console.is_terminal:
        return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    return Table(box=box.MARKDOWN)


def _sweep_table(sweeps: Sequence[SweepTimes], table: Table) -> Table:
    table.add_column("Sampler")
    for words in ("Trials", "Actors", "Trial, s", "Overhead, ms", "Driver, ms", "Growth",
                  "Of ideal", "Idle"):  # fmt: skip
        table.add_column(words, justify="right")
    for index, sweep in enumerate(sweeps):
        against = growth(sweeps, index)
        table.add_row(
            sweep.sampler,
            f"{sweep.trials:,}",
            f"{sweep.actors}",
            f"{sweep.seconds:g}",
            _number(sweep.overhead_ms_per_trial),
            _number(sweep.driver_ms_per_trial),
            "" if against is None else f"×{against:.2f}",
            "" if sweep.ratio_to_ideal is None else f"×{sweep.ratio_to_ideal:.3f}",
            "" if sweep.idle_share is None else f"{sweep.idle_share:.1%}",
        )
    return table


def _start_line(start: StartTimes) -> str:
    of = "one start" if start.n_starts == 1 else f"the median of {start.n_starts} starts"
    return (
        f"From `rso-sweep run` to the first trial that trains: {start.first_trial_s:.1f} s, {of}"
        f" (slowest: {start.slowest_s:.1f} s)"
    )


def _start_table(start: StartTimes, table: Table) -> Table:
    table.add_column("Phase")
    table.add_column("Seconds", justify="right")
    for phase, seconds in start.phases_s.items():
        table.add_row(phase, f"{seconds:.2f}")
    return table


def _peer_table(times: SchedulerTimes, table: Table) -> Table:
    table.add_column("Scheduler")
    table.add_column("Sampler")
    for words in ("Trials", "Actors", "Trial, s", "Overhead, ms"):
        table.add_column(words, justify="right")
    first = times.sweeps[0]
    own = PeerTimes(
        "rso-sweep", first.trials, first.actors, first.seconds, first.sampler,
        first.overhead_ms_per_trial,
    )  # fmt: skip
    for peer in [own, *times.peers]:
        overhead_ms = peer.overhead_ms_per_trial
        table.add_row(
            peer.peer,
            peer.sampler,
            f"{peer.trials:,}",
            f"{peer.actors}",
            f"{peer.seconds:g}",
            f"{peer.unavailable}" if overhead_ms is None else _number(overhead_ms),
        )
    return table


def _number(value: float) -> str:
    """Three digits or more: 0.01, 1.23, 12.3, 1,234."""
    decimals = next((d for d, least in enumerate((100, 10)) if abs(value) >= least), 2)
    return f"{value:,.{decimals}f}"
