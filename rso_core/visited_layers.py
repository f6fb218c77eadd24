"""Which parameter tensors RSO visits, in which order, and how far it perturbs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from rso_core.errors import InvalidInput
from rso_core.initialisation import is_normalisation
from rso_core.sigma import layer_sigmas

if TYPE_CHECKING:
    from rso_core.optimizers.rso_options import RSOOptions


@dataclass(frozen=True, slots=True)
class VisitedLayer:
    """A parameter tensor that is visited."""

    name: str
    """As in `named_parameters`."""
    n_weights: int
    sigma: float
    """Standard deviation of its perturbations, before the options' factor and the annealing."""


def visited_layers(model: nn.Module, options: RSOOptions) -> list[VisitedLayer]:
    """The tensors of one cycle, in the order of their visits.

    Raises:
        InvalidInput: there is none.
    """
    sigmas = layer_sigmas(model, options.sigma, options.batch_norm_sigma)
    modules = list(model.named_modules())
    if options.layer_order == "last_to_first":
        modules.reverse()
    names = {name for name, _ in model.named_parameters()}  # a shared tensor has one of its names
    layers = []
    for module_name, module in modules:
        # within a layer the weight tensor comes first, then the bias
        for name, parameter in module.named_parameters(recurse=False):
            full_name = f"{module_name}.{name}" if module_name else name
            if not parameter.requires_grad or full_name not in names:
                continue
            if _is_visited(module, parameter, options):
                layers.append(VisitedLayer(full_name, parameter.numel(), sigmas[full_name]))
    if not layers:
        raise InvalidInput("the network has no parameter to visit; see 'visit_biases'")
    return layers


def _is_visited(module: nn.Module, parameter: nn.Parameter, options: RSOOptions) -> bool:
    if is_normalisation(module):
        return options.visit_batch_norm
    return parameter.dim() >= 2 or options.visit_biases
