"""Which of the runs that wait are started, where they need different machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sweeps.capacity import Capacity
from sweeps.resources import Needs


def startable(
    waiting: Sequence[Needs], capacity: Capacity, busy: Mapping[Needs, int], most: int
) -> list[int]:
    """Positions of the runs that have room now, in their order.

    Where one finds no room, a later one of another kind passes it only if that takes none of the
    room which it will have when one of its own kind ends; so none waits for good.

    Args:
        waiting: what each needs.
        capacity: of the machines that are there.
        busy: runs that have their room.
        most: how many may be started.
    """
    taken = Counter(busy)
    chosen: list[int] = []
    passed: dict[Needs, None] = {}
    full: set[Needs] = set()
    kinds = set(waiting)
    for position, needs in enumerate(waiting):
        if len(chosen) == most or full == kinds:
            break
        if needs in full:
            continue
        with_it = taken + Counter([needs])
        if not capacity.holds(with_it):
            full.add(needs)
            if capacity.n_of(needs):  # else it waits for machines that are not there
                passed[needs] = None
        elif all(capacity.holds(_after_one_ended(with_it, kind)) for kind in passed):
            taken = with_it
            chosen.append(position)
    return chosen


def lacking(
    capacity: Capacity, busy: Mapping[Needs, int], wanted: Mapping[Needs, int]
) -> Counter[Needs]:
    """Of the runs that are wanted beside the busy ones: how many of each kind have no room.

    Args:
        capacity: of the machines that are there.
        busy: runs that have their room.
        wanted: runs that could be trained at once with them.
    """
    placed: Counter[Needs] = Counter(busy)
    without: Counter[Needs] = Counter()
    for needs in sorted(wanted, reverse=True):
        n_placed = min(wanted[needs], capacity.n_of(needs, placed))
        placed[needs] += n_placed
        without[needs] = wanted[needs] - n_placed
    return +without


def _after_one_ended(taken: Counter[Needs], needs: Needs) -> Counter[Needs]:
    """What is taken once a run that waits has the room of one of its kind, if there is one."""
    return taken if taken[needs] else taken + Counter([needs])
