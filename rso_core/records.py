"""What a training run reports: one record a cycle, and its progress within the cycle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One visited parameter tensor within one cycle."""

    name: str
    """The tensor's name in the module, as `named_parameters` has it: `conv1.weight`."""
    n_visited: int
    n_accepted: int
    sigma: float
    """Standard deviation from which its perturbations were drawn in this cycle."""


@dataclass(frozen=True, slots=True)
class CycleOutcome:
    """What an optimiser did in one cycle (RSO: every weight visited once; SGD: an epoch)."""

    cycle: int
    """Counted from 1."""
    training_loss: float
    """Mean over the cycle's batches, in nats: RSO after each decision, SGD before each step."""
    n_visited: int
    """Decisions made; 0 for a gradient method, which visits no weight."""
    n_accepted: int
    n_images_passed: int
    """Images that passed the network forwards: RSO 3 x batch size a visit, SGD the data once."""
    training_s: float
    layers: tuple[LayerRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class CycleRecord(CycleOutcome):
    """A cycle's outcome with the evaluation that followed it.

    Losses are means in nats, accuracies shares of 1. The validation figures are None where no
    validation data is held out.
    """

    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_loss: float = float("nan")
    test_accuracy: float = float("nan")
    evaluation_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is inside the cycle that it is in."""

    cycle: int
    """Counted from 1."""
    n_done: int
    """Visits (RSO) or batches (SGD) done in this cycle."""
    n_total: int
