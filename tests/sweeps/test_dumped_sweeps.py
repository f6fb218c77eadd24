"""Sweep files that are written: they load back, and their JSON schema knows them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rso_core.datasets import DataOptions
from rso_core.errors import InvalidInput
from sweeps.domains import Range
from sweeps.pruners import (
    HyperbandPruning,
    MedianPruning,
    NoPruning,
    PatientPruning,
    PercentilePruning,
    ThresholdPruning,
)
from sweeps.samplers import (
    GpSampling,
    Nsga3Sampling,
    QmcSampling,
    RandomSampling,
    TpeSampling,
)
from sweeps.space import Space
from sweeps.spec import (
    EXAMPLE,
    Budget,
    Objective,
    Repetitions,
    Resources,
    Stop,
    SweepSpec,
    json_schema,
)
from sweeps.sweep_file import dump_sweep, parse_sweep

FILES = Path(__file__).parent / "sweep_files"
FULL = (FILES / "full.yaml").read_text()
BASE = (FILES / "base.yaml").read_text()


def test_a_spec_survives_pickling_and_json() -> None:
    spec = parse_sweep(FULL, "sweep.yaml")

    assert pickle.loads(pickle.dumps(spec)) == spec
    assert SweepSpec.model_validate(json.loads(spec.model_dump_json())) == spec


def test_a_dumped_sweep_loads_back_equal_and_other_readers_read_it_alike() -> None:
    spec = parse_sweep(FULL, "sweep.yaml")
    text = dump_sweep(spec)

    assert parse_sweep(text, "sweep.yaml") == spec
    assert SweepSpec.model_validate(yaml.safe_load(text)) == spec
    written = yaml.safe_load(text)
    assert written["seeds"] == [0, 3]
    assert written["warm_start"] == ["runs/earlier", "s3://bucket/runs/other"]


def numbers(low: float, high: float) -> st.SearchStrategy[Any]:
    values = st.floats(low, high, allow_subnormal=False)
    return st.one_of(
        values,
        st.lists(values, min_size=1, max_size=3, unique=True).map(tuple),
        st.tuples(values, values, st.booleans()).map(
            lambda v: Range(low=min(v[:2]), high=max(v[:2]), log=v[2])
        ),
    )


SPACES = st.fixed_dictionaries(
    {
        "architecture": st.sampled_from(["one_conv", ("one_conv", "mlp(8,8)"), ("two_conv",)]),
        "batch_size": st.sampled_from([1, (16, 32), Range(low=1, high=512, log=True)]),
        "optimizer": st.sampled_from([("rso", "sgd"), ("sgd", "adam", "rso")]),
    },
    optional={
        "learning_rate": numbers(1e-6, 10.0),
        "perturbation_std": numbers(1e-6, 10.0),
        "rso.weight_decay": numbers(1e-9, 0.5),
        "sigma": st.sampled_from(["he", ("pooled", 0.5, "he")]),
        "visit_biases": st.sampled_from([True, (True, False)]),
    },
).map(Space.from_mapping)

SAMPLERS = st.one_of(
    st.just(RandomSampling()),
    st.just(QmcSampling(qmc_type="halton")),
    st.builds(TpeSampling, n_startup_trials=st.integers(0, 99), prior_weight=st.floats(0.1, 9)),
    st.builds(GpSampling, deterministic_objective=st.booleans()),
    st.builds(
        Nsga3Sampling,
        mutation_prob=st.none() | st.floats(0, 1),
        crossover=st.sampled_from(["uniform", "sbx", "undx"]),
    ),
)
HALVINGS = st.builds(HyperbandPruning, reduction_factor=st.integers(2, 9))
PRUNERS = st.one_of(
    st.just(NoPruning()),
    st.builds(MedianPruning, n_warmup_cycles=st.integers(0, 9)),
    st.builds(PercentilePruning, percentile=st.floats(0, 100)),
    st.builds(ThresholdPruning, lower=st.none() | st.floats(-9, 0), upper=st.floats(0, 9)),
    st.builds(PatientPruning, patience=st.integers(0, 9), wrapped=st.none() | HALVINGS),
)
OBJECTIVES = st.builds(
    Objective,
    metric=st.sampled_from(["validation_accuracy", "training_loss", "n_visited"]),
    direction=st.sampled_from(["maximize", "minimize"]),
)
RUN_FOLDERS = st.lists(
    st.from_regex(r"\A(s3://)?[a-z0-9 .#:-]{1,9}\Z"), max_size=3, unique=True
).map(tuple)


@st.composite
def specs(draw: st.DrawFn) -> SweepSpec:
    """Sweeps that are sound; several objectives have none of what is for a single one."""
    objectives = draw(st.lists(OBJECTIVES, min_size=1, max_size=3, unique_by=lambda o: o.metric))
    is_single = len(objectives) == 1
    sampler = draw(SAMPLERS)
    repetitions = st.builds(
        Repetitions, half_width=st.floats(1e-9, 0.49), most_seeds=st.integers(31, 10_000)
    )
    stop = st.builds(
        Stop,
        wall_clock_s=st.none() | st.floats(1e-3, 1e9),
        images_passed=st.none() | st.integers(1, 10**15),
        target=st.none() | st.floats(0, 1) if is_single else st.none(),
    )
    return SweepSpec(
        name=draw(NAMES),
        data=draw(st.builds(DataOptions, train_size=st.none() | st.integers(1000, 50000))),
        budget=Budget(cycles=draw(st.integers(20, 10**9))),
        space=draw(SPACES),
        sampler=sampler,
        pruner=draw(PRUNERS) if is_single else NoPruning(),
        trials=draw(st.integers(1, 10**6)),
        objective=tuple(objectives),
        seeds=tuple(draw(st.lists(SEEDS, min_size=1, max_size=30, unique=True))),
        repetitions=draw(st.none() | repetitions) if is_single else None,
        seed=draw(SEEDS),
        stop=draw(stop),
        warm_start=draw(RUN_FOLDERS) if sampler.learns else (),
        resources=Resources(
            gpus_per_run=draw(st.floats(0, 1)), concurrency=draw(st.none() | st.integers(1, 99))
        ),
        output=draw(st.none() | st.text(min_size=1)),
    )


SEEDS = st.integers(0, 2**32 - 1)
NAMES = st.one_of(
    st.from_regex(r"\A[A-Za-z0-9_-]{1,20}\Z"),
    st.sampled_from(["null", "true", "1e-3", "0x1", "012", "on", "2024-01-01", "1_0", "1.", "-"]),
)


@given(spec=specs())
@settings(max_examples=75, deadline=None)
def test_any_sweep_loads_back_equal_from_what_is_dumped(spec: SweepSpec) -> None:
    loaded = parse_sweep(dump_sweep(spec), "sweep.yaml")

    assert loaded == spec
    assert repr(loaded) == repr(spec)  # 1 and 1.0 are equal, but are not the same value


CONDITIONAL = """\
name: conditional
space:
  architecture: {choices: [one_conv, two_conv]}
  batch_size: [256, 1024]
  optimizer: {value: sgd}
  schedule: [cosine, constant]
  learning_rate: {low: 0.1, high: 0.4, step: 0.1, when: {schedule: [cosine, constant]}}
  momentum: {value: 0.9, when: {learning_rate: {at_least: 0.1, at_most: 0.3}}}
  nesterov: {choices: [true, false], when: {momentum: 0.9, batch_size: {not: 1024}}}
