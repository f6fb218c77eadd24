"""What the measured trials have in common, whoever schedules them. It imports little: a scheduler
that starts a process for each trial is not to wait for more than its own modules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rso_core.errors import InvalidInput, reason

N_VALUES = 5
"""Values that a trial reports: one a cycle."""
BATCH_SIZES = (32, 64, 128, 256, 512)
PERTURBATION_STD = (0.1, 10.0)
"""Lowest and highest; on a logarithmic scale, as is the weight decay."""
WEIGHT_DECAY = (1e-6, 1e-2)
FINAL_FRACTION = (0.0, 1.0)


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
        weight_decay: best at 1e-4.
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
    height = 0.98 + 0.01 * math.sin(12.9898 * seed + 78.233 * distance)
    return height * math.exp(-distance) * (1 - 0.5**cycle)


@contextmanager
def bench_folder() -> Iterator[Path]:
    """A folder beneath the current one, whose disk a sweep would use too; it is removed.

    Raises:
        InvalidInput: it cannot be made.
    """
    try:
        folder = TemporaryDirectory(prefix=".bench-scheduler-", dir=Path.cwd())
    except OSError as error:
        raise InvalidInput(
            f"the current folder must be one that can be written ({reason(error)}); "
            "the sweeps that are measured write their records there"
        ) from error
    with folder as name:
        yield Path(name)
