"""The batches of a layer on a device, and what is kept of the network for each of them.

A visit's batch is picked by an index that is itself on the device, so that the host need not know
which visit is under way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from rso_core.batches import Batches
from rso_core.incremental.graph import Kind, NetworkGraph
from rso_core.incremental.node_values import graph_values


class DeviceBatches:
    """The batches that visits draw, each of them in a slot.

    Args:
        batches: of a layer.
        first_visit: no visit before that one is asked for.
        inputs: [n, *input_shape] on the device.
        targets: [n] on the device.
    """

    def __init__(
        self, batches: Batches, first_visit: int, inputs: torch.Tensor, targets: torch.Tensor
    ) -> None:
        drawn, slots = torch.unique(batches.drawn[first_visit:], return_inverse=True)
        self.n_slots = len(drawn)
        self.batch_size = batches.batch_size
        self._inputs = inputs
        self._images = batches.images[drawn].to(inputs.device)
        self._targets = targets.index_select(0, self._images.flatten()).view_as(self._images)
        before = torch.zeros(first_visit, dtype=slots.dtype)
        self._slots = torch.cat([before, slots]).to(inputs.device)

    def slot(self, visit: torch.Tensor) -> torch.Tensor:
        """[1] int64: where the batch of a visit is; the visit is a [1] int64 too."""
        return self._slots.index_select(0, visit)

    def inputs(self, slot: torch.Tensor) -> torch.Tensor:
        """[batch_size, *input_shape], a copy."""
        return self._inputs.index_select(0, self._images.index_select(0, slot).flatten())

    def targets(self, slot: torch.Tensor) -> torch.Tensor:
        """[batch_size] int64."""
        return self._targets.index_select(0, slot).flatten()

    def all_slots(self) -> list[torch.Tensor]:
        """Each a [1] int64."""
        slots = torch.arange(self.n_slots, device=self._inputs.device)
        return [slots[slot : slot + 1] for slot in range(self.n_slots)]


class Prefix:
    """The values of the nodes that do not change while a layer is visited.

    They are computed once a batch, with the batch norms' statistics of that batch. Where they take
    more memory than there is, every visit computes them anew.

    Args:
        graph: of the network.
        parameters: by name.
        batches: of the layer.
        wanted: positions of the nodes.
        memory_bytes: how much may be kept.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        parameters: Mapping[str, torch.Tensor],
        batches: DeviceBatches,
        wanted: Sequence[int],
        memory_bytes: int,
    ) -> None:
        self._graph = graph
        self._parameters = parameters
        self._batches = batches
        self._wanted = wanted
        # the images themselves are picked from the training set
        kept = [p for p in wanted if graph.nodes[p].kind is not Kind.INPUT]
        n_images = batches.n_slots * batches.batch_size
        n_numbers = n_images * sum(math.prod(graph.nodes[p].shape) for p in kept)
        self._kept: dict[int, torch.Tensor] = {}
        if n_numbers * 4 <= memory_bytes:
            self._fill(kept)

    def values(self, slot: torch.Tensor) -> dict[int, torch.Tensor]:
        """By position: [batch_size, 1, channels, height, width] for the batch of a slot."""
        kept = {p: value.index_select(0, slot).squeeze(0) for p, value in self._kept.items()}
        missing = [position for position in self._wanted if position not in kept]
        return kept | self._computed(slot, missing) if missing else kept

    def _computed(self, slot: torch.Tensor, wanted: Sequence[int]) -> dict[int, torch.Tensor]:
        inputs = self._batches.inputs(slot)
        return graph_values(self._graph, self._parameters, inputs, wanted)

    def _fill(self, positions: Sequence[int]) -> None:
        n_slots = self._batches.n_slots
        if not positions:
            return
        for index, slot in enumerate(self._batches.all_slots()):
            for position, value in self._computed(slot, positions).items():
                if position not in self._kept:
                    self._kept[position] = value.new_empty((n_slots, *value.shape))
                self._kept[position][index] = value
