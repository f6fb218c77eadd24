"""A training that trains nothing: it sleeps, and reports values which a sampler can learn from."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.optimizers import ProgressCallback
from rso_core.records import CycleRecord, Progress
from sweeps.spec import LARGEST_SEED, SweepSpec
from sweeps.sweep_file import parse_sweep
from sweeps.worker import TrainingFactory

N_VALUES = 5
"""Values that a run reports: one a cycle."""
UNTIL_STOPPED = LARGEST_SEED
"""A run of this seed goes on until it is stopped, so that it keeps its actor to itself."""
_STOPPABLE_S = 0.02

_SWEEP = f"""
name: bench-scheduler
data: {{name: mnist, train_size: 1000, validation_size: 500, test_size: 500}}
budget: {{cycles: {N_VALUES}}}
space:
  architecture: one_conv
  batch_size: [32, 64, 128, 256, 512]
  optimizer: rso
  perturbation_std: {{low: 0.1, high: 10.0, log: true}}
  weight_decay: {{low: 1.0e-6, high: 1.0e-2, log: true}}
  final_fraction: {{low: 0.0, high: 1.0}}
sampler: {{name: SAMPLER}}
trials: N_TRIALS
"""


def bench_spec(sampler: str, n_trials: int) -> SweepSpec:
    """The sweep whose driving is measured.

    Args:
        sampler: a name that a sweep file may give.
        n_trials: at least 1.

    Raises:
        InvalidInput: no such sampler, or too many trials.
    """
    text = _SWEEP.replace("SAMPLER", sampler).replace("N_TRIALS", str(n_trials))
    return parse_sweep(text, "bench scheduler")


def sleeping(seconds: float) -> TrainingFactory:
    """Trainings that take so many seconds each, in all."""
    return partial(SleepingTraining, seconds=seconds)


def accuracy(
    batch_size: int,
    perturbation_std: float,
    weight_decay: float,
    final_fraction: float,
    seed: int,
    cycle: int,
) -> float:
    """From 0 to 1; rises from cycle to cycle, and has one optimum in the space.

    Args:
        batch_size: best at 128.
        perturbation_std: best at 1.
        weight_decay: best at 1e-4, above 0.
        final_fraction: best at 0.1.
        seed: shifts it a little.
        cycle: from 1.
    """
    distance = (
        math.log10(perturbation_std) ** 2
        + 0.1 * math.log10(weight_decay / 1e-4) ** 2
        + 0.1 * math.log2(batch_size / 128) ** 2
        + (final_fraction - 0.1) ** 2
    )
    noise = 0.01 * math.sin(12.9898 * seed + 78.233 * distance)
    return (0.98 * math.exp(-distance) + noise * math.exp(-distance)) * (1 - 0.5**cycle)


class SleepingTraining:
    """A run's training with `Training`'s arguments, which looks at no data and has no state.

    Args:
        configuration: decides, with the seed, what is reported.
        data: is not looked at.
        seed: `UNTIL_STOPPED` for a run without an end.
        n_threads: not used, and neither is `device`.
        device: as above.
        on_progress: called only by a run without an end.
        state: is not gone on from.
        seconds: that the run takes in all; 0 does not sleep.
    """

    def __init__(
        self,
        configuration: Configuration,
        data: Dataset,
        seed: int,
        *,
        n_threads: int,
        device: str,
        on_progress: ProgressCallback | None,
        state: Mapping[str, Any] | None,
        seconds: float = 0.0,
    ) -> None:
        self._configuration = configuration
        self._seed = seed
        self._on_progress = on_progress
        self._cycle_s = seconds / configuration.cycles
        self.records: list[CycleRecord] = []

    def __iter__(self) -> Iterator[CycleRecord]:
        """Sleeps; yields a record after every cycle."""
        if self._seed == UNTIL_STOPPED:
            self._wait()
        # by the clock, so that what a sleep takes too long does not add up
        began = time.perf_counter()
        for cycle in range(1, self._configuration.cycles + 1):
            if self._cycle_s:
                time.sleep(max(0.0, began + cycle * self._cycle_s - time.perf_counter()))
            self.records.append(self._record(cycle))
            yield self.records[-1]

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def weights(self) -> dict[str, torch.Tensor]:
        """None."""
        return {}

    def _wait(self) -> None:
        """Until the callback raises, which is how a run is stopped."""
        assert self._on_progress is not None
        while True:
            self._on_progress(Progress(cycle=1, n_done=0, n_total=1))
            time.sleep(_STOPPABLE_S)

    def _record(self, cycle: int) -> CycleRecord:
        options: Any = self._configuration.options
        value = accuracy(
            self._configuration.batch_size,
            options.perturbation_std,
            options.weight_decay,
            options.final_fraction,
            self._seed,
            cycle,
        )
        return CycleRecord(
            cycle=cycle,
            training_loss=1 - value,
            n_visited=0,
            n_accepted=0,
            n_images_passed=0,
            training_s=self._cycle_s,
            validation_loss=1 - value,
            validation_accuracy=value,
            test_loss=1 - value,
            test_accuracy=value,
        )
