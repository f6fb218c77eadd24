"""Noise in the shape of CIFAR-10, for machines that cannot download it."""

from __future__ import annotations

import torch


def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """200 training images and targets, 50 of each for testing."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (250, 3, 32, 32), generator=generator, dtype=torch.uint8)
    targets = torch.arange(250) % 10
    return inputs[:200], targets[:200], inputs[200:], targets[200:]
