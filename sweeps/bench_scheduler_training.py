"""A training that trains nothing: it sleeps, and reports values which a sampler can learn from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.optimizers import ProgressCallback
from rso_core.records import CycleRecord, Progress
from sweeps.bench_scheduler_trial import (
    BATCH_SIZES,
    FINAL_FRACTION,
    N_VALUES,
    PERTURBATION_STD,
    WEIGHT_DECAY,
    accuracy,
)
from sweeps.spec import LARGEST_SEED, SweepSpec
from sweeps.sweep_file import parse_sweep
from sweeps.worker import TrainingFactory

UNTIL_STOPPED = LARGEST_SEED
"""A run of this seed goes on until it is stopped, so that it keeps its actor to itself."""
_STOPPABLE_S = 0.02

_SWEEP = f"""
name: bench-scheduler
data: {{name: mnist, train_size: 1000, validation_size: 500, test_size: 500}}
budget: {{cycles: {N_VALUES}}}
space:
  architecture: one_conv
  batch_size: {list(BATCH_SIZES)}
  optimizer: rso
  perturbation_std: {{low: {PERTURBATION_STD[0]}, high: {PERTURBATION_STD[1]}, log: true}}
  weight_decay: {{low: {WEIGHT_DECAY[0]:.1e}, high: {WEIGHT_DECAY[1]:.1e}, log: true}}
  final_fraction: {{low: {FINAL_FRACTION[0]}, high: {FINAL_FRACTION[1]}}}
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
