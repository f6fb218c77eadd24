"""Workers that are all connected to one another by TCP."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from rso_core.peers.interface import PeerLost

MOST_VALUES = 2047
"""In one message. Each worker sends to all before it receives, and none is more than a message
ahead of another, so that two of them have to fit into what a connection holds."""

HEADER_STEP = 2**20
"""A header is the number of the exchange, times this, and the number of values."""


class Mesh:
    """Peers with a connection to each; see `Peers`.

    A message of a sum is its header and then its values, as float64. The header is the number of
    the exchange and of its values: workers that are out of step lose one another, and do not add
    up what does not belong together.

    Args:
        rank: of this worker.
        connections: to every other worker, by its rank.
    """

    def __init__(self, rank: int, connections: Mapping[int, socket.socket]) -> None:
        self.rank = rank
        self.size = len(connections) + 1
        self.exchange_s = 0.0
        self._connections = dict(connections)
        self._is_closed = False
        self._n_exchanges = 0
        for connection in self._connections.values():
            _set_up(connection)

    @property
    def descriptors(self) -> NDArray[np.int64]:
        """See `Peers.descriptors`."""
        with self._exchange():
            descriptors = np.full(self.size, -1, dtype=np.int64)
            for rank, connection in self._connections.items():
                descriptors[rank] = connection.fileno()
        return descriptors

    def sum_(self, values: NDArray[np.float64]) -> None:
        """See `Peers.sum_`."""
        assert values.dtype == np.float64
        assert values.flags.c_contiguous
        flat = values.reshape(-1)
        # sums beyond the range of floats are infinite, as in compiled code, without a warning
        with self._exchange(), np.errstate(over="ignore", invalid="ignore"):
            for first in range(0, len(flat), MOST_VALUES):
                self._sum_message_(flat[first : first + MOST_VALUES])

    def share(self, content: bytes | None) -> bytes:
        """See `Peers.share`."""
        with self._exchange():
            if self.rank == 0:
                assert content is not None, "the leader has something to share"
                length = np.array([self._header(0), len(content)], dtype=np.float64).tobytes()
                for rank in range(1, self.size):
                    self._send(rank, length)
                    self._send(rank, content)
                return content
            header = np.empty(2, dtype=np.float64)
            self._receive(0, header.data.cast("B"))
            self._check(0, header[0], self._header(0))
            received = bytearray(int(header[1]))
            self._receive(0, memoryview(received))
            return bytes(received)

    def close(self) -> None:
        """See `Peers.close`."""
        self._is_closed = True
        for connection in self._connections.values():
            with suppress(OSError):  # the other side has closed it
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _sum_message_(self, values: NDArray[np.float64]) -> None:
        own = np.concatenate([[self._header(len(values))], values])
        for rank in self._others():
            self._send(rank, own.tobytes())
        received = np.empty_like(own)
        for rank in range(self.size):
            message = own
            if rank != self.rank:
                message = received
                self._receive(rank, received.data.cast("B"))
                self._check(rank, received[0], own[0])
            if rank == 0:
                values[:] = message[1:]
            else:
                values += message[1:]

    def _header(self, n_values: int) -> float:
        """Below zero, which those of compiled code are not."""
        self._n_exchanges += 1
        return -float(self._n_exchanges * HEADER_STEP + n_values)

    def _others(self) -> Iterator[int]:
        return (rank for rank in range(self.size) if rank != self.rank)

    def _send(self, rank: int, content: bytes) -> None:
        try:
            self._connections[rank].sendall(content)
        except OSError as error:
            raise PeerLost(self._lost(rank)) from error

    def _receive(self, rank: int, view: memoryview) -> None:
        try:
            while view:
                n = self._connections[rank].recv_into(view)
                if n == 0:
                    raise PeerLost(self._lost(rank))
                view = view[n:]
        except OSError as error:
            raise PeerLost(self._lost(rank)) from error

    def _check(self, rank: int, header: float, own_header: float) -> None:
        if header != own_header:
            raise PeerLost(f"the worker of rank {rank} is out of step")

    def _lost(self, rank: int) -> str:
        return f"the worker of rank {rank} has closed its connection"

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Adds to the time; whoever loses one of the others leaves the rest as well."""
        if self._is_closed:
            raise PeerLost("the connections to the other workers are closed")
        started = time.perf_counter()
        try:
            yield
        except BaseException:  # what an interrupt leaves behind is out of step
            self.close()
            raise
        finally:
            self.exchange_s += time.perf_counter() - started


def _set_up(connection: socket.socket) -> None:
    """Small messages go out at once, and a machine that has vanished is noticed in a minute."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # not every system has them all
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 6),
                        ("TCP_USER_TIMEOUT", 45_000)):  # fmt: skip
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
