"""Which of the runs that wait are started, and what an autoscaler is shown of the others."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.capacity import Capacity
from sweeps.queueing import lacking, startable
from sweeps.resources import Needs

CPU, GPU, WIDE, PAIR = Needs(), Needs(gpus=0.5), Needs(cpus=4), Needs(workers=2)
_ANY = 1_000


def test_runs_of_one_kind_are_started_in_their_order_as_far_as_there_is_room() -> None:
    assert startable([CPU] * 5, Capacity([(2, 0), (1, 0)]), {}, _ANY) == [0, 1, 2]
    assert startable([CPU] * 5, Capacity([(2, 0), (1, 0)]), {CPU: 2}, _ANY) == [0]
    assert startable([CPU] * 5, Capacity([(2, 0), (1, 0)]), {}, 1) == [0]
    assert startable([CPU] * 5, Capacity([]), {}, _ANY) == []


def test_a_run_passes_those_that_wait_for_a_gpu() -> None:
    machines = Capacity([(4, 1), (2, 0)])
    assert startable([GPU, CPU, CPU], machines, {GPU: 2}, _ANY) == [1, 2]
    # and goes to machines with a GPU too, as long as two CPUs stay for those who wait for it
    assert startable([GPU, CPU, CPU], machines, {GPU: 2, CPU: 3}, _ANY) == [1]


def test_a_wide_run_is_not_kept_waiting_by_narrow_ones() -> None:
    one = Capacity([(4, 0)])
    assert startable([WIDE, CPU, CPU], one, {CPU: 2}, _ANY) == []
    assert startable([WIDE, CPU, CPU], one, {}, _ANY) == [0]
    # beside another wide one that it will follow, they are
    two = Capacity([(4, 0), (2, 0)])
    assert startable([WIDE, CPU, CPU, CPU], two, {WIDE: 1}, _ANY) == [1, 2]


def test_a_run_whose_machines_are_not_there_keeps_nobody_waiting() -> None:
    assert startable([GPU, CPU], Capacity([(2, 0)]), {}, _ANY) == [1]


@settings(max_examples=200, deadline=None)
@given(
    machines=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=4),
    waiting=st.lists(st.sampled_from([CPU, GPU, WIDE, PAIR]), max_size=12),
    durations=st.lists(st.integers(1, 3), min_size=12, max_size=12),
)
def test_every_run_that_the_machines_hold_is_started_in_the_end(
    machines: list[tuple[float, float]], waiting: list[Needs], durations: list[int]
) -> None:
    capacity = Capacity(machines)
    left = [
        (needs, n) for needs, n in zip(waiting, durations, strict=False) if capacity.n_of(needs)
    ]
    busy: list[tuple[Needs, int]] = []
    for moment in range(100):
        taken = Counter(needs for needs, _ in busy)
        chosen = startable([needs for needs, _ in left], capacity, taken, _ANY)
        busy += [(left[position][0], moment + left[position][1]) for position in chosen]
        assert capacity.holds(Counter(needs for needs, _ in busy))
        left = [entry for position, entry in enumerate(left) if position not in chosen]
        if not left:
            return
        busy = [(needs, until) for needs, until in busy if until > moment]
    raise AssertionError(f"never started: {left}")


def test_what_an_autoscaler_is_shown_is_what_the_machines_lack() -> None:
    capacity = Capacity([(4, 0), (2, 1)])
    assert lacking(capacity, {}, Counter({CPU: 3})) == {}
    assert lacking(capacity, {CPU: 4}, Counter({CPU: 3, GPU: 3})) == {GPU: 1, CPU: 3}
    assert lacking(capacity, {}, Counter({Needs(cpus=8): 2})) == {Needs(cpus=8): 2}
    assert lacking(Capacity([]), {}, Counter({Needs(workers=3): 2})) == {Needs(workers=3): 2}
