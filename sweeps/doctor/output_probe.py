"""Whether nodes reach the run folder."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sweeps.doctor.facts import Failure, Reach
from sweeps.doctor.on_node import write_and_remove
from sweeps.doctor.probes import ANSWER_S, Probes
from sweeps.storage.places import LocalPlace, StorageFailed


def driver_fault(output: str) -> str | None:
    """Why this process cannot write where the run folder is to be; None if it can."""
    try:
        if "://" in output:
            write_and_remove(output, _name())
        else:
            with _Mark(Path(output).absolute()):
                pass
    except StorageFailed as error:
        return str(error)
    return None


def reached_outputs(
    output: str, nodes: Iterable[str], probes: Probes
) -> dict[str, Reach | Failure]:
    """How each node reaches the run folder, which need not exist yet; nothing is left behind.

    Args:
        output: its address.
        nodes: their identifiers.
        probes: of the nodes.
    """
    if "://" in output:
        tried = {each: (output, _name()) for each in nodes}
        answers = probes.call("write_and_remove", tried, ANSWER_S)
        return {
            node: answer if isinstance(answer, Failure) else "written"
            for node, answer in answers.items()
        }
    with _Mark(Path(output).absolute()) as mark:
        answers = probes.call("is_shared", {each: mark.arguments(each) for each in nodes}, ANSWER_S)
        return {node: mark.reach(node, answer) for node, answer in answers.items()}


class _Mark:
    """A file in the run folder, or in the nearest folder above it that exists, for nodes to find.

    Everything is removed at the end, what the nodes have written as well.

    Raises:
        StorageFailed: on entering, it cannot be written.
    """

    def __init__(self, output: Path) -> None:
        self._folder = next(path for path in (output, *output.parents) if path.is_dir())
        self._name = _name()

    def __enter__(self) -> _Mark:
        LocalPlace(str(self._folder)).write(self._name, self._name.encode())
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._folder.glob(f"{self._name}*"):
            path.unlink(missing_ok=True)

    def arguments(self, node: str) -> tuple[str, str, bytes, str]:
        """Of `on_node.is_shared`."""
        return str(self._folder), self._name, self._name.encode(), f"{self._name}-{node}"

    def reach(self, node: str, answer: Any) -> Reach | Failure:
        """What a node's answer means."""
        if isinstance(answer, Failure):
            return answer
        is_shared = answer and (self._folder / f"{self._name}-{node}").exists()
        return "shared" if is_shared else "elsewhere"


def _name() -> str:
    return f".rso-sweep-doctor-{secrets.token_hex(8)}"
