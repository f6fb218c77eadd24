"""Whether anybody else has changed the parameters between two calls of an engine."""

from __future__ import annotations

from collections.abc import Mapping

import torch


class ParameterState:
    """The parameters as they were, and where.

    Args:
        parameters: by name; copied.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor]) -> None:
        self._places = [p.data_ptr() for p in parameters.values()]
        self._values = _flat(parameters)

    def is_of(self, parameters: Mapping[str, torch.Tensor]) -> bool:
        """Whether they still are."""
        places = [p.data_ptr() for p in parameters.values()]
        return places == self._places and torch.equal(_flat(parameters), self._values)


def _flat(parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
    flat = [p.detach().flatten() for p in parameters.values()]
    return torch.cat(flat) if flat else torch.empty(0)
