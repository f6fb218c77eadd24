"""What `rso-sweep check` does: reads a sweep file and says what the sweep amounts to."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

from rso_core.configuration import Configuration
from rso_core.datasets import load_dataset
from sweeps.points import typical_configurations
from sweeps.reading import check_against_data, read_sweep
from sweeps.spec import SweepSpec
from sweeps.work import WorkCounter


def check_lines(sweep: str, overrides: Sequence[str]) -> list[str]:
    """The lines to print about a sound sweep.

    Raises:
        InvalidInput: a line for every fault.
    """
    spec = read_sweep(sweep, overrides)
    data = load_dataset(spec.data)
    work = WorkCounter(data)
    check_against_data(spec, data, work)
    n_trials, n_seeds = spec.n_trials(), len(spec.seeds)
    return [
        f"{spec.name}: sound",
        f"data    {spec.data.name}: {data.n_training_images:,} training, "
        f"{len(data.validation_targets):,} validation and {len(data.test_targets):,} test images",
        f"trials  {n_trials:,}, sampler {spec.sampler.name}",
        f"runs    {n_trials * n_seeds:,}: {n_seeds} "
        f"{'seed' if n_seeds == 1 else 'seeds'} a trial, {spec.budget.cycles} cycles a run",
        f"visits  {_visits(spec, work)}",
    ]


def _visits(spec: SweepSpec, work: WorkCounter) -> str:
    """Weights that RSO visits in the whole sweep: exact for a grid, else from a sample."""
    n_seeds = len(spec.seeds)
    if spec.sampler.name == "grid":
        n_visits = sum(
            work.count(Configuration.from_values(values, spec.budget.cycles)).n_visits
            for values in itertools.islice(spec.space.grid(), spec.n_trials())
        )
        return f"{n_visits * n_seeds:,} weight visits, each with three candidates"
    mean = statistics.fmean(
        work.count(configuration).n_visits for configuration in typical_configurations(spec)
    )
    n_visits = round(mean * spec.n_trials() * n_seeds)
    return f"about {n_visits:,} weight visits, to go by random configurations"
