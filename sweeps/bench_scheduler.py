"""What `rso-sweep bench scheduler` does: what driving trials takes, whatever they train."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

from rich.console import Console

from rso_core.errors import InvalidInput, nearest
from sweeps.bench_scheduler_peers import PEER_SAMPLERS, PEERS, PeerName, PeerTimes, measure_peer
from sweeps.bench_scheduler_start import measure_start
from sweeps.bench_scheduler_sweep import Load, durable_append_ms, measure_sweeps
from sweeps.bench_scheduler_table import SchedulerTimes, print_json, print_tables

SAMPLERS = ("random", "tpe", "qmc", "gp", "cmaes", "nsga2", "nsga3")
"""Those that a sweep file may name and that need no list of points."""
_MOST_TRIALS = 1_000_000
_MOST_ACTORS = 1_000


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What was asked for of one sweep; None for what was not."""

    trials: int | None = None
    actors: int | None = None
    seconds: float | None = None
    sampler: str | None = None

    @property
    def are_given(self) -> bool:
        """Whether anything was asked for."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    def load(self, default: Load) -> Load:
        """The sweep, with the default's values for what was not asked for."""
        asked = {field.name: getattr(self, field.name) for field in fields(self)}
        return Load(**{k: getattr(default, k) if v is None else v for k, v in asked.items()})


@dataclass(frozen=True, slots=True)
class _Plan:
    loads: Sequence[Load]
    n_starts: int
    peers: Sequence[tuple[PeerName, Load]]


_FULL = _Plan(
    loads=(
        Load(500, 2, 0.0, "random"),
        Load(2_000, 2, 0.0, "random"),
        Load(10_000, 2, 0.0, "random"),
        Load(1_600, 16, 1.0, "random"),
        Load(5_000, 16, 1.0, "tpe"),
    ),
    n_starts=3,
    peers=(
        ("optuna", Load(500, 1, 0.0, "random")),
        ("tune_reuse_limited", Load(500, 2, 0.0, "random")),
        ("tune_reuse", Load(50, 2, 0.0, "random")),
        ("tune", Load(20, 2, 0.0, "random")),
    ),
)
_QUICK = _Plan(
    loads=(
        Load(100, 2, 0.0, "random"),
        Load(500, 2, 0.0, "random"),
        Load(80, 4, 0.5, "tpe"),
    ),
    n_starts=1,
    peers=(
        ("optuna", Load(100, 1, 0.0, "random")),
        ("tune_reuse_limited", Load(50, 2, 0.0, "random")),
        ("tune", Load(4, 2, 0.0, "random")),
    ),
)
_DEFAULT, _QUICK_DEFAULT = Load(2_000, 2, 0.0, "random"), Load(200, 2, 0.0, "random")


def bench_scheduler(
    asked: LoadOptions, has_peers: bool, is_quick: bool, as_json: bool, console: Console
) -> None:
    """Measures and prints: all there is, or the one sweep that was asked for.

    Args:
        asked: the sweep to measure.
        has_peers: whether other schedulers are given that sweep too; all there is has them anyway.
        is_quick: whether to measure less.
        as_json: whether to print a JSON object instead of tables.
        console: where progress is shown.

    Raises:
        InvalidInput: a line for every fault.
    """
    plan = _plan(asked, has_peers, is_quick)
    _check(plan, has_peers)
    append_ms = durable_append_ms()  # whether the folder can be written, before all else
    with _progress(console) as say:
        start = measure_start(plan.n_starts, say("the start")) if plan.n_starts else None
        sweeps = list(measure_sweeps(plan.loads, say("the driver")))
        peers = [_peer(name, load, say(PEERS[name])) for name, load in plan.peers]
    times = SchedulerTimes(append_ms, sweeps, start, peers)
    if as_json:
        print_json(times)
    else:
        print_tables(times)


def _plan(asked: LoadOptions, has_peers: bool, is_quick: bool) -> _Plan:
    if not asked.are_given:
        return _QUICK if is_quick else _FULL
    load = asked.load(_QUICK_DEFAULT if is_quick else _DEFAULT)
    return _Plan([load], 0, [(name, load) for name in PEERS] if has_peers else [])


def _check(plan: _Plan, has_peers: bool) -> None:
    load = plan.loads[0]
    problems = []
    # the rate of a peer goes by the ends of two trials
    least = 2 if has_peers else 1
    if not least <= load.trials <= _MOST_TRIALS:
        problems.append(
            f"'--trials' must be an integer from {least} to {_MOST_TRIALS}, got {load.trials}"
        )
    if not 1 <= load.actors <= _MOST_ACTORS:
        problems.append(
            f"'--actors' must be an integer from 1 to {_MOST_ACTORS}, got {load.actors}"
        )
    if not (math.isfinite(load.seconds) and load.seconds >= 0):
        problems.append(f"'--seconds' must be a number of at least 0, got {load.seconds}")
    if load.sampler not in SAMPLERS:
        problems.append(f"'--sampler' must be a sampler; {nearest(load.sampler, SAMPLERS)}")
    elif has_peers and load.sampler not in PEER_SAMPLERS:
        problems.append(
            f"'--sampler' must be {' or '.join(PEER_SAMPLERS)} with '--peers', got '{load.sampler}'"
        )
    if problems:
        raise InvalidInput(*problems)


def _peer(name: PeerName, load: Load, say: Callable[[str], object]) -> PeerTimes:
    say(f"{load.trials:,} trials")
    return measure_peer(name, load.trials, load.actors, load.seconds, load.sampler)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str], Callable[[str], object]]]:
    """Says what is being measured: a line each where there is no terminal, else in place."""
    with console.status("") as status:

        def say(title: str) -> Callable[[str], object]:
            if not console.is_terminal:
                console.print(title, soft_wrap=True, markup=False)
            return lambda words: status.update(f"{title}: {words}")

        yield say
