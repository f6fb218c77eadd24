"""Reads a sweep by its name or file, and holds it against its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rso_core.configuration import Configuration
from rso_core.datasets import Dataset
from rso_core.engine_choice import announce_fallback
from rso_core.errors import InvalidInput
from rso_core.training import fresh_network
from sweeps.presets import preset_names, preset_text
from sweeps.spec import SweepSpec
from sweeps.sweep_file import load_sweep, parse_sweep
from sweeps.work import WorkCounter


def read_sweep(sweep: str, overrides: Sequence[str] = ()) -> SweepSpec:
    """Reads a preset by its name, or a sweep file; a file of a preset's name wins.

    Raises:
        InvalidInput: a line for every fault.
    """
    path = Path(sweep)
    looks_like_a_file = path.suffix in (".yaml", ".yml") or len(path.parts) > 1
    if _is_file(path) or (looks_like_a_file and sweep not in preset_names()):
        return load_sweep(path, overrides)
    return parse_sweep(preset_text(sweep), f"preset {sweep}", overrides)


def check_against_data(spec: SweepSpec, data: Dataset, work: WorkCounter) -> None:
    """Builds every network of the space once, and holds the batch sizes against the data.

    Raises:
        InvalidInput: a network that the data does not fit, or a batch larger than the data.
    """
    largest = spec.space.largest_batch_size()
    if largest > data.n_training_images:
        raise InvalidInput(
            f"'space.batch_size' must be an integer from 1 to {data.n_training_images}, "
            f"the training images that '{spec.data.name}' leaves, got {largest}"
        )
    for architecture in spec.space["architecture"].domain.listed():
        for optimizer in spec.space.optimizers():
            values = {"architecture": architecture, "batch_size": 1, "optimizer": optimizer}
            configuration = Configuration.from_values(values, spec.budget.cycles)
            if work.count(configuration).n_parameters == 0:
                raise InvalidInput(
                    "'space.architecture' must be a network with parameters to train, "
                    f"got '{architecture}', which has none"
                )
            if optimizer == "rso":
                announce_fallback(fresh_network(configuration, data, seed=0), data.input_shape)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that cannot be searched
        return False
