"""The columns of the frames: their dtypes and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Columns = Mapping[str, tuple[str, str]]

_IDENTITY: Columns = {
    "sweep": ("string", "the sweep's name"),
    "trial": ("Int64", "Optuna's number of the trial"),
}
_RUN_IDENTITY: Columns = {
    **_IDENTITY,
    "run": ("string", "the run's name, unique within its sweep"),
    "seed": ("Int64", "the seed of its generators"),
}
DATA: Columns = {
    "dataset": ("string", "the data set's name; missing where the sweep file does not say"),
    "data": (
        "string",
        "the data as the sweep file asks for it, split and all, as JSON: runs of two sweeps had "
        "the same data where it is the same text; missing where the file does not say",
    ),
}
CONFIGURATION: Columns = {
    "architecture": ("string", "the network"),
    "batch_size": ("Int64", "images a batch"),
    "optimizer": ("string", "rso, sgd, adam or the name of a user's own class"),
    "cycles": ("Int64", "cycles that it was to train for"),
}
METRICS: Columns = {
    "training_loss": ("float64", "mean over the cycle's batches"),
    "validation_loss": ("float64", "mean over the validation images; missing where none are held"),
    "validation_accuracy": ("float64", "share of the validation images"),
    "test_loss": ("float64", "mean over the test images"),
    "test_accuracy": ("float64", "share of the test images"),
}
COSTS: Columns = {
    "n_visited": ("Int64", "weights visited; 0 for a gradient method"),
    "n_accepted": ("Int64", "visits that moved the weight"),
    "n_images_passed": ("Int64", "images that passed the network forwards"),
    "training_s": ("float64", "seconds of training"),
    "evaluation_s": ("float64", "seconds of evaluation"),
}

COLUMNS: Mapping[str, Columns] = {
    # one row for each trial; then one column for each option, as in `runs`
    "trials": {
        **_IDENTITY,
        "state": (
            "string",
            "failed if a run failed, else pruned if one was pruned, else running if one has not "
            "ended, else finished",
        ),
        **DATA,
        **CONFIGURATION,
        "n_parameters": ("Int64", "trainable parameters of the network"),
        "n_runs": ("Int64", "runs in any state"),
        "n_seeds": ("Int64", "finished runs, on which the means and deviations rest"),
        "objective_mean": ("float64", "mean of the sweep's first objective over the seeds"),
        "objective_std": ("float64", "its standard deviation (ddof 1); missing for one seed"),
        "test_accuracy_mean": ("float64", "mean over the seeds"),
        "test_accuracy_std": ("float64", "standard deviation (ddof 1); missing for one seed"),
        "is_pareto": (
            "boolean",
            "whether it ran to its end, and no other such trial of its sweep is better in one of "
            "the sweep's objectives and as good in the rest",
        ),
    },
    # one row for each run; then one column for each option of any optimiser: Int64, float64,
    # boolean or string as its values are, missing for an optimiser that has no such option
    "runs": {
        **_RUN_IDENTITY,
        "state": ("string", "finished, failed, pruned or running (not ended yet)"),
        "reason": ("string", "why it failed or was pruned"),
        "n_attempts": (
            "Int64",
            "attempts that it took, 1 if it was never cut short; missing until it has ended and "
            "in folders of old",
        ),
        **DATA,
        **CONFIGURATION,
        "configuration": ("Int64", "a number for each distinct configuration, options and all"),
        "n_parameters": ("Int64", "trainable parameters of the network"),
        "n_training_images": ("Int64", "images that it trained on"),
        "n_cycles": ("Int64", "cycles that it did"),
        "n_seeds_asked": ("Int64", "seeds that its sweep asks for at the least"),
        "objective": (
            "float64",
            "the sweep's first objective: at its last cycle, or in total; missing before a cycle",
        ),
        **{name: (dtype, f"{what}, last cycle") for name, (dtype, what) in METRICS.items()},
        **{name: (dtype, f"{what}, in total") for name, (dtype, what) in COSTS.items()},
        "host": ("string", "the machine that it ran on"),
        "n_threads": ("Int64", "threads that it was given"),
        "started_at": ("datetime64[us, UTC]", "when it began"),
        "ended_at": ("datetime64[us, UTC]", "when it ended"),
    },
    # one row for each cycle of every run; for SGD a cycle is an epoch
    "cycles": {
        **_RUN_IDENTITY,
        "cycle": ("Int64", "counted from 1"),
        **METRICS,
        **{name: (dtype, f"{what}, in this cycle") for name, (dtype, what) in COSTS.items()},
        "cumulative_images_passed": ("Int64", "n_images_passed, to the end of this cycle"),
        "cumulative_training_s": ("float64", "training_s, to the end of this cycle"),
    },
    # one row for each visited parameter tensor of every cycle; empty for gradient methods
    "layers": {
        **_RUN_IDENTITY,
        "cycle": ("Int64", "counted from 1"),
        "layer_index": ("Int64", "its place in the order of the record, from 0"),
        "layer": ("string", "the tensor's name: conv1.weight"),
        "n_visited": ("Int64", "weights visited"),
        "n_accepted": ("Int64", "visits that moved the weight"),
        "accepted_share": ("float64", "n_accepted / n_visited; missing where none was visited"),
        "sigma": ("float64", "standard deviation of its perturbations"),
    },
    # one row for each attempt at a run that was cut short, by the death of an actor or of its
    # machine; the attempt that ended a run is not among them
    "attempts": {
        **_RUN_IDENTITY,
        "attempt": ("Int64", "counted from 1 within its run"),
        "reason": ("string", "why it was cut short"),
        "host": ("string", "the machine that it ran on"),
        "started_at": ("datetime64[us, UTC]", "when it began"),
        "ended_at": ("datetime64[us, UTC]", "when it was cut short"),
        "resumed_from_cycle": ("Int64", "cycle of the state it began from; missing for none"),
    },
    # one row for each driver of a sweep; the rows after a sweep's first are its resumptions
    "drivers": {
        "sweep": ("string", "the sweep's name"),
        "started_at": ("datetime64[us, UTC]", "when it began"),
        "host": ("string", "the machine that it ran on"),
        "pid": ("Int64", "its process there"),
        "command": ("string", "the command that started it"),
        "ended_at": ("datetime64[us, UTC]", "when it ended; missing if it was killed or is alive"),
        "stop_reason": ("string", "why it had begun no further trial, by the sweep's `stop`"),
    },
}

OPTION_DTYPES = ("boolean", "Int64", "float64", "string")
"""What a column of options may be."""


def check_frame(frame: pd.DataFrame, name: str) -> None:
    """Checks that a frame is what `COLUMNS` says of the frame of that name.

    Its documented columns are there, in any order, each with its dtype. What else a runs or trials
    frame has are options, and of a dtype that options have; other frames may have more columns.

    Raises:
        ValueError: it is not; the message is one line.
    """
    if name not in COLUMNS:
        raise ValueError(f"a frame must be one of {', '.join(COLUMNS)}, got {name!r}")
    dtypes = {column: str(dtype) for column, dtype in frame.dtypes.items()}
    for column, (expected, _) in COLUMNS[name].items():
        if column not in dtypes:
            raise ValueError(f"the {name} must have a column {column!r} ({expected})")
        if dtypes[column] != expected:
            raise ValueError(
                f"the column {column!r} of the {name} must be {expected}, got {dtypes[column]}"
            )
    if name not in ("runs", "trials"):
        return
    for option, dtype in dtypes.items():
        if option not in COLUMNS[name] and dtype not in OPTION_DTYPES:
            raise ValueError(
                f"the option {option!r} of the {name} must be one of {', '.join(OPTION_DTYPES)}, "
                f"got {dtype}"
            )
