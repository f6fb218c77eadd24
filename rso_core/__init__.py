"""The science: networks, data, RSO and the gradient baselines, and one training run.

    >>> from rso_core import Configuration, DataOptions, load_dataset, train
    >>> configuration = Configuration.from_values(
    ...     {"architecture": "mlp(16)", "optimizer": "rso", "batch_size": 256}, cycles=5)
    >>> for record in train(configuration, load_dataset(DataOptions()), seed=0):
    ...     print(record.cycle, record.test_accuracy)

The names below are imported when they are first used, since torch takes a second or two.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rso_core.configuration import Configuration as Configuration
    from rso_core.datasets import DataOptions as DataOptions
    from rso_core.datasets import Dataset as Dataset
    from rso_core.datasets import load_dataset as load_dataset
    from rso_core.errors import InvalidInput as InvalidInput
    from rso_core.networks import build_network as build_network
    from rso_core.optimizers import RSO as RSO
    from rso_core.optimizers import SGD as SGD
    from rso_core.optimizers import Adam as Adam
    from rso_core.optimizers import RSOOptions as RSOOptions
    from rso_core.records import CycleRecord as CycleRecord
    from rso_core.training import Training as Training
    from rso_core.training import train as train

_HOMES = {
    "Adam": "optimizers",
    "Configuration": "configuration",
    "CycleRecord": "records",
    "DataOptions": "datasets",
    "Dataset": "datasets",
    "InvalidInput": "errors",
    "RSO": "optimizers",
    "RSOOptions": "optimizers",
    "SGD": "optimizers",
    "Training": "training",
    "build_network": "networks",
    "load_dataset": "datasets",
    "train": "training",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rso_core' has no attribute '{name}'")
    return getattr(importlib.import_module(f"rso_core.{_HOMES[name]}"), name)
