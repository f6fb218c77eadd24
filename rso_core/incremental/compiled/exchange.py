"""Adds up sums over the workers of a run, from within the compiled loops.

The messages are those of `rso_core.peers.mesh`. One thread of a worker exchanges, between two
barriers, and when that is depends on the visits alone. If another worker has left, nothing more is
exchanged, and the loops end with the visit in hand, which changes no weight.
"""

from __future__ import annotations

from typing import Any

from rso_core.incremental.compiled import simd
from rso_core.incremental.compiled.compilation import compiled
from rso_core.incremental.compiled.sockets import nanoseconds, receive_all, send_all
from rso_core.incremental.compiled.tables import EXCHANGE, GROUP, GROUP_SUMS

MOST_VALUES = 2047
"""In one message; see `rso_core.peers.mesh`."""
HEADER_STEP = 2**20

# the table at GROUP, in the integers
RANK, SIZE = 0, 1
IS_LOST = 2  # whether another worker has left
N_EXCHANGES = 3
EXCHANGE_NS = 4  # nanoseconds spent in exchanges
LOST_RANK = 5  # of the worker that has left
IS_OUT_OF_STEP = 6  # whether it was in another exchange
DESCRIPTORS = 7  # [SIZE], sockets

N_EXCHANGE_DOUBLES = 2 * (1 + MOST_VALUES)
"""At EXCHANGE: the message that is sent and the one that is received."""


@compiled
def is_lost(integers: Any) -> bool:
    """Whether another worker has left, so that the sums of now are worth nothing."""
    return integers[GROUP] > 0 and integers[integers[GROUP] + IS_LOST] == 1


@compiled
def add_up(integers: Any, doubles: Any, n: int) -> None:
    """Adds up the n numbers at GROUP_SUMS over all workers, in place, in the order of the ranks."""
    simd.never_inline()
    group = integers[GROUP]
    if integers[group + IS_LOST] == 1:
        return
    started = nanoseconds()
    for first in range(0, n, MOST_VALUES):
        _exchange(integers, doubles, integers[GROUP_SUMS] + first, min(n - first, MOST_VALUES))
        if integers[group + IS_LOST] == 1:
            break
    integers[group + EXCHANGE_NS] += nanoseconds() - started


@compiled
def _exchange(integers: Any, doubles: Any, values: int, n: int) -> None:
    group, own = integers[GROUP], integers[EXCHANGE]
    received = own + 1 + MOST_VALUES
    integers[group + N_EXCHANGES] += 1
    doubles[own] = float(integers[group + N_EXCHANGES] * HEADER_STEP + n)
    for index in range(n):
        doubles[own + 1 + index] = doubles[values + index]
    for rank in range(integers[group + SIZE]):
        descriptor = integers[group + DESCRIPTORS + rank]
        if rank != integers[group + RANK] and not send_all(doubles, own, n + 1, descriptor):
            _lose(integers, rank, False)
            return
    for rank in range(integers[group + SIZE]):
        message = own
        if rank != integers[group + RANK]:
            message = received
            if not receive_all(doubles, received, n + 1, integers[group + DESCRIPTORS + rank]):
                _lose(integers, rank, False)
                return
            if doubles[received] != doubles[own]:
                _lose(integers, rank, True)
                return
        for index in range(n):
            if rank == 0:
                doubles[values + index] = doubles[message + 1 + index]
            else:
                doubles[values + index] += doubles[message + 1 + index]


@compiled
def _lose(integers: Any, rank: int, is_out_of_step: bool) -> None:
    group = integers[GROUP]
    integers[group + IS_LOST] = 1
    integers[group + LOST_RANK] = rank
    integers[group + IS_OUT_OF_STEP] = 1 if is_out_of_step else 0
