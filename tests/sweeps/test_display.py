"""What the live view and the log of a sweep say."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from rso_core.configuration import Configuration
from sweeps.display import LiveDisplay, ObservedDisplay, PlainDisplay
from sweeps.progress import SweepProgress
from sweeps.runs import Run
from sweeps.search import Trial
from sweeps.spec import Metric, Objective

Show = tuple[io.StringIO, LiveDisplay]


@pytest.fixture
def shown() -> Iterator[Show]:
    """A wide terminal, and what is written to it."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=300, color_system=None)
    with closing(LiveDisplay(console)) as display:
        yield text, display


_VALUES = {"architecture": "mlp()", "batch_size": 10, "optimizer": "sgd"}


def progress(metrics: list[Metric], *values: tuple[float, ...]) -> SweepProgress:
    kept = SweepProgress(9, 1, 1.0, tuple(Objective.model_validate({"metric": m}) for m in metrics))
    for number, of_trial in enumerate(values):
        kept.trial_finished(Trial(number, Configuration.from_values(_VALUES, 1), {}), of_trial)
    return kept


def test_the_best_trial_is_named(shown: Show) -> None:
    text, display = shown
    display.refresh(progress(["validation_accuracy"], (0.5,), (0.75,)))
    assert "2 of 9 trials, 0 running" in text.getvalue()
    assert "· best validation accuracy 75.00% (trial 1)" in text.getvalue()


def test_of_several_objectives_the_size_and_the_ends_of_the_pareto_set_are(shown: Show) -> None:
    text, display = shown
    metrics: list[Metric] = ["test_accuracy", "training_s", "n_visited"]
    display.refresh(progress(metrics, (0.9, 125.0, 20000), (0.5, 1.25, 0), (0.4, 2.0, 100)))
    assert (
        "· Pareto set of 2 trials: test accuracy 90.00% (trial 0), training 1.25 s (trial 1), "
        "visited 0 (trial 1)"
    ) in text.getvalue()


def test_nothing_is_said_to_be_best_before_a_trial_has_finished(shown: Show) -> None:
    text, display = shown
    display.refresh(progress(["test_loss"]))
    assert "0 of 9 trials" in text.getvalue()
    assert "best" not in text.getvalue()


def test_why_no_further_trial_is_begun_is_said(shown: Show) -> None:
    text, display = shown
    stopped = progress(["test_loss"], (0.25,))
    stopped.stop_reason = "no improvement over 5 trials"
    display.refresh(stopped)
    assert "best test loss 0.25 (trial 0) · no further trial: no improvement over 5 trials" in (
        text.getvalue()
    )


@pytest.fixture
def logged() -> tuple[io.StringIO, PlainDisplay]:
    """A file in the place of a terminal."""
    text = io.StringIO()
    return text, PlainDisplay(Console(file=text, width=40))


def test_a_log_names_run_and_host_where_a_run_begins_moves_and_ends(
    logged: tuple[io.StringIO, PlainDisplay], events: Any
) -> None:
    text, display = logged
    run = Run(3, 1, Configuration.from_values(_VALUES, 5))
    display.run_began(run, replace(events.began(run), host="node7"))
    display.run_noticed(run, "its machine is gone; it goes on elsewhere")
    display.run_began(run, replace(events.began(run, (2, 100)), host="node9"))
    display.run_ended(run, events.ended(run, "finished"), events.cycle_ended(run, 5, 0.5).record)
    assert text.getvalue().splitlines() == [
        "begun  trial   3 seed 1  sgd  mlp(), batch 10 (trial-3-seed-1 on node7)",
        "note   trial   3 seed 1  its machine is gone; it goes on elsewhere "
        "(trial-3-seed-1 on node7)",
        "begun  trial   3 seed 1  sgd  mlp(), batch 10, goes on in cycle 3 of 5 "
        "(trial-3-seed-1 on node9)",
        "done   trial   3 seed 1  sgd  mlp(), batch 10  validation 50.00%, test 50.00% "
        "(trial-3-seed-1 on node9)",
    ]


def test_a_run_that_fails_before_it_begins_is_logged_with_the_host_that_tells_of_it(
    logged: tuple[io.StringIO, PlainDisplay], events: Any
) -> None:
    text, display = logged
    run = Run(0, 0, Configuration.from_values(_VALUES, 1))
    display.run_ended(run, events.ended(run, "failed", "no memory"), None)
    display.run_noticed(run, "nothing is known of it any more")
    assert text.getvalue().splitlines() == [
        "FAILED trial   0 seed 0  sgd  mlp(), batch 10: no memory (trial-0-seed-0 on host)",
        "note   trial   0 seed 0  nothing is known of it any more (trial-0-seed-0)",
    ]


def test_who_observes_a_display_sees_the_progress_and_the_display_everything(
    watched: Any, events: Any
) -> None:
    observed: list[SweepProgress] = []
    display = ObservedDisplay(watched, observed.append)
    run = Run(0, 0, Configuration.from_values(_VALUES, 1))
    display.run_began(run, events.began(run))
    display.run_noticed(run, "slow")
    display.run_ended(run, events.ended(run, "finished"), None)
    display.trial_refused(1, "no such batch")
    display.suspending(2)
    shown = progress(["test_loss"])
    display.refresh(shown)
    display.close()
    assert watched.began == [(run.name, "host")]
    assert watched.ended == [run.name, "no such batch"]
    assert watched.notices == [f"{run.name}: slow"]
    assert watched.n_suspending == 2
    assert observed == [shown]


def test_refreshes_that_follow_each_other_at_once_are_drawn_once(
    shown: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, display = shown
    kept = progress(["test_loss"])
    moment = 100.0
    monkeypatch.setattr("sweeps.display.time.monotonic", lambda: moment)
    display.refresh(kept)
    length = len(text.getvalue())
    display.refresh(kept)
    assert len(text.getvalue()) == length
    moment += 0.25
    display.refresh(kept)
    assert len(text.getvalue()) > length
