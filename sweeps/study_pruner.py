"""The pruner of a sweep's study."""

from __future__ import annotations

import warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner

from sweeps.own_classes import own_pruner
from sweeps.pruners import (
    HyperbandPruning,
    MedianPruning,
    NoPruning,
    OwnPruning,
    PatientPruning,
    PercentilePruning,
    Pruning,
    SuccessiveHalvingPruning,
    ThresholdPruning,
    WilcoxonPruning,
)


def build_pruner(pruning: Pruning, n_cycles: int) -> BasePruner:
    """Makes the pruner that a sweep file describes.

    Args:
        pruning: its section; `pruning.steps` says what is to be reported to the pruner.
        n_cycles: of every run.

    Raises:
        InvalidInput: a user's own class, which could be made when the file was read, cannot now.
    """
    with warnings.catch_warnings():
        # optuna warns of what is not settled yet, but the user has asked for it by name
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _built(pruning, n_cycles)


def _built(pruning: Pruning, n_cycles: int) -> BasePruner:
    match pruning:
        case NoPruning():
            return optuna.pruners.NopPruner()
        case MedianPruning():
            return optuna.pruners.MedianPruner(
                n_startup_trials=pruning.n_startup_trials,
                n_warmup_steps=pruning.n_warmup_cycles,
                interval_steps=pruning.interval_cycles,
                n_min_trials=pruning.n_min_trials,
            )
        case PercentilePruning():
            return optuna.pruners.PercentilePruner(
                pruning.percentile,
                n_startup_trials=pruning.n_startup_trials,
                n_warmup_steps=pruning.n_warmup_cycles,
                interval_steps=pruning.interval_cycles,
                n_min_trials=pruning.n_min_trials,
            )
        case SuccessiveHalvingPruning():
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=1,
                reduction_factor=pruning.reduction_factor,
                min_early_stopping_rate=pruning.min_early_stopping_rate,
                bootstrap_count=pruning.bootstrap_count,
            )
        case HyperbandPruning():
            return optuna.pruners.HyperbandPruner(
                min_resource=1,
                max_resource=n_cycles,
                reduction_factor=pruning.reduction_factor,
                bootstrap_count=pruning.bootstrap_count,
            )
        case ThresholdPruning():
            return optuna.pruners.ThresholdPruner(
                lower=pruning.lower,
                upper=pruning.upper,
                n_warmup_steps=pruning.n_warmup_cycles,
                interval_steps=pruning.interval_cycles,
            )
        case PatientPruning():
            wrapped = None if pruning.wrapped is None else _built(pruning.wrapped, n_cycles)
            return optuna.pruners.PatientPruner(
                wrapped, patience=pruning.patience, min_delta=pruning.min_delta
            )
        case WilcoxonPruning():
            return optuna.pruners.WilcoxonPruner(
                p_threshold=pruning.p_threshold, n_startup_steps=pruning.n_startup_seeds
            )
        case OwnPruning():
            return own_pruner(pruning.name, pruning.options)
    raise AssertionError(pruning)  # every section of a sweep file is above
