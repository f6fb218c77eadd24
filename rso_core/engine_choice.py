"""Which engine visits the weights of a network."""

from __future__ import annotations

import logging
from typing import Literal

import torch
from torch import nn

from rso_core.engines import Engine, ReferenceEngine
from rso_core.errors import InvalidInput
from rso_core.incremental.graph import UnsupportedNetwork
from rso_core.incremental.graph_reader import network_graph
from rso_core.peers import ALONE, Peers

EngineName = Literal["auto", "incremental", "reference"]

_LOGGER = logging.getLogger("rso_core")
_announced: set[str] = set()


def build_engine(
    name: EngineName,
    model: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    n_threads: int,
    memory_bytes: int,
    peers: Peers = ALONE,
    has_double_softmax: bool = False,
) -> Engine:
    """The engine of that name for a network and its data; see `Engine`.

    Args:
        name: `auto` takes the incremental engine for the networks that it knows, and says once
            where it does not.
        model: its parameters are to be moved.
        inputs: [n, *input_shape] float32, on the model's device.
        targets: [n] int64.
        n_threads: for an engine on the CPU.
        memory_bytes: for what an incremental engine keeps of the batches.
        peers: the workers that share the batches.
        has_double_softmax: see `Engine`.

    Raises:
        InvalidInput: `incremental` for a network that it does not know, or several workers for
            what they cannot share.
    """
    if name == "reference":
        return ReferenceEngine(
            model, inputs, targets, peers=peers, has_double_softmax=has_double_softmax
        )
    try:
        return _incremental(
            model, inputs, targets, n_threads, memory_bytes, peers, has_double_softmax
        )
    except UnsupportedNetwork as error:
        if name == "incremental":
            raise InvalidInput(
                f"'engine' must be auto or reference for this network, got incremental; {error}"
            ) from error
        _announce(str(error))
        return ReferenceEngine(
            model, inputs, targets, peers=peers, has_double_softmax=has_double_softmax
        )


def announce_fallback(model: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Says, once in a process, why `auto` will take the reference engine, if it will."""
    try:
        network_graph(model, input_shape)
    except UnsupportedNetwork as error:
        _announce(str(error))


def _incremental(
    model: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    n_threads: int,
    memory_bytes: int,
    peers: Peers,
    has_double_softmax: bool,
) -> Engine:
    if peers.size > 1 and inputs.device.type != "cpu":
        raise InvalidInput(
            f"'workers_per_run' must be 1 for the incremental engine on {inputs.device.type}, "
            f"got {peers.size}; train on CPUs, or set 'rso.engine' to reference"
        )
    # what is not used is not imported: numba and its kernels take a second
    if inputs.device.type != "cpu":
        from rso_core.incremental.device_engine import DeviceEngine

        return DeviceEngine(
            model,
            inputs,
            targets,
            memory_bytes=memory_bytes,
            has_double_softmax=has_double_softmax,
        )
    from rso_core.incremental.engine import IncrementalEngine

    return IncrementalEngine(
        model,
        inputs,
        targets,
        n_threads=n_threads,
        memory_bytes=memory_bytes,
        peers=peers,
        has_double_softmax=has_double_softmax,
    )


def _announce(why: str) -> None:
    if why not in _announced:
        _announced.add(why)
        _LOGGER.warning(
            "the incremental engine does not know this network: %s; "
            "the reference engine is used, which is many times slower",
            why,
        )
