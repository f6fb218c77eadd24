"""Compiles the kernels before they are needed, so that several processes need not each do it."""

from __future__ import annotations

import torch
from torch import nn

from rso_core.batches import Batches
from rso_core.incremental.engine import IncrementalEngine


def prepare_kernels() -> None:
    """Compiles the kernels, or loads those that are kept on disk: half a minute, or a second."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(4, 2))
    inputs, targets = torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64)
    engine = IncrementalEngine(model, inputs, targets)
    batches = Batches(images=torch.arange(2)[None], drawn=torch.zeros(1, dtype=torch.int64))
    for parameter in ("2.weight", "0.weight"):  # the one by columns, the other by channels
        engine.visit_(parameter, 0, torch.zeros(1), batches, 1.0)
    engine.evaluate(inputs, targets)
