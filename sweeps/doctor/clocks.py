"""How far a node's clock is off, by messages there and back, as NTP measures it (RFC 5905, 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.doctor.facts import Clock


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message to a node and back: four moments, in seconds, by the clock of whoever notes them.

    The driver notes when it sends and when the answer returns, the node when it has received the
    message and when it answers.
    """

    sent: float
    received: float
    answered: float
    returned: float

    @property
    def offset_s(self) -> float:
        """The node's clock less the driver's, were both ways equally long."""
        return ((self.received - self.sent) + (self.answered - self.returned)) / 2

    @property
    def uncertainty_s(self) -> float:
        """How far that may be off, should all of the time have been spent on one of the ways."""
        return max(0.0, ((self.returned - self.sent) - (self.answered - self.received)) / 2)


def clock_of(exchanges: Sequence[Exchange]) -> Clock:
    """What the exchanges, at least one, say together.

    The true offset is within the bounds of each, hence within those of all. Where they have
    nothing in common a clock was set meanwhile, and the most certain one is taken.
    """
    lowest = max(each.offset_s - each.uncertainty_s for each in exchanges)
    highest = min(each.offset_s + each.uncertainty_s for each in exchanges)
    if lowest <= highest:
        return Clock((lowest + highest) / 2, (highest - lowest) / 2)
    best = min(exchanges, key=lambda each: each.uncertainty_s)
    return Clock(best.offset_s, best.uncertainty_s)
