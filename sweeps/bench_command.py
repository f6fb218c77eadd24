"""What `rso-sweep bench engine` does: both engines on this machine, a row for every setting."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from rso_core.benchmark import (
    FULL,
    QUICK,
    EngineTimes,
    matrix_product_peak,
    measure_engines,
)
from rso_core.datasets import TRAINING_IMAGES, DataOptions, Dataset, load_dataset
from rso_core.errors import InvalidInput, reason
from rso_core.networks import build_network, check_architecture, check_network
from rso_core.torch_state import own_torch_state
from sweeps.provenance import provenance

DEFAULT_NETWORKS = ("one_conv", "two_conv", "paper_mnist", "original")
DEFAULT_BATCH_SIZES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"one_conv": (256, 1024), "two_conv": (256, 1024)}
)
_OTHER_BATCH_SIZES = (1024,)
BENCH_DATA = DataOptions(name="mnist", validation_size=0)
_N_IMAGES = TRAINING_IMAGES["mnist"]
_WIDEST_TABLE = 1000


@dataclass(frozen=True, slots=True)
class EngineRow:
    """A row of the table, and an object of the JSON list."""

    network: str
    batch_size: int
    threads: int
    reference_us_per_visit: float
    engine_us_per_visit: float
    ratio: float
    """How many times faster than the reference engine."""
    gflop_per_cycle: float | None
    """What the incremental algorithm needs; None where the network is unsupported."""
    share_of_peak: float | None
    """Of `peak_gflop_per_s`, reached over the cycle: a share of 1."""
    reference_s_per_cycle: float
    engine_s_per_cycle: float
    n_visits: int
    peak_gflop_per_s: float
    """Of matrix products on as many threads."""
    n_reference_visits: int
    engine: str
    """`incremental`, or `reference` where the network is unsupported."""
    extrapolated: bool
    """Measured by `--quick`."""
    unsupported: str | None
    """Why the incremental engine cannot take the network."""


def bench_engines(
    networks: Sequence[str],
    batch_sizes: Sequence[int],
    n_threads: int,
    is_quick: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Measures and prints.

    Args:
        networks: names; without any, `DEFAULT_NETWORKS`.
        batch_sizes: of every network; without any, `DEFAULT_BATCH_SIZES`.
        n_threads: at least 1.
        is_quick: whether to measure less.
        as_json: whether to print a JSON list instead of the table.
        console: where progress is shown.

    Raises:
        InvalidInput: a line for every fault.
    """
    settings = settings_of(networks, batch_sizes)
    check_settings(settings, n_threads)
    data = load_dataset(BENCH_DATA)
    for network, _ in settings:
        bench_network(network, data)  # whether it fits the data, before anything is measured
    peak = matrix_product_peak(n_threads)
    measured = []
    for position, (network, batch_size) in enumerate(settings, start=1):
        title = f"{position} of {len(settings)}: {network}, batch size {batch_size}"
        measured.append(_measured(network, batch_size, n_threads, is_quick, data, title, console))
        # a shared machine is not at its best at all times
        peak = max(peak, matrix_product_peak(n_threads))
    rows = [
        _row(network, batch_size, n_threads, is_quick, peak, times)
        for (network, batch_size), times in zip(settings, measured, strict=True)
    ]
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print_rows(rows)


def print_rows(rows: Sequence[EngineRow]) -> None:
    """Prints the machine, the table (Markdown, if it is not to a terminal) and its notes."""
    console = Console(highlight=False, markup=False, emoji=False)
    peak = f"matrix products at up to {rows[0].peak_gflop_per_s:.0f} GFLOP/s"
    console.print(f"{processor_line(rows[0].threads)}, {peak}", soft_wrap=True)
    if console.is_terminal:
        console.print(_table(rows, Table(box=None, pad_edge=False, padding=(0, 2, 0, 0)), "\n"))
    else:
        widest_table(console)
        console.print(_table(rows, Table(box=box.MARKDOWN), " "))
    for note in _notes(rows):
        console.print(note, soft_wrap=True)


def settings_of(networks: Sequence[str], batch_sizes: Sequence[int]) -> list[tuple[str, int]]:
    """Every network with every batch size; without any, those of this module."""
    return [
        (network, batch_size)
        for network in dict.fromkeys(networks or DEFAULT_NETWORKS)
        for batch_size in dict.fromkeys(
            batch_sizes or DEFAULT_BATCH_SIZES.get(network, _OTHER_BATCH_SIZES)
        )
    ]


def check_settings(settings: Sequence[tuple[str, int]], n_threads: int) -> None:
    """Whether there are such networks, batches and threads.

    Raises:
        InvalidInput: a line for every fault.
    """
    networks, batch_sizes = (dict.fromkeys(values) for values in zip(*settings, strict=True))
    problems: list[str] = []
    for network in networks:
        try:
            check_architecture(network, "--network")
        except InvalidInput as error:
            problems += error.problems
    problems += [
        f"'--batch-size' must be an integer from 1 to {_N_IMAGES}, "
        f"the number of training images, got {batch_size}"
        for batch_size in batch_sizes
        if not 1 <= batch_size <= _N_IMAGES
    ]
    if n_threads < 1:
        problems.append(f"'--threads' must be an integer of at least 1, got {n_threads}")
    if problems:
        raise InvalidInput(*problems)


