"""What a logger tells of a run and of its cycles: names and numbers."""

from __future__ import annotations

import math
import re

from rso_core.configuration import Scalar
from rso_core.records import CycleRecord
from sweeps.runs import Run


def figures(record: CycleRecord) -> dict[str, float]:
    """The figures of a cycle by the names of the records; those that are no finite number are out.

    Of each visited layer there are `layers/NAME/sigma` and `layers/NAME/accepted_share`. Shares
    are of the weights visited in the cycle.
    """
    found: dict[str, float | None] = {
        "training_loss": record.training_loss,
        "validation_loss": record.validation_loss,
        "validation_accuracy": record.validation_accuracy,
        "test_loss": record.test_loss,
        "test_accuracy": record.test_accuracy,
        "accepted_share": _share(record.n_accepted, record.n_visited),
        "n_images_passed": record.n_images_passed,
        "training_s": record.training_s,
        "evaluation_s": record.evaluation_s,
    }
    for layer in record.layers:
        # MLflow takes no other characters
        name = re.sub(r"[^\w\-. ]", "_", layer.name, flags=re.ASCII)
        found[f"layers/{name}/sigma"] = layer.sigma
        found[f"layers/{name}/accepted_share"] = _share(layer.n_accepted, layer.n_visited)
    return {
        name: float(value)
        for name, value in found.items()
        if value is not None and math.isfinite(value)
    }


def parameters(run: Run) -> dict[str, Scalar]:
    """What was trained: the configuration with every option, the trial and the seed."""
    values = {**run.configuration.values(), "cycles": run.configuration.cycles}
    return {**values, "trial": run.trial, "seed": run.seed}


def _share(n_accepted: int, n_visited: int) -> float | None:
    """None for a gradient method, which visits no weight."""
    return n_accepted / n_visited if n_visited else None
