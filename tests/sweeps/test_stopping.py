"""When a sweep begins no further trial."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sweeps.runs import Run
from sweeps.spec import Objective, Stop
from sweeps.stopping import StopRule, driven_s

RATES = "space.learning_rate=[0.1, 0.3, 0.2, 0.25, 0.4, 0.5]"


def _rate(run: Run) -> float:
    rate: float = run.configuration.options.learning_rate  # type: ignore[attr-defined]
    return rate


def _script(run: Run) -> list[float]:
    return [0.0, _rate(run)]


# what comes after the last trial that is begun before the reason is there, with one actor
RULES = [
    ("{target: 0.3}", (), 2, "the target is reached: validation_accuracy 0.3"),
    (
        "{target: 0.75}",
        ("objective.metric=validation_loss",),
        2,
        "the target is reached: validation_loss 0.7",
    ),
    ("{no_improvement_trials: 2}", (), 4, "no improvement over 2 trials"),
    ("{images_passed: 700}", (), 2, "800 images have passed"),
    ("{images_passed: 801}", (), 3, "1,200 images have passed"),
]


@pytest.mark.parametrize(("stop", "more", "n_trials", "reason"), RULES)
def test_once_there_is_a_reason_no_further_trial_is_begun(
    tmp_path: Path,
    spec: Any,
    drive: Any,
    scripted: Any,
    rows: Any,
    study: Any,
    stop: str,
    more: tuple[str, ...],
    n_trials: int,
    reason: str,
) -> None:
    sweep, path = spec(RATES, f"stop={stop}", *more), tmp_path / "out"
    progress = drive(sweep, path, scripted(_script, n_slots=1))

    assert progress.stop_reason == reason
    assert [t.state.name for t in study(path).trials] == ["COMPLETE"] * n_trials
    assert len(rows(path, "runs")) == 2 * n_trials
    assert not progress.is_interrupted
    assert rows(path, "drivers")[-1]["stop_reason"] == reason

    # and there is nothing left to do: a further driver does not even poll
    before = (path / "study.journal").read_bytes()
    again = drive(sweep, path, scripted(_script, kill_at=1))
    assert again.stop_reason == reason
    assert (path / "study.journal").read_bytes() == before


@pytest.mark.parametrize(("stop", "more", "n_trials", "reason"), RULES)
def test_a_driver_killed_anywhere_stops_where_the_undisturbed_one_does(
    spec: Any,
    killed_anywhere: Any,
    study: Any,
    stop: str,
    more: tuple[str, ...],
    n_trials: int,
    reason: str,
) -> None:
    sweep = spec(RATES, f"stop={stop}", "seeds=1" if "images" not in stop else "seeds=2", *more)
    results = [
        [(t.params, t.state, t.values) for t in study(path).trials]
        for path in killed_anywhere(sweep, _script, every=4)
    ]

    assert len(results) > 2
    assert len(results[0]) == n_trials
    assert all(result == results[0] for result in results)


def test_what_is_under_way_is_finished(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, study: Any, events: Any
) -> None:
    def script(run: Run) -> list[Any]:
        # the second trial, which is begun beside the first, takes longer
        late = [events.began(run)] * (4 if run.trial == 1 else 0)
        return [*late, *scripted(_script)._events(run)]

    executor = scripted(script, n_slots=2)
    progress = drive(spec(RATES, "seeds=1", "stop.target=0.1"), tmp_path / "out", executor)

    assert [run.trial for run in executor.started] == [0, 1]
    assert [t.state.name for t in study(tmp_path / "out").trials] == ["COMPLETE", "COMPLETE"]
    assert progress.stop_reason == "the target is reached: validation_accuracy 0.1"


def test_the_time_of_all_drivers_counts(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any, study: Any
) -> None:
    sweep, path = spec(RATES, "seeds=1", "stop.wall_clock_s=3600"), tmp_path / "out"
    with pytest.raises(scripted.Killed):
        drive(sweep, path, scripted(_script, n_slots=1, kill_at=6))
    log = path / "records" / "drivers.jsonl"
    began = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="milliseconds")
    ended = (datetime.now(UTC) - timedelta(minutes=59)).isoformat(timespec="milliseconds")
    log.write_text(f'{{"started_at": "{began}"}}\n{{"ended_at": "{ended}"}}\n')
    progress = drive(sweep, path, scripted(_script, n_slots=1))

    assert progress.stop_reason == "1 h 00 min are over"
    assert len(study(path).trials) == 2  # the one that was under way is finished
    assert progress.n_trials_finished == 2


def test_a_sweep_that_comes_to_its_end_has_no_reason_to_stop(
    tmp_path: Path, spec: Any, drive: Any, scripted: Any
) -> None:
    progress = drive(spec("stop.target=0.9", "seeds=1"), tmp_path / "out", scripted(_script))

    assert progress.stop_reason is None
    assert progress.n_trials_finished == 3


def test_trials_without_an_objective_improve_nothing() -> None:
    rule = StopRule(Stop(no_improvement_trials=2), Objective())
    for value in (None, None, None, 0.5, None):
        rule.trial_ended(value)
    assert rule.reason(0.0) is None
    rule.trial_ended(0.5)  # as good is not better
    assert rule.reason(0.0) == "no improvement over 2 trials"
    rule.trial_ended(0.6)
    assert rule.reason(0.0) is None


def test_there_is_nothing_to_watch_for_where_nothing_is_asked_for() -> None:
    assert not StopRule(Stop(), Objective()).may_stop
    for field in Stop.model_fields:
        assert StopRule(Stop.model_validate({field: 1}), Objective()).may_stop


def _at(minute: int) -> str:
    return datetime(2026, 1, 1, 0, minute, tzinfo=UTC).isoformat(timespec="milliseconds")


def test_a_driver_that_could_not_say_when_it_ended_counts_to_its_last_run() -> None:
    drivers = [
        {"started_at": _at(0)},  # killed after the run that ended in minute 4
        {"started_at": _at(10)},
        {"ended_at": _at(15)},
        {"started_at": _at(20)},  # no run ended under it
        {"started_at": _at(30)},  # the present one
    ]
    runs = [{"ended_at": _at(minute)} for minute in (2, 4, 12)]

    assert driven_s(drivers, runs) == 60 * (4 + 5)
    assert driven_s([], []) == 0
    assert driven_s(drivers[:1], []) == 0
