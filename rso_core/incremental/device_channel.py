"""Losses on a device for the weights of all layers but the last: one channel changes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from rso_core.incremental.device_batches import DeviceBatches, Prefix
from rso_core.incremental.device_losses import N_CANDIDATES, Visit, mean_losses
from rso_core.incremental.graph import Kind, NetworkGraph, Node
from rso_core.incremental.node_values import node_parameters, node_value


class OneChannel:
    """For all other parameters: a weight moves one channel of the node that it belongs to.

    From there the changing nodes fall into two parts. Of the *narrow* ones, which treat every
    channel by itself, one channel changes; three variants of that channel are computed, and all
    channels once, with the kept weight. Of the *wide* ones all channels change, from the first
    convolutions on that read a narrow node: such a convolution adds the share of the channel's
    change to what comes of the kept weight.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        parameter: str,
        parameters: Mapping[str, torch.Tensor],
        batches: DeviceBatches,
        memory_bytes: int,
        has_double_softmax: bool = False,
    ) -> None:
        self._nodes = graph.nodes
        self._parameter = parameter
        self._parameters = parameters
        self._batches = batches
        self._has_double_softmax = has_double_softmax
        self._visited = graph.owner(parameter)
        self._changing = (self._visited, *graph.descendants(self._visited))
        self._last = len(graph.nodes) - 1
        self._row_size = parameters[parameter][0].numel()
        """How many weights of the parameter belong to one channel."""
        self._last_reader = {p: max(graph.consumers(p)) for p in range(self._last)}
        self._wide = self._wide_nodes()
        self._kept = self._kept_nodes()
        read = {p for position in self._changing for p in graph.nodes[position].inputs}
        wanted = sorted(read - set(self._changing))
        self._prefix = Prefix(graph, parameters, batches, wanted, memory_bytes)

    def losses(self, visit: Visit) -> torch.Tensor:
        """See `CandidateLosses.losses`."""
        values = _Values(
            channel=visit.position // self._row_size,
            kept=self._prefix.values(visit.slot),
            moved={},
            changed={},
        )
        for position in self._changing:
            if position in self._kept:
                values.kept[position] = self._kept_value(position, values)
            if position == self._visited:
                values.moved[position] = self._visited_channel(visit, values)
            elif position in self._wide:
                values.moved[position] = self._all_channels(position, values)
            else:
                values.moved[position] = self._one_channel(position, values)
            values.changed[position] = self._changed(position, values)
            for p in self._nodes[position].inputs:
                if self._last_reader[p] == position:
                    values.forget(p)
        logits = values.moved[self._last]
        if self._last not in self._wide:
            logits = values.widened(self._last)
        targets = self._batches.targets(visit.slot)
        losses = mean_losses(logits.flatten(2), targets, self._has_double_softmax)
        changed = values.changed[self._last] & (visit.candidates != visit.candidates[:1])
        return torch.where(changed, losses, losses[:1])

    def accept_(self, visit: Visit, accepted: torch.Tensor) -> None:
        """Nothing is kept that depends on the visited parameter."""

    def _wide_nodes(self) -> set[int]:
        wide: set[int] = set()
        for position in self._changing[1:]:
            node = self._nodes[position]
            if node.kind is Kind.CONVOLUTION or not wide.isdisjoint(node.inputs):
                wide.add(position)
        return wide

    def _kept_nodes(self) -> set[int]:
        """Narrow nodes of which all channels are needed: what wide ones read, or the logits."""
        narrow = [p for p in self._changing if p not in self._wide]
        needed = {p for position in self._wide for p in self._nodes[position].inputs} | {self._last}
        for position in reversed(narrow):
            if position in needed:
                needed |= set(self._nodes[position].inputs)
        return needed.intersection(narrow)

    # ------------------------------------------------------- [batch_size, variants, channels, ...]

    def _kept_value(self, position: int, values: _Values) -> torch.Tensor:
        """All channels of a node with the kept weight, from a narrow or unchanging input."""
        node = self._nodes[position]
        inputs = [values.kept[p] for p in node.inputs]
        return node_value(node, inputs, *node_parameters(node, self._parameters))

    def _visited_channel(self, visit: Visit, values: _Values) -> torch.Tensor:
        """The three candidates are computed as three channels, and turned into variants."""
        node = self._nodes[self._visited]
        source = values.kept[node.inputs[0]]
        if node.kind is Kind.BATCH_NORM:
            source = source.index_select(2, values.channel).expand(-1, -1, N_CANDIDATES, -1, -1)
        weight, bias = (
            self._of_candidates(parameter, visit, values.channel, name == self._parameter)
            for parameter, name in zip(
                node_parameters(node, self._parameters), (node.weight, node.bias), strict=True
            )
        )
        return node_value(node, [source], weight, bias).transpose(1, 2)

    def _of_candidates(
        self,
        parameter: torch.Tensor | None,
        visit: Visit,
        channel: torch.Tensor,
        is_visited: bool,
    ) -> torch.Tensor | None:
        """[3, ...]: what the parameter has for the channel, with each candidate in its place."""
        if parameter is None:
            return None
        rows = torch.cat([parameter.index_select(0, channel)] * N_CANDIDATES)
        if is_visited:
            column = visit.position % self._row_size
            rows.view(N_CANDIDATES, -1).index_copy_(1, column, visit.candidates[:, None])
        return rows

    def _one_channel(self, position: int, values: _Values) -> torch.Tensor:
        node = self._nodes[position]
        inputs = [
            values.moved[p] if p in values.moved else values.kept[p].index_select(2, values.channel)
            for p in node.inputs
        ]
        weight, bias = (
            None if parameter is None else parameter.index_select(0, values.channel)
            for parameter in node_parameters(node, self._parameters)
        )
        return node_value(node, inputs, weight, bias)

    def _all_channels(self, position: int, values: _Values) -> torch.Tensor:
        node = self._nodes[position]
        weight, bias = node_parameters(node, self._parameters)
        source = node.inputs[0]
        if node.kind is Kind.CONVOLUTION and source not in self._wide:
            assert weight is not None
            change = values.moved[source] - values.moved[source][:, :1]
            weight_of_channel = weight.index_select(1, values.channel)
            share = node_value(node, [change], weight_of_channel, None)
            return self._kept_value(position, values) + share
        inputs = [
            values.moved[p] if p in self._wide
            else values.widened(p) if p in values.moved
            else values.kept[p]
            for p in node.inputs
        ]  # fmt: skip
        return node_value(node, inputs, weight, bias)

    def _changed(self, position: int, values: _Values) -> torch.Tensor:
        """[3] bool: where a candidate's value differs from that of KEEP.

        Equal inputs in different places of one operation may be rounded differently; so a change
        is looked for where it can come and go, and not where there was none before.
        """
        node = self._nodes[position]
        before = [values.changed[p] for p in node.inputs if p in values.changed]
        changed = torch.stack(before).any(0) if before else None
        if changed is None or position == self._last or self._can_lose_a_change(node):
            value = values.moved[position]
            differs = (value != value[:, :1]).any(dim=(0, 2, 3, 4))
            changed = differs if changed is None else changed & differs
        return changed

    def _can_lose_a_change(self, node: Node) -> bool:
        if node.kind is Kind.CONVOLUTION:
            return node.inputs[0] not in self._wide  # a channel that it multiplies by zero
        return node.kind in (Kind.POINTWISE, Kind.MAX_POOL)


@dataclass(slots=True)
class _Values:
    """Of nodes, by position, for the visit under way."""

    channel: torch.Tensor
    """[1] int64: the one that the visited weight belongs to."""
    kept: dict[int, torch.Tensor]
    """[batch_size, 1, channels, height, width]: with the kept weight, or unchanging."""
    moved: dict[int, torch.Tensor]
    """[batch_size, 3, 1 or channels, height, width]: with each of the candidates."""
    changed: dict[int, torch.Tensor]
    """[3] bool: whether the candidate makes a difference to the node."""

    def forget(self, position: int) -> None:
        """Gives the memory of a node's values back."""
        self.kept.pop(position, None)
        self.moved.pop(position, None)

    def widened(self, position: int) -> torch.Tensor:
        """All channels of a narrow node, with each of the candidates."""
        kept = self.kept[position].expand(-1, N_CANDIDATES, -1, -1, -1)
        return kept.index_copy(2, self.channel, self.moved[position])
