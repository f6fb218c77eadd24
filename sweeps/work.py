"""How much work a run is, told before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput, reason
from rso_core.optimizers import optimizer_class
from rso_core.training import fresh_network

_GRADIENT_COST = 3.0
"""How many forward passes a forward and a backward pass are worth."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a run of a configuration amounts to."""

    n_parameters: int
    """Trainable parameters of the network."""
    n_training_images: int
    n_visits: int
    """Visits in all cycles; 0 for a gradient method."""
    cost: float
    """A guess at its duration, in a unit of its own: images passed x parameters."""


class WorkCounter:
    """Counts the work of configurations on one data set; each network is built once.

    Args:
        data: what they are trained on.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._networks: dict[str, nn.Module] = {}

    def mean_cost(self, configurations: Sequence[Configuration]) -> float:
        """The mean of their costs; 0 for none."""
        costs = [self.count(configuration).cost for configuration in configurations]
        return sum(costs) / max(1, len(costs))

    def count(self, configuration: Configuration) -> Work:
        """The work of one run.

        Raises:
            InvalidInput: its network does not fit the data, or its optimiser cannot count.
        """
        architecture = configuration.architecture
        if architecture not in self._networks:
            self._networks[architecture] = fresh_network(configuration, self._data, seed=0)
        model = self._networks[architecture]
        n_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        n_images = self._data.n_training_images
        n_visits = _n_visits(configuration, model)
        images_passed = (
            3 * n_visits * configuration.batch_size if n_visits else _GRADIENT_COST * n_images
        )
        return Work(
            n_parameters=n_parameters,
            n_training_images=n_images,
            n_visits=n_visits * configuration.cycles,
            cost=images_passed * configuration.cycles * n_parameters,
        )


def _n_visits(configuration: Configuration, model: nn.Module) -> int:
    name = configuration.optimizer
    try:
        n_visits = optimizer_class(name).n_visits(model, configuration.options)
    except InvalidInput:
        raise
    except Exception as error:  # a user's optimiser may raise anything
        raise InvalidInput(
            f"'optimizer' names '{name}', whose 'n_visits' fails ({reason(error)})"
        ) from error
    if not isinstance(n_visits, int) or n_visits < 0:
        raise InvalidInput(
            f"'optimizer' names '{name}', whose 'n_visits' must give the number of weight visits "
            f"in a cycle, 0 for a gradient method, got {n_visits!r}"
        )
    return n_visits
