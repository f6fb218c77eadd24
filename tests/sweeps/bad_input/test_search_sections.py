"""Objectives, repetitions, stops and warm starts of a sweep file that cannot be meant so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Refused = Callable[..., None]

# `--set`, and what is said about it; each message ends with the place
BAD_VALUES = [
    (
        "pruner={name: patient, wrapped: {name: median, n_warmup: 1}}",
        "'pruner.wrapped.n_warmup' is not a key of 'pruner.wrapped', "
        "did you mean 'n_warmup_cycles'?",
    ),
    (
        "objective.metric=validation_acc",
        "'objective.metric' must be validation_accuracy, validation_loss, test_accuracy, "
        "test_loss, training_loss, training_s, n_images_passed or n_visited, "
        "got 'validation_acc'; did you mean 'validation_accuracy'?",
    ),
    (
        "objective=test_loss",
        "'objective' must be a mapping of 'metric' and 'direction', got 'test_loss'",
    ),
    ("objective=[]", "'objective' must list at least one objective, got []"),
    (
        "objective=[{metric: test_loss}, {metric: test_loss}]",
        "'objective' must list every metric once, got 'test_loss' again",
    ),
    (
        "objective=[{metric: test_loss}, {metrc: training_s}]",
        "'objective.metrc' is not a key of 'objective', did you mean 'metric'?",
    ),
    (
        "repetitions=3",
        "'repetitions' must be a mapping with keys such as 'half_width' or null, got 3",
    ),
    (
        "repetitions.most_seeds=5",
        "'repetitions.half_width' is missing; it must be a number of more than 0",
    ),
    ("repetitions.half_width=0", "'repetitions.half_width' must be a number of more than 0, got 0"),
    (
        "repetitions.half_width=2",
        "'repetitions.half_width' must be a number of less than 0.5, since validation_accuracy is "
        "from 0 to 1, got 2",
    ),
    (
        "repetitions={half_width: 0.1, most_seeds: 1}",
        "'repetitions.most_seeds' must be an integer from 2 to 10000, got 1",
    ),
    (
        "repetitions={half_width: 0.1, confidence: 95}",
        "'repetitions.confidence' must be a number of more than 0 and less than 1, got 95",
    ),
    (
        "repetitions={half_width: 0.1, most_seds: 5}",
        "'repetitions.most_seds' is not a key of 'repetitions', did you mean 'most_seeds'?",
    ),
    ("stop=3", "'stop' must be a mapping with keys such as 'wall_clock_s', got 3"),
    (
        "stop.wall_clock_s=1h",
        "'stop.wall_clock_s' must be a number of more than 0 or null, got '1h'",
    ),
    (
        "stop.wall_clock_s=.inf",
        "'stop.wall_clock_s' must be a number of more than 0 or null, got inf",
    ),
    (
        "stop.images_passed=1e9",
        "'stop.images_passed' must be an integer of at least 1 or null, got 1000000000.0",
    ),
    (
        "stop.no_improvement_trials=0",
        "'stop.no_improvement_trials' must be an integer of at least 1 or null, got 0",
    ),
    ("stop.target=good", "'stop.target' must be a number or null, got 'good'"),
    ("stop.target=.nan", "'stop.target' must be a number or null, got nan"),
    (
        "stop.target=95",
        "'stop.target' must be a number from 0 to 1, as validation_accuracy is, got 95",
    ),
    ("stop.targt=0.9", "'stop.targt' is not a key of 'stop', did you mean 'target'?"),
    ("warm_start=3", "'warm_start' must be a list of run folders, got 3"),
    ("warm_start=", "'warm_start' must be a list of run folders, got None"),
    ("warm_start={runs: a}", "'warm_start' must be a list of run folders, got {'runs': 'a'}"),
    ("warm_start=[a, 7]", "'warm_start' must name run folders by non-empty texts, got 7"),
    ("warm_start=''", "'warm_start' must name run folders by non-empty texts, got ''"),
    (
        "warm_start=[runs/a, runs/a/]",
        "'warm_start' must list every run folder once, got 'runs/a/' again",
    ),
]


@pytest.mark.parametrize(("override", "message"), BAD_VALUES, ids=[bad[0] for bad in BAD_VALUES])
def test_a_bad_value_is_refused_with_its_place(
    refused: Refused, override: str, message: str
) -> None:
    refused(["check", "small.yaml", "--set", override], f"{message} (--set {override})")


def test_all_faults_of_the_sections_about_the_search_are_listed_with_their_lines(
    refused: Refused,
) -> None:
    lines = [
        *("sampler:", "  name: nsga2", "  population_size: 1"),
        *("pruner: {name: median, n_warmup_cycles: -1}",),
        *("objective:", "- metric: test_los", "- metric: training_s", "  direction: down"),
        *("repetitions:", "  half_width: wide", "  most_seeds: 1"),
        *("stop:", "  target: soon", "  images: 10"),
        *("warm_start:", "- runs/a", "- runs/a"),
    ]
    Path("bad.yaml").write_text(Path("small.yaml").read_text() + "\n".join(lines) + "\n")
    refused(
        ["check", "bad.yaml"],
        "'sampler.population_size' must be an integer of at least 2, got 1 (bad.yaml, line 11)",
        "'pruner.n_warmup_cycles' must be an integer of at least 0, got -1 (bad.yaml, line 12)",
        "'objective.metric' must be validation_accuracy, validation_loss, test_accuracy, "
        "test_loss, training_loss, training_s, n_images_passed or n_visited, got 'test_los'; "
        "did you mean 'test_loss'? (bad.yaml, line 14)",
        "'objective.direction' must be maximize or minimize, got 'down' (bad.yaml, line 16)",
        "'repetitions.half_width' must be a number of more than 0, got 'wide' (bad.yaml, line 18)",
        "'repetitions.most_seeds' must be an integer from 2 to 10000, got 1 (bad.yaml, line 19)",
        "'stop.target' must be a number or null, got 'soon' (bad.yaml, line 21)",
        "'stop.images' is not a key of 'stop', did you mean 'images_passed'? (bad.yaml, line 22)",
        "'warm_start' must list every run folder once, got 'runs/a' again (bad.yaml, line 23)",
    )


def test_all_that_several_objectives_cannot_have_is_listed_at_once(refused: Refused) -> None:
    lines = [
        "trials: 4",
        "sampler: cmaes",
        "pruner: median",
        "objective: [{metric: validation_loss}, {metric: training_s}]",
        "repetitions: {half_width: 2}",
        *("stop:", "  target: -1", "  no_improvement_trials: 3"),
        "warm_start: runs/a",
    ]
    Path("bad.yaml").write_text(Path("small.yaml").read_text() + "\n".join(lines) + "\n")
    refused(
        ["check", "bad.yaml"],
        "'sampler' must be one for 2 objectives, such as nsga2 or tpe, got 'cmaes', which takes 1 "
        "(bad.yaml, line 10)",
        "'pruner' must be none where there are 2 objectives, since Optuna prunes by one, "
        "got 'median' (bad.yaml, line 11)",
        "'repetitions' is for one objective, but there are 2; list all 'seeds' instead "
        "(bad.yaml, line 13)",
        "'stop.target' is for one objective, but there are 2; leave it out (bad.yaml, line 15)",
        "'stop.no_improvement_trials' is for one objective, but there are 2; leave it out "
        "(bad.yaml, line 16)",
    )


def test_a_target_below_any_loss_is_refused_with_its_line(refused: Refused) -> None:
    text = Path("small.yaml").read_text() + "objective: {metric: test_loss}\n"
    Path("bad.yaml").write_text(f"{text}stop:\n  target: -0.5\n")
    refused(
        ["check", "bad.yaml"],
        "'stop.target' must be a number of at least 0, as test_loss is, got -0.5 "
        "(bad.yaml, line 11)",
    )
