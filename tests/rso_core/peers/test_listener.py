"""How the workers of a run find one another, and how they tell strangers from workers."""

from __future__ import annotations

import pickle
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import numpy as np
import pytest

from rso_core.peers import Listener, PeerLost, Peers
from rso_core.peers.listener import MOST_WAITING

_KEY = b"k" * 32

Outcome = Peers | Exception


def _connected(
    listeners: Sequence[Listener], keys: Sequence[bytes], timeout_s: float = 10
) -> list[Outcome]:
    """What comes of it if all workers connect at the same time."""
    addresses = [listener.address for listener in listeners]

    def connect(rank: int) -> Outcome:
        try:
            return listeners[rank].connect(rank, addresses, keys[rank], timeout_s)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(listeners)) as pool:
        return list(pool.map(connect, range(len(listeners))))


def _sums(outcomes: Sequence[Outcome]) -> list[float]:
    """What the workers get if each adds the power of ten of its rank; all leave then."""
    peers: list[Peers] = []
    for outcome in outcomes:
        assert not isinstance(outcome, Exception), outcome
        peers.append(outcome)

    def add(each: Peers) -> float:
        values = np.array([10.0**each.rank])
        each.sum_(values)
        return float(values[0])

    with ThreadPoolExecutor(len(peers)) as pool:
        sums = list(pool.map(add, peers))
    for each in peers:
        each.close()
    return sums


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """Closes what a test has opened."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_worker_is_connected_with_every_other(size: int) -> None:
    listeners = [Listener() for _ in range(size)]
    assert _sums(_connected(listeners, [_KEY] * size)) == [float("1" * size)] * size


def test_a_listener_is_on_loopback_unless_an_interface_is_named(sockets: ExitStack) -> None:
    own = sockets.enter_context(closing(Listener()))
    assert own.address[0] == "127.0.0.1"
    assert own.address[1] > 0
    everywhere = sockets.enter_context(closing(Listener("0.0.0.0")))
    assert everywhere.address[0] == "0.0.0.0"


def test_ranks_and_size_are_those_of_the_addresses() -> None:
    outcomes = _connected([Listener() for _ in range(3)], [_KEY] * 3)
    assert [(each.rank, each.size) for each in outcomes if not isinstance(each, Exception)] == [
        (0, 3), (1, 3), (2, 3)
    ]  # fmt: skip
    _sums(outcomes)


def test_a_worker_without_the_key_is_refused_and_the_others_wait_no_longer_than_asked() -> None:
    started = time.monotonic()
    first, second = _connected([Listener(), Listener()], [_KEY, b"another"], timeout_s=0.5)
    assert time.monotonic() - started < 5
    assert isinstance(first, PeerLost)
    assert isinstance(second, PeerLost)
    assert "not connected to that of rank 0 within 0.5 s" in str(first)
    assert "does not know the run's key" in str(second)


def test_a_worker_that_never_comes_is_named() -> None:
    listeners = [Listener() for _ in range(4)]
    addresses = [listener.address for listener in listeners]
    with pytest.raises(PeerLost, match="workers of rank 1, 2, 3 have not connected"):
        listeners[0].connect(0, addresses, _KEY, timeout_s=0.2)
    with pytest.raises(PeerLost, match=r"rank 0 at 127\.0\.0\.1:[0-9]+ cannot be reached"):
        listeners[1].connect(1, addresses, _KEY, timeout_s=5)
    for listener in listeners:
        listener.close()


def test_one_that_listens_but_never_answers_is_waited_for_no_longer_than_asked() -> None:
    silent, own = Listener(), Listener()
    with pytest.raises(PeerLost, match=r"rank 0 at .* has not answered within 0.3 s"):
        own.connect(1, [silent.address, own.address], _KEY, timeout_s=0.3)
    silent.close()


def test_an_impostor_at_a_worker_s_address_is_found_out(sockets: ExitStack) -> None:
    impostor = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))

    def answer() -> None:
        connection, _ = impostor.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"\0" * 64)
            assert connection.recv(1000) == b""  # it is told nothing more

    thread = threading.Thread(target=answer)
    thread.start()
    own = Listener()
    with pytest.raises(PeerLost, match="does not know the run's key"):
        own.connect(1, [impostor.getsockname()[:2], own.address], _KEY, timeout_s=5)
    thread.join()


_HELLO = b"rsopeer1" + struct.pack("!I", 1)

_RUBBISH = {
    "nothing": b"",
    "half a hello": _HELLO,
    "a web browser's request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b" " * 100,
    "zeros": bytes(4096),
    "a hello without a proof": _HELLO + bytes(32),
    "a hello with a wrong proof": _HELLO + bytes(64),
    "a hello of the called worker": b"rsopeer1" + bytes(36),
    "a hello of too high a rank": b"rsopeer1" + struct.pack("!I", 99) + bytes(32),
}


@pytest.mark.parametrize("content", _RUBBISH.values(), ids=_RUBBISH)
@pytest.mark.parametrize("leaves", [False, True])
def test_strangers_disturb_nothing(content: bytes, leaves: bool, sockets: ExitStack) -> None:
    listeners = [Listener() for _ in range(3)]
    for listener in listeners:
        stranger = sockets.enter_context(socket.create_connection(listener.address))
        stranger.sendall(content)
        if leaves:
            stranger.close()
    assert _sums(_connected(listeners, [_KEY] * 3)) == [111.0] * 3


def test_a_proof_cannot_be_sent_back_as_one_s_own(sockets: ExitStack) -> None:
    listener, other = Listener(), Listener()
    stranger = sockets.enter_context(socket.create_connection(listener.address))
    stranger.sendall(_HELLO + bytes(32))
    stranger.settimeout(5)
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(listener.connect, 0, [listener.address, other.address], _KEY, 0.5)
        answer = stranger.recv(64, socket.MSG_WAITALL)
        stranger.sendall(answer[32:])
        assert stranger.recv(1) == b""
        with pytest.raises(PeerLost, match="has not connected"):
            leader.result()
    other.close()


def test_a_crowd_of_silent_strangers_keeps_no_worker_out(sockets: ExitStack) -> None:
    listeners = [Listener(), Listener()]
    with ThreadPoolExecutor(1) as pool:
        workers = pool.submit(_connected, listeners, [_KEY, _KEY])
        for _ in range(MOST_WAITING + 50):
            try:
                sockets.enter_context(socket.create_connection(listeners[0].address, timeout=5))
            except OSError:  # it listens no longer
                break
        assert _sums(workers.result()) == [11.0, 11.0]


def test_that_a_peer_is_lost_can_be_told_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(PeerLost("the worker of rank 1 has left")))
    assert isinstance(error, PeerLost)
    assert str(error) == "the worker of rank 1 has left"
