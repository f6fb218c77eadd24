"""What runs are given by their configuration."""

from __future__ import annotations

import pytest

from rso_core.configuration import Configuration, Scalar
from rso_core.errors import InvalidInput
from sweeps.circumstances import kinds_of_runs
from sweeps.resources import Needs
from sweeps.spec import SweepSpec
from sweeps.sweep_file import parse_sweep

_SWEEP = """
name: x
space:
  architecture: [one_conv, paper_mnist]
  batch_size: [2, 64, 256]
  optimizer: [rso, sgd]
  perturbation_std: [0.5, 1.0]
resources:
  workers_per_run: 4
  rules:
    - {when: {architecture: paper_mnist}, gpus_per_run: 0.5, workers_per_run: 1}
    - {when: {batch_size: {at_least: 200}}, cpus_per_run: 2}
    - {when: {architecture: paper_mnist, perturbation_std: 0.5}, gpus_per_run: 1}
"""


@pytest.fixture
def sweep() -> SweepSpec:
    return parse_sweep(_SWEEP, "x.yaml")


def _needs(sweep: SweepSpec, **values: Scalar) -> Needs:
    given: dict[str, Scalar] = {"architecture": "one_conv", "batch_size": 64, "optimizer": "rso"}
    return sweep.resources.needs_of(Configuration.from_values(given | values, 1))


def test_rules_that_hold_replace_what_they_name_the_later_over_the_earlier(
    sweep: SweepSpec,
) -> None:
    assert _needs(sweep) == Needs(1, 0, 4)
    assert _needs(sweep, architecture="paper_mnist") == Needs(1, 0.5, 1)
    assert _needs(sweep, batch_size=256) == Needs(2, 0, 4)
    assert _needs(sweep, batch_size=256, architecture="paper_mnist") == Needs(2, 0.5, 1)
    both = {"architecture": "paper_mnist", "perturbation_std": 0.5}
    assert _needs(sweep, **both) == Needs(1, 1, 1)
    assert _needs(sweep, optimizer="sgd", architecture="paper_mnist") == Needs(1, 0.5, 1)


def test_a_run_has_no_more_workers_than_it_can_use(sweep: SweepSpec) -> None:
    assert _needs(sweep, optimizer="sgd").workers == 1
    assert _needs(sweep, batch_size=2).workers == 2


def test_a_sweep_with_rules_is_written_out_and_read_again(sweep: SweepSpec) -> None:
    again = SweepSpec.model_validate(sweep.model_dump())
    assert again.resources == sweep.resources
    assert len(sweep.resources.kinds()) == 4


def test_the_kinds_of_a_sweep_are_those_that_its_configurations_have(sweep: SweepSpec) -> None:
    found = kinds_of_runs(sweep)
    assert found[0] == Needs(1, 0.5, 1)
    assert set(found) == {
        *(Needs(cpus, gpus, 1) for cpus in (1, 2) for gpus in (0, 0.5, 1)),
        *(Needs(1, 0, 2), Needs(1, 0, 4), Needs(2, 0, 4)),
    }
    assert len(found) == 9


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("resources.rules=3", "'resources.rules' must be a list of mappings of 'when' and"),
        ("resources.rules=[3]", "'resources.rules' must be a list of mappings of 'when' and"),
        (
            "resources.rules=[{when: {architecture: one_conv}}]",
            "'resources.rules' must say 'cpus_per_run', 'gpus_per_run' or 'workers_per_run'",
        ),
        ("resources.rules=[{cpus_per_run: 1}]", "'resources.rules.when' is missing"),
        (
            "resources.rules=[{when: {archit: one_conv}, cpus_per_run: 1}]",
            "'resources.rules.when.archit' is not a dimension of 'space'; did you mean 'archit",
        ),
        (
            "resources.rules=[{when: {architecture: mlp(4)}, cpus_per_run: 1}]",
            "'resources.rules.when.architecture' must be 'one_conv' or 'paper_mnist'",
        ),
        (
            "resources.rules=[{when: {architecture: one_conv}, gpus_per_run: 1.5}]",
            "'resources.rules.gpus_per_run' must be at most 1 or a whole number, got 1.5",
        ),
        ("resources.workers_per_run=0", "'resources.workers_per_run' must be an integer from 1"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(override: str, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_sweep(_SWEEP, "x.yaml", [override])
    assert error.value.problems[0].startswith(message)
