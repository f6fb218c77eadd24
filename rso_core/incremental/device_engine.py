"""The engine that computes what a changed weight changes, in torch operations on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rso_core.batches import Batches
from rso_core.engines import Visits
from rso_core.evaluation import evaluate
from rso_core.incremental.device_batches import DeviceBatches
from rso_core.incremental.device_channel import OneChannel
from rso_core.incremental.device_columns import LogitColumns
from rso_core.incremental.device_losses import CandidateLosses
from rso_core.incremental.device_session import DeviceSession
from rso_core.incremental.graph import UnsupportedNetwork
from rso_core.incremental.graph_reader import network_graph
from rso_core.incremental.parameter_state import ParameterState

DEFAULT_MEMORY_BYTES = 4 * 2**30
"""What an engine keeps of the batches at most, if nothing else is said."""


class DeviceEngine:
    """Makes the reference engine's decisions without waiting for the device; see `Engine`.

    Args:
        model: its parameters are moved; in float32.
        inputs: [n, *input_shape] float32, on the model's device; may be read-only memory.
        targets: [n] int64, on the model's device.
        memory_bytes: how much may be kept of the batches' activations; with less, more is
            computed anew. None for `DEFAULT_MEMORY_BYTES`.
        has_double_softmax: see `Engine`.

    Raises:
        UnsupportedNetwork: the network or its data hold something that the engine does not know.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        memory_bytes: int | None = None,
        has_double_softmax: bool = False,
    ) -> None:
        self._has_double_softmax = has_double_softmax
        self._model = model
        self._parameters = dict(model.named_parameters())
        for tensor in (inputs, *self._parameters.values()):
            if tensor.device != inputs.device or tensor.dtype != torch.float32:
                raise UnsupportedNetwork(
                    f"it holds {tensor.dtype} on {tensor.device}, not torch.float32 where its "
                    f"inputs are, on {inputs.device}"
                )
        self._graph = network_graph(model, tuple(inputs.shape[1:]))
        self._inputs = inputs
        self._targets = targets
        self._memory_bytes = DEFAULT_MEMORY_BYTES if memory_bytes is None else memory_bytes
        self._session: DeviceSession | None = None
        self._parameter = ""
        self._first_weight = 0
        self._batches: Batches | None = None
        self._known = ParameterState(self._parameters)

    def visit_(
        self,
        parameter: str,
        first_weight: int,
        deltas: torch.Tensor,
        batches: Batches,
        decay: float,
    ) -> Visits:
        """See `Engine.visit_`; the host hears of nothing before all the weights are visited."""
        with torch.no_grad(), _full_precision():
            session = self._session_for(parameter, first_weight, batches)
            visits = session.visit(first_weight, deltas, decay)
            self._known = ParameterState(self._parameters)
        return visits

    def resumable_every(self, parameter: str, batch_size: int) -> int:
        """Only at a parameter's first weight: a new session would capture its steps anew."""
        return self._parameters[parameter].numel()

    def evaluate(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
        """See `Engine.evaluate`."""
        return evaluate(self._model, inputs, targets)

    def _session_for(self, parameter: str, first_weight: int, batches: Batches) -> DeviceSession:
        """The session that goes on, or a new one where anything has changed."""
        goes_on = (
            parameter == self._parameter
            and batches is self._batches
            and first_weight >= self._first_weight
            and self._known.is_of(self._parameters)
        )
        if self._session is None or not goes_on:
            self._session = None  # its memory is used again
            self._session = self._new_session(parameter, first_weight, batches)
            self._parameter, self._first_weight = parameter, first_weight
            self._batches = batches
        return self._session

    def _new_session(self, parameter: str, first_weight: int, batches: Batches) -> DeviceSession:
        parameters = {name: p.detach() for name, p in self._parameters.items()}
        on_device = DeviceBatches(batches, first_weight, self._inputs, self._targets)
        losses: CandidateLosses
        if LogitColumns.fits(self._graph, parameter, on_device, self._memory_bytes):
            losses = LogitColumns(
                self._graph, parameter, parameters, on_device, self._has_double_softmax
            )
        else:
            losses = OneChannel(
                self._graph,
                parameter,
                parameters,
                on_device,
                self._memory_bytes,
                self._has_double_softmax,
            )
        return DeviceSession(parameters[parameter], on_device, losses)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Convolutions in float32 all through: TF32 would move a loss by more than candidates do."""
    cudnn = torch.backends.cudnn
    if not torch.cuda.is_available():
        yield
        return
    with cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False):
        yield
