"""Accuracy and loss of a model on held-out data, and the batch statistics that RSO needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

BatchNorm = nn.modules.batchnorm._BatchNorm

EVALUATION_BATCH_SIZE = 1000
"""Images in one forward pass: large enough to be efficient, small enough to stay in cache."""


def evaluate(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
    """Mean cross entropy (nats) and accuracy (share of 1) of the model in evaluation mode.

    Args:
        model: maps [n, *input_shape] to logits [n, n_classes]; its mode is restored.
        inputs: [n, *input_shape], n at least 1.
        targets: [n], int64 class numbers.

    Returns:
        (loss, accuracy); the loss is summed in float64.
    """
    loss_sum, n_correct = 0.0, 0
    with module_modes_restored(model), torch.inference_mode():
        model.eval()
        for start in range(0, len(targets), EVALUATION_BATCH_SIZE):
            batch = slice(start, start + EVALUATION_BATCH_SIZE)
            # a copy: a network may work in place, and the data may be shared, read-only memory
            logits = model(inputs[batch].clone())
            loss_sum += summed_cross_entropy(logits, targets[batch]).item()
            n_correct += int((logits.argmax(dim=1) == targets[batch]).sum())
    return loss_sum / len(targets), n_correct / len(targets)


def keeps_statistics(model: nn.Module) -> bool:
    """Whether every batch norm has the moving statistics by which it normalises in evaluation.

    One without them normalises by the batches of the evaluation, whose images then depend on one
    another.
    """
    return all(norm.running_mean is not None for norm in batch_norms(model))


def summed_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy in nats summed over the batch in float64, as the authors' code does."""
    return functional.cross_entropy(logits.double(), targets, reduction="sum")


def set_batch_norm_statistics_(model: nn.Module, inputs: torch.Tensor) -> None:
    """Sets the running mean and variance of every batch norm to those of one batch, in place.

    RSO trains on batch statistics alone and keeps no running ones; the authors set them from
    one training batch before every evaluation (rohun-tripathi/RSO-gradient-free, train.py).

    Args:
        model: unchanged where it has no batch norm.
        inputs: [n, *input_shape].
    """
    norms = batch_norms(model)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    try:
        with module_modes_restored(model), torch.inference_mode():
            model.eval()
            for norm in norms:
                norm.reset_running_stats()  # a NaN of before would outlive any momentum
                norm.momentum = 1.0
                norm.train()
            model(inputs.clone())
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Within it the model is in evaluation mode (no dropout) but normalises by its batch.

    The running statistics of its batch norms are left untouched.
    """
    norms = batch_norms(model)
    tracking = [norm.track_running_stats for norm in norms]
    with module_modes_restored(model):
        model.eval()
        for norm in norms:
            norm.train()
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm, tracked in zip(norms, tracking, strict=True):
                norm.track_running_stats = tracked


@contextmanager
def module_modes_restored(model: nn.Module) -> Iterator[None]:
    """Puts every module back into the mode (training or evaluation) that it was in."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def batch_norms(model: nn.Module) -> list[BatchNorm]:
    """Those of a model, of any number of dimensions."""
    return [module for module in model.modules() if isinstance(module, BatchNorm)]
