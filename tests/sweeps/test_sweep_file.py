"""Sweep files: every valid form of what they say, and `--set`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rso_core.datasets import DataOptions
from rso_core.errors import InvalidInput
from sweeps.conditions import Condition
from sweeps.domains import Choices, Fixed, Range
from sweeps.pruners import MedianPruning, NoPruning, PatientPruning
from sweeps.samplers import GridSampling, RandomSampling, TpeSampling
from sweeps.space import Space
from sweeps.spec import Budget, Objective, Repetitions, Resources, Stop, SweepSpec
from sweeps.sweep_file import load_sweep, parse_sweep

FILES = Path(__file__).parent / "sweep_files"
FULL = (FILES / "full.yaml").read_text()
BASE = (FILES / "base.yaml").read_text()


def with_line(start: str, line: str) -> str:
    """BASE with its line that starts so replaced."""
    lines = [line if old.strip().startswith(start) else old for old in BASE.splitlines()]
    assert line in lines
    return "\n".join(lines) + "\n"


def with_dimension(*lines: str) -> str:
    """BASE with more dimensions; the first stands in line 8."""
    return BASE.replace("optimizer: rso\n", "optimizer: rso\n" + "".join(f"  {x}\n" for x in lines))


def test_a_full_sweep_file_is_read_as_written() -> None:
    assert parse_sweep(FULL, "sweep.yaml") == SweepSpec(
        name="quickstart",
        data=DataOptions(name="mnist", train_size=20000, validation_size=5000, standardise=True),
        budget=Budget(cycles=5),
        space=Space.from_mapping(
            {
                "architecture": ("one_conv", "two_conv"),
                "batch_size": Choices(choices=(256, 1024)),
                "optimizer": ("rso", "sgd"),
                "perturbation_std": (0.5, 1.0),
                "learning_rate": Range(low=0.001, high=1.0, log=True),
                "rso.weight_decay": Fixed(value=0.0001),
            }
        ),
        sampler=TpeSampling(),
        pruner=MedianPruning(n_startup_trials=5, n_warmup_cycles=2),
        trials=20,
        objective=(Objective(metric="validation_loss", direction="minimize"),),
        seeds=(0, 3),
        seed=7,
        resources=Resources(cpus_per_run=2, gpus_per_run=0.5, concurrency=4),
        output="results/quickstart",
        repetitions=Repetitions(half_width=0.05, most_seeds=5, confidence=0.9),
        stop=Stop(wall_clock_s=3600, images_passed=10**6, target=0.1, no_improvement_trials=8),
        warm_start=("runs/earlier", "s3://bucket/runs/other"),
    )


def test_a_short_sweep_file_takes_the_documented_defaults() -> None:
    spec = parse_sweep(
        "name: short\nspace: {architecture: one_conv, batch_size: 64, optimizer: [rso, adam]}\n",
        "sweep.yaml",
    )

    assert spec.data == DataOptions(name="mnist", train_size=None, validation_size=5000)
    assert spec.budget.cycles == 5
    assert (spec.sampler, spec.pruner, spec.trials) == (GridSampling(), NoPruning(), None)
    assert spec.objective == (Objective(metric="validation_accuracy", direction="maximize"),)
    assert (spec.seeds, spec.seed) == ((0,), 0)
    assert (spec.repetitions, spec.stop, spec.warm_start) == (None, Stop(), ())
    assert (spec.constraints, spec.first) == ((), ())
    assert spec.resources == Resources(cpus_per_run=1, gpus_per_run=0, concurrency=None)
    assert spec.run_folder == Path("runs/short")
    assert spec.n_trials() == 2


@pytest.mark.parametrize(
    ("start", "line", "field", "expected"),
    [
        ("seeds", "seeds: 3", "seeds", (0, 1, 2)),
        ("seeds", "seeds: [4, 2]", "seeds", (4, 2)),
        ("sampler", "sampler: random", "sampler", RandomSampling()),
        ("sampler", "sampler: {name: tpe, n_startup_trials: 3}", "sampler",
         TpeSampling(n_startup_trials=3)),
        ("pruner", "pruner: median", "pruner", MedianPruning()),
        ("pruner", "pruner: {name: none}", "pruner", NoPruning()),
        ("objective", "objective: {metric: training_loss, direction: maximize}", "objective",
         (Objective(metric="training_loss", direction="maximize"),)),
        ("objective", "objective: {}", "objective", (Objective(metric="validation_accuracy"),)),
        ("objective", "objective: [{metric: test_loss}]", "objective",
         (Objective(metric="test_loss"),)),
        ("objective", "objective: [{}, {metric: training_s}]", "objective",
         (Objective(direction="maximize"), Objective(metric="training_s", direction="minimize"))),
        ("seed:", "stop: {target: 1}", "stop", Stop(target=1.0)),
        ("seed:", "stop: {}", "stop", Stop()),
        ("seed:", "repetitions: {half_width: 0.5}", "repetitions", Repetitions(half_width=0.5)),
        ("seed:", "repetitions: null", "repetitions", None),
        ("seed:", "warm_start: []", "warm_start", ()),
        ("output", "output: a b/c", "output", "a b/c"),
        ("name", "name: on", "name", "on"),
        ("name", "name: 2024-01-01", "name", "2024-01-01"),
        ("trials", "trials: 1_000", "trials", 1000),
        ("trials", "trials: null", "trials", None),
    ],
)  # fmt: skip
def test_every_form_of_a_field_is_read(start: str, line: str, field: str, expected: object) -> None:
    assert getattr(parse_sweep(with_line(start, line), "sweep.yaml"), field) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0.5", Fixed(value=0.5)),
        ("1e-3", Fixed(value=0.001)),
        ("1E3", Fixed(value=1000.0)),
        (".5", Fixed(value=0.5)),
        ("[1e-1, 2]", Choices(choices=(0.1, 2))),
        ("{choices: [0.1, 0.2]}", Choices(choices=(0.1, 0.2))),
        ("{low: 1, high: 3, step: 1}", Range(low=1, high=3, step=1)),
        ("{low: 1, high: 3.0, step: 1}", Range(low=1, high=3.0, step=1)),
        ("{low: 0.5, high: 0.5, step: 0.1}", Range(low=0.5, high=0.5, step=0.1)),
    ],
)
def test_every_form_of_a_dimension_is_read(written: str, expected: object) -> None:
    spec = parse_sweep(with_dimension(f"perturbation_std: {written}"), "sweep.yaml")

    assert spec.space["perturbation_std"].domain == expected


def test_anchors_may_share_a_value() -> None:
    text = with_dimension("perturbation_std: &stds [0.5, 1.0]", "batch_norm_sigma: *stds")

    assert parse_sweep(text, "sweep.yaml").space.n_combinations() == 4


def test_the_provenance_of_a_run_folder_is_ignored() -> None:
    text = BASE + "provenance: {torch: 2.9, machine: {cores: 4}}\n"

    assert parse_sweep(text, "sweep.yaml") == parse_sweep(BASE, "sweep.yaml")


@pytest.mark.parametrize(
    ("override", "field", "expected"),
    [
        ("budget.cycles=3", "budget", Budget(cycles=3)),
        ("budget={cycles: 2}", "budget", Budget(cycles=2)),
        ("seeds=3", "seeds", (0, 1, 2)),
        ("seeds=[5]", "seeds", (5,)),
        ("sampler=random", "sampler", RandomSampling()),
        ("pruner.name=median", "pruner", MedianPruning()),
        ("output=", "output", None),
        ("resources.concurrency=2", "resources", Resources(concurrency=2)),
        ("data.train_size=100", "data", DataOptions(train_size=100)),
        ("objective.metric=test_accuracy", "objective", (Objective(metric="test_accuracy"),)),
        (
            "objective=[{metric: test_loss}, {metric: n_visited}]",
            "objective",
            (Objective(metric="test_loss"), Objective(metric="n_visited")),
        ),
        ("stop.target=0.5", "stop", Stop(target=0.5)),
        ("repetitions.half_width=0.1", "repetitions", Repetitions(half_width=0.1)),
        ("warm_start=[]", "warm_start", ()),
    ],
)
def test_set_replaces_one_value(override: str, field: str, expected: object) -> None:
    text = with_line("data", "data: {}") if field == "data" else BASE + "repetitions: null\n"
    text = text.replace("batch_size: 256", "batch_size: 64")

    assert getattr(parse_sweep(text, "sweep.yaml", [override]), field) == expected


@pytest.mark.parametrize(
    ("override", "name", "expected"),
    [
        ("space.batch_size=[128, 256]", "batch_size", Choices(choices=(128, 256))),
        ("space.rso.weight_decay=0", "rso.weight_decay", Fixed(value=0)),
        ("space.rso.weight_decay.low=0.01", "rso.weight_decay",
         Range(low=0.01, high=0.5, step=0.1)),
        ("space.perturbation_std=1e-2", "perturbation_std", Fixed(value=0.01)),
        ("space.perturbation_std.value=0.5", "perturbation_std", Fixed(value=0.5)),
        ("space.perturbation_std.choices=[1, 2]", "perturbation_std", Choices(choices=(1, 2))),
        ("space.rso.weight_decay.when={batch_size: 256}", "rso.weight_decay",
         Range(low=0.0, high=0.5, step=0.1, when=Condition.from_mapping({"batch_size": 256}))),
    ],
)  # fmt: skip
def test_set_reaches_into_the_space(override: str, name: str, expected: object) -> None:
    text = with_dimension("rso.weight_decay: {low: 0.0, high: 0.5, step: 0.1}")

    assert parse_sweep(text, "sweep.yaml", [override]).space[name].domain == expected


def test_the_last_set_of_a_key_wins_and_the_shorthand_of_a_sampler_is_kept() -> None:
    spec = parse_sweep(
        BASE,
        "sweep.yaml",
        ["seed=1", "seed=2", "sampler=tpe", "sampler.n_startup_trials=4", "trials=9"],
    )

    assert (spec.seed, spec.sampler, spec.n_trials()) == (2, TpeSampling(n_startup_trials=4), 9)


@pytest.mark.parametrize("pruner", ["patient", "{name: patient, wrapped: {name: median}}",
                                    "{name: patient, wrapped: median}"])  # fmt: skip
def test_set_reaches_into_the_pruner_that_another_one_wraps(pruner: str) -> None:
    sets = ["pruner.patience=1", "pruner.wrapped.name=median", "pruner.wrapped.n_min_trials=2"]
    spec = parse_sweep(with_line("pruner", f"pruner: {pruner}"), "sweep.yaml", sets)

    assert spec.pruner == PatientPruning(patience=1, wrapped=MedianPruning(n_min_trials=2))


def test_set_reaches_into_the_options_of_an_own_class() -> None:
    sets = ["sampler.name=optuna.samplers:TPESampler", "sampler.options.n_startup_trials=3"]
    spec = parse_sweep(BASE, "sweep.yaml", sets)

    assert spec.sampler.name == "optuna.samplers:TPESampler"
    assert spec.sampler.options == {"n_startup_trials": 3}


@pytest.mark.parametrize(
    ("written", "folders"),
    [("runs/a", ("runs/a",)), ("[runs/a, s3://b/a]", ("runs/a", "s3://b/a"))],
)
def test_a_sampler_that_learns_may_be_told_of_one_run_folder_or_several(
    written: str, folders: tuple[str, ...]
) -> None:
    spec = parse_sweep(BASE, "sweep.yaml", ["sampler=tpe", f"warm_start={written}"])

    assert spec.warm_start == folders


def test_repetitions_may_begin_with_a_single_seed() -> None:
    spec = parse_sweep(BASE, "sweep.yaml", ["seeds=[7]", "repetitions={half_width: 0.1}"])

    assert (spec.seeds, spec.repetitions) == ((7,), Repetitions(half_width=0.1, most_seeds=10))


def test_a_file_is_named_as_the_user_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("bad.yaml")
    path.write_text(with_line("seed:", "seed: x"))

    with pytest.raises(InvalidInput, match=r"got 'x' \(bad.yaml, line 13\)$"):
        load_sweep(path)


def test_a_file_may_have_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode())

    assert load_sweep(path) == parse_sweep(FULL, "sweep.yaml")


def test_paths_that_hold_no_text_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_bytes(b"name: \xff\xfe\n")
    Path("folder").mkdir()
    Path("run").mkdir()
    Path("run/sweep.yaml").write_text(BASE)

    def problem(path: str) -> str:
        with pytest.raises(InvalidInput) as caught:
            load_sweep(Path(path))
        return str(caught.value)

    assert problem("swep.yaml") == (
        "sweep file 'swep.yaml' does not exist; did you mean 'sweep.yaml'?"
    )
    assert problem("nowhere/a.yaml") == "sweep file 'nowhere/a.yaml' does not exist"
    assert problem("sweep.yaml") == (
        "sweep file 'sweep.yaml' is not a text in UTF-8 (byte 7); save it as UTF-8"
    )
    assert problem("folder") == "sweep file 'folder' is a folder; name the file in it"
    assert problem("run") == "sweep file 'run' is a folder; did you mean 'run/sweep.yaml'?"
    assert problem("sweep.yaml/x") == "sweep file 'sweep.yaml/x' cannot be read (Not a directory)"
