"""An actor on every node of a Ray cluster, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.doctor import probe
from sweeps.doctor.facts import Failure
from sweeps.ray_losses import loss

ANSWER_S = 60.0
"""How long a node may take to start a process and answer."""
_ON_NODE = "sweeps.doctor.on_node"


class Probes:
    """An actor on each node, as long as the context lasts; they need no free CPU.

    Args:
        living: the nodes, as `ray.nodes` lists them.

    Attributes:
        actors: by the identifiers of their nodes.
    """

    def __init__(self, living: Sequence[Mapping[str, Any]]) -> None:
        self.actors: dict[str, Any] = {}
        self._living = living

    def __enter__(self) -> Probes:
        # sent as it is: a node may have no such module, or another one of that name
        cloudpickle.register_pickle_by_value(probe)  # type: ignore[no-untyped-call]
        try:
            for node in self._living:
                place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                actor: Any = ray.remote(probe.NodeProbe)
                self.actors[node["NodeID"]] = actor.options(
                    num_cpus=0, scheduling_strategy=place, max_restarts=0
                ).remote()
        finally:
            cloudpickle.unregister_pickle_by_value(probe)  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self.actors.values():
            ray.kill(actor)
        self.actors.clear()

    def ask(
        self, method: str, arguments: Mapping[str, Sequence[Any]], timeout_s: float
    ) -> dict[str, Any]:
        """Calls a method on several nodes at once; the answer of each, or a `Failure`."""
        refs = {
            node: getattr(self.actors[node], method).remote(*given)
            for node, given in arguments.items()
        }
        if refs:
            ray.wait(list(refs.values()), num_returns=len(refs), timeout=timeout_s)
        return {node: _answer(ref, timeout_s) for node, ref in refs.items()}

    def call(
        self, function: str, arguments: Mapping[str, Sequence[Any]], timeout_s: float
    ) -> dict[str, Any]:
        """The same of a function of `on_node`."""
        given = {node: (_ON_NODE, function, *each) for node, each in arguments.items()}
        answers = {}
        for node, answer in self.ask("call", given, timeout_s).items():
            if not isinstance(answer, Failure):
                result, error = answer
                answer = result if error is None else Failure(error)
            answers[node] = answer
        return answers


def _answer(ref: Any, timeout_s: float) -> Any:
    try:
        return ray.get(ref, timeout=0)
    except GetTimeoutError:
        return Failure(f"no answer within {timeout_s:.0f} s")
    except RayError as error:
        return Failure(loss(error))
