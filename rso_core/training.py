"""One training run: configuration, data and seed go in, a record of every cycle comes out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from torch import nn

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.networks import build_network, check_network
from rso_core.optimizers import Optimizer, ProgressCallback, optimizer_class
from rso_core.records import CycleOutcome, CycleRecord
from rso_core.torch_state import own_torch_state


class TrainingDiverged(RuntimeError):  # noqa: N818  (it names what happened)
    """The loss of a run is no longer a finite number."""


def train(
    configuration: Configuration,
    data: Dataset,
    seed: int,
    *,
    n_threads: int = 1,
    device: str = "cpu",
    on_progress: ProgressCallback | None = None,
) -> Iterator[CycleRecord]:
    """Trains one network from its initialisation; yields a record as soon as a cycle is over.

    The same configuration, data, seed and thread count give the same numbers, whatever the
    process. The caller's thread count and global random state are left as they were.

    Args:
        configuration: what to train.
        data: not changed; its tensors may be read-only memory.
        seed: of the initial weights, the batches and the perturbations.
        n_threads: threads that torch and the engine may use.
        device: where to train: `cpu`, or a torch device such as `cuda`.
        on_progress: called a few times a second; what it raises ends the run.

    Raises:
        InvalidInput: a batch larger than the data, or a network that does not fit it.
        TrainingDiverged: a loss that is not finite.
    """
    data = _on_device(data, device)
    with own_torch_state(n_threads, seed, device):
        model = fresh_network(configuration, data, seed).to(device)
        optimizer = optimizer_class(configuration.optimizer)(
            model,
            data.train_inputs,
            data.train_targets,
            batch_size=configuration.batch_size,
            cycles=configuration.cycles,
            options=configuration.options,
            generator=torch.Generator().manual_seed(seed),
            on_progress=on_progress,
        )
    outcomes = optimizer.run()
    for cycle in range(1, configuration.cycles + 1):
        # a generator shares its thread with the caller, so its state is set up for each step
        with own_torch_state(n_threads, seed * 1_000_003 + cycle, device):
            outcome = next(outcomes)
            if not math.isfinite(outcome.training_loss):
                raise TrainingDiverged(f"the loss in cycle {cycle} is {outcome.training_loss}")
            record = _evaluated(outcome, optimizer, data)
            for part, loss in (("validation", record.validation_loss), ("test", record.test_loss)):
                # a gradient method's own loss is that before its step
                if loss is not None and not math.isfinite(loss):
                    raise TrainingDiverged(f"the {part} loss after cycle {cycle} is {loss}")
        yield record


def fresh_network(configuration: Configuration, data: Dataset, seed: int) -> nn.Module:
    """The configuration's network for that data, with the weights that torch draws for the seed.

    Raises:
        InvalidInput: it does not fit the data.
    """
    with own_torch_state(torch.get_num_threads(), seed, "cpu"):
        model = build_network(configuration.architecture, data.input_shape, data.n_classes)
        check_network(model, data.input_shape, data.n_classes)
    return model


def _evaluated(outcome: CycleOutcome, optimizer: Optimizer, data: Dataset) -> CycleRecord:
    started = time.perf_counter()
    optimizer.prepare_evaluation_()
    validation_loss = validation_accuracy = None
    if len(data.validation_targets):
        validation_loss, validation_accuracy = optimizer.evaluate(
            data.validation_inputs, data.validation_targets
        )
    test_loss, test_accuracy = optimizer.evaluate(data.test_inputs, data.test_targets)
    return CycleRecord(
        **{**asdict(outcome), "layers": outcome.layers},
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        evaluation_s=time.perf_counter() - started,
    )


def _on_device(data: Dataset, device: str) -> Dataset:
    moved: dict[str, Any] = {
        field.name: value.to(device)
        for field in fields(data)
        if isinstance(value := getattr(data, field.name), torch.Tensor)
    }
    return replace(data, **moved)