constraints:
- require: {batch_size: {at_most: 1024}}
- {when: {architecture: two_conv}, require: {batch_size: 256, learning_rate: {not: [0.1, 0.2]}}}
first:
- {architecture: one_conv, schedule: constant}
- {batch_size: 1024, learning_rate: 0.4}
"""
OWN = """\
sampler:
  name: optuna.samplers:TPESampler
  options: {n_startup_trials: 3, n_ei_candidates: 9, group: false}
pruner: {name: optuna.pruners:PercentilePruner, options: {percentile: 30.0}}
trials: 7
warm_start: runs/earlier
"""


@pytest.mark.parametrize(
    "more",
    [
        *("", "sampler: brute_force\nseeds: 3\n", OWN),
        "pruner: {name: patient, wrapped: {name: threshold, upper: 1}}\n",
        "objective: [{metric: test_loss}, {metric: training_s, direction: maximize}]\n",
    ],
    ids=["grid", "brute force", "own classes", "wrapped pruner", "objectives"],
)
def test_conditions_constraints_and_first_points_load_back_equal(more: str) -> None:
    spec = parse_sweep(CONDITIONAL + more, "sweep.yaml")
    text = dump_sweep(spec)
    loaded = parse_sweep(text, "sweep.yaml")

    assert (loaded, repr(loaded)) == (spec, repr(spec))
    assert len(loaded.constraints) == len(loaded.first) == len(loaded.space.constraints) == 2
    assert loaded.space["momentum"].domain.when is not None
    assert dump_sweep(loaded) == text


def test_one_objective_is_written_as_a_mapping_and_several_as_a_list() -> None:
    def objective(override: str) -> object:
        return yaml.safe_load(dump_sweep(parse_sweep(BASE, "x", [override])))["objective"]

    loss = {"metric": "test_loss", "direction": "minimize"}
    cost = {"metric": "n_visited", "direction": "minimize"}
    assert objective("objective={metric: test_loss}") == loss
    assert objective("objective=[{metric: test_loss}]") == loss
    assert objective("objective=[{metric: test_loss}, {metric: n_visited}]") == [loss, cost]


SCHEMA = json_schema()


def is_valid(content: object) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(content))


def test_the_json_schema_is_one_and_accepts_sweep_files() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)

    assert is_valid(EXAMPLE)
    assert is_valid(yaml.safe_load(FULL.replace("1e-4", "0.0001")))
    assert is_valid(yaml.safe_load(BASE))
    assert is_valid(EXAMPLE | {"objective": [{"metric": "test_loss"}, {"metric": "training_s"}]})
    assert is_valid(EXAMPLE | {"warm_start": "runs/earlier", "repetitions": None, "stop": {}})
    assert is_valid(yaml.safe_load(dump_sweep(parse_sweep(FULL, "x"))) | {"provenance": {"a": 1}})
    assert parse_sweep(json.dumps(EXAMPLE), "x").name == "quickstart"


@pytest.mark.parametrize(
    "change",
    [
        {"spcae": {}},
        {"name": "a/b"},
        {"sampler": "tp"},
        {"sampler": {"name": "grid", "n_startup_trials": 3}},
        {"pruner": "mean"},
        {"seeds": []},
        {"seeds": 0},
        {"seeds": [1, 1]},
        {"trials": 0},
        {"budget": {"cycles": 0}},
        {"space": {"architecture": "one_conv"}},
        {"space": {**EXAMPLE["space"], "sigma": {"low": 1}}},
        {"space": {**EXAMPLE["space"], "sigma": [[1]]}},
        {"objective": {"metric": "loss"}},
        {"objective": []},
        {"objective": [{"metric": "test_loss"}, {"metric": "loss"}]},
        {"objective": "test_loss"},
        {"repetitions": {}},
        {"repetitions": {"half_width": 0}},
        {"repetitions": {"half_width": 0.1, "most_seeds": 1}},
        {"stop": None},
        {"stop": {"wall_clock_s": 0}},
        {"stop": {"targt": 1}},
        {"warm_start": 3},
        {"warm_start": [""]},
        {"warm_start": ["a", "a"]},
        {"pruner": {"name": "patient", "wrapped": "patient"}},
    ],
)
def test_the_json_schema_refuses_what_the_loader_refuses(change: dict[str, Any]) -> None:
    assert not is_valid(EXAMPLE | change)
    with pytest.raises(InvalidInput):
        parse_sweep(json.dumps(EXAMPLE | change), "sweep.yaml")


def test_every_field_is_described_in_the_json_schema() -> None:
    sections = dict(SCHEMA["$defs"])
    assert {"DataOptions", "TpeSampling", "PatientPruning", "Stop", "Range"} <= set(sections)
    fields = dict(SCHEMA["properties"])
    for section, part in sections.items():
        fields |= {f"{section}.{key}": field for key, field in part.get("properties", {}).items()}

    undescribed = [name for name, field in fields.items() if "description" not in field]
    assert [name for name in undescribed if not name.endswith("ing.name")] == []
