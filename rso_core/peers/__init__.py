"""Several workers that train one run together, and how they speak to one another.

Every worker makes the same decisions from the same sums: each holds a share of the images of every
batch, and what it adds up over its own is added up over all of them.
"""

from rso_core.peers.interface import (
    ALONE,
    PeerLost,
    Peers,
    check_shares,
    largest_share,
    share_of,
)
from rso_core.peers.listener import Listener

__all__ = [
    "ALONE",
    "Listener",
    "PeerLost",
    "Peers",
    "check_shares",
    "largest_share",
    "share_of",
]
