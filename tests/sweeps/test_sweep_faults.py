"""For every fault of a sweep file the line that the user reads."""

# ruff: noqa: E501  (the lines that the user reads stand whole)

from __future__ import annotations

import pickle
import random
from pathlib import Path

import pytest

from rso_core.errors import InvalidInput
from sweeps.sweep_file import parse_sweep

FILES = Path(__file__).parent / "sweep_files"
FULL = (FILES / "full.yaml").read_text()
BASE = (FILES / "base.yaml").read_text()


METRICS = (
    "validation_accuracy, validation_loss, test_accuracy, test_loss, training_loss, training_s, "
    "n_images_passed or n_visited"
)


def problems(text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        parse_sweep(text, "sweep.yaml", overrides)
    return caught.value.problems


def with_line(start: str, line: str) -> str:
    """BASE with its line that starts so replaced."""
    lines = [line if old.strip().startswith(start) else old for old in BASE.splitlines()]
    assert line in lines
    return "\n".join(lines) + "\n"


def with_dimension(*lines: str) -> str:
    """BASE with more dimensions; the first stands in line 8."""
    return BASE.replace("optimizer: rso\n", "optimizer: rso\n" + "".join(f"  {x}\n" for x in lines))


BAD_FIELDS = [
    ("name", "name: a/b", "'name' must be 1 to 100 letters, digits, '-', '_' and '.', since a folder is named after it, got 'a/b' (sweep.yaml, line 1)"),
    ("name", "name: ..", "'name' must be 1 to 100 letters, digits, '-', '_' and '.', since a folder is named after it, got '..' (sweep.yaml, line 1)"),
    ("name", "name: 2024", "'name' must be a text, got 2024; write it in quotes (sweep.yaml, line 1)"),
    ("name", "# no name", "'name' is missing; it must be a text (sweep.yaml)"),
    ("seed:", "sede: 1", "'sede' is not a key of a sweep file, did you mean 'seed'? (sweep.yaml, line 13)"),
    ("data", "data: {name: mnst}", "'data.name' must be a data set, got 'mnst'; did you mean 'mnist'? (sweep.yaml, line 2)"),
    ("data", "data: mnist", "'data' must be a mapping with keys such as 'name', got 'mnist' (sweep.yaml, line 2)"),
    ("data", "data: {train_size: 55001}", "'data.train_size' must be at most 55000 (60000 training images of mnist less 5000 for validation), got 55001 (sweep.yaml, line 2)"),
    ("data", "data: {train_size: true}", "'data.train_size' must be an integer of at least 1 or null, got True (sweep.yaml, line 2)"),
    ("data", "data: {train_size: 0}", "'data.train_size' must be an integer of at least 1 or null, got 0 (sweep.yaml, line 2)"),
    ("data", "data: {train_siz: 10}", "'data.train_siz' is not a key of 'data', did you mean 'train_size'? (sweep.yaml, line 2)"),
    ("data", "data: {standardise: yes}", "'data.standardise' must be true or false, got 'yes' (sweep.yaml, line 2)"),
    ("data", "data: {name: [mnist]}", "'data.name' must be a text, got ['mnist'] (sweep.yaml, line 2)"),
    ("budget", "budget: {cycles: 0}", "'budget.cycles' must be an integer of at least 1, got 0 (sweep.yaml, line 3)"),
    ("budget", "budget: {cycles: 1.5}", "'budget.cycles' must be an integer of at least 1, got 1.5 (sweep.yaml, line 3)"),
    ("budget", "budget: {cycles: true}", "'budget.cycles' must be an integer of at least 1, got True (sweep.yaml, line 3)"),
    ("budget", "budget: {cycles: 1e3}", "'budget.cycles' must be an integer of at least 1, got 1000.0 (sweep.yaml, line 3)"),
    ("budget", "budget: {cycels: 3}", "'budget.cycels' is not a key of 'budget', did you mean 'cycles'? (sweep.yaml, line 3)"),
    ("budget", "budget:", "'budget' must be a mapping with keys such as 'cycles', got None (sweep.yaml, line 3)"),
    ("architecture", "  architecture: one_cnv", "'space.architecture' must be a network, got 'one_cnv'; did you mean 'one_conv'? (sweep.yaml, line 5)"),
    ("architecture", "  architecture: 3", "'space.architecture' must be a name, got 3 (sweep.yaml, line 5)"),
    ("architecture", "  architecture: {low: 1, high: 2}", "'space.architecture' must be a name or a list of names, got a range (sweep.yaml, line 5)"),
    ("architecture", "  architecture: ['mlp(8,8)', 'mlp(8, 8)']", "'space.architecture' must list every value once, got 'mlp(8,8)' again (sweep.yaml, line 5)"),
    ("architecture", "  architecture: []", "'space.architecture' must list at least one value, got [] (sweep.yaml, line 5)"),
    ("architecture", "  # none", "'space.architecture' is missing; name a network or a list of them, such as one_conv (sweep.yaml, line 4)"),
    ("batch_size", "  batch_size: big", "'space.batch_size' must be an integer from 1 to 55000, got 'big' (sweep.yaml, line 6)"),
    ("batch_size", "  batch_size: [256, 0]", "'space.batch_size' must be an integer from 1 to 55000, got 0 (sweep.yaml, line 6)"),
    ("batch_size", "  batch_size: [256, true]", "'space.batch_size' must be an integer from 1 to 55000, got True (sweep.yaml, line 6)"),
    ("batch_size", "  batch_size: 60000", "'space.batch_size' must be an integer from 1 to 55000, got 60000; 55000 training images are left after validation is held out (sweep.yaml, line 6)"),
    ("batch_size", "  batch_size: {low: 1, high: 99999, step: 1}", "'space.batch_size' must be an integer from 1 to 55000, got 99999; 55000 training images are left after validation is held out (sweep.yaml, line 6)"),
    ("batch_size", "  batch_size: {low: 16, high: 32.0, step: 16}", "'space.batch_size' must be an integer from 1 to 55000, got 32.0 (sweep.yaml, line 6)"),
    ("batch_size", "  batch_size: [16, 32, 16]", "'space.batch_size' must list every value once, got 16 again (sweep.yaml, line 6)"),
    ("batch_size", "  batch_size: [[16]]", "'space.batch_size' must be a number, a text, true, false or null, got [16] (sweep.yaml, line 6)"),
    ("optimizer", "  optimizer: rsq", "'space.optimizer' must be an optimiser, got 'rsq'; did you mean 'rso'? (sweep.yaml, line 7)"),
    ("architecture", "  architecture: {when: {batch_size: 256}}", "'space.architecture' must have 'value' or 'choices', got {'when': {'batch_size': 256}} (sweep.yaml, line 5)"),
    ("optimizer", "  optimizer: {valu: rso}", "'space.optimizer' must be a name or a list of names, got {'valu': 'rso'}; did you mean 'value'? (sweep.yaml, line 7)"),
    ("optimizer", "  optimizer: {value: rsq}", "'space.optimizer' must be an optimiser, got 'rsq'; did you mean 'rso'? (sweep.yaml, line 7)"),
    ("optimizer", "  optimizer: [rso, null]", "'space.optimizer' must be a name, got None (sweep.yaml, line 7)"),
    ("sampler", "sampler: tp", "'sampler' must be grid, random, tpe, gp, cmaes, nsga2, nsga3, qmc, brute_force or module:Class, got 'tp'; did you mean 'tpe'? (sweep.yaml, line 8)"),
    ("sampler", "sampler: {n_startup_trials: 3}", "'sampler' must be grid, random, tpe, gp, cmaes, nsga2, nsga3, qmc, brute_force or module:Class, got None (sweep.yaml, line 8)"),
    ("sampler", "sampler: 5", "'sampler' must be a name or a mapping with 'name', got 5 (sweep.yaml, line 8)"),
    ("sampler", "sampler: {name: grid, n_startup_trials: 3}", "'sampler.n_startup_trials' is not a key of 'sampler'; valid: name (sweep.yaml, line 8)"),
    ("sampler", "sampler: {name: tpe, n_startup_trials: -3}", "'sampler.n_startup_trials' must be an integer of at least 0, got -3 (sweep.yaml, line 8)"),
    ("pruner", "pruner: mean", "'pruner' must be none, median, percentile, successive_halving, hyperband, threshold, patient, wilcoxon or module:Class, got 'mean'; did you mean 'median'? (sweep.yaml, line 9)"),
    ("pruner", "pruner: {name: median, n_warmup: 1}", "'pruner.n_warmup' is not a key of 'pruner', did you mean 'n_warmup_cycles'? (sweep.yaml, line 9)"),
    ("trials", "trials: 0", "'trials' must be an integer of at least 1 or null, got 0 (sweep.yaml, line 10)"),
    ("trials", "trials: many", "'trials' must be an integer of at least 1 or null, got 'many' (sweep.yaml, line 10)"),
    ("objective", "objective: {metric: test_los}", "'objective.metric' must be validation_accuracy, validation_loss, test_accuracy, test_loss, training_loss, training_s, n_images_passed or n_visited, got 'test_los'; did you mean 'test_loss'? (sweep.yaml, line 11)"),
    ("objective", "objective: {metric: test_loss, direction: up}", "'objective.direction' must be maximize or minimize, got 'up' (sweep.yaml, line 11)"),
    ("objective", "objective: test_loss", "'objective' must be a mapping of 'metric' and 'direction', got 'test_loss' (sweep.yaml, line 11)"),
    ("objective", "objective:", "'objective' must be a mapping of 'metric' and 'direction', got None (sweep.yaml, line 11)"),
    ("objective", "objective: {metrc: test_loss}", "'objective.metrc' is not a key of 'objective', did you mean 'metric'? (sweep.yaml, line 11)"),
    ("objective", "objective: []", "'objective' must list at least one objective, got [] (sweep.yaml, line 11)"),
    ("objective", "objective: [{metric: test_loss}, 3]", "'objective' must be a mapping of 'metric' and 'direction', got 3 (sweep.yaml, line 11)"),
    ("objective", "objective: [{metric: test_loss}, {metric: [test_loss]}]", "'objective.metric' must be validation_accuracy, validation_loss, test_accuracy, test_loss, training_loss, training_s, n_images_passed or n_visited, got ['test_loss'] (sweep.yaml, line 11)"),
    ("objective", "objective: [{metric: test_loss}, {metric: training_s, direction: up}]", "'objective.direction' must be maximize or minimize, got 'up' (sweep.yaml, line 11)"),
    ("objective", "objective: [{metric: test_loss}, {metric: test_loss, direction: maximize}]", "'objective' must list every metric once, got 'test_loss' again (sweep.yaml, line 11)"),
    ("objective", "objective: [{metric: validation_accuracy}, {}]", "'objective' must list every metric once, got 'validation_accuracy' again (sweep.yaml, line 11)"),
    ("seeds", "seeds: []", "'seeds' must list at least one seed, got [] (sweep.yaml, line 12)"),
    ("seeds", "seeds: [0, 1, 0]", "'seeds' must list every seed once, got 0 again (sweep.yaml, line 12)"),
    ("seeds", "seeds: [-1]", "'seeds' must be integers from 0 to 4294967295, got -1 (sweep.yaml, line 12)"),
    ("seeds", "seeds: [true]", "'seeds' must be integers from 0 to 4294967295, got True (sweep.yaml, line 12)"),
    ("seeds", "seeds: 0", "'seeds' must be a number of seeds from 1 to 10000 or a list of seeds, got 0 (sweep.yaml, line 12)"),
    ("seeds", "seeds: two", "'seeds' must be a list of seeds or their number, got 'two' (sweep.yaml, line 12)"),
    ("seed:", "seed: -1", "'seed' must be an integer from 0 to 4294967295, got -1 (sweep.yaml, line 13)"),
    ("resources", "resources: {cpus_per_run: 0}", "'resources.cpus_per_run' must be an integer of at least 1, got 0 (sweep.yaml, line 14)"),
    ("resources", "resources: {gpus_per_run: -1}", "'resources.gpus_per_run' must be a number of at least 0, got -1 (sweep.yaml, line 14)"),
    ("resources", "resources: {gpus_per_run: .inf}", "'resources.gpus_per_run' must be a number of at least 0, got inf (sweep.yaml, line 14)"),
    ("resources", "resources: {gpus_per_run: 1.5}", "'resources.gpus_per_run' must be at most 1 or a whole number, got 1.5 (sweep.yaml, line 14)"),
    ("resources", "resources: {concurrency: 0}", "'resources.concurrency' must be an integer of at least 1 or null, got 0 (sweep.yaml, line 14)"),
    ("output", "output: ''", "'output' must be a non-empty text or null, got '' (sweep.yaml, line 15)"),
    ("output", "output: 3", "'output' must be a non-empty text or null, got 3 (sweep.yaml, line 15)"),
    ("seed:", "seeds: 2", "'seeds' is given twice, first in line 12 (sweep.yaml, line 13)"),
    ("seed:", "? [a, b]", "the sweep file must have texts as keys, not a list or mapping (sweep.yaml)"),
    ("seed:", "seed: !!binary aGk=", "'seed' has the tag 'tag:yaml.org,2002:binary', which has no meaning here (sweep.yaml, line 13)"),
]  # fmt: skip


@pytest.mark.parametrize(("start", "line", "expected"), BAD_FIELDS, ids=[b[1] for b in BAD_FIELDS])
def test_a_bad_field_is_named_with_its_constraint_value_and_line(
    start: str, line: str, expected: str
) -> None:
    assert problems(with_line(start, line)) == (expected,)


BAD_DIMENSIONS = [
    ("perturbation_std: -1.0", "'space.perturbation_std' must be a number of more than 0, got -1.0 (sweep.yaml, line 8)"),
    ("perturbation_std: true", "'space.perturbation_std' must be a number of more than 0, got True (sweep.yaml, line 8)"),
    ("perturbation_std: .nan", "'space.perturbation_std' must be finite, got nan (sweep.yaml, line 8)"),
    ("perturbation_std: [0.5, .inf]", "'space.perturbation_std' must be finite, got inf (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 2.0, high: 1.0}", "'space.perturbation_std' must have 'low' <= 'high', got 2.0 > 1.0 (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 0.1, high: 1.0, log: true, step: 0.1}", "'space.perturbation_std' cannot have both 'log' and 'step'; leave one out (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 0.0, high: 1.0, log: true}", "'space.perturbation_std' must have 'low' above 0 where 'log' is true, got 0.0 (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 0.1}", "'space.perturbation_std.high' is missing; it must be an integer or a number (sweep.yaml, line 8)"),
    ("perturbation_std: {low: a, high: 1}", "'space.perturbation_std.low' must be a number, got 'a' (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 0.1, high: 1, step: 0}", "'space.perturbation_std.step' must be a number of more than 0, got 0 (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 1, high: 2, step: 0.5}", "'space.perturbation_std' must have an integer 'step' where 'low' and 'high' are integers, got 0.5; write 'low' as 1.0 for a range of numbers (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 0.1, high: 1, stpe: 0.1}", "'space.perturbation_std.stpe' is not a key of 'space.perturbation_std', did you mean 'step'? (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 0.1, high: 1, log: 1}", "'space.perturbation_std.log' must be true or false, got 1 (sweep.yaml, line 8)"),
    ("perturbation_std: {when: {batch_size: 256}}", "'space.perturbation_std' must have 'value', 'choices', or 'low' and 'high', got {'when': {'batch_size': 256}} (sweep.yaml, line 8)"),
    ("perturbation_std: {choice: [1.0], when: {batch_size: 256}}", "'space.perturbation_std' must have 'value', 'choices', or 'low' and 'high', got {'choice': [1.0], 'when': {'batch_size': 256}}; did you mean 'choices'? (sweep.yaml, line 8)"),
    ("perturbation_std: {}", "'space.perturbation_std' must have 'value', 'choices', or 'low' and 'high', got {} (sweep.yaml, line 8)"),
    ("perturbation_std: {value: 1.0, step: 0.1}", "'space.perturbation_std.step' is not a key of 'space.perturbation_std'; valid: value, when (sweep.yaml, line 8)"),
    ("perturbation_std: {value: [1.0]}", "'space.perturbation_std.value' must be a number, a text, true, false or null, got [1.0] (sweep.yaml, line 8)"),
    ("perturbation_std: {choices: 0.1}", "'space.perturbation_std.choices' must be a list of values, got 0.1 (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 0.1, high: 1.0}", "'space.perturbation_std' must have a 'step' or be a list for sampler 'grid', which tries every value; or choose sampler 'random' or 'tpe' (sweep.yaml, line 8)"),
    ("perturbation_std: {low: 0.1, high: 1.0, step: 1e-7}", "'space' must have at most 100000 combinations for sampler 'grid', got 9000001; shorten its lists, or choose sampler 'random' or 'tpe' (sweep.yaml, line 4)"),
    ("perturbation_sdt: 1.0", "'space.perturbation_sdt' is not an option of rso; did you mean 'perturbation_std'? (sweep.yaml, line 8)"),
    ("learning_rate: 0.1", "'space.learning_rate' is an option of sgd and adam, but 'space.optimizer' has only rso (sweep.yaml, line 8)"),
    ("sgd.momentum: 0.9", "'space.sgd.momentum' is an option of sgd, but 'space.optimizer' has only rso (sweep.yaml, line 8)"),
    ("rso.momentum: 0.9", "'space.rso.momentum' is not an option of rso; valid: "),
    ("rsp.weight_decay: 0", "'space.rsp.weight_decay' must name an optimiser before the dot; did you mean 'rso'? (sweep.yaml, line 8)"),
    ("rso.weight_decay: 1.0", "'space.rso.weight_decay' must be a number of at least 0 and less than 1, got 1.0 (sweep.yaml, line 8)"),
    ("annealing: papper", "'space.annealing' must be "),
    ("sigma: 0.0", "'space.sigma' must be he, pooled or a number of more than 0, got 0.0 (sweep.yaml, line 8)"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), BAD_DIMENSIONS, ids=[b[0] for b in BAD_DIMENSIONS])
def test_a_bad_dimension_is_named_alone_with_its_line(line: str, expected: str) -> None:
    (problem,) = problems(with_dimension(line))

    assert problem == expected or (not expected.endswith(")") and problem.startswith(expected))
    assert problem.endswith("(sweep.yaml, line 4)" if expected[:8] == "'space' " else "line 8)")


def test_each_bad_choice_of_a_list_is_named_on_its_own_line() -> None:
    text = with_dimension("perturbation_std:", "  - 1.0", "  - -1.0", "  - big")

    assert problems(text) == (
        "'space.perturbation_std' must be a number of more than 0, got -1.0 (sweep.yaml, line 10)",
        "'space.perturbation_std' must be a number of more than 0, got 'big' (sweep.yaml, line 11)",
    )


def test_an_option_that_its_prefixed_forms_replace_everywhere_is_a_fault() -> None:
    assert problems(with_dimension("weight_decay: 0.0", "rso.weight_decay: 0.1")) == (
        "'space.weight_decay' is never used, since there is 'space.rso.weight_decay'; "
        "leave it out (sweep.yaml, line 8)",
    )


def test_options_that_do_not_go_together_are_a_fault() -> None:
    text = with_dimension("nesterov: [false, true]", "momentum: [0.0, 0.9]")

    assert problems(text, "space.optimizer=sgd") == (
        "'space' cannot be used: 'nesterov' needs a 'momentum' of more than 0 (sweep.yaml, line 8)",
    )
    assert parse_sweep(text, "x", ["space.optimizer=sgd", "space.momentum=0.9"]).n_trials() == 2


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_random_and_tpe_need_a_number_of_trials(sampler: str) -> None:
    text = with_line("sampler", f"sampler: {sampler}").replace("trials: 3", "")

    assert problems(text) == (
        f"'trials' is missing; sampler '{sampler}' needs a number of trials, "
        "an integer of at least 1 (sweep.yaml, line 8)",
    )


def test_a_validation_metric_needs_validation_images() -> None:
    no_validation = with_line("data", "data: {validation_size: 0}")

    assert problems(no_validation.replace("test_loss", "validation_loss")) == (
        "'objective.metric' validation_loss needs validation images, but 'data.validation_size' "
        "is 0; hold some out, or choose test_loss (sweep.yaml, line 11)",
    )
    assert problems(no_validation.replace("objective: {metric: test_loss}", "")) == (
        "'objective.metric' validation_accuracy needs validation images, but "
        "'data.validation_size' is 0; hold some out, or choose test_accuracy (sweep.yaml, line 2)",
    )
    assert parse_sweep(no_validation, "sweep.yaml").data.validation_size == 0


def test_a_batch_may_be_as_large_as_the_training_images_that_are_left() -> None:
    text = with_line("data", "data: {train_size: 1000}")

    assert parse_sweep(text, "x", ["space.batch_size=1000"]).space.largest_batch_size() == 1000
    assert problems(text, "space.batch_size=1001") == (
        "'space.batch_size' must be an integer from 1 to 1000, got 1001; 1000 training images "
        "are left after validation is held out (--set space.batch_size=1001)",
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("space.batch_size=big", "'space.batch_size' must be an integer from 1 to 55000, got 'big'"),
        ("budget.cycles=x", "'budget.cycles' must be an integer of at least 1, got 'x'"),
        ("budget.cycels=3", "'budget.cycels' is not a key of 'budget', did you mean 'cycles'?"),
        ("spcae.batch_size=3", "'spcae' is not a key of a sweep file, did you mean 'space'?"),
        ("seeds", "'--set' must be KEY=VALUE, got 'seeds'"),
        ("=3", "'--set' must be KEY=VALUE, got '=3'"),
        ("seeds=[1", "'seeds' is not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("data={name: mnist, name: cifar10}", "'data.name' is given twice, first in line 1"),
        ("space.perturbation_std.low=0.1",
         "'space.perturbation_std.high' is missing; it must be an integer or a number"),
        ("space.batch_size.low=1",
         "'space.batch_size.high' is missing; it must be an integer or a number"),
        ("space.optimizer.value=rsq", "'space.optimizer' must be an optimiser, got 'rsq'; did you mean 'rso'?"),
        ("repetitions.most_seeds=7", "'repetitions.half_width' is missing; it must be a number of more than 0"),
        ("seeds.0=1", "'seeds.0' would be part of a list; set 'seeds' as a whole"),
        ("pruner.wrapped=median", "'pruner.wrapped' is not a key of 'pruner'; valid: name"),
    ],
)  # fmt: skip
def test_a_bad_override_is_placed_at_its_option(override: str, expected: str) -> None:
    text = BASE.replace("seeds: 1", "seeds: [1]") + "repetitions: null\n"
    assert problems(text, override) == (f"{expected} (--set {override})",)


def test_one_objective_of_several_cannot_be_set_alone() -> None:
    text = with_line("objective", "objective: [{metric: test_loss}, {metric: training_s}]")

    assert problems(text, "objective.metric=test_accuracy") == (
        "'objective.metric' would be part of a list; set 'objective' as a whole "
        "(--set objective.metric=test_accuracy)",
    )


def test_a_misspelt_key_that_is_needed_is_missing_too() -> None:
    assert problems(BASE.replace("space:", "spcae:")) == (
        "'space' is missing; it must be a mapping of 'architecture', 'batch_size', 'optimizer' "
        "and their options (sweep.yaml)",
        "'spcae' is not a key of a sweep file, did you mean 'space'? (sweep.yaml, line 4)",
    )


def test_each_bad_objective_of_a_list_is_named_on_its_own_line() -> None:
    text = with_line(
        "objective", "objective:\n- metric: test_los\n- direction: up\n- metrc: training_s"
    )

    assert [problem.replace(METRICS, "...") for problem in problems(text)] == [
        "'objective.metric' must be ..., got 'test_los'; did you mean 'test_loss'? (sweep.yaml, line 12)",
        "'objective.direction' must be maximize or minimize, got 'up' (sweep.yaml, line 13)",
        "'objective.metrc' is not a key of 'objective', did you mean 'metric'? (sweep.yaml, line 14)",
    ]


def test_a_validation_metric_among_others_is_named_on_its_own_line() -> None:
    text = with_line("objective", "objective:\n- metric: test_loss\n- metric: validation_loss")

    assert problems(text, "data.validation_size=0") == (
        "'objective.metric' validation_loss needs validation images, but 'data.validation_size' "
        "is 0; hold some out, or choose test_loss (sweep.yaml, line 13)",
    )


def test_all_faults_are_listed_at_once_in_the_order_of_the_file() -> None:
    text = (
        FULL.replace("name: quickstart", "name: a b")
        .replace("train_size: 20000", "train_size: many")
        .replace("data: {name: mnist", "data: {name: mnst")
        .replace("two_conv", "two_cnv")
        .replace("[256, 1024]", "[256, big]")
        .replace("perturbation_std: [0.5, 1.0]", "perturbation_std: [0.5, -1.0]")
        .replace("high: 1.0", "high: .inf")
        .replace("sampler: tpe", "sampler: tp")
        .replace("seeds: [0, 3]", "sedes: [0, 3]")
        .replace("half_width: 0.05", "half_width: wide")
        .replace("wall_clock_s: 3600", "wall_clock_s: 0")
        .replace("target: 0.1", "target: good")
        .replace("[runs/earlier, ", "[3, ")
    )

    assert [problem.split("(sweep.yaml, line ")[1] for problem in problems(text, "seed=x")[:-1]] == [
        "1)", "2)", "2)", "5)", "6)", "8)", "9)", "11)", "15)", "19)", "20)", "20)", "21)"
    ]  # fmt: skip
    assert problems(text, "seed=x")[-1].endswith("(--set seed=x)")


def test_faults_never_speak_of_pydantic() -> None:
    for start, line, _ in BAD_FIELDS:
        for problem in problems(with_line(start, line)):
            for jargon in ("Input should", "pydantic", "https://", "type=", "Value error"):
                assert jargon not in problem


def test_faults_survive_pickling() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_sweep(with_line("seed:", "seed: x"), "sweep.yaml")

    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "sweep file is empty; it needs at least 'name' and 'space' (sweep.yaml)"),
        ("# nothing\n", "sweep file is empty; it needs at least 'name' and 'space' (sweep.yaml)"),
        ("- a\n", "sweep file must be a mapping with keys such as 'name' and 'space', got a list (sweep.yaml, line 1)"),
        ("\nname\n", "sweep file must be a mapping with keys such as 'name' and 'space', got 'name' (sweep.yaml, line 2)"),
        ("name: a\nspace: [1\n", "sweep file is not valid YAML: expected ',' or ']', but got '<stream end>' (sweep.yaml, line 3)"),
        ("name: a\nspace: b: c\n", "sweep file is not valid YAML: mapping values are not allowed here (sweep.yaml, line 2)"),
        ("name: a\n\tspace: b\n", "sweep file is not valid YAML: found character '\\t' that cannot start any token (sweep.yaml, line 2)"),
        ("name: a\n---\nname: b\n", "sweep file is not valid YAML: but found another document (sweep.yaml, line 2)"),
        ("name: a\nspace: \x00\n", "sweep file is not valid YAML: holds the character '\\x00' (sweep.yaml, line 2)"),
        ("name: *x\n", "sweep file is not valid YAML: found undefined alias 'x' (sweep.yaml, line 1)"),
        ("name: &x [*x]\n", "sweep file is not valid YAML: is nested too deeply (sweep.yaml)"),
        ("[" * 5000, "sweep file is not valid YAML: is nested too deeply (sweep.yaml)"),
    ],
)  # fmt: skip
def test_what_is_no_sweep_file_at_all_is_told_in_one_line(text: str, expected: str) -> None:
    assert problems(text) == (expected,)


def test_a_space_that_is_empty_lacks_its_three_dimensions() -> None:
    assert [problem.split(";")[0] for problem in problems("name: a\nspace: {}\n")] == [
        "'space.architecture' is missing",
        "'space.batch_size' is missing",
        "'space.optimizer' is missing",
    ]
    assert problems("name: a\n") == (
        "'space' is missing; it must be a mapping of 'architecture', 'batch_size', 'optimizer' "
        "and their options (sweep.yaml)",
    )
    assert problems("name: a\nspace: [one_conv]\n") == (
        "'space' must be a mapping of 'architecture', 'batch_size', 'optimizer' "
        "and their options, got ['one_conv'] (sweep.yaml, line 2)",
    )


def test_random_damage_to_a_sweep_file_never_ends_in_another_error() -> None:
    generator = random.Random(0)
    for _ in range(300):
        text = list(FULL)
        for _ in range(generator.randint(1, 4)):
            text[generator.randrange(len(text))] = generator.choice("[]{}:,-#\n '\"a0.&*!\t|")
        found: tuple[str, ...] = ()
        try:
            parse_sweep("".join(text), "sweep.yaml")
        except InvalidInput as error:
            found = error.problems
        assert all("(sweep.yaml" in problem for problem in found)
