"""Heat maps: what a cell averages, ranges of many values, and inks that can be read."""

from __future__ import annotations

from statistics import mean

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis import Objective
from analysis.chart_dimensions import judged_configurations
from analysis.heat_maps import MOST_RANGES, heat_cells, heat_map, heat_maps

RUN = st.fixed_dictionaries(
    {
        "architecture": st.sampled_from(["one_conv", "two_conv"]),
        "batch_size": st.sampled_from([64, 256]),
        "perturbation_std": st.sampled_from([0.5, 1.0]),
        "decay": st.sampled_from([0.0, 0.1]),
        "seed": st.integers(0, 2),
        "state": st.sampled_from(["finished", "finished", "pruned"]),
        "objective": st.sampled_from([0.1, 0.2, 0.4, 0.8, None, float("inf")]),
    }
)


def frame_of(rows: list[dict]) -> pd.DataFrame:
    """The columns of a runs frame that these functions read."""
    runs = pd.DataFrame(rows).assign(sweep="s", optimizer="rso", cycles=3, n_parameters=10)
    keys = ["architecture", "batch_size", "perturbation_std", "decay"]
    runs["trial"] = runs.groupby(keys).ngroup()
    runs["objective"] = runs["objective"].astype("float64")
    runs = runs.drop_duplicates(["trial", "seed"]).reset_index(drop=True)
    runs["validation_accuracy"] = runs["test_accuracy"] = runs["objective"]
    return runs.assign(n_seeds_asked=pd.array([3] * len(runs), dtype="Int64"))


def by_definition(runs: pd.DataFrame) -> dict[tuple, float]:
    """The mean of each cell, run by run."""
    cells: dict[tuple, list[tuple[int, float]]] = {}
    for (architecture, batch_size, std, _), own in runs.groupby(
        ["architecture", "batch_size", "perturbation_std", "decay"]
    ):
        done = own[own["state"] == "finished"]
        if done.empty or done["objective"].isna().any() or np.isinf(done["objective"]).any():
            continue
        n_lost = int((own["state"] != "finished").sum())
        counted = min(len(done), 3 - n_lost)
        key = (architecture, batch_size, std)
        cells.setdefault(key, []).append((counted, mean(done["objective"])))
    most = {key: max(n for n, _ in own) for key, own in cells.items()}
    return {key: mean(v for n, v in own if n == most[key]) for key, own in cells.items()}


@given(st.lists(RUN, min_size=1, max_size=25))
@settings(deadline=None, max_examples=12)
def test_a_cell_is_the_mean_of_the_configurations_with_the_most_seeds(rows):
    runs = frame_of(rows)
    cells = heat_cells(runs, judged_configurations(runs), "batch_size", "perturbation_std")
    keys = ["architecture", "batch_size", "perturbation_std"]
    tried = {
        (a, str(b), f"{s:g}") for a, b, s in runs[keys].drop_duplicates().itertuples(index=False)
    }
    shown = {
        tuple(row): value
        for *row, value in cells[["architecture", "across", "up", "mean"]].itertuples(index=False)
    }
    assert set(shown) == tried
    expected = {(a, str(b), f"{s:g}"): value for (a, b, s), value in by_definition(runs).items()}
    for key, value in shown.items():
        assert value == pytest.approx(expected.get(key, np.nan), nan_ok=True)


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=60))
@settings(deadline=None, max_examples=12)
def test_many_values_are_put_into_ranges_in_their_order(values):
    rows = [
        {
            "architecture": "one_conv",
            "batch_size": 64,
            "perturbation_std": value,
            "decay": 0.0,
            "seed": 0,
            "state": "finished",
            "objective": value,
        }
        for value in values
    ]
    runs = frame_of(rows)
    cells = heat_cells(runs, judged_configurations(runs), "batch_size", "perturbation_std")
    assert len(cells) <= MOST_RANGES
    assert cells["n_configurations"].sum() == len(set(values))
    ranked = cells.sort_values("up_rank")["mean"]
    assert ranked.is_monotonic_increasing


def test_batch_size_against_the_perturbations_is_the_first_map(whole_sweep):
    charts = heat_maps(analysis.load(whole_sweep))
    assert [chart.choices["Dimensions"] for chart in charts] == [
        "RSO: batch size × perturbation_std",
        "SGD: batch size × learning_rate",
    ]
    specification = charts[0].chart.to_dict()
    assert specification["facet"]["sort"] == ["one_conv", "two_conv"]
    figures = {row["figure"] for row in specification["datasets"]["rows"]}
    assert len(figures) == 8
    assert "in per cent" in charts[0].caption


def test_a_combination_without_a_result_is_marked_and_one_not_tried_is_empty(build):
    builder = build()
    for trial, (batch_size, std) in enumerate([(64, 0.5), (64, 1.0), (256, 0.5)]):
        state = "failed" if trial == 1 else "finished"
        builder.add_run(
            trial, batch_size=batch_size, options={"perturbation_std": std}, state=state
        )
    (chart,) = heat_maps(analysis.load(builder.write()))
    rows = chart.chart.to_dict()["datasets"]["rows"]
    assert {(row["across"], row["up"]): row["figure"] for row in rows} == {
        ("64", "0.5"): "70.00",
        ("64", "1"): "—",
        ("256", "0.5"): "70.00",
    }
    assert "—: tried, and nothing finished" in chart.caption


def test_a_small_loss_is_light_and_has_dark_words():
    runs = frame_of(
        [
            {
                "architecture": "one_conv",
                "batch_size": batch_size,
                "perturbation_std": std,
                "decay": 0.0,
                "seed": 0,
                "state": "finished",
                "objective": batch_size * std,
            }
            for batch_size in (64, 256)
            for std in (0.001, 0.01)
        ]
    )
    cells = heat_cells(runs, judged_configurations(runs), "batch_size", "perturbation_std")
    chart = heat_map(cells, "batch_size", "perturbation_std", Objective.of("test_loss")).to_dict()
    colour = chart["spec"]["layer"][0]["encoding"]["color"]
    assert colour["scale"]["reverse"]
    assert colour["title"] == "Test loss (nats)"
    inks = {row["figure"]: row["ink"] for row in chart["datasets"]["rows"]}
    assert (inks["0.06"], inks["2.56"]) == ("dark", "light")
