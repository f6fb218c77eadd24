"""From what distribution a weight's perturbation is drawn: its sigma, and the sampler."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from rso_core.initialisation import fan_in, is_normalisation

Annealing = Literal["paper", "authors", "none"]
Sampler = Literal["normal", "uniform", "ternary"]
SigmaRule = Literal["he", "pooled"]


def layer_sigmas(
    model: nn.Module, rule: SigmaRule | float, batch_norm_sigma: float
) -> dict[str, float]:
    """The standard deviation of the perturbations of every parameter tensor, by its name.

    * `he`: sqrt(2 / fan_in) of the layer's weight tensor, for its bias too (Algorithm 1, line 3
      of arXiv:2005.05955, with the exact value in place of the drawn tensor's, as the authors'
      code does); `batch_norm_sigma` for the scale and shift of normalisations.
    * `pooled` (the STMOZOO notebook): all tensors up to and with this layer are pooled, each
      drawn from N(0, sqrt(2 / size of the tensor)): sqrt(2 x tensors / elements). The notebook
      takes the std of the drawn values, this its expectation.
    * a number: the same for all tensors; `batch_norm_sigma` for normalisations.
    """
    sigmas: dict[str, float] = {}
    n_tensors = n_elements = 0
    for module_name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        n_tensors += len(own)
        n_elements += sum(p.numel() for p in own.values())
        for name in own:
            full_name = f"{module_name}.{name}" if module_name else name
            if rule == "pooled":
                sigmas[full_name] = math.sqrt(2 * n_tensors / n_elements)
            elif is_normalisation(module):
                sigmas[full_name] = batch_norm_sigma
            elif rule == "he":
                sigmas[full_name] = math.sqrt(2 / _layer_fan_in(own, name))
            else:
                sigmas[full_name] = float(rule)
    return sigmas


def annealing_factor(schedule: Annealing, final_fraction: float, cycle: int, cycles: int) -> float:
    """The factor on sigma in a cycle.

    Args:
        schedule: `paper`: linear from 1 in the first cycle to `final_fraction` in the last;
            `authors`: f + (1 - f) (E - e) / E with e = cycle - 1, which ends a little above f;
            `none`: 1.
        final_fraction: f, from 0 to 1; 0.1 in the paper.
        cycle: from 1 to cycles.
        cycles: their number.
    """
    if schedule == "none" or cycles == 1:
        return 1.0
    steps = cycles - 1 if schedule == "paper" else cycles
    return 1.0 - (1.0 - final_fraction) * (cycle - 1) / steps


def draw_deltas(sampler: Sampler, sigma: float, n: int, generator: torch.Generator) -> torch.Tensor:
    """[n] float32: one perturbation for each visit.

    The three samplers that the paper names: N(0, sigma), U(-2 sigma, 2 sigma), and
    {-sigma, 0, +sigma} with equal chances.
    """
    if sampler == "normal":
        return torch.randn(n, generator=generator) * sigma
    if sampler == "uniform":
        # scaled afterwards, since torch refuses bounds that overflow
        return torch.empty(n).uniform_(-2, 2, generator=generator) * sigma
    return (torch.randint(3, (n,), generator=generator) - 1) * sigma


def _layer_fan_in(own: dict[str, nn.Parameter], name: str) -> int:
    # a bias has no fan-in of its own: it moves the same activation as its layer's weights
    tensor = own[name] if own[name].dim() >= 2 else own.get("weight", own[name])
    return fan_in(tensor) if tensor.dim() >= 2 else tensor.numel()
