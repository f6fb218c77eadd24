"""Conditions, constraints and first points that cannot be meant so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Refused = Callable[..., None]

_FORMS = "must be a value, a list of values, or a mapping of 'at_least', 'at_most' and 'not'"
_ACCEPTED = "must be a mapping of dimensions to the values that they must have"
# `--set space.momentum`, where the space has the dimensions of CONDITIONAL, and what is said of it
BAD_CONDITIONS = [
    (
        "{value: 0.9, when: {nestrov: true}}",
        "'space.momentum.when.nestrov' is not a dimension of 'space'; did you mean 'nesterov'?",
    ),
    (
        "{value: 0.9, when: {nesterov: maybe}}",
        "'space.momentum.when.nesterov' must be True or False, as 'space.nesterov' is, got 'maybe'",
    ),
    (
        "{value: 0.9, when: {schedule: [cosin]}}",
        "'space.momentum.when.schedule' must be 'cosine' or 'constant', as 'space.schedule' is, "
        "got 'cosin'; did you mean 'cosine'?",
    ),
    (
        "[0.8, 0.9, {when: 3}]",
        "'space.momentum' must be a number, a text, true, false or null, got {'when': 3}",
    ),
    (
        "{value: 0.9, when: {learning_rate: {not: [0.1, 0.15]}}}",
        "'space.momentum.when.learning_rate.not' must be a number from 0.1 to 0.4 in steps of 0.1, "
        "as 'space.learning_rate' is, got 0.15",
    ),
    (
        "{value: 0.9, when: {learning_rate: {at_least: 0.5}}}",
        "'space.momentum.when.learning_rate' can never hold: 'space.learning_rate' is a number "
        "from 0.1 to 0.4 in steps of 0.1, got {'at_least': 0.5}",
    ),
    (
        "{value: 0.9, when: {learning_rate: {at_least: 2, at_most: 1}}}",
        "'space.momentum.when.learning_rate' must have 'at_least' <= 'at_most', got 2 > 1",
    ),
    (
        "{value: 0.9, when: {learning_rate: {at_least: much}}}",
        "'space.momentum.when.learning_rate.at_least' must be a number, got 'much'",
    ),
    (
        "{value: 0.9, when: {learning_rate: {at_lest: 1}}}",
        f"'space.momentum.when.learning_rate' {_FORMS}, got {{'at_lest': 1}}",
    ),
    (
        "{value: 0.9, when: {learning_rate: []}}",
        "'space.momentum.when.learning_rate' must list at least one value, got []",
    ),
    ("{value: 0.9, when: nesterov}", f"'space.momentum.when' {_ACCEPTED}, got 'nesterov'"),
    ("{value: 0.9, when: {}}", f"'space.momentum.when' {_ACCEPTED}, got {{}}"),
    (
        "{value: 0.9, wen: {nesterov: true}}",
        "'space.momentum.wen' is not a key of 'space.momentum', did you mean 'when'?",
    ),
    (
        "{value: [0.9], when: {nesterov: true}}",
        "'space.momentum.value' must be a number, a text, true, false or null, got [0.9]",
    ),
    (
        "{value: 0.9, when: {momentum: 0.9}}",
        "'space.momentum.when' must not hang on 'momentum' itself, got momentum -> momentum",
    ),
    (
        "{choices: [0.8, 1.5], when: {nesterov: true}}",
        "'space.momentum' must be a number of at least 0 and less than 1, got 1.5",
    ),
]

CONDITIONAL = """\
name: conditional
data: {name: mnist, train_size: 100, validation_size: 50}
space:
  architecture: [mlp(), one_conv]
  batch_size: [25, 50]
  optimizer: [rso, sgd]
  learning_rate: {low: 0.1, high: 0.4, step: 0.1}
  schedule: [cosine, constant]
  nesterov: {choices: [true, false], when: {schedule: cosine}}
  momentum: 0.9
  perturbation_std: 1.0
