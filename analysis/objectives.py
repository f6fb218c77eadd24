"""What a sweep is to make large or small: its objectives, as a sweep file says them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["maximize", "minimize"]

COST_METRICS = ("training_s", "n_images_passed", "n_visited")
"""Figures that add up over the cycles of a run."""
OBJECTIVE_METRICS = (
    "validation_accuracy",
    "validation_loss",
    "test_accuracy",
    "test_loss",
    "training_loss",
    *COST_METRICS,
)
"""Columns of the runs that may be an objective."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective: a column of `Frames.runs`, and whether much or little of it is wanted."""

    metric: str
    direction: Direction

    @classmethod
    def of(cls, metric: str) -> Objective:
        """The objective with the direction that suits its metric."""
        return cls(metric, "maximize" if metric.endswith("_accuracy") else "minimize")

    @property
    def superlative(self) -> str:
        """`highest` or `lowest`."""
        return "highest" if self.direction == "maximize" else "lowest"


def objectives_of(written: object) -> tuple[Objective, ...]:
    """The objectives of a sweep: one mapping of metric and direction, or a list of them.

    Raises:
        ValueError: it is neither; the message is a line that lacks only the place.
    """
    if not isinstance(written, list):
        return (_objective(written),)
    if not written:
        raise ValueError("'objective' must list at least one objective, got []")
    objectives = tuple(_objective(each) for each in written)
    metrics = [objective.metric for objective in objectives]
    for index, metric in enumerate(metrics):
        if metric in metrics[:index]:
            raise ValueError(f"'objective' must list every metric once, got {metric!r} again")
    return objectives


def _objective(written: object) -> Objective:
    if not isinstance(written, dict):
        raise ValueError(f"'objective' must have 'metric' and 'direction', got {written!r}")
    metric, direction = written.get("metric"), written.get("direction")
    if metric not in OBJECTIVE_METRICS:
        raise ValueError(
            f"'objective.metric' must be one of {', '.join(OBJECTIVE_METRICS)}, got {metric!r}"
        )
    if "direction" not in written:
        return Objective.of(metric)
    if direction not in ("maximize", "minimize"):
        raise ValueError(f"'objective.direction' must be maximize or minimize, got {direction!r}")
    return Objective(metric, direction)
