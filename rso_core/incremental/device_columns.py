"""The last linear layer on a device: losses from one changed column of kept logits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from rso_core.incremental.device_batches import DeviceBatches
from rso_core.incremental.device_losses import N_CANDIDATES, Visit, mean_losses
from rso_core.incremental.graph import NetworkGraph
from rso_core.incremental.node_values import graph_values


class LogitColumns:
    """For the last linear layer: a weight (c, i) moves logit c by its change times activation i.

    The activations that the layer reads and the logits of all batches are kept, with an image's
    numbers far apart, so that what a weight needs of them lies together. The logits are summed up
    in float64, which thousands of changes do not wear out.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        parameter: str,
        parameters: Mapping[str, torch.Tensor],
        batches: DeviceBatches,
        has_double_softmax: bool = False,
    ) -> None:
        last = len(graph.nodes) - 1
        node = graph.nodes[last]
        self._batches = batches
        self._has_double_softmax = has_double_softmax
        device = parameters[parameter].device
        size = (batches.n_slots, batches.batch_size)
        n_features = 1 if parameter == node.bias else parameters[parameter][0].numel()
        self._features = torch.ones(n_features, *size, device=device)
        self._logits = torch.empty(node.shape[0], *size, device=device, dtype=torch.float64)
        reads = node.inputs[0]
        for index, slot in enumerate(batches.all_slots()):
            values = graph_values(graph, parameters, batches.inputs(slot), (reads, last))
            self._logits[:, index] = values[last].flatten(1).T
            if parameter == node.weight:
                self._features[:, index] = values[reads].flatten(1).T

    @staticmethod
    def fits(
        graph: NetworkGraph, parameter: str, batches: DeviceBatches, memory_bytes: int
    ) -> bool:
        """Whether the parameter is one of the last linear layer's, and its batches can be kept."""
        last = graph.nodes[-1]
        if last.window is None or parameter not in (last.weight, last.bias):
            return False
        channels, *image = graph.nodes[last.inputs[0]].shape
        if (*last.window.kernel, *last.window.padding) != (*image, 0, 0):
            return False  # a convolution that gives one pixel, but does not read each pixel once
        n_features = channels * math.prod(image)
        n_images = batches.n_slots * batches.batch_size
        return n_images * (4 * n_features + 8 * last.shape[0]) <= memory_bytes

    def losses(self, visit: Visit) -> torch.Tensor:
        """See `CandidateLosses.losses`."""
        logit, feature = self._column(visit)
        change = (visit.candidates.double() - visit.weight.double())[:, None]
        moved = feature.index_select(1, visit.slot).double().flatten() * change
        logits = self._logits.index_select(1, visit.slot).squeeze(1)  # [n_classes, batch_size]
        moved = (moved + logits.index_select(0, logit)).float()  # overflows as in a forward pass
        candidates = (
            logits.float().expand(N_CANDIDATES, -1, -1).index_copy(1, logit, moved[:, None])
        )
        targets = self._batches.targets(visit.slot)
        losses = mean_losses(candidates.permute(2, 0, 1), targets, self._has_double_softmax)
        changed = (moved != moved[:1]).any(1)
        return torch.where(changed, losses, losses[:1])

    def accept_(self, visit: Visit, accepted: torch.Tensor) -> None:
        """See `CandidateLosses.accept_`."""
        logit, feature = self._column(visit)
        change = accepted.double() - visit.weight.double()
        self._logits.index_add_(0, logit, feature.double() * change)

    def _column(self, visit: Visit) -> tuple[torch.Tensor, torch.Tensor]:
        """Which logit the weight moves, [1], and by what for a unit, [1, n_slots, batch_size]."""
        n_features = len(self._features)
        feature = self._features.index_select(0, visit.position % n_features)
        return visit.position // n_features, feature
