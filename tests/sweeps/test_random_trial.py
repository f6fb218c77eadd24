"""What is drawn without a study is distributed as Optuna's random sampler draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.random_trial import RandomTrial

N = 3000


def _drawn(suggest: Callable[[Any], Any]) -> list[Any]:
    trial = RandomTrial(0)
    return [suggest(trial) for _ in range(N)]


def _optuna(suggest: Callable[[Any], Any], distribution: Any) -> list[Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    frozen = optuna.trial.create_trial(value=0.0)
    draw = study.sampler.sample_independent
    return [draw(study, frozen, "x", distribution) for _ in range(N)]


DISCRETE: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "categorical": (
        lambda t: t.suggest_categorical("x", ("a", None, 3)),
        optuna.distributions.CategoricalDistribution(("a", None, 3)),
    ),
    "int": (
        lambda t: t.suggest_int("x", -2, 5),
        optuna.distributions.IntDistribution(-2, 5),
    ),
    "int with steps": (
        lambda t: t.suggest_int("x", 1, 16, step=5),
        optuna.distributions.IntDistribution(1, 16, step=5),
    ),
    "log int": (
        lambda t: t.suggest_int("x", 1, 12, log=True),
        optuna.distributions.IntDistribution(1, 12, log=True),
    ),
    "float with steps": (
        lambda t: t.suggest_float("x", 0.25, 1.5, step=0.25),
        optuna.distributions.FloatDistribution(0.25, 1.5, step=0.25),
    ),
}
CONTINUOUS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "float": (
        lambda t: t.suggest_float("x", -1.0, 3.0),
        optuna.distributions.FloatDistribution(-1.0, 3.0),
    ),
    "log float": (
        lambda t: t.suggest_float("x", 1e-4, 10.0, log=True),
        optuna.distributions.FloatDistribution(1e-4, 10.0, log=True),
    ),
}


@pytest.mark.parametrize("kind", DISCRETE)
def test_values_are_as_frequent_as_optuna_s(kind: str) -> None:
    ours, theirs = (Counter(f(DISCRETE[kind][0])) for f in (_drawn, _theirs(DISCRETE[kind][1])))

    assert ours.keys() == theirs.keys()
    table = [[counts[value] for value in ours] for counts in (ours, theirs)]
    assert stats.chi2_contingency(table).pvalue > 0.01


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_numbers_are_spread_as_optuna_s(kind: str) -> None:
    suggest, distribution = CONTINUOUS[kind]

    result = stats.ks_2samp(_drawn(suggest), _theirs(distribution)(suggest))

    assert result.pvalue > 0.01


def _theirs(distribution: Any) -> Callable[[Any], list[Any]]:
    return lambda suggest: _optuna(suggest, distribution)


@given(
    seed=st.integers(0, 2**32 - 1),
    low=st.integers(-(10**6), 10**6),
    span=st.integers(0, 10**6),
    step=st.integers(1, 1000),
)
def test_an_integer_is_within_its_range_and_on_a_step(
    seed: int, low: int, span: int, step: int
) -> None:
    value = RandomTrial(seed).suggest_int("x", low, low + span, step=step)

    assert low <= value <= low + span
    assert (value - low) % step == 0
    above = abs(low) + 1
    drawn = RandomTrial(seed).suggest_int("x", above, above + span, log=True)
    assert isinstance(drawn, int)
    assert above <= drawn <= above + span


@given(
    seed=st.integers(0, 2**32 - 1),
    low=st.floats(1e-8, 1e8),
    factor=st.floats(1.0, 1e8),
    n_steps=st.integers(1, 1000),
)
def test_a_number_is_one_that_optuna_s_distribution_contains(
    seed: int, low: float, factor: float, n_steps: int
) -> None:
    high = low * factor
    for log in (False, True):
        value = RandomTrial(seed).suggest_float("x", low, high, log=log)
        assert isinstance(value, float)
        assert low <= value <= high
    step = low / 4
    top = low + n_steps * step
    stepped = RandomTrial(seed).suggest_float("x", low, top, step=step)
    assert low <= stepped <= top
    assert abs((stepped - low) / step - round((stepped - low) / step)) < 1e-6


def test_the_same_seed_gives_the_same_values() -> None:
    def values(seed: int) -> list[float]:
        trial = RandomTrial(seed)
        return [trial.suggest_float("x", 0.0, 1.0) for _ in range(3)]

    assert values(1) == values(1) != values(2)
    assert len(set(values(1))) == 3
    assert np.isfinite(values(1)).all()