"""

# the same for other keys
BAD_CONSTRAINTS = [
    (
        "space.schedule={choices: [cosine, constant], when: {nesterov: true}}",
        "'space.schedule.when' must not hang on 'schedule' itself, "
        "got schedule -> nesterov -> schedule",
    ),
    (
        "space.learning_rate={value: 0.1, when: {perturbation_std: 1.0}}",
        "'space.learning_rate.when' can never hold: no optimiser of 'space.optimizer' that it "
        "allows has 'learning_rate' and 'perturbation_std'",
    ),
    (
        "space.batch_size={choices: [25, 50], when: {optimizer: rso}}",
        "'space.batch_size' cannot have 'when', since every configuration has it; "
        "state what goes together under 'constraints'",
    ),
    (
        "constraints=small",
        "'constraints' must be a list of mappings of 'when' and 'require', got 'small'",
    ),
    (
        "constraints=[{when: {architecture: mlp()}}]",
        "'constraints' must list mappings of 'require' and, if need be, 'when' and "
        "'exceptions', "
        "got {'when': {'architecture': 'mlp()'}}",
    ),
    (
        "constraints=[{wen: {batch_size: 25}, require: {optimizer: rso}}]",
        "'constraints' must list mappings of 'require' and, if need be, 'when' and "
        "'exceptions', "
        "got {'wen': {'batch_size': 25}, 'require': {'optimizer': 'rso'}}",
    ),
    ("constraints=[{require: {}}]", f"'constraints.require' {_ACCEPTED}, got {{}}"),
    (
        "constraints=[{require: {batch_size: 25}, exceptions: -1}]",
        "'constraints.exceptions' must be an integer of at least 0, got -1",
    ),
    (
        "constraints=[{require: {batch_siz: 25}}]",
        "'constraints.require.batch_siz' is not a dimension of 'space'; did you mean 'batch_size'?",
    ),
    (
        "constraints=[{require: {batch_size: 30}}]",
        "'constraints.require.batch_size' must be 25 or 50, as 'space.batch_size' is, got 30",
    ),
    (
        "constraints=[{when: {batch_size: {at_least: 60}}, require: {optimizer: rso}}]",
        "'constraints.when.batch_size' can never hold: 'space.batch_size' is 25 or 50, "
        "got {'at_least': 60}",
    ),
    (
        "constraints=[{require: {optimizer: rso}}, {require: {batch_size: {at_most: 5}}}]",
        "'constraints' must allow some configuration, but this one allows none; loosen them",
    ),
    (
        "constraints=[{require: {batch_size: 25}}, {require: {batch_size: 50}}]",
        "'constraints' must allow some configuration, but together they allow none; loosen them",
    ),
    ("first=25", "'first' must be a list of mappings of dimensions to values, got 25"),
    ("first=[25]", "'first' must list mappings of dimensions to values, got 25"),
    ("first=[{}]", "'first' must list mappings of dimensions to values, got {}"),
    (
        "first=[{batch_size: 25}, {batch_size: 25}]",
        "'first' must list every point once, got {'batch_size': 25} again",
    ),
    (
        "first=[{batch_siz: 25}]",
        "'first.batch_siz' is not a dimension of 'space'; did you mean 'batch_size'?",
    ),
    (
        "first=[{learning_rate: 0.15}]",
        "'first.learning_rate' must be a number from 0.1 to 0.4 in steps of 0.1, "
        "as 'space.learning_rate' is, got 0.15",
    ),
    (
        "first=[{momentum: 0.5}]",
        "'first.momentum' must be 0.9, as 'space.momentum' is, got 0.5",
    ),
    (
        "first=[{optimizer: rso, learning_rate: 0.1}]",
        "'first.learning_rate' does not exist in this point: it is not an option of rso",
    ),
    (
        "first=[{nesterov: true, schedule: constant}]",
        "'first.nesterov' does not exist in this point: 'space.nesterov.when' does not hold",
    ),
    (
        "first=[{learning_rate: 0.1, perturbation_std: 1.0}]",
        "'first' must list points whose dimensions exist together, "
        "got {'learning_rate': 0.1, 'perturbation_std': 1.0}",
    ),
]


@pytest.mark.parametrize(
    ("override", "message"),
    [*((f"space.momentum={bad}", said) for bad, said in BAD_CONDITIONS), *BAD_CONSTRAINTS],
    ids=[*(bad[0] for bad in BAD_CONDITIONS), *(bad[0] for bad in BAD_CONSTRAINTS)],
)
def test_a_bad_condition_constraint_or_first_point_is_refused_with_its_place(
    refused: Refused, override: str, message: str
) -> None:
    Path("conditional.yaml").write_text(CONDITIONAL)
    refused(["check", "conditional.yaml", "--set", override], f"{message} (--set {override})")


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_a_first_point_that_is_not_allowed_is_told_with_its_line(
    refused: Refused, sampler: str
) -> None:
    lines = [
        *("constraints:", "- require: {optimizer: [rso, sgd]}"),
        "- {when: {architecture: one_conv}, require: {batch_size: {at_most: 25}}}",
        *("first:", "- {batch_size: 50}", "- {architecture: one_conv, batch_size: 50}"),
    ]
    Path("conditional.yaml").write_text(CONDITIONAL + "\n".join(lines) + "\n")
    refused(
        ["check", "conditional.yaml", "--set", f"sampler={sampler}", "--set", "trials=2"],
        "'first' must list points that number 2 of 'constraints' allows, "
        "got {'architecture': 'one_conv', 'batch_size': 50} (conditional.yaml, line 17)",
    )


def test_a_random_space_of_which_next_to_nothing_is_allowed_is_refused(refused: Refused) -> None:
    Path("conditional.yaml").write_text(CONDITIONAL)
    override = "constraints=[{require: {batch_size: {at_most: 5}}}]"
    sets = ("--set", "sampler=random", "--set", "trials=2", "--set", override)
    refused(
        ["check", "conditional.yaml", *sets],
        "'constraints' must allow some configuration, but this one allows none of 1000 random "
        f"ones; loosen them (--set {override})",
    )
