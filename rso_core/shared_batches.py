"""What couples the images of a batch, in a network whose batches several workers share."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from rso_core.errors import InvalidInput
from rso_core.evaluation import (
    BatchNorm,
    batch_norms,
    batch_statistics,
    module_modes_restored,
)
from rso_core.peers import Peers

_N_COMPARED = 4
_TOLERANCE = 1e-3
"""By which an image's logits may differ, relative to the largest: far more than rounding."""


@contextmanager
def shared_batch_statistics(model: nn.Module, peers: Peers) -> Iterator[None]:
    """As `batch_statistics`, of batches of which each worker holds a share of the images."""
    if peers.size == 1:
        with batch_statistics(model):
            yield
        return
    norms = batch_norms(model)
    with batch_statistics(model):
        for norm in norms:
            norm.forward = _forward(norm, peers)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for norm in norms:
                del norm.forward


def check_shareable(model: nn.Module, inputs: torch.Tensor, peers: Peers) -> None:
    """Whether the images of a batch act on one another by torch's own batch norms alone.

    Args:
        model: left as it is.
        inputs: [n, *input_shape]; a few of them are passed through it.
        peers: how many share a batch.

    Raises:
        InvalidInput: they do in other ways, of which a worker with a share of them knows nothing.
    """
    if peers.size == 1:
        return
    images = inputs[:_N_COMPARED]
    own_norms = [
        type(norm).__name__
        for norm in batch_norms(model)
        if type(norm).forward is not nn.BatchNorm2d.forward
    ]
    with module_modes_restored(model), torch.inference_mode(), torch.random.fork_rng([]):
        model.eval()
        together = model(images.clone())
        apart = torch.cat([model(images[i : i + 1].clone()) for i in range(len(images))])
    tolerance = _TOLERANCE * together.nan_to_num(0, 0, 0).abs().max().item()
    is_same = torch.allclose(together, apart, rtol=0, atol=tolerance, equal_nan=True)
    if own_norms or not is_same:
        why = f" ({own_norms[0]})" if own_norms else ""
        raise InvalidInput(
            "'workers_per_run' must be 1 for a network in which the images of a batch act on one "
            f"another in other ways than by torch's batch norm{why}, or which draws random "
            f"numbers, got {peers.size}"
        )


def _forward(norm: BatchNorm, peers: Peers) -> Callable[..., torch.Tensor]:
    """A batch norm's forward pass by the statistics of all workers' images."""

    def forward(self: BatchNorm, inputs: torch.Tensor) -> torch.Tensor:
        self._check_input_dim(inputs)  # type: ignore[no-untyped-call]
        wide = inputs.double()
        axes = [0, *range(2, inputs.dim())]
        n_channels = inputs.shape[1]
        own = torch.cat([wide.sum(axes), wide.square().sum(axes)]).cpu().numpy()
        sums = np.concatenate([own, [inputs.numel() / n_channels]])
        peers.sum_(sums)
        means, squares = torch.from_numpy(sums[:-1] / sums[-1]).to(inputs.device).chunk(2)
        variances = (squares - means.square()).clamp(min=0)
        return functional.batch_norm(
            inputs, means.to(inputs.dtype), variances.to(inputs.dtype), self.weight, self.bias,
            training=False, eps=self.eps,
        )  # fmt: skip

    return types.MethodType(forward, norm)
