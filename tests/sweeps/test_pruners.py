"""The pruners: what a sweep file may say of them, and which trials each stops."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from rso_core.errors import InvalidInput
from sweeps.pruners import (
    PRUNER_NAMES,
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
    futile,
)
from sweeps.study_pruner import build_pruner
from sweeps.sweep_file import dump_sweep, parse_sweep

optuna.logging.set_verbosity(optuna.logging.WARNING)

BASE = """name: a
space: {architecture: one_conv, batch_size: 256, optimizer: rso}
trials: 5
seeds: 9
"""


def pruning(text: str) -> Any:
    return parse_sweep(f"{BASE}pruner: {text}", "x").pruner


def fault(text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        pruning(text)
    (problem,) = caught.value.problems
    return problem.removesuffix(" (x, line 5)")


@pytest.mark.parametrize("name", [name for name in PRUNER_NAMES if name != "threshold"])
def test_a_pruner_may_be_written_as_its_name_alone(name: str) -> None:
    written = parse_sweep(f"{BASE}pruner: {name}", "x")

    assert written.pruner == pruning(f"{{name: {name}}}")
    assert written.pruner.name == name
    assert parse_sweep(dump_sweep(written), "x") == written


@pytest.mark.parametrize(
    ("wrapped", "section"),
    [
        ("null", None),
        ("median", MedianPruning()),
        ("{name: threshold, upper: 2}", ThresholdPruning(upper=2)),
        ("{name: hyperband, reduction_factor: 2}", HyperbandPruning(reduction_factor=2)),
        ("optuna.pruners:NopPruner", OwnPruning(name="optuna.pruners:NopPruner")),
    ],
)
def test_patience_may_wrap_another_pruner(wrapped: str, section: Pruning | None) -> None:
    written = parse_sweep(f"{BASE}pruner: {{name: patient, wrapped: {wrapped}}}", "x")

    assert isinstance(written.pruner, PatientPruning)
    assert written.pruner.wrapped == section
    assert parse_sweep(dump_sweep(written), "x") == written


@pytest.mark.parametrize(
    ("section", "pruner", "names"),
    [
        (MedianPruning, optuna.pruners.MedianPruner, {"n_startup_trials", "n_min_trials"}),
        (
            SuccessiveHalvingPruning,
            optuna.pruners.SuccessiveHalvingPruner,
            {"reduction_factor", "min_early_stopping_rate", "bootstrap_count"},
        ),
        (
            HyperbandPruning,
            optuna.pruners.HyperbandPruner,
            {"reduction_factor", "bootstrap_count"},
        ),
        (ThresholdPruning, optuna.pruners.ThresholdPruner, {"lower", "upper"}),
        (PatientPruning, optuna.pruners.PatientPruner, {"min_delta"}),
        (WilcoxonPruning, optuna.pruners.WilcoxonPruner, {"p_threshold"}),
    ],
)
def test_options_are_as_optuna_has_them_where_nothing_is_said(
    section: type[Pruning], pruner: type[BasePruner], names: set[str]
) -> None:
    parameters = inspect.signature(pruner).parameters

    assert {name: section.model_fields[name].default for name in names} == {
        name: parameters[name].default for name in names
    }


WRAPPED = "median, percentile, successive_halving, hyperband, threshold, module:Class or null"
FAULTS = {
    "mean": "'pruner' must be none, median, percentile, successive_halving, hyperband, threshold, "
    "patient, wilcoxon or module:Class, got 'mean'; did you mean 'median'?",
    "threshold": "'pruner' must have 'lower' or 'upper' for threshold, "
    "which has no bound of its own",
    "{name: threshold, lower: 2, upper: 1}": "'pruner' must have 'lower' <= 'upper', got 2.0 > 1.0",
    "{name: threshold, lower: a}": "'pruner.lower' must be a number or null, got 'a'",
    "{name: hyperband, reduction_factor: 1}": "'pruner.reduction_factor' must be an integer of "
    "at least 2, got 1",
    "{name: hyperband, max_resource: 9}": "'pruner.max_resource' is not a key of 'pruner'; "
    "valid: bootstrap_count, name, reduction_factor",
    "{name: percentile, percentile: 101}": "'pruner.percentile' must be a number from 0 to 100, "
    "got 101",
    "{name: median, n_warmup_steps: 1}": "'pruner.n_warmup_steps' is not a key of 'pruner', "
    "did you mean 'n_warmup_cycles'?",
    "{name: patient, wrapped: medan}": f"'pruner.wrapped' must be {WRAPPED}, got 'medan'; "
    "did you mean 'median'?",
    "{name: patient, wrapped: patient}": f"'pruner.wrapped' must be {WRAPPED}, got 'patient'",
    "{name: patient, wrapped: [median]}": "'pruner.wrapped' must be a name or a mapping with "
    "'name', got ['median']",
    "{name: patient, wrapped: {name: median, n_warmup: 1}}": "'pruner.wrapped.n_warmup' is not a "
    "key of 'pruner.wrapped', did you mean 'n_warmup_cycles'?",
    "{name: patient, wrapped: {name: percentile, percentile: -1}}": "'pruner.wrapped.percentile' "
    "must be a number from 0 to 100, got -1",
    "{name: patient, wrapped: {name: threshold}}": "'pruner.wrapped' must have 'lower' or 'upper' "
    "for threshold, which has no bound of its own",
    "optuna.samplers:RandomSampler": "'pruner' must name a subclass of optuna's BasePruner or a "
    "function that returns a pruner, got 'optuna.samplers:RandomSampler', which is another class",
    "{name: 'optuna.pruners:NopPruner', options: {a: 1}}": "'pruner' 'optuna.pruners:NopPruner' "
    "cannot be made with options {'a': 1} (TypeError: NopPruner() takes no arguments); "
    "see what it takes",
    "{name: patient, wrapped: 'nowhere:C'}": "'pruner.wrapped' names module 'nowhere', which "
    "cannot be imported (ModuleNotFoundError: No module named 'nowhere'), got 'nowhere:C'; "
    "run from the folder that holds it, or install it",
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_is_wrong_with_a_pruner_is_said_in_one_line(text: str) -> None:
    assert fault(text) == FAULTS[text]


OWN = """
from optuna.pruners import BasePruner