def bench_network(name: str, data: Dataset) -> torch.nn.Module:
    """The network of that name.

    Raises:
        InvalidInput: it does not fit the data.
    """
    with own_torch_state(torch.get_num_threads(), seed=0):
        model = build_network(name, data.input_shape, data.n_classes)
        check_network(model, data.input_shape, data.n_classes, "--network")
    return model


def _measured(
    network: str,
    batch_size: int,
    n_threads: int,
    is_quick: bool,
    data: Dataset,
    title: str,
    console: Console,
) -> EngineTimes:
    if not console.is_terminal:
        console.print(title, soft_wrap=True, markup=False)
    with console.status("") as status:
        try:
            return measure_engines(
                bench_network(network, data),
                data.train_inputs,
                data.train_targets,
                batch_size=batch_size,
                n_threads=n_threads,
                effort=QUICK if is_quick else FULL,
                on_progress=lambda words: status.update(f"{title}: {words}"),
            )
        except InvalidInput:
            raise
        except Exception as error:
            if ":" not in network:  # our own networks do not fail
                raise
            raise InvalidInput(
                f"'--network' names '{network}', which fails on batches of {batch_size} images "
                f"({reason(error)})"
            ) from error


def _row(
    network: str, batch_size: int, n_threads: int, is_quick: bool, peak: float, times: EngineTimes
) -> EngineRow:
    flop = times.flop_per_cycle
    return EngineRow(
        network=network,
        batch_size=batch_size,
        threads=n_threads,
        reference_us_per_visit=1e6 * times.reference_s_per_cycle / times.n_visits,
        engine_us_per_visit=1e6 * times.engine_s_per_cycle / times.n_visits,
        ratio=times.reference_s_per_cycle / times.engine_s_per_cycle,
        gflop_per_cycle=None if flop is None else flop / 1e9,
        share_of_peak=None if flop is None else flop / times.engine_s_per_cycle / peak,
        reference_s_per_cycle=times.reference_s_per_cycle,
        engine_s_per_cycle=times.engine_s_per_cycle,
        n_visits=times.n_visits,
        peak_gflop_per_s=peak / 1e9,
        n_reference_visits=times.n_reference_visits,
        engine="incremental" if times.unsupported is None else "reference",
        extrapolated=is_quick,
        unsupported=times.unsupported,
    )


def processor_line(n_threads: int, of_whom: str = "") -> str:
    """The processor, the threads and torch."""
    processor = provenance([])["machine"]["processor"]
    threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    return f"{processor}, {threads}{' ' if of_whom else ''}{of_whom}, torch {torch.__version__}"


def widest_table(console: Console) -> None:
    """Lets a table that is not for a terminal be as wide as it is."""
    console.width = _WIDEST_TABLE


def _table(rows: Sequence[EngineRow], table: Table, header_break: str) -> Table:
    """The table with its columns and rows added."""
    table.add_column("Network")
    for words in (("Batch",), ("Threads",), ("Reference,", "µs"), ("Incremental,", "µs"),
                  ("Ratio",), ("GFLOP", "a cycle"), ("Of peak",)):  # fmt: skip
        table.add_column(header_break.join(words), justify="right")
    for row in rows:
        about = "~" if row.extrapolated else ""
        engine = f"{about}{three_digits(row.engine_us_per_visit)}"
        table.add_row(
            row.network,
            f"{row.batch_size:,}",
            f"{row.threads}",
            f"{about}{three_digits(row.reference_us_per_visit)}",
            engine if row.unsupported is None else "unsupported",
            f"{about}×{three_digits(row.ratio)}",
            "" if row.gflop_per_cycle is None else three_digits(row.gflop_per_cycle),
            "" if row.share_of_peak is None else f"{about}{row.share_of_peak:.1%}",
        )
    return table


def three_digits(value: float) -> str:
    """Three digits or more: 0.0123, 1.23, 12.3, 123, 1,234."""
    decimals = next((d for d, least in enumerate((100, 10, 1)) if value >= least), 3)
    return f"{value:,.{decimals}f}"


def _notes(rows: Sequence[EngineRow]) -> list[str]:
    notes = [
        "µs: microseconds a weight. GFLOP: what the incremental algorithm needs. "
        "Of peak: the share of the matrix products' GFLOP/s reached over a cycle."
    ]
    if any(row.extrapolated for row in rows):
        notes.append(
            "~ measured by --quick: from few visits of the reference engine and, where a cycle "
            "takes long, from a sample of the incremental engine's."
        )
    unsupported = {row.network: row.unsupported for row in rows if row.unsupported}
    notes += [
        f"{network} is left to the reference engine: {why}" for network, why in unsupported.items()
    ]
    return notes
