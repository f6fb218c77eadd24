"""Where a worker waits for the others of its run, and how they all become connected."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Mapping, Sequence

from rso_core.errors import reason
from rso_core.peers.handshake import ANSWER_BYTES, HELLO_BYTES, PROOF_BYTES, Answer, Call, Group
from rso_core.peers.interface import PeerLost, Peers
from rso_core.peers.mesh import Mesh

MOST_WAITING = 256
"""Connections that have not yet proved anything; of more the oldest is closed."""
_RETRY_S = 0.1


class Listener:
    """A port for the other workers of a run; made before their addresses are known.

    Example:
        >>> listener = Listener()
        >>> # every worker tells its listener.address, and is told all of them, in the order of
        >>> # their ranks, and a key that nobody else knows
        >>> peers = listener.connect(rank, addresses, key)

    Args:
        host: the address of the interface that it listens on; on loopback, for workers of one
            machine, if nothing is said.

    Attributes:
        address: host and port.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, 0), family=family, backlog=MOST_WAITING)
        name = self._socket.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])

    def connect(
        self,
        rank: int,
        addresses: Sequence[tuple[str, int]],
        key: bytes,
        timeout_s: float = 30,
    ) -> Peers:
        """Connects this worker with all others, and closes the listener.

        Both sides of a connection prove that they know the key; whoever else connects is not
        listened to, and disturbs nothing.

        Args:
            rank: of this worker.
            addresses: of the listeners of all workers, in the order of their ranks.
            key: the run's secret.
            timeout_s: how long to wait for the others.

        Raises:
            PeerLost: one of them cannot be reached, does not know the key or does not come in time.
        """
        group, deadline = Group(key, len(addresses)), time.monotonic() + timeout_s
        connections: dict[int, socket.socket] = {}
        try:
            for called in range(rank):
                connections[called] = _called(
                    group, rank, called, addresses[called], deadline, timeout_s
                )
            self._accept(group, rank, connections, deadline, timeout_s)
        except BaseException:
            for connection in connections.values():
                connection.close()
            raise
        finally:
            self.close()
        return Mesh(rank, connections)

    def close(self) -> None:
        """Listens no longer."""
        self._socket.close()

    def _accept(
        self,
        group: Group,
        rank: int,
        connections: dict[int, socket.socket],
        deadline: float,
        timeout_s: float,
    ) -> None:
        """Adds the connections of the workers of higher rank, which call this one."""
        with selectors.DefaultSelector() as selector:
            self._socket.setblocking(False)
            selector.register(self._socket, selectors.EVENT_READ)
            waiting: dict[socket.socket, _Waiting] = {}  # in the order of their coming
            try:
                while len(connections) < group.size - 1:
                    left_s = deadline - time.monotonic()
                    if left_s <= 0:
                        raise PeerLost(_missing(group, connections, rank, timeout_s))
                    for key, _ in selector.select(left_s):
                        if key.fileobj is self._socket:
                            self._welcome(group, rank, selector, waiting)
                        elif isinstance(key.fileobj, socket.socket) and key.fileobj in waiting:
                            _go_on(key.fileobj, selector, waiting, connections)
            finally:
                for connection in waiting:
                    connection.close()

    def _welcome(
        self,
        group: Group,
        rank: int,
        selector: selectors.BaseSelector,
        waiting: dict[socket.socket, _Waiting],
    ) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:  # it has gone again
            return
        if len(waiting) == MOST_WAITING:
            _drop(next(iter(waiting)), selector, waiting)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
        waiting[connection] = _Waiting(Answer(group, rank))


class _Waiting:
    """How far a connection is whose other side has not yet proved that it knows the key."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.received = b""
        self.has_answered = False

    @property
    def n_missing(self) -> int:
        """Bytes of the message that is expected; no more are read."""
        return (PROOF_BYTES if self.has_answered else HELLO_BYTES) - len(self.received)


def _go_on(
    connection: socket.socket,
    selector: selectors.BaseSelector,
    waiting: dict[socket.socket, _Waiting],
    connections: dict[int, socket.socket],
) -> None:
    """Reads what there is of a message of the other side, and answers it."""
    state = waiting[connection]
    try:
        content = connection.recv(state.n_missing)
    except BlockingIOError:
        return
    except OSError:
        content = b""
    if not content:
        _drop(connection, selector, waiting)
        return
    state.received += content
    if state.n_missing:
        return
    message, state.received = state.received, b""
    if not state.has_answered:
        answer = state.answer.to(message)
        state.has_answered = True
        if answer is None or not _is_sent(connection, answer):
            _drop(connection, selector, waiting)
        return
    if not state.answer.is_proved_by(message):
        _drop(connection, selector, waiting)
        return
    selector.unregister(connection)
    del waiting[connection]
    former = connections.pop(state.answer.caller, None)
    if former is not None:  # the caller has given it up
        former.close()
    connections[state.answer.caller] = connection


def _is_sent(connection: socket.socket, content: bytes) -> bool:
    """Whether a few bytes could be sent, for which a new connection has room."""
    try:
        return connection.send(content) == len(content)
    except OSError:
        return False


def _drop(
    connection: socket.socket,
    selector: selectors.BaseSelector,
    waiting: dict[socket.socket, _Waiting],
) -> None:
    selector.unregister(connection)
    del waiting[connection]
    connection.close()


def _called(
    group: Group,
    rank: int,
    called: int,
    address: tuple[str, int],
    deadline: float,
    timeout_s: float,
) -> socket.socket:
    """The connection to a worker of lower rank, which this one calls."""
    name = f"the worker of rank {called} at {address[0]}:{address[1]}"
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise PeerLost(f"{name} has not answered within {timeout_s:g} s")
        try:
            connection = socket.create_connection(address, timeout=left_s)
        except OSError as error:
            raise PeerLost(f"{name} cannot be reached: {reason(error)}") from error
        call = Call(group, rank, called)
        try:
            connection.settimeout(left_s)
            connection.sendall(call.hello)
            answer = _received(connection, ANSWER_BYTES, deadline)
            proof = call.proof(answer)
            if proof is None:
                connection.close()
                raise PeerLost(f"{name} does not know the run's key")
            connection.sendall(proof)
        except OSError:  # strangers may have crowded it out
            connection.close()
            time.sleep(_RETRY_S)
            continue
        return connection


def _received(connection: socket.socket, n_bytes: int, deadline: float) -> bytes:
    content = b""
    while len(content) < n_bytes:
        connection.settimeout(max(deadline - time.monotonic(), 1e-3))
        part = connection.recv(n_bytes - len(content))
        if not part:
            raise ConnectionResetError
        content += part
    return content


def _missing(
    group: Group, connections: Mapping[int, socket.socket], rank: int, timeout_s: float
) -> str:
    ranks = [str(r) for r in range(group.size) if r != rank and r not in connections]
    plural = len(ranks) > 1
    return (
        f"the worker{'s' * plural} of rank {', '.join(ranks)} {'have' if plural else 'has'} not "
        f"connected to that of rank {rank} within {timeout_s:g} s"
    )
