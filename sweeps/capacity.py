"""How many runs the machines of a cluster hold side by side, each whole on its machines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from sweeps.resources import Needs

_Free = tuple[float, float]
"""CPUs and GPUs of a machine that nothing holds."""
_SLACK = 1e-6
"""Shares of a GPU are sums of binary fractions."""


class Capacity:
    """The machines of a cluster, and what fits on them.

    A worker lies on one machine; the workers of a run may lie on several. Machines that are alike
    are treated as one kind, so that the answers cost as much for a thousand of them as for ten.

    Args:
        machines: CPUs and GPUs of each.
    """

    def __init__(self, machines: Sequence[tuple[float, float]]) -> None:
        self._machines = Counter(machines)
        self._known: dict[tuple[Needs, frozenset[tuple[Needs, int]]], int] = {}

    def holds(self, runs: Mapping[Needs, int]) -> bool:
        """Whether so many runs of each kind have room at once.

        The largest are placed first, and those without a GPU where there is none, as Ray does; a
        packing that only an exhaustive search would find is not found.
        """
        free = Counter(self._machines)
        for needs in _largest_first(runs):
            if not _place(free, needs, runs[needs] * needs.workers):
                return False
        return True

    def n_of(self, needs: Needs, beside: Mapping[Needs, int] | None = None) -> int:
        """How many runs of a kind have room beside these; 0 where these themselves have none."""
        beside = beside or {}
        # the same is asked again and again while runs come and go
        question = needs, frozenset(beside.items())
        if question not in self._known:
            self._known[question] = self._counted(needs, beside)
        return self._known[question]

    def largest(self, resource: str) -> float:
        """The most CPUs, or GPUs, that one machine has."""
        index = ("CPU", "GPU").index(resource)
        return max((machine[index] for machine in self._machines), default=0.0)

    def _counted(self, needs: Needs, beside: Mapping[Needs, int]) -> int:
        least, most = 0, self._bound(needs) + 1  # `most` never has room
        while most - least > 1:
            middle = (least + most) // 2
            if self.holds({**beside, needs: beside.get(needs, 0) + middle}):
                least = middle
            else:
                most = middle
        return least

    def _bound(self, needs: Needs) -> int:
        n_workers = sum(n * _n_on(machine, needs) for machine, n in self._machines.items())
        return n_workers // needs.workers


def _largest_first(runs: Mapping[Needs, int]) -> list[Needs]:
    return sorted((n for n in runs if runs[n] > 0), key=lambda n: (n.gpus, n.cpus), reverse=True)


def _place(free: Counter[_Free], needs: Needs, n_workers: int) -> bool:
    """Takes the room of so many workers; whether there was enough."""
    # machines whose GPUs the run does not need come last, then those with the least to spare first
    kinds = sorted(free, key=lambda machine: (machine[1] > 0 and not needs.gpus, machine))
    for machine in kinds:
        if n_workers == 0:
            return True
        n_each = _n_on(machine, needs)
        if n_each == 0:
            continue
        n_full = min(free[machine], n_workers // n_each)
        _move(free, machine, needs, n_each, n_full)
        n_workers -= n_full * n_each
        if n_workers and free[machine] > 0 and n_workers < n_each:
            _move(free, machine, needs, n_workers, 1)
            n_workers = 0
    return n_workers == 0


def _move(free: Counter[_Free], machine: _Free, needs: Needs, n_each: int, n: int) -> None:
    """So many workers are placed on each of n machines of a kind."""
    if n == 0:
        return
    free[machine] -= n
    if free[machine] == 0:
        del free[machine]
    left = (machine[0] - n_each * needs.cpus, _gpus_left(machine[1], needs.gpus, n_each))
    free[(round(left[0], 6), round(left[1], 6))] += n


def _gpus_left(gpus: float, share: float, n: int) -> float:
    """What n workers leave of a machine's GPUs, for those who need a share or a whole one.

    Every GPU is whole but for one, which comes last.
    """
    if share == 0 or share >= 1:
        return gpus - n * share
    whole, rest = _whole_and_rest(gpus)
    n_each = math.floor(1 / share + _SLACK)
    n_full, n_on_last = divmod(min(n, whole * n_each), n_each)
    n_on_rest = n - n_full * n_each - n_on_last
    whole -= n_full
    if n_on_last:
        # of the two that are begun the fuller one is given up
        return whole - 1 + max(1 - n_on_last * share, rest - n_on_rest * share)
    return whole + rest - n_on_rest * share


def _whole_and_rest(gpus: float) -> tuple[int, float]:
    whole = math.floor(gpus + _SLACK)
    return whole, max(0.0, gpus - whole)


def _n_on(machine: _Free, needs: Needs) -> int:
    """How many workers one machine holds."""
    n = machine[0] / needs.cpus + _SLACK
    if needs.gpus >= 1:
        n = min(n, machine[1] / needs.gpus + _SLACK)
    elif needs.gpus > 0:
        # a share lies on one GPU
        whole, rest = _whole_and_rest(machine[1])
        n_each = math.floor(1 / needs.gpus + _SLACK)
        n = min(n, whole * n_each + math.floor(rest / needs.gpus + _SLACK))
    return math.floor(n)
