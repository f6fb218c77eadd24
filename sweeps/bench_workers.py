"""What `rso-sweep bench engine --workers N` does: one run in N workers, beside one in one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from rso_core.datasets import Dataset, load_dataset
from rso_core.errors import InvalidInput
from rso_core.group_benchmark import GroupSetting, GroupTimes, measure_group
from rso_core.incremental.graph import UnsupportedNetwork
from rso_core.incremental.graph_reader import network_graph
from rso_core.peers import PeerLost
from sweeps.bench_command import (
    BENCH_DATA,
    bench_network,
    check_settings,
    processor_line,
    settings_of,
    three_digits,
    widest_table,
)

_N_ROUNDS, _N_QUICK_ROUNDS = 5, 1


@dataclass(frozen=True, slots=True)
class WorkersRow:
    """A row of the table, and an object of the JSON list; see `GroupTimes`."""

    network: str
    batch_size: int
    workers: int
    threads: int
    """Of each worker."""
    alone_us_per_visit: float
    group_us_per_visit: float
    speedup: float
    bound: float
    exchange_share: float
    alone_s_per_cycle: float
    group_s_per_cycle: float
    n_visits: int
    n_rounds: int


def bench_workers(
    networks: Sequence[str],
    batch_sizes: Sequence[int],
    n_workers: int,
    n_threads: int,
    is_quick: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Measures and prints; the arguments are those of `bench_engines`.

    Args:
        networks: names.
        batch_sizes: of every network.
        n_workers: at least 2.
        n_threads: of each worker, at least 1.
        is_quick: whether to measure less.
        as_json: whether to print a JSON list instead of the table.
        console: where progress is shown.

    Raises:
        InvalidInput: a line for every fault.
    """
    settings = settings_of(networks, batch_sizes)
    check_settings(settings, n_threads)
    data = load_dataset(BENCH_DATA)
    _check(settings, n_workers, data)
    n_rounds = _N_QUICK_ROUNDS if is_quick else _N_ROUNDS
    rows = []
    for position, (network, batch_size) in enumerate(settings, start=1):
        title = f"{position} of {len(settings)}: {network}, batch size {batch_size}"
        setting = GroupSetting(network, BENCH_DATA, batch_size, n_workers, n_threads)
        rows.append(_row(setting, _measured(setting, n_rounds, title, console), n_rounds))
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print_workers(rows)


def print_workers(rows: Sequence[WorkersRow]) -> None:
    """Prints the machine, the table (Markdown, if it is not to a terminal) and its notes."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(processor_line(rows[0].threads, "of each worker"), soft_wrap=True)
    if console.is_terminal:
        console.print(_table(rows, Table(box=None, pad_edge=False, padding=(0, 2, 0, 0)), "\n"))
    else:
        widest_table(console)
        console.print(_table(rows, Table(box=box.MARKDOWN), " "))
    console.print(
        "µs: microseconds a weight, extrapolated from a sample of a cycle's visits. Faster: than "
        "one worker. Bound: the same of workers that exchange nothing, each with its share of the "
        "images. Exchanging: the share of the time, with waiting for the slower worker. Medians "
        f"of {rows[0].n_rounds} round{'s' * (rows[0].n_rounds > 1)}.",
        soft_wrap=True,
    )


def _check(settings: Sequence[tuple[str, int]], n_workers: int, data: Dataset) -> None:
    problems = []
    if n_workers < 2:
        problems.append(f"'--workers' must be an integer of at least 1, got {n_workers}")
    for network, batch_size in settings:
        if batch_size < n_workers:
            problems.append(
                f"'--batch-size' must be at least {n_workers}, an image for each of '--workers', "
                f"got {batch_size}"
            )
        try:
            network_graph(bench_network(network, data), data.input_shape)
        except UnsupportedNetwork as error:
            problems.append(
                f"'--network' must be one that the incremental engine knows for '--workers', "
                f"got '{network}'; {error}"
            )
    if problems:
        raise InvalidInput(*dict.fromkeys(problems))


def _measured(setting: GroupSetting, n_rounds: int, title: str, console: Console) -> GroupTimes:
    if not console.is_terminal:
        console.print(title, soft_wrap=True, markup=False)
    with console.status("") as status:
        try:
            return measure_group(
                setting, n_rounds, lambda words: status.update(f"{title}: {words}")
            )
        except PeerLost as error:
            raise InvalidInput(
                f"'--workers' must be as many as this machine has memory for, got "
                f"{setting.n_workers}; {error}"
            ) from error


def _row(setting: GroupSetting, times: GroupTimes, n_rounds: int) -> WorkersRow:
    return WorkersRow(
        network=setting.architecture,
        batch_size=setting.batch_size,
        workers=setting.n_workers,
        threads=setting.n_threads,
        alone_us_per_visit=1e6 * times.alone_s_per_cycle / times.n_visits,
        group_us_per_visit=1e6 * times.group_s_per_cycle / times.n_visits,
        speedup=times.speedup,
        bound=times.bound,
        exchange_share=times.exchange_share,
        alone_s_per_cycle=times.alone_s_per_cycle,
        group_s_per_cycle=times.group_s_per_cycle,
        n_visits=times.n_visits,
        n_rounds=n_rounds,
    )


def _table(rows: Sequence[WorkersRow], table: Table, header_break: str) -> Table:
    """The table with its columns and rows added."""
    table.add_column("Network")
    for words in (("Batch",), ("Workers",), ("One worker,", "µs"), ("Together,", "µs"),
                  ("Faster",), ("Bound",), ("Exchanging",)):  # fmt: skip
        table.add_column(header_break.join(words), justify="right")
    for row in rows:
        table.add_row(
            row.network,
            f"{row.batch_size:,}",
            f"{row.workers}",
            three_digits(row.alone_us_per_visit),
            three_digits(row.group_us_per_visit),
            f"×{row.speedup:.2f}",
            f"×{row.bound:.2f}",
            f"{row.exchange_share:.1%}",
        )
    return table
