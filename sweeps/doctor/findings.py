"""What an examination has found, said of as many nodes at once as it holds for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from sweeps.doctor.facts import Node

Status = Literal["ok", "note", "warning", "fault"]
"""All is well; worth knowing; a sweep runs, but not as it should; a sweep cannot run so."""
STATUSES: tuple[Status, ...] = ("ok", "note", "warning", "fault")

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the result."""

    topic: str
    """What was examined: versions, clock, data, ..."""
    status: Status
    text: str
    nodes: tuple[str, ...] = ()
    """For which it holds; none where it is one of the whole cluster."""
    remedy: str | None = None
    """What to do; of a warning and a fault."""

    def __post_init__(self) -> None:
        assert (self.remedy is not None) == (self.status in ("warning", "fault")), self


def alike(nodes: Iterable[Node], key: Callable[[Node], _Key]) -> dict[_Key, list[Node]]:
    """The nodes by what they have in common; the largest groups first."""
    groups: dict[_Key, list[Node]] = {}
    for node in nodes:
        groups.setdefault(key(node), []).append(node)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def names(nodes: Iterable[Node]) -> tuple[str, ...]:
    """Their names, in order."""
    return tuple(node.name for node in nodes)
