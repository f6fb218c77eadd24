"""TPE that remembers what was told: it suggests exactly what Optuna's own does."""

from __future__ import annotations

import sys
import warnings
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from sweeps.quick_tpe import QuickTpe, agrees_with_optuna, tpe_sampler
from sweeps.told_trials import ToldTrials

optuna.logging.set_verbosity(optuna.logging.WARNING)

IS_PROVIDED_FOR = int(optuna.__version__.partition(".")[0]) == 5
provided_for = pytest.mark.skipif(not IS_PROVIDED_FOR, reason="it is not used with this optuna")
DIRECTIONS = ("minimize", "maximize")


def suggest(trial: optuna.Trial) -> None:
    """A space whose dimensions depend on each other, with every kind of domain."""
    optimizer = trial.suggest_categorical("optimizer", ("rso", "sgd", "adam"))
    trial.suggest_int("batch_size", 16, 64, step=16)
    trial.suggest_int("width", 1, 500, log=True)
    if optimizer != "rso":
        trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)
    if optimizer == "sgd":
        trial.suggest_float("momentum", 0.0, 0.9, step=0.1)
        trial.suggest_categorical("nesterov", (True, False, None))


class Sweep:
    """A study whose asks and tells are the same for every sampler, as far as it suggests the same.

    Args:
        directions: of its objectives.
        seed: of the order and the results.
    """

    def __init__(self, directions: tuple[str, ...], seed: int) -> None:
        self.study = optuna.create_study(directions=directions)
        self.generator = np.random.default_rng(seed)
        self.running: list[int] = []

    def ask(self, sampler: TPESampler) -> dict[str, Any]:
        self.study.sampler = sampler
        trial = self.study.ask()
        self.running.append(trial.number)
        if self.generator.random() < 0.95:  # a few are never given all their values
            suggest(trial)
        if len(self.study.directions) == 1:
            for step in range(int(self.generator.integers(0, 3))):
                trial.report(self._value(), step)
        return trial.params

    def tell(self) -> None:
        number = self.running.pop(int(self.generator.integers(len(self.running))))
        chance = self.generator.random()
        if chance < 0.1:
            self.study.tell(number, state=TrialState.FAIL)
        elif chance < 0.3:
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, [self._value() for _ in self.study.directions])

    def _value(self) -> float:
        return round(float(self.generator.normal()), 1)  # some are equal


def constraints(trial: optuna.trial.FrozenTrial) -> list[float]:
    return [float(trial.number % 5) - 3]


@provided_for
@given(
    seed=st.integers(0, 2**20),
    n_objectives=st.integers(1, 2),
    multivariate=st.sampled_from([None, True, False]),
    group=st.booleans(),
    constant_liar=st.booleans(),
    is_constrained=st.booleans(),
    first_look=st.integers(0, 20),
)
@settings(max_examples=16, deadline=None)
def test_it_suggests_what_optuna_suggests(
    seed: int,
    n_objectives: int,
    multivariate: bool | None,
    group: bool,
    constant_liar: bool,
    is_constrained: bool,
    first_look: int,
) -> None:
    options = {
        "multivariate": True if group else multivariate,
        "group": group,
        "constant_liar": constant_liar,
        "n_startup_trials": 5,
        "constraints_func": constraints if is_constrained else None,
    }
    told = ToldTrials()
    ours, theirs = (Sweep(DIRECTIONS[:n_objectives], seed) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(35):
            plain = partial(TPESampler, seed=number, **options)
            quick = partial(QuickTpe, told, seed=number, **options)
            theirs_asked = theirs.ask(plain())
            assert ours.ask(quick() if number >= first_look else plain()) == theirs_asked
            if number >= 3:
                ours.tell()
                theirs.tell()


@provided_for
def test_it_suggests_the_same_where_dimensions_change_their_ends() -> None:
    def asked(make: Any) -> list[float]:
        study = optuna.create_study()
        values = []
        for number in range(30):
            study.sampler = make(seed=number, n_startup_trials=3)
            trial = study.ask()
            values.append(trial.suggest_float("x", 0, 1 + number // 10))
            study.tell(trial, abs(values[-1] - 0.7))
        return values

    assert asked(partial(QuickTpe, ToldTrials())) == asked(TPESampler)


@provided_for
def test_a_trial_that_was_told_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    tpe: Any = sys.modules[TPESampler.__module__]
    score = tpe._get_infeasible_trial_score

    def watched(trial: optuna.trial.FrozenTrial) -> float:
        looked.append(trial.number)
        return float(score(trial))

    monkeypatch.setattr(tpe, "_get_infeasible_trial_score", watched)
    told = ToldTrials()
    sweep = Sweep(("minimize",), 0)
    for number in range(60):
        sweep.ask(QuickTpe(told, seed=number, n_startup_trials=5))
        if number >= 3:
            sweep.tell()

    suggest(sweep.study.ask())

    finished = sweep.study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    assert sorted(looked) == [trial.number for trial in finished]


def test_optuna_of_this_version_is_provided_for() -> None:
    # another major version may be built differently: then this says that it is slow, not wrong
    assert agrees_with_optuna() == IS_PROVIDED_FOR


@pytest.fixture
def agreement_is_tried_again() -> Any:
    agrees_with_optuna.cache_clear()
    yield
    agrees_with_optuna.cache_clear()


@pytest.mark.usefixtures("agreement_is_tried_again")
@pytest.mark.parametrize("name", ["_get_params", "_compute_acquisition_func", "_compare"])
def test_where_optuna_lacks_what_is_needed_it_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(TPESampler, name)

    assert type(tpe_sampler(ToldTrials(), 5000, seed=0)) is TPESampler


@provided_for
@pytest.mark.usefixtures("agreement_is_tried_again")
def test_where_optuna_suggests_something_else_it_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lowest(
        self: TPESampler, study: optuna.Study, trial: object, space: dict[str, Any]
    ) -> dict[str, Any]:
        return {name: domain.to_external_repr(1) for name, domain in space.items()}

    assert type(tpe_sampler(ToldTrials(), 5000, seed=0)) is QuickTpe
    agrees_with_optuna.cache_clear()
    monkeypatch.setattr(TPESampler, "_sample", lowest)
    assert type(tpe_sampler(ToldTrials(), 5000, seed=0)) is TPESampler


def test_of_few_trials_optuna_is_left_to_itself() -> None:
    assert type(tpe_sampler(ToldTrials(), 20, seed=0)) is TPESampler
