"""What `rso-sweep bench cluster` prints: a table, or one JSON object."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.bench_cluster_block import BlockTimes
from sweeps.provenance import provenance

_WIDEST_TABLE = 1000


@dataclass(frozen=True, slots=True)
class ClusterTimes:
    """All that was measured, in the order in which it was: one of `one`, one of `many`, ..."""

    one: Sequence[BlockTimes]
    """On one node."""
    many: Sequence[BlockTimes]
    """On many nodes, of which some were replaced."""

    def ratio(self, of: Callable[[BlockTimes], float]) -> float:
        """The median on many nodes against that on one."""
        return _median(self.many, of) / _median(self.one, of)

    def ratios(self, of: Callable[[BlockTimes], float]) -> list[float]:
        """The same of each pair of blocks, one measured right after the other."""
        return [of(many) / of(one) for one, many in zip(self.one, self.many, strict=True)]


def print_json(times: ClusterTimes) -> None:
    """Prints one object: `machine`, `versions`, `one`, `many` and `ratios` of their medians."""
    about = provenance([])
    ratios = {name: times.ratio(of) for name, of in _FIGURES.items()}
    machine = {"machine": about["machine"], "versions": about["versions"]}
    print(json.dumps(machine | asdict(times) | {"ratios": ratios}, indent=2))


def print_tables(times: ClusterTimes) -> None:
    """Prints the machine, the table (Markdown, if it is not to a terminal) and what it means."""
    console = Console(highlight=False, markup=False, emoji=False)
    about: dict[str, Any] = provenance([])
    machine, versions = about["machine"], about["versions"]
    first = times.one[0]
    console.print(
        f"{machine['processor']}, {machine['n_cpus']} CPUs, Ray {versions['ray']}; "
        f"{first.trials:,} trials of {first.seconds:g} s a block, every one of which has exactly "
        "one result",
        soft_wrap=True,
    )
    if console.is_terminal:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    else:
        table = Table(box=box.MARKDOWN)
        console.width = _WIDEST_TABLE
    console.print()
    console.print(_filled(table, times))
    console.print(
        "Overhead per trial, medians of blocks. Driver: processor time of the driver's process, "
        "Ray's threads in it included; waiting is none. Turnaround: from the moment the driver is "
        "handed a run's end until the next run is given to an actor. Handover: the same from the "
        "actor's last word, so that Ray's transport and the other processes of the machine are in "
        "it. Nodes left: replaced while the sweep ran, killed with SIGKILL + asked to leave, in "
        "all blocks; cut: attempts at runs that were lost with them, and made again.",
        soft_wrap=True,
    )
    console.print(_ratio_line(times), soft_wrap=True)


def _filled(table: Table, times: ClusterTimes) -> Table:
    for words in ("Nodes", "Actors", "Trials", "Blocks", "Driver, ms", "Turnaround, ms",
                  "Handover, ms", "Nodes left", "Cut"):  # fmt: skip
        table.add_column(words, justify="right")
    for blocks in (times.one, times.many):
        table.add_row(
            f"{blocks[0].nodes}",
            f"{blocks[0].actors}",
            f"{sum(block.trials for block in blocks):,}",
            f"{len(blocks)}",
            *(f"{_median(blocks, of):.2f}" for of in _FIGURES.values()),
            f"{sum(block.n_killed for block in blocks)} + "
            f"{sum(block.n_removed for block in blocks)}",
            f"{sum(block.n_cut for block in blocks)}",
        )
    return table


def _ratio_line(times: ClusterTimes) -> str:
    parts = []
    for name, of in _FIGURES.items():
        pairs = times.ratios(of)
        parts.append(
            f"{name.split('_')[0]} ×{times.ratio(of):.2f} "
            f"(pairs of blocks: {min(pairs):.2f} to {max(pairs):.2f})"
        )
    return f"{times.many[0].nodes} nodes against one: {', '.join(parts)}"


_FIGURES: dict[str, Callable[[BlockTimes], float]] = {
    "driver_ms_per_trial": lambda block: block.driver_ms_per_trial,
    "turnaround_ms": lambda block: block.turnaround_ms,
    "handover_ms": lambda block: block.handover_ms,
}


def _median(blocks: Sequence[BlockTimes], of: Callable[[BlockTimes], float]) -> float:
    return statistics.median(of(block) for block in blocks)
