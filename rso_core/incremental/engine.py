"""The engine that computes only what a changed weight changes, on the processor."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from rso_core.batches import Batches
from rso_core.engines import KEEP, Visits
from rso_core.evaluation import evaluate, keeps_statistics
from rso_core.incremental.channel_session import ChannelSession
from rso_core.incremental.compiled.sockets import CAN_EXCHANGE
from rso_core.incremental.compiled_evaluation import evaluate_compiled
from rso_core.incremental.graph import UnsupportedNetwork
from rso_core.incremental.graph_reader import network_graph
from rso_core.incremental.last_linear_session import (
    LastLinearSession,
    column_bytes,
    is_of_last_linear,
)
from rso_core.incremental.parameter_state import ParameterState
from rso_core.incremental.session import Arena, Session, Threads, Workplace
from rso_core.incremental.work import visits_within
from rso_core.peers import ALONE, Peers

DEFAULT_MEMORY_BYTES = 6 * 2**30
"""What an engine keeps of the batches at most, if nothing else is said."""


RESUMABLE_FLOP = 2e12
"""A parameter with more work to do than this, half a minute's, is visited in parts: what is kept
is made anew for each, so that a run can be resumed between them."""


class IncrementalEngine:
    """Makes the reference engine's decisions at a fraction of its work; see `Engine`.

    Args:
        model: its parameters are moved; on the CPU, in float32.
        inputs: [n, *input_shape] float32; may be read-only memory, and is not copied if it is
            contiguous.
        targets: [n] int64.
        n_threads: how many threads the visits use, at least 1; the losses do not depend on it.
        memory_bytes: how much may be kept of the batches' activations; with less, more is
            computed anew. None for `DEFAULT_MEMORY_BYTES`.
        peers: the workers that share the batches.
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
        n_threads: int = 1,
        memory_bytes: int | None = None,
        peers: Peers = ALONE,
        has_double_softmax: bool = False,
    ) -> None:
        if peers.size > 1 and not CAN_EXCHANGE:
            raise UnsupportedNetwork("several workers train it, on a system without POSIX sockets")
        self._model = model
        self._parameters = dict(model.named_parameters())
        for tensor in (inputs, *self._parameters.values()):
            if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
                raise UnsupportedNetwork(
                    f"it holds {tensor.dtype} on {tensor.device}, not torch.float32 on the CPU"
                )
        graph = network_graph(model, tuple(inputs.shape[1:]))
        images = inputs.detach().reshape(len(inputs), -1).contiguous().numpy().view()
        images.flags.writeable = False  # so that all inputs have one type to the compiler
        memory_bytes = DEFAULT_MEMORY_BYTES if memory_bytes is None else memory_bytes
        self._workplace = Workplace(
            graph, self._parameters, images, np.ascontiguousarray(targets.numpy()),
            Threads(n_threads), Arena(memory_bytes // 4), memory_bytes, peers,
            has_double_softmax,
        )  # fmt: skip
        self._session: Session | None = None
        self._parameter = ""
        self._batches: Batches | None = None
        self._next_weight = 0
        self._known = ParameterState(self._parameters)

    def visit_(
        self,
        parameter: str,
        first_weight: int,
        deltas: torch.Tensor,
        batches: Batches,
        decay: float,
    ) -> Visits:
        """See `Engine.visit_`."""
        every = self.resumable_every(parameter, batches.batch_size)
        first, end = first_weight, first_weight + len(deltas)
        parts = []
        while first < end:
            stop = min(end, first - first % every + every)
            session = self._session_for(parameter, first, batches, first % every == 0)
            visited = slice(first - first_weight, stop - first_weight)
            drawn = batches.drawn[first:stop].numpy()
            parts.append(session.visit(first, deltas[visited].numpy(), drawn, decay))
            self._next_weight = first = stop
            self._known = ParameterState(self._parameters)
            losses, chosen = parts[-1]
            if self._workplace.peers.size > 1 and not np.isfinite(losses[-1, chosen[-1]]):
                break  # see `Engine`
        losses, chosen = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        n_left = len(deltas) - len(losses)
        losses = np.pad(losses, ((0, n_left), (0, 0)), constant_values=np.nan)
        chosen = np.pad(chosen, (0, n_left), constant_values=KEEP)
        return Visits(losses=torch.from_numpy(losses), chosen=torch.from_numpy(chosen))

    def resumable_every(self, parameter: str, batch_size: int) -> int:
        """See `Engine.resumable_every`; depends on the network and the batch size alone."""
        return visits_within(self._workplace.graph, parameter, batch_size, RESUMABLE_FLOP)

    def evaluate(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
        """As `rso_core.evaluation.evaluate`, of the engine's model."""
        if not keeps_statistics(self._model):
            return evaluate(self._model, inputs, targets)
        return evaluate_compiled(self._workplace, self._model, inputs, targets)

    def _session_for(
        self, parameter: str, first_weight: int, batches: Batches, begins_anew: bool
    ) -> Session:
        """The session that goes on, or a new one where anything has changed."""
        goes_on = (
            not begins_anew
            and self._session is not None
            and (parameter, first_weight) == (self._parameter, self._next_weight)
            and batches is self._batches
            and self._known.is_of(self._parameters)
        )
        if not goes_on:
            self._session = None  # its memory is used again
            self._session = self._new_session(parameter, batches)
            self._parameter, self._batches = parameter, batches
        assert self._session is not None
        return self._session

    def _new_session(self, parameter: str, batches: Batches) -> Session:
        workplace = self._workplace
        if (
            # a softmax moves with every logit: there is no part of the loss that stays
            not workplace.has_double_softmax
            and is_of_last_linear(workplace.graph, parameter)
            and column_bytes(workplace.graph, batches, workplace.peers) <= workplace.memory_bytes
        ):
            return LastLinearSession(workplace, parameter, batches)
        return ChannelSession(workplace, parameter, batches)
