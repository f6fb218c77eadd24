"""What `rso-sweep bench cluster` does: what the driver takes on many machines that come and go."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import partial

from rich.console import Console
from rich.status import Status

from rso_core.errors import InvalidInput
from sweeps.bench_cluster_block import Block, BlockTimes, measure_block
from sweeps.bench_cluster_table import ClusterTimes, print_json, print_tables

_MOST_TRIALS = 100_000
_MOST_NODES = 1_000
_MOST_BLOCKS = 99
_MOST_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What was asked for; None for what was not."""

    nodes: int | None = None
    trials: int | None = None
    seconds: float | None = None
    leaving: int | None = None
    blocks: int | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    nodes: int
    trials: int
    seconds: float
    leaving: int
    blocks: int

    @property
    def one(self) -> Block:
        """A sweep on one node, with as many actors."""
        return Block(self.trials, 1, self.nodes, self.seconds, 0)

    @property
    def many(self) -> Block:
        """A sweep on all nodes, with one actor on each."""
        return Block(self.trials, self.nodes, self.nodes, self.seconds, self.leaving)


_FULL = _Plan(nodes=32, trials=2_000, seconds=1.0, leaving=8, blocks=3)
_QUICK = _Plan(nodes=4, trials=200, seconds=0.5, leaving=2, blocks=1)


def bench_cluster(asked: ClusterOptions, is_quick: bool, as_json: bool, console: Console) -> None:
    """Measures and prints what driving a sweep takes on many simulated nodes and on one.

    Blocks on one node and on all of them alternate, each a whole sweep with as many actors on a
    cluster of its own.

    Args:
        asked: what the options say.
        is_quick: whether to measure less of what they do not say.
        as_json: whether to print a JSON object instead of a table.
        console: where progress is shown.

    Raises:
        InvalidInput: a line for every fault.
    """
    default = _QUICK if is_quick else _FULL
    given = {field.name: getattr(asked, field.name) for field in fields(asked)}
    plan = _Plan(**{k: getattr(default, k) if v is None else v for k, v in given.items()})
    _check(plan)
    one: list[BlockTimes] = []
    many: list[BlockTimes] = []
    with console.status("") as status:
        for index in range(plan.blocks):
            for block, found in ((plan.one, one), (plan.many, many)):
                title = (
                    f"block {index + 1} of {plan.blocks}, "
                    f"{block.nodes} {'node' if block.nodes == 1 else 'nodes'}"
                )
                if not console.is_terminal:
                    console.print(title, soft_wrap=True, markup=False)
                times = measure_block(block, partial(_say, status, title))
                found.append(times)
                console.print(
                    f"{title}: {times.driver_ms_per_trial:.2f} ms of the driver a trial, "
                    f"{times.turnaround_ms:.2f} ms from run to run, {times.wall_s:.0f} s in all",
                    soft_wrap=True,
                    markup=False,
                )
    found_all = ClusterTimes(one, many)
    (print_json if as_json else print_tables)(found_all)


def _say(status: Status, title: str, words: str) -> None:
    status.update(f"{title}: {words}")


def _check(plan: _Plan) -> None:
    problems = []
    if not 2 <= plan.nodes <= _MOST_NODES:
        problems.append(f"'--nodes' must be an integer from 2 to {_MOST_NODES}, got {plan.nodes}")
    elif not 2 * plan.nodes <= plan.trials <= _MOST_TRIALS:
        # the time from one run to the next is measured
        problems.append(
            f"'--trials' must be an integer from {2 * plan.nodes}, two for each node, to "
            f"{_MOST_TRIALS}, got {plan.trials}"
        )
    if not (math.isfinite(plan.seconds) and 0 <= plan.seconds <= _MOST_SECONDS):
        problems.append(
            f"'--seconds' must be a number from 0 to {_MOST_SECONDS:.0f}, got {plan.seconds}"
        )
    if not 0 <= plan.leaving < plan.trials:
        problems.append(
            "'--leaving' must be an integer of at least 0, and of fewer nodes than there are "
            f"trials, got {plan.leaving}"
        )
    if not 1 <= plan.blocks <= _MOST_BLOCKS:
        problems.append(
            f"'--blocks' must be an integer from 1 to {_MOST_BLOCKS}, got {plan.blocks}"
        )
    if problems:
        raise InvalidInput(*problems)
