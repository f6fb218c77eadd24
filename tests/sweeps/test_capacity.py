"""How many runs machines hold: against an exhaustive search, and the cases that people have."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.capacity import Capacity
from sweeps.resources import Needs

_Machine = tuple[int, tuple[float, ...]]
"""CPUs, and what is left of each GPU."""


def _search(machines: list[tuple[float, float]], workers: list[Needs]) -> bool:
    """Whether the workers fit in any way at all, tried one by one, GPU by GPU."""

    @cache
    def fits(free: tuple[_Machine, ...], left: tuple[Needs, ...]) -> bool:
        if not left:
            return True
        needs, rest = left[0], left[1:]
        for index, machine in enumerate(free):
            for taken in _ways(machine, needs):
                others = tuple(sorted([*free[:index], taken, *free[index + 1 :]]))
                if fits(others, rest):
                    return True
        return False

    start = tuple(sorted((int(cpus), (1.0,) * int(gpus)) for cpus, gpus in machines))
    return fits(start, tuple(sorted(workers, reverse=True)))


def _ways(machine: _Machine, needs: Needs) -> list[_Machine]:
    cpus, gpus = machine
    if needs.cpus > cpus:
        return []
    cpus -= needs.cpus
    if needs.gpus == 0:
        return [(cpus, gpus)]
    if needs.gpus >= 1:
        whole = [gpu for gpu in gpus if gpu == 1.0]
        if len(whole) < needs.gpus:
            return []
        begun = [gpu for gpu in gpus if gpu < 1.0]
        return [(cpus, tuple(sorted([*begun, *whole[int(needs.gpus) :]])))]
    return [
        (cpus, tuple(sorted([*gpus[:i], round(gpu - needs.gpus, 6), *gpus[i + 1 :]])))
        for i, gpu in enumerate(gpus)
        if gpu >= needs.gpus - 1e-6
    ]


_MACHINES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=3)
_NEEDS = st.builds(
    Needs,
    cpus=st.integers(1, 3),
    gpus=st.sampled_from([0.0, 0.0, 0.25, 0.4, 0.5, 1.0, 2.0]),
    workers=st.integers(1, 2),
)


@settings(max_examples=300, deadline=None)
@given(machines=_MACHINES, needs=_NEEDS)
def test_runs_of_one_kind_are_counted_as_an_exhaustive_search_counts_them(
    machines: list[tuple[float, float]], needs: Needs
) -> None:
    one = Needs(needs.cpus, needs.gpus)
    n = 0
    while n < 20 and _search(machines, [one] * ((n + 1) * needs.workers)):
        n += 1
    assert Capacity(machines).n_of(needs) == n


@settings(max_examples=300, deadline=None)
@given(
    machines=_MACHINES,
    runs=st.dictionaries(_NEEDS, st.integers(1, 2), max_size=3),
)
def test_runs_that_are_said_to_have_room_have_it(
    machines: list[tuple[float, float]], runs: dict[Needs, int]
) -> None:
    if Capacity(machines).holds(runs):
        workers = [
            Needs(needs.cpus, needs.gpus)
            for needs, n in runs.items()
            for _ in range(n * needs.workers)
        ]
        assert _search(machines, workers)


@pytest.mark.parametrize(
    ("machines", "needs", "n"),
    [
        ([(2, 0), (2, 0)], Needs(), 4),
        ([(3, 0)] * 4, Needs(cpus=2), 4),  # 12 CPUs, but a run lies on one machine
        ([(1, 0)] * 8, Needs(cpus=8), 0),
        ([(1, 0)] * 8, Needs(workers=4), 2),
        ([(8, 2)], Needs(gpus=0.25), 8),
        ([(8, 2)], Needs(gpus=0.4), 4),  # two on each GPU: a share lies on one
        ([(8, 4)], Needs(gpus=2), 2),
        ([], Needs(), 0),
        ([(0, 0), (16, 0)], Needs(), 16),  # a head without CPUs
    ],
)
def test_how_many_runs_have_room(machines: list[tuple[float, float]], needs: Needs, n: int) -> None:
    assert Capacity(machines).n_of(needs) == n


def test_runs_without_a_gpu_leave_machines_with_one_to_those_that_need_it() -> None:
    capacity = Capacity([(2, 1), (2, 0)])
    busy = Counter({Needs(): 2})
    assert capacity.n_of(Needs(cpus=2, gpus=1), busy) == 1
    assert capacity.n_of(Needs(cpus=2, gpus=1), Counter({Needs(): 3})) == 0


def test_a_thousand_machines_are_answered_about_as_quickly_as_ten() -> None:
    capacity = Capacity([(16.0, 0.0)] * 900 + [(32.0, 8.0)] * 100)
    assert capacity.n_of(Needs()) == 900 * 16 + 100 * 32
    busy = Counter({Needs(): 14_000, Needs(gpus=0.5): 1_000})
    assert capacity.n_of(Needs(gpus=0.5), busy) == 600
