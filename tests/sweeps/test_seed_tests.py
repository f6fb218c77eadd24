"""Trials whose seeds are compared, as they end, with those of the best trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from sweeps.runs import Run

# two seeds side by side, then one by one; the second configuration is the worst, the third the best
WILCOXON = (
    *("seeds=6", "budget.cycles=1", "space.learning_rate=[0.2, 0.1, 0.3]"),
    "pruner={name: wilcoxon, p_threshold: 0.15, n_startup_seeds: 0}",
)


def _script(run: Run) -> list[float]:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    return [rate + 0.001 * run.seed]


def _results(study: Any, rows: Any, path: Path) -> list[Any]:
    told = [(t.params, t.state, t.values, t.intermediate_values) for t in study(path).trials]
    keys = ("run", "state", "parameters", "n_attempts")
    return [told, sorted([row[key] for key in keys] for row in rows(path, "runs"))]


def test_seeds_run_side_by_side_as_far_as_a_test_needs_and_then_one_by_one(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any
) -> None:
    executor = scripted(_script, n_slots=4)
    at_once: list[set[tuple[int, int]]] = []
    poll = executor.poll

    def polled(timeout_s: float) -> Any:
        at_once.append({tuple(map(int, name.split("-")[1::2])) for name in executor._running})
        return poll(timeout_s)

    executor.poll = polled
    drive(spec(*WILCOXON), tmp_path / "out", executor)

    assert at_once[0] == {(0, 0), (0, 1), (1, 0), (1, 1)}
    of_first = [{seed for trial, seed in runs if trial == 0} for runs in at_once]
    assert [max(seeds, default=-1) for seeds in of_first] == sorted(
        max(seeds, default=-1) for seeds in of_first if seeds
    ) + [-1] * sum(not seeds for seeds in of_first)
    assert all(len(seeds) == 1 for seeds in of_first if seeds - {0, 1})


def test_a_clearly_worse_trial_is_stopped_and_its_other_seeds_never_start(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, rows: Any, study: Any
) -> None:
    path, executor = tmp_path / "out", scripted(_script, n_slots=1)
    progress = drive(spec(*WILCOXON), path, executor)

    first, worse, better = study(path).trials
    assert (first.state, first.value) == (TrialState.COMPLETE, pytest.approx(0.2025))
    assert (better.state, better.value) == (TrialState.COMPLETE, pytest.approx(0.3025))
    assert worse.state == TrialState.PRUNED
    # three pairs, all of them worse: p = 1 / 8
    assert worse.intermediate_values == pytest.approx({0: 0.1, 1: 0.101, 2: 0.102})
    assert [run.seed for run in executor.started if run.trial == 1] == [0, 1, 2]
    assert [run.seed for run in executor.started if run.trial == 2] == list(range(6))
    runs = {(row["trial"], row["seed"]): row for row in rows(path, "runs")}
    assert len(runs) == len(rows(path, "runs")) == 18
    states = {seed: (runs[1, seed]["state"], runs[1, seed]["n_attempts"]) for seed in range(6)}
    assert states == {
        **dict.fromkeys(range(3), ("finished", 1)),
        **dict.fromkeys(range(3, 6), ("pruned", 0)),
    }
    assert (progress.n_trials_finished, progress.n_trials_pruned) == (2, 1)
    assert not executor.stopped


def test_a_driver_killed_anywhere_stops_the_same_trials_for_the_same_seeds(
    spec: Any, killed_anywhere: Any, rows: Any, study: Any
) -> None:
    results = [_results(study, rows, p) for p in killed_anywhere(spec(*WILCOXON), _script, every=6)]

    assert len(results) > 4
    assert all(result == results[0] for result in results)


def test_seeds_are_reported_in_their_order_whichever_ends_first(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, study: Any, events: Any
) -> None:
    def script(run: Run) -> list[Any]:
        late = [events.began(run)] * (3 if run.seed == 0 else 0)
        return [*late, *(e for e in scripted(_script)._events(run))]

    path = tmp_path / "out"
    drive(spec(*WILCOXON, "trials=1"), path, scripted(script, n_slots=2))

    (trial,) = study(path).trials
    assert trial.intermediate_values == pytest.approx({s: 0.2 + 0.001 * s for s in range(6)})


def test_a_trial_with_a_failed_seed_fails_and_stands_in_nobody_s_way(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, study: Any, rows: Any
) -> None:
    def script(run: Run) -> list[float] | str:
        return "RuntimeError: boom" if (run.trial, run.seed) == (0, 1) else _script(run)

    path = tmp_path / "out"
    drive(spec(*WILCOXON), path, scripted(script))

    assert [trial.state.name for trial in study(path).trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert len(rows(path, "runs")) == 18


def test_repetitions_are_for_trials_that_the_test_lets_pass(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, rows: Any, study: Any
) -> None:
    # the interval of a mean over few seeds is wide enough to reach everything
    def script(run: Run) -> list[float]:
        return [value + 0.1 * (run.seed % 2) for value in _script(run)]

    sweep = spec(
        *WILCOXON,
        *("seeds=3", "space.learning_rate=[0.2, 0.15]"),
        "repetitions={half_width: 0.001, most_seeds: 5}",
    )
    path = tmp_path / "out"
    drive(sweep, path, scripted(script, n_slots=1))

    assert [trial.state.name for trial in study(path).trials] == ["COMPLETE", "COMPLETE"]
    assert [sum(row["trial"] == n for row in rows(path, "runs")) for n in (0, 1)] == [5, 3]
