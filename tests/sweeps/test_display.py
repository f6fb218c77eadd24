"""What the live view says of a sweep."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing

import pytest
from rich.console import Console

from rso_core.configuration import Configuration
from sweeps.display import LiveDisplay
from sweeps.progress import SweepProgress
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


def progress(metrics: list[Metric], *values: tuple[float, ...]) -> SweepProgress:
    kept = SweepProgress(9, 1, 1.0, tuple(Objective.model_validate({"metric": m}) for m in metrics))
    values_of = {"architecture": "mlp()", "batch_size": 10, "optimizer": "sgd"}
    for number, of_trial in enumerate(values):
        kept.trial_finished(Trial(number, Configuration.from_values(values_of, 1), {}), of_trial)
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