class AtStep(BasePruner):
    def __init__(self, step):
        self.step = step

    def prune(self, study, trial):
        return trial.last_step >= self.step
"""
GOOD = [0.5, 0.7, 0.8, 0.85, 0.87, 0.88, 0.89, 0.9, 0.91]
"""Of nine cycles; greater is better."""


def stopped_at(section: Pruning, objectives: list[float], n_good: int = 6) -> int | None:
    """The step after which a trial is stopped that comes after so many good ones."""
    study = optuna.create_study(
        study_name="a", direction="maximize", pruner=build_pruner(section, n_cycles=len(GOOD))
    )
    for _ in range(n_good):
        trial = study.ask()
        for step, objective in enumerate(GOOD, start=1):
            trial.report(objective, step)
            # whatever it says: rungs are written down when a trial is looked at
            trial.should_prune()
        study.tell(trial, GOOD[-1])
    trial = study.ask()
    for step, objective in enumerate(objectives, start=1):
        trial.report(objective, step)
        if trial.should_prune():
            return step
    return None


BAD = [0.1] * 9
FALLING = [0.9, 0.89, 0.88, 0.87, 0.86, 0.85, 0.84, 0.83, 0.82]


@pytest.mark.parametrize(
    ("section", "objectives", "step"),
    [
        (NoPruning(), BAD, None),
        (MedianPruning(), BAD, 1),
        (MedianPruning(), [0.5] * 9, 2),
        (MedianPruning(), GOOD, None),
        (MedianPruning(n_warmup_cycles=3), BAD, 3),
        (MedianPruning(n_warmup_cycles=3, interval_cycles=4), [0.8, 0.8, 0.8] + [0.1] * 6, 7),
        (MedianPruning(n_startup_trials=7), BAD, None),
        (MedianPruning(n_min_trials=7), BAD, None),
        (PercentilePruning(percentile=100), [0.5] * 9, 2),
        (PercentilePruning(percentile=100, n_warmup_cycles=4), BAD, 4),
        (SuccessiveHalvingPruning(), BAD, 1),
        (SuccessiveHalvingPruning(min_early_stopping_rate=1), BAD, 4),
        (SuccessiveHalvingPruning(reduction_factor=2, min_early_stopping_rate=3), BAD, 8),
        (SuccessiveHalvingPruning(bootstrap_count=7), GOOD, 1),
        (ThresholdPruning(lower=0.2), BAD, 1),
        (ThresholdPruning(lower=0.2, n_warmup_cycles=5), BAD, 5),
        (ThresholdPruning(upper=0.86), GOOD, 5),
        (ThresholdPruning(lower=0.2), GOOD, None),
        (PatientPruning(patience=3), GOOD, None),
        (PatientPruning(patience=3), FALLING, 5),
        (PatientPruning(patience=3, min_delta=0.025), FALLING, 7),
        (PatientPruning(patience=3, wrapped=MedianPruning()), FALLING, 5),
        (PatientPruning(patience=1, wrapped=ThresholdPruning(lower=0.85)), FALLING, 7),
    ],
)
def test_a_pruner_stops_a_trial_where_it_says(
    section: Pruning, objectives: list[float], step: int | None
) -> None:
    # a best objective is compared: that of a falling trial is its first, which is good
    if isinstance(section, PatientPruning) and isinstance(section.wrapped, MedianPruning):
        objectives = [objective - 0.5 for objective in objectives]

    assert stopped_at(section, objectives) == step


def test_hyperband_s_brackets_are_those_of_the_cycles_of_a_run() -> None:
    def rungs(n_cycles: int) -> set[int | None]:
        pruner = build_pruner(HyperbandPruning(), n_cycles)
        study = optuna.create_study(study_name="a", direction="maximize", pruner=pruner)
        found = set()
        for number in range(40):
            trial = study.ask()
            stopped = None
            for step in range(1, n_cycles + 1):
                trial.report(1.0 - number, step)
                if trial.should_prune():
                    stopped = step
                    break
            state = TrialState.PRUNED if stopped else TrialState.COMPLETE
            study.tell(trial, None if stopped else 1.0, state=state)
            found.add(stopped)
        return found

    assert rungs(2) == {None, 1}
    assert rungs(9) == {None, 1, 3, 9}


def test_wilcoxon_looks_at_the_seeds_of_a_trial() -> None:
    seeds = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95]
    pruner = build_pruner(WilcoxonPruning(), n_cycles=3)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    best = study.ask()
    for index, objective in enumerate(seeds):
        best.report(objective, index)
    study.tell(best, sum(seeds) / len(seeds))
    trial = study.ask()
    stopped = []
    for index, objective in enumerate(seeds):
        trial.report(objective - 0.1 - index / 100, index)
        stopped.append(trial.should_prune())

    # four pairs, all of them worse: p = 1 / 16
    assert stopped == [False, False, False, True, True, True]


def test_what_is_to_be_reported_is_said_by_the_section() -> None:
    assert WilcoxonPruning().steps == "seeds"
    others = (MedianPruning(), HyperbandPruning(), PatientPruning(), NoPruning())
    assert {section.steps for section in others} == {"cycles"}


def test_a_pruner_of_one_s_own_is_built_with_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_pruners.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = pruning("{name: 'my_pruners:AtStep', options: {step: 4}}")

    assert stopped_at(own, GOOD) == 4
    assert stopped_at(PatientPruning(patience=4, wrapped=own), FALLING) == 6
    assert own.steps == "cycles"


@pytest.mark.parametrize(
    ("section", "n_cycles", "n_seeds", "sentence"),
    [
        (MedianPruning(n_warmup_cycles=4), 5, 1, None),
        (
            MedianPruning(n_warmup_cycles=5),
            5,
            1,
            "must have fewer 'n_warmup_cycles' than a trial has cycles, 5, to stop it early, got 5",
        ),
        (MedianPruning(n_warmup_cycles=5), 1, 1, None),
        (PatientPruning(patience=3), 5, 1, None),
        (
            PatientPruning(patience=4),
            5,
            1,
            "must have a 'patience' of at most 3 to stop a trial of 5 cycles, got 4",
        ),
        (
            PatientPruning(patience=1, wrapped=ThresholdPruning(lower=0, n_warmup_cycles=9)),
            5,
            1,
            "must have fewer 'n_warmup_cycles' than a trial has cycles, 5, to stop it early, got 9",
        ),
        (SuccessiveHalvingPruning(min_early_stopping_rate=2), 17, 1, None),
        (
            SuccessiveHalvingPruning(min_early_stopping_rate=2),
            16,
            1,
            "must have its first rung before a trial's last cycle, 16, got 4 ** 2 cycles; "
            "lower 'min_early_stopping_rate'",
        ),
        (WilcoxonPruning(), 1, 5, None),
        (
            WilcoxonPruning(),
            9,
            4,
            "needs at least 5 'seeds' to stop a trial before its last one, got 4; list more, "
            "or choose a pruner that looks at cycles, such as median",
        ),
        (
            WilcoxonPruning(n_startup_seeds=7),
            9,
            7,
            "needs at least 8 'seeds' to stop a trial before its last one, got 7; list more, "
            "or choose a pruner that looks at cycles, such as median",
        ),
        (
            WilcoxonPruning(p_threshold=0),
            9,
            99,
            "must have a 'p_threshold' above 0 to stop any trial, got 0",
        ),
        (HyperbandPruning(), 2, 1, None),
        (NoPruning(), 9, 1, None),
    ],
)
def test_a_pruner_that_could_never_stop_a_trial_is_told(
    section: Pruning, n_cycles: int, n_seeds: int, sentence: str | None
) -> None:
    assert futile(section, n_cycles, n_seeds) == sentence


def test_every_option_is_described() -> None:
    sections = [MedianPruning, PercentilePruning, SuccessiveHalvingPruning, HyperbandPruning]
    sections += [ThresholdPruning, PatientPruning, WilcoxonPruning, OwnPruning]
    for section in sections:
        for name, field in section.model_fields.items():
            assert field.description or name == "name", (section, name)
