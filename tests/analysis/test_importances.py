"""The importance of the dimensions, against shares of variance worked out by hand."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis.importances import importance, importance_table

BATCH_SIZES = (32, 64, 128, 256, 512)


def runs_of(configurations: list[dict], figures: list[float]) -> pd.DataFrame:
    """Finished runs of one seed, as `Frames.runs` has them."""
    n = len(figures)
    frame = pd.DataFrame(
        {"architecture": "one_conv", "batch_size": 64, "optimizer": "rso", "cycles": 3}
        | {name: [c[name] for c in configurations] for name in configurations[0]}
    )
    dtypes = {"architecture": "string", "optimizer": "string", "batch_size": "Int64"}
    return frame.astype(dtypes | {"cycles": "Int64"}).assign(
        sweep=pd.array(["s"] * n, dtype="string"),
        trial=pd.array(range(n), dtype="Int64"),
        seed=pd.array([0] * n, dtype="Int64"),
        state="finished",
        n_parameters=pd.array([7890] * n, dtype="Int64"),
        objective=figures,
        validation_accuracy=figures,
        test_accuracy=figures,
    )


def grid(**dimensions: tuple) -> list[dict]:
    return [
        dict(zip(dimensions, values, strict=True))
        for values in itertools.product(*dimensions.values())
    ]


def shares(runs: pd.DataFrame, column: str = "fanova", **options) -> dict[str, float]:
    found = importance(runs, **{"direction": "maximize", **options})
    return dict(zip(found["dimension"], found[column], strict=True))


def additive(scale: float) -> tuple[pd.DataFrame, dict[str, float]]:
    """A full grid whose figure is a sum of one effect for each dimension, and their shares."""
    effects = {
        "batch_size": dict(zip(BATCH_SIZES, (0.0, 0.1, 0.2, 0.3, 0.4), strict=True)),
        "architecture": {"one_conv": 0.0, "two_conv": 0.2, "a_net": -0.1},
        "perturbation_std": {0.001 * scale**k: 0.05 * k for k in range(4)},
    }
    configurations = grid(**{name: tuple(effect) for name, effect in effects.items()})
    figures = [sum(effects[name][c[name]] for name in effects) for c in configurations]
    variances = {name: np.var(list(effect.values())) for name, effect in effects.items()}
    total = sum(variances.values())
    return runs_of(configurations, figures), {n: v / total for n, v in variances.items()}


@pytest.fixture(scope="module")
def found_on_a_grid() -> pd.DataFrame:
    """The importance of the dimensions of `additive`."""
    return importance(additive(scale=10)[0], direction="maximize")


def test_the_shares_of_an_additive_grid_are_those_of_its_effects(found_on_a_grid):
    # 0.02 for the batch size, 0.01556 for the network and 0.003125 for the option, of 0.03868
    _, worked_out = additive(scale=10)
    assert worked_out["batch_size"] == pytest.approx(0.517, abs=0.001)
    found = dict(zip(found_on_a_grid["dimension"], found_on_a_grid["fanova"], strict=True))
    assert list(found) == ["batch_size", "architecture", "perturbation_std"]
    assert found == pytest.approx(worked_out, abs=0.06)


def test_every_value_has_the_same_weight_the_first_and_the_last_one_as_well():
    values = grid(batch_size=(32, 64, 128, 256), momentum=(0.0, 0.9), x=tuple(range(8)))
    # one value in four adds 1: a variance of 3/16, which 1/4 of the square of the other is too
    figures = [(c["batch_size"] == 256) + (c["momentum"] > 0) * 0.75**0.5 for c in values]
    found = shares(runs_of(values, figures))
    assert found == pytest.approx({"batch_size": 0.5, "momentum": 0.5, "x": 0}, abs=1e-3)


def test_the_scale_on_which_a_dimension_was_varied_makes_no_difference(found_on_a_grid):
    narrow = importance(additive(scale=1.01)[0], direction="maximize")
    pd.testing.assert_frame_equal(narrow, found_on_a_grid)


def test_a_dimension_without_influence_has_no_importance():
    configurations = grid(batch_size=BATCH_SIZES, momentum=(0.0, 0.5, 0.9), nesterov=(True, False))
    runs = runs_of(configurations, [c["batch_size"] / 1000 for c in configurations])
    for column in ("fanova", "ped_anova"):
        found = shares(runs, column)
        assert found["batch_size"] > 0.98
        assert found["momentum"] < 0.01
        assert found["nesterov"] < 0.01


def test_an_effect_that_two_dimensions_have_together_is_of_neither():
    configurations = grid(batch_size=(32, 64), momentum=(0.0, 0.9), repeat=tuple(range(8)))
    runs = runs_of(
        configurations,
        [float((c["batch_size"] == 32) == (c["momentum"] == 0)) for c in configurations],
    )
    assert sum(shares(runs).values()) < 0.3


def test_ped_anova_is_about_the_best_tenth_in_the_direction_that_was_asked():
    # the large batch sizes are all alike, only among the smallest ones the option decides
    configurations = grid(batch_size=BATCH_SIZES, momentum=tuple(np.linspace(0, 0.9, 8)))
    figures = [
        c["momentum"] if c["batch_size"] == 32 else 2.0 + 0.001 * c["batch_size"]
        for c in configurations
    ]
    runs = runs_of(configurations, figures)
    largest = shares(runs, "ped_anova", direction="maximize")
    smallest = shares(runs, "ped_anova", direction="minimize")
    assert largest["batch_size"] > 0.9
    assert smallest["momentum"] > largest["momentum"] + 0.1
    assert sum(largest.values()) == pytest.approx(1)


@pytest.fixture(scope="module")
def table(whole_sweep):
    """The table of a finished sweep."""
    return importance_table(analysis.load(whole_sweep))


def test_all_optimisers_share_only_some_dimensions_and_each_has_its_own(table):
    found = table.frame
    dimensions = {
        str(name): set(own["dimension"])
        for name, own in found.fillna({"optimizer": "all"}).groupby("optimizer")
    }
    shared = {"architecture", "batch_size"}
    assert dimensions == {
        "all": {"optimizer", *shared},
        "rso": {"perturbation_std", *shared},
        "sgd": {"learning_rate", *shared},
    }
    assert list(found["n_configurations"]) == [16] * 3 + [8] * 6
    # the optimiser was made to tell most, then the network; the batch size's effects cancel out
    assert list(found["dimension"][:3]) == ["optimizer", "architecture", "batch_size"]


def test_what_each_optimizer_has_one_value_of_is_not_a_dimension():
    configurations = [
        {
            "optimizer": name,
            "batch_size": size,
            "initialisation": "he" if name == "rso" else "model",
        }
        for name, size in itertools.product(("rso", "sgd"), BATCH_SIZES)
    ]
    runs = runs_of(configurations, [0.01 * n for n in range(10)])
    assert set(importance(runs, direction="maximize")["dimension"]) == {"optimizer", "batch_size"}


@pytest.mark.parametrize(
    ("configurations", "figures"),
    [
        (grid(batch_size=(32,), momentum=(0.0, 0.5, 0.9)), [0.1, 0.2, 0.3]),
        (grid(batch_size=(32, 64, 128), momentum=(0.9,)), [0.1, 0.2, 0.3]),
        (grid(batch_size=(32, 64), momentum=(0.0, 0.9))[:3], [0.1, 0.2, 0.3]),
        (grid(batch_size=BATCH_SIZES, momentum=(0.0, 0.9)), [0.5] * 10),
        (grid(batch_size=BATCH_SIZES), [0.1, 0.2, 0.3, 0.4, 0.5]),
        (grid(batch_size=(32, 64), momentum=(0.0, 0.9)), [0.1, 0.2, 0.3, float("nan")]),
    ],
    ids=["3 values", "3 sizes", "too few", "all equal", "one dimension", "one is missing"],
)
def test_where_there_is_nothing_to_tell_there_are_no_shares(configurations, figures):
    found = importance(runs_of(configurations, figures), direction="maximize")
    assert len(found)
    assert found[["fanova", "ped_anova"]].isna().all(axis=None)


def test_a_configuration_with_fewer_seeds_does_not_count(build):
    builder = build()
    for trial, (batch_size, std) in enumerate(itertools.product(BATCH_SIZES, (0.5, 1.0))):
        for seed in (0, 1)[: 1 if trial == 9 else 2]:
            accuracy = 0.5 + 0.01 * trial
            builder.add_run(
                trial,
                seed,
                batch_size=batch_size,
                options={"perturbation_std": std},
                validation=[accuracy],
            )
    found = importance(analysis.load(builder.write()).runs, direction="maximize")
    assert list(found["n_configurations"]) == [9, 9]


def test_the_order_of_the_runs_makes_no_difference_and_they_stay_as_they_are(
    found_on_a_grid,
):
    runs = additive(scale=10)[0].sample(frac=1, random_state=0)
    before = runs.copy(deep=True)
    pd.testing.assert_frame_equal(importance(runs, direction="maximize"), found_on_a_grid)
    pd.testing.assert_frame_equal(runs, before)


def test_optuna_s_log_is_left_as_it_was(caplog):
    configurations = grid(batch_size=(32, 64), momentum=(0.0, 0.9))
    runs = runs_of(configurations, [0.1, 0.2, 0.3, 0.4])
    optuna.logging.enable_propagation()
    verbosity = optuna.logging.get_verbosity()
    try:
        with caplog.at_level(logging.DEBUG):
            importance(runs, direction="maximize")
        assert not caplog.records
        assert optuna.logging.get_verbosity() == verbosity
    finally:
        optuna.logging.disable_propagation()


@settings(deadline=None, max_examples=8)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["rso", "sgd"]),
            st.sampled_from([32, 64]),
            st.sampled_from([None, 0.0, float("inf"), 1e-300]),
            st.sampled_from([0.0, 0.5, 5e-324, 1e300, float("nan"), float("inf")]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_shares_are_shares_whatever_was_measured(rows):
    names = ("optimizer", "batch_size", "momentum")
    runs = runs_of(
        [dict(zip(names, row, strict=False)) for row in rows], [float(row[3]) for row in rows]
    )
    found = importance(runs, direction="minimize")
    known = found[["fanova", "ped_anova"]].dropna(how="all")
    assert ((known >= 0) & (known <= 1 + 1e-9)).all(axis=None)
    for _, own in found.dropna(subset=["fanova"]).groupby("optimizer", dropna=False):
        assert own["fanova"].sum() <= 1 + 1e-9
        assert own["ped_anova"].sum() == pytest.approx(1)


def test_a_sweep_without_runs_has_no_importance(build):
    frames = analysis.load(build().write())
    assert importance(frames.runs, direction="maximize").empty
    assert importance_table(frames) is None


def test_the_table_shows_per_cent_and_says_what_they_are(table):
    assert [row[:2] for row in table.rows()[:2]] == [["all", "optimiser"], ["all", "network"]]
    total = table.frame[table.frame["among"] == "RSO"]["ped_anova_percent"].sum()
    assert total == pytest.approx(100, abs=0.2)
    assert "causal" in table.caption
    assert "sample" not in table.caption
    assert max(len(line) for line in table.to_markdown().splitlines()) <= 120


def test_each_sweep_goes_by_its_own_direction(build):
    builders = [build("accuracy"), build("loss")]
    builders[1].specification["objective"] = {"metric": "test_loss", "direction": "minimize"}
    for builder in builders:
        for trial, (size, std) in enumerate(itertools.product(BATCH_SIZES, (0.5, 1.0))):
            accuracy = 0.5 + 0.01 * trial
            builder.add_run(
                trial, batch_size=size, options={"perturbation_std": std}, validation=[accuracy]
            )
    table = importance_table(analysis.load(*(builder.write() for builder in builders)))
    assert table.columns[0].header == "Sweep"
    # the loss is a falling function of the accuracy: the same configurations are the best ones
    one, other = (own["ped_anova"].tolist() for _, own in table.frame.groupby("sweep"))
    assert one == pytest.approx(other)
    assert "validation accuracy and test loss" in table.caption


def test_of_many_configurations_a_sample_tells_the_shares():
    random = np.random.default_rng(0)
    n = 4000
    stds, momenta = random.uniform(0, 1, n), random.uniform(0, 1, n)
    columns = {"perturbation_std": stds, "momentum": momenta, "x": random.uniform(0, 1, n)}
    configurations = pd.DataFrame(columns).to_dict("records")
    runs = runs_of(configurations, list(2 * stds + momenta))
    found = shares(runs)
    # the variances of the two are 4 to 1
    assert found == pytest.approx({"perturbation_std": 0.8, "momentum": 0.2, "x": 0}, abs=0.08)
