"""How two workers prove to each other that they know the run's key.

The caller sends a hello with its rank and a nonce; the called side answers with a nonce of its own
and a proof; the caller sends its proof. A proof is an HMAC over both nonces, both ranks and the
number of workers, and says from which side it is, so that none can be sent back or used twice.
Nothing else is read before; what follows is neither encrypted nor signed, like all that Ray sends
in a cluster without TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass
from typing import Literal

_MAGIC = b"rsopeer1"
_HELLO = struct.Struct("!8sI32s")
_N_NONCE = 32
_N_PROOF = hashlib.sha256().digest_size

HELLO_BYTES, ANSWER_BYTES, PROOF_BYTES = _HELLO.size, _N_NONCE + _N_PROOF, _N_PROOF
"""How long the three messages are."""


@dataclass(frozen=True, slots=True)
class Group:
    """What the workers of a run have in common."""

    key: bytes
    size: int

    def proof(
        self, side: Literal[b"caller", b"called"], caller: int, called: int, *nonces: bytes
    ) -> bytes:
        """That the one side knows the key.

        Args:
            side: whose proof it is.
            caller: rank.
            called: rank.
            nonces: the caller's and the called side's.
        """
        ranks = struct.pack("!III", caller, called, self.size)
        return hmac.digest(self.key, side + ranks + b"".join(nonces), "sha256")


class Call:
    """The caller's side.

    Args:
        group: that it is of.
        rank: its own.
        called: the rank of the other side.
    """

    def __init__(self, group: Group, rank: int, called: int) -> None:
        self._group, self._rank, self._called = group, rank, called
        self._nonce = secrets.token_bytes(_N_NONCE)
        self.hello = _HELLO.pack(_MAGIC, rank, self._nonce)

    def proof(self, answer: bytes) -> bytes | None:
        """What is said to the answer; None if it comes from somebody without the key."""
        nonces = self._nonce, answer[:_N_NONCE]
        expected = self._group.proof(b"called", self._rank, self._called, *nonces)
        if not hmac.compare_digest(answer[_N_NONCE:], expected):
            return None
        return self._group.proof(b"caller", self._rank, self._called, *nonces)


class Answer:
    """The called side.

    Args:
        group: that it is of.
        rank: its own.
    """

    def __init__(self, group: Group, rank: int) -> None:
        self._group, self._rank = group, rank
        self._nonce = secrets.token_bytes(_N_NONCE)
        self.caller = -1
        """The rank that the caller has named."""
        self._nonces = (b"", b"")

    def to(self, hello: bytes) -> bytes | None:
        """What is said to a hello; None if it is none of a worker of higher rank."""
        magic, caller, nonce = _HELLO.unpack(hello)
        if magic != _MAGIC or not self._rank < caller < self._group.size:
            return None
        self.caller = caller
        self._nonces = nonce, self._nonce
        return self._nonce + self._group.proof(b"called", caller, self._rank, *self._nonces)

    def is_proved_by(self, proof: bytes) -> bool:
        """Whether the caller knows the key."""
        expected = self._group.proof(b"caller", self.caller, self._rank, *self._nonces)
        return hmac.compare_digest(proof, expected)
