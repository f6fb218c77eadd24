"""What workers that are connected do for one another, and what becomes of them if one leaves."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_arrays

from rso_core.errors import InvalidInput
from rso_core.peers import (
    ALONE,
    Listener,
    PeerLost,
    Peers,
    check_shares,
    largest_share,
    share_of,
)
from rso_core.peers.mesh import MOST_VALUES

InGroup = Callable[[int, Callable[[Peers], Any]], list[Any]]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), size=st.integers(1, 4), n_sums=st.integers(1, 3))
def test_sums_have_the_bits_of_an_addition_in_the_order_of_the_ranks(
    in_group: InGroup, data: st.DataObject, size: int, n_sums: int
) -> None:
    lengths = data.draw(st.lists(st.integers(0, 40), min_size=n_sums, max_size=n_sums))
    floats = st.floats(width=64)
    own = [
        [data.draw(of_arrays.arrays(np.float64, length, elements=floats)) for length in lengths]
        for _ in range(size)
    ]

    def work(peers: Peers) -> list[bytes]:
        totals = [values.copy() for values in own[peers.rank]]
        for values in totals:
            peers.sum_(values)
        return [values.tobytes() for values in totals]

    outcomes = in_group(size, work)
    assert all(outcome == outcomes[0] for outcome in outcomes)
    for place, total in enumerate(outcomes[0]):
        expected = own[0][place].copy()
        with np.errstate(invalid="ignore", over="ignore"):
            for rank in range(1, size):
                expected += own[rank][place]
        assert np.array_equal(np.frombuffer(total), expected, equal_nan=True)


def test_sums_beyond_the_range_of_floats_are_infinite(in_group: InGroup) -> None:
    def work(peers: Peers) -> list[float]:
        values = np.array([1.7e308, np.inf if peers.rank else -np.inf])
        peers.sum_(values)
        return values.tolist()

    for infinite, undefined in in_group(2, work):
        assert infinite == np.inf
        assert np.isnan(undefined)


@pytest.mark.parametrize("n", [MOST_VALUES - 1, MOST_VALUES, MOST_VALUES + 1, 100_000])
def test_many_values_are_added_up_as_well(in_group: InGroup, n: int) -> None:
    def work(peers: Peers) -> bool:
        values = np.arange(n, dtype=np.float64) * (peers.rank + 1)
        peers.sum_(values)
        return np.array_equal(values, np.arange(n) * 6.0)

    assert in_group(3, work) == [True] * 3


@pytest.mark.parametrize("content", [b"", b"x", os.urandom(3_000_000)], ids=len)
def test_all_get_the_leader_s_content(in_group: InGroup, content: bytes) -> None:
    def work(peers: Peers) -> bool:
        shared = peers.share(content if peers.rank == 0 else None)
        again = peers.share(b"again" if peers.rank == 0 else b"not looked at")
        return (shared, again) == (content, b"again")

    assert in_group(3, work) == [True] * 3


def test_the_time_of_exchanges_is_that_of_waiting_too(in_group: InGroup) -> None:
    def work(peers: Peers) -> float:
        if peers.rank == 1:
            time.sleep(0.2)
        peers.sum_(np.ones(1))
        return peers.exchange_s

    waiting, late = in_group(2, work)
    assert waiting > 0.15 > late


_NEXT: dict[str, Callable[[Peers], object]] = {
    "sum": lambda peers: peers.sum_(np.ones(3)),
    "large sum": lambda peers: peers.sum_(np.ones(200_000)),
    "share": lambda peers: peers.share(b"x" if peers.rank == 0 else None),
}


@pytest.mark.parametrize("call", _NEXT.values(), ids=_NEXT)
@pytest.mark.parametrize("leaver", [0, 2])
def test_if_one_leaves_the_others_lose_it(
    in_group: InGroup, call: Callable[[Peers], object], leaver: int
) -> None:
    has_left = threading.Event()

    def work(peers: Peers) -> None:
        peers.sum_(np.ones(1))
        if peers.rank == leaver:
            peers.close()
            has_left.set()
            return
        # a leader that shares hears of nobody, and only what it sends is refused, not at once
        has_left.wait()
        for _ in range(3):
            call(peers)

    started = time.monotonic()
    outcomes = in_group(3, work)
    assert time.monotonic() - started < 5
    assert outcomes[leaver] is None
    others = [outcome for rank, outcome in enumerate(outcomes) if rank != leaver]
    assert all(isinstance(outcome, PeerLost) for outcome in others), outcomes


def test_after_a_loss_nothing_can_be_exchanged(in_group: InGroup) -> None:
    def work(peers: Peers) -> None:
        if peers.rank == 1:
            return
        with pytest.raises(PeerLost, match="the worker of rank 1 has closed its connection"):
            peers.sum_(np.ones(1))
        for call in (*_NEXT.values(), lambda peers: peers.descriptors):
            with pytest.raises(PeerLost, match="are closed"):
                call(peers)

    assert in_group(2, work) == [None, None]


def test_workers_in_different_exchanges_lose_one_another_and_add_nothing_up(
    in_group: InGroup,
) -> None:
    def work(peers: Peers) -> None:
        peers.sum_(np.ones(2 + peers.rank))

    for outcome in in_group(2, work):
        assert isinstance(outcome, PeerLost)

    def another(peers: Peers) -> None:
        if peers.rank == 1:
            peers.sum_(np.ones(2))
        else:
            peers.share(b"x" * 100)

    leader, follower = in_group(2, another)
    assert isinstance(follower, PeerLost)
    assert "out of step" in str(follower)
    assert leader is None or isinstance(leader, PeerLost)  # who shares waits for nobody


def _add_and_die(listener_of: Any, addresses: Any) -> None:
    listener = Listener()
    listener_of.send(listener.address)
    peers = listener.connect(1, addresses.recv(), b"key")
    peers.sum_(np.ones(1))
    os._exit(1)


def test_a_process_that_dies_is_lost_within_seconds() -> None:
    context = multiprocessing.get_context("spawn")
    address, address_end = context.Pipe(duplex=False)
    addresses_end, addresses = context.Pipe(duplex=False)
    process = context.Process(target=_add_and_die, args=(address_end, addresses_end))
    process.start()
    address_end.close()  # so that one that cannot begin is no one to wait for
    addresses_end.close()
    own = Listener()
    both = [own.address, address.recv()]
    addresses.send(both)
    peers = own.connect(0, both, b"key")
    values = np.ones(1)
    peers.sum_(values)
    assert values[0] == 2.0
    started = time.monotonic()
    with pytest.raises(PeerLost):
        peers.sum_(values)
    assert time.monotonic() - started < 5
    process.join()
    address.close()
    addresses.close()


def test_alone_nothing_is_added_and_nobody_told() -> None:
    values = np.array([1.5, 2.5])
    ALONE.sum_(values)
    assert values.tolist() == [1.5, 2.5]
    assert ALONE.share(b"x") == b"x"
    assert (ALONE.rank, ALONE.size) == (0, 1)
    ALONE.close()
    ALONE.sum_(values)


class _Some:
    """Peers of which only the numbers count."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@given(n_images=st.integers(0, 2000), size=st.integers(1, 9))
def test_the_shares_are_all_the_images_and_differ_by_one_at_most(n_images: int, size: int) -> None:
    images = range(n_images)
    shares = [images[share_of(n_images, _Some(rank, size))] for rank in range(size)]  # type: ignore[arg-type]
    assert [image for share in shares for image in share] == list(images)
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) == largest_share(n_images, _Some(0, size))  # type: ignore[arg-type]


def test_a_batch_has_an_image_for_every_worker() -> None:
    check_shares(3, _Some(0, 3))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput) as caught:
        check_shares(2, _Some(0, 3))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "'batch_size' must be at least 3, an image of every batch for each worker of "
        "'workers_per_run', got 2"
    )
