"""What a worker sees of the others that train the same run."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rso_core.errors import InvalidInput


class PeerLost(Exception):  # noqa: N818  (it names what happened)
    """Another worker of the run has closed its connection, or cannot be reached."""


class Peers(Protocol):
    """The workers of one run, each as seen from one of them.

    All of them make the same calls in the same order. After a `PeerLost` none of them can go on.
    """

    exchange_s: float
    """Seconds that this worker has spent in exchanges so far, waiting for the others included."""

    @property
    def rank(self) -> int:
        """Of this worker, from 0, the leader."""
        ...

    @property
    def size(self) -> int:
        """How many workers there are."""
        ...

    @property
    def descriptors(self) -> NDArray[np.int64]:
        """[size]: of the sockets that lead to the others, for compiled code; -1 for its own.

        Raises:
            PeerLost: they are closed.
        """
        ...

    def sum_(self, values: NDArray[np.float64]) -> None:
        """Adds up the values of all workers, in place.

        All get the same bits: the values are added in the order of the ranks.

        Raises:
            PeerLost: another worker has left.
        """
        ...

    def share(self, content: bytes | None) -> bytes:
        """The leader's content, to all; that of the others is not looked at.

        Raises:
            PeerLost: another worker has left.
        """
        ...

    def close(self) -> None:
        """Leaves; the others get a `PeerLost` out of whatever they do next.

        To be called by the thread that trains, or while none does.
        """
        ...


class _Alone:
    """No other worker: nothing to add and nobody to tell."""

    rank = 0
    size = 1
    exchange_s = 0.0
    descriptors: NDArray[np.int64] = np.full(1, -1, dtype=np.int64)

    def sum_(self, values: NDArray[np.float64]) -> None:
        pass

    def share(self, content: bytes | None) -> bytes:
        assert content is not None, "the leader has something to share"
        return content

    def close(self) -> None:
        pass


ALONE: Peers = _Alone()
"""Of a run that one worker trains."""


def share_of(n_images: int, peers: Peers) -> slice:
    """Which of so many images are this worker's; the shares differ by at most one image."""
    first = peers.rank * n_images // peers.size
    return slice(first, (peers.rank + 1) * n_images // peers.size)


def largest_share(n_images: int, peers: Peers) -> int:
    """Of so many images; what depends on memory has to be the same for all workers."""
    return -(-n_images // peers.size)


def check_shares(batch_size: int, peers: Peers) -> None:
    """Whether every worker has an image of a batch.

    Raises:
        InvalidInput: one has none.
    """
    if batch_size < peers.size:
        raise InvalidInput(
            f"'batch_size' must be at least {peers.size}, an image of every batch for each worker "
            f"of 'workers_per_run', got {batch_size}"
        )
