"""Values of a sweep file that are sound by themselves, but not together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.sweep_file import parse_sweep

Refused = Callable[..., None]

# what goes only with other values, and what is said about it; each has the place of one override
BAD_TOGETHER = [
    (
        ["pruner=median", "objective=[{metric: test_loss}, {metric: training_s}]"],
        "'pruner' must be none where there are 2 objectives, since Optuna prunes by one, "
        "got 'median' (--set pruner=median)",
    ),
    (
        ["stop={target: 0.9}", "objective=[{metric: test_loss}, {metric: training_s}]"],
        "'stop.target' is for one objective, but there are 2; leave it out "
        "(--set stop={target: 0.9})",
    ),
    (
        [
            "stop={no_improvement_trials: 3}",
            "objective=[{metric: test_loss}, {metric: n_visited}]",
        ],
        "'stop.no_improvement_trials' is for one objective, but there are 2; leave it out "
        "(--set stop={no_improvement_trials: 3})",
    ),
    (
        [
            "repetitions={half_width: 0.1}",
            "objective=[{metric: test_loss}, {metric: n_images_passed}]",
        ],
        "'repetitions' is for one objective, but there are 2; list all 'seeds' instead "
        "(--set repetitions={half_width: 0.1})",
    ),
    (
        ["sampler=cmaes", "trials=3", "objective=[{metric: test_loss}, {metric: training_s}]"],
        "'sampler' must be one for 2 objectives, such as nsga2 or tpe, got 'cmaes', "
        "which takes 1 (--set sampler=cmaes)",
    ),
    (
        [
            "data.validation_size=0",
            "objective=[{metric: training_s}, {metric: validation_loss}]",
        ],
        "'objective.metric' validation_loss needs validation images, but 'data.validation_size' "
        "is 0; hold some out, or choose test_loss "
        "(--set objective=[{metric: training_s}, {metric: validation_loss}])",
    ),
    (
        ["warm_start=[runs/earlier]"],
        "'warm_start' is of no use to sampler 'grid', which does not learn; leave it out, "
        "or choose one that does, such as tpe (--set warm_start=[runs/earlier])",
    ),
    (
        ["repetitions={half_width: 0.1, most_seeds: 3}", "seeds=3"],
        "'repetitions.most_seeds' must be more than the number of 'seeds', 3, got 3 "
        "(--set repetitions={half_width: 0.1, most_seeds: 3})",
    ),
    (
        ["pruner=wilcoxon"],
        "'pruner' needs at least 5 'seeds' to stop a trial before its last one, got 1; list more, "
        "or choose a pruner that looks at cycles, such as median (--set pruner=wilcoxon)",
    ),
]


@pytest.mark.parametrize(
    ("overrides", "message"), BAD_TOGETHER, ids=[bad[0][0] for bad in BAD_TOGETHER]
)
def test_values_that_do_not_go_together_are_refused(
    refused: Refused, overrides: list[str], message: str
) -> None:
    sets = [word for override in overrides for word in ("--set", override)]
    refused(["check", "small.yaml", *sets], message)


def test_a_cost_may_be_pruned_by(here: Path) -> None:
    text = Path("small.yaml").read_text()
    overrides = ["pruner=median", "budget.cycles=3", "objective={metric: training_s}"]
    assert parse_sweep(text, "small.yaml", overrides).objective[0].direction == "minimize"
