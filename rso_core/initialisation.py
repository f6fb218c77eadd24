"""Where a network's weights start."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

Initialisation = Literal["he", "glorot", "model"]


def initialise_(model: nn.Module, rule: Initialisation, generator: torch.Generator) -> None:
    """Draws the model's weights anew, in place.

    `he` is Algorithm 1, line 2 (arXiv:2005.05955): weight tensors from N(0, sqrt(2 / fan_in)).
    `glorot` is Flux's default, which the STMOZOO notebook started from: uniform in
    +-sqrt(6 / (fan_in + fan_out)). Both set biases to 0, and the scale and shift of a
    normalisation to 1 and 0; they leave frozen parameters as they are, and vectors that are no
    bias, such as a user's own scale. `model` leaves every parameter as it is.

    Args:
        model: its parameters are changed.
        rule: as above.
        generator: on the CPU; parameters elsewhere receive a copy of what is drawn.
    """
    if rule == "model":
        return
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if not parameter.requires_grad:
                    continue
                if is_normalisation(module):
                    parameter.fill_(1.0 if name == "weight" else 0.0)
                elif parameter.dim() >= 2:
                    parameter.copy_(_drawn(parameter, rule, generator))
                elif "bias" in name:
                    parameter.zero_()


def fan_in(weight: torch.Tensor) -> int:
    """Number of weights that make one output activation: of [out, in, ...], all but the first."""
    return weight[0].numel()


def is_normalisation(module: nn.Module) -> bool:
    """Whether the module's weight scales a normalised activation rather than mixing inputs."""
    # torch's base class of batch and instance norm
    norms = nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm
    return isinstance(module, norms)


def _drawn(weight: torch.Tensor, rule: Initialisation, generator: torch.Generator) -> torch.Tensor:
    if rule == "he":
        return torch.randn(weight.shape, generator=generator) * math.sqrt(2 / fan_in(weight))
    receptive_field = weight[0, 0].numel()
    limit = math.sqrt(6 / (fan_in(weight) + weight.shape[0] * receptive_field))
    return torch.empty(weight.shape).uniform_(-limit, limit, generator=generator)
