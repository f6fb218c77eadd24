"""More seeds for the trials that may be the best, until their means are known well enough."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.repeating import interval_half_width, needs_seed, next_seed
from sweeps.runs import Run
from sweeps.spec import Repetitions

SIX = Repetitions(half_width=0.01, most_seeds=6)
REPEATED = ("budget.cycles=1", "repetitions={half_width: 0.03, most_seeds: 6}")
SPREAD = (0.0, 0.02, -0.02, 0.01, -0.01, 0.005)
"""Of six seeds around their trial's mean."""


@given(
    values=st.lists(st.integers(0, 10**4).map(lambda n: n / 10**4), min_size=2, max_size=12),
    confidence=st.floats(0.01, 0.999),
)
def test_the_interval_of_a_mean_is_scipy_s(values: list[float], confidence: float) -> None:
    mean, error = statistics.fmean(values), stats.sem(values)
    half_width = interval_half_width(values, confidence)

    if error > 0:  # scipy has no interval without a spread
        low, high = stats.t.interval(confidence, len(values) - 1, loc=mean, scale=error)
    else:
        low = high = mean
    assert half_width == pytest.approx((high - low) / 2, rel=1e-6, abs=1e-12)


def test_one_value_says_nothing_of_its_spread() -> None:
    assert interval_half_width([0.5], 0.95) == math.inf


@pytest.mark.parametrize(
    ("values", "best", "direction", "answer"),
    [
        ([0.5], 0.9, "maximize", True),  # nothing is known of its spread
        ([0.50, 0.52], None, "maximize", True),
        ([0.50, 0.501], None, "maximize", False),  # 0.0064 to each side
        ([0.50, 0.52], 0.9, "maximize", False),
        ([0.50, 0.52], 0.6, "maximize", True),
        ([0.50, 0.52], 0.1, "minimize", False),
        ([0.50, 0.52], 0.4, "minimize", True),
        ([0.50, 0.52], 0.9, "minimize", True),
        ([0.5, 0.5], 0.5, "maximize", False),
        ([0.50, 0.501, 0.502, 0.50], 0.5, "maximize", False),
        ([0.5, 0.6, 0.5, 0.6, 0.5, 0.6], 0.5, "maximize", False),  # it has as many as it may
    ],
)
def test_a_seed_is_needed_where_a_trial_may_be_the_best_and_is_not_known_well(
    values: list[float], best: float | None, direction: Any, answer: bool
) -> None:
    assert needs_seed(values, best, SIX, direction) is answer


def test_a_further_seed_is_one_that_the_trial_has_not_had() -> None:
    assert next_seed([0, 1]) == 2
    assert next_seed([7, 3]) == 8


def _script(run: Run) -> list[float]:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    return [rate + SPREAD[run.seed]]


def _seeds(rows: list[dict[str, Any]]) -> list[list[int]]:
    return [sorted(row["seed"] for row in rows if row["trial"] == n) for n in range(3)]


def test_contenders_get_seeds_and_a_clear_loser_gets_none(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, rows: Any, study: Any
) -> None:
    sweep = spec(*REPEATED, "space.learning_rate=[0.5, 0.1, 0.51]", "seeds=3")
    path, executor = tmp_path / "out", scripted(_script, n_slots=1)
    progress = drive(sweep, path, executor)

    # of 3 seeds the interval is 0.05 to each side, of 4 0.027, which is narrow enough
    assert _seeds(rows(path, "runs")) == [[0, 1, 2, 3], [0, 1, 2], [0, 1, 2, 3]]
    means = [statistics.fmean(SPREAD[:n]) for n in (4, 3, 4)]
    assert [t.value for t in study(path).trials] == pytest.approx(
        [0.5 + means[0], 0.1 + means[1], 0.51 + means[2]]
    )
    assert progress.n_runs == 11
    assert len(executor.started) == 11


def test_no_trial_gets_more_seeds_than_it_may_have(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, rows: Any
) -> None:
    sweep = spec("budget.cycles=1", "repetitions={half_width: 0.001, most_seeds: 4}", "trials=1")
    drive(sweep, tmp_path / "out", scripted(_script, n_slots=3))

    assert _seeds(rows(tmp_path / "out", "runs"))[0] == [0, 1, 2, 3]


def test_the_seeds_that_were_added_are_there_again_after_a_kill(
    spec: Any, killed_anywhere: Any, rows: Any, study: Any
) -> None:
    # by a sampler that learns trials are asked for one by one, so that all is decided in one order
    rates = "space.learning_rate=[0.5, 0.1, 0.51]"
    sweep = spec(*REPEATED, rates, "sampler={name: tpe, n_startup_trials: 2}", "trials=3")
    results = []
    for path in killed_anywhere(sweep, _script, every=4):
        told = [(t.params, t.state, t.values, t.intermediate_values) for t in study(path).trials]
        results.append((told, _seeds(rows(path, "runs"))))

    assert len(results) > 4
    assert all(result == results[0] for result in results)
    assert max(len(seeds) for seeds in results[0][1]) > 2


def test_a_trial_whose_added_seed_fails_has_failed(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, rows: Any, study: Any
) -> None:
    def script(run: Run) -> list[float] | str:
        return "RuntimeError: boom" if run.seed == 2 else _script(run)

    sweep = spec(*REPEATED, "trials=1")
    drive(sweep, tmp_path / "out", scripted(script))

    assert study(tmp_path / "out").trials[0].state.name == "FAIL"
    assert _seeds(rows(tmp_path / "out", "runs"))[0] == [0, 1, 2]


def test_a_trial_that_was_pruned_gets_no_seeds(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, rows: Any, study: Any
) -> None:
    def script(run: Run) -> list[float]:
        return [*_script(run), *_script(run)]

    sweep = spec(
        *REPEATED,
        *("budget.cycles=2", "space.learning_rate=[0.5, 0.1]", "seeds=2"),
        "pruner={name: threshold, lower: 0.3, n_warmup_cycles: 0}",
    )
    drive(sweep, tmp_path / "out", scripted(script))

    assert [t.state.name for t in study(tmp_path / "out").trials] == ["COMPLETE", "PRUNED"]
    assert _seeds(rows(tmp_path / "out", "runs"))[1] == [0, 1]
