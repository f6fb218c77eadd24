"""The lines of the charts, and the charts."""

from __future__ import annotations

import math

import pytest

import analysis
from analysis.chart_parts import theme
from analysis.charts import Drawing, standard_charts
from analysis.curves import accepted_curves, accuracy_curves


def test_a_line_is_the_mean_over_seeds_with_a_deviation_either_side(build):
    builder = build()
    builder.add_run(0, 0, validation=(0.5, 0.6))
    builder.add_run(0, 1, validation=(0.7, 0.6))
    curves = accuracy_curves(analysis.load(builder.write()))
    assert curves["accuracy"].tolist() == pytest.approx([0.6, 0.6])
    assert curves["high"].tolist() == pytest.approx([0.6 + math.sqrt(0.02), 0.6])
    assert list(curves["n_seeds"]) == [2, 2]


def test_the_bold_line_is_chosen_on_validation(build):
    builder = build()
    builder.add_run(0, batch_size=64, validation=[0.9], test=[0.1])
    builder.add_run(1, batch_size=256, validation=[0.8], test=[0.9])
    curves = accuracy_curves(analysis.load(builder.write()))
    assert curves[curves["is_best"]]["accuracy"].tolist() == [0.1]


def test_every_network_and_optimizer_has_one_bold_line(whole_sweep):
    curves = accuracy_curves(analysis.load(whole_sweep))
    best = curves[curves["is_best"]]
    assert best.groupby(["architecture", "optimizer"])["line"].nunique().tolist() == [1] * 4
    assert curves["line"].nunique() == 16


def test_runs_that_did_not_finish_are_not_drawn(build):
    builder = build()
    builder.add_run(0, state="pruned")
    builder.add_run(1, state=None)
    frames = analysis.load(builder.write())
    assert accuracy_curves(frames).empty
    assert standard_charts(frames) == ()


def test_a_long_run_keeps_its_ends_and_not_every_cycle(build):
    builder = build()
    builder.add_run(0, validation=[0.5] * 500)
    curves = accuracy_curves(analysis.load(builder.write()))
    assert (curves["cycle"].min(), curves["cycle"].max()) == (1, 500)
    assert len(curves) <= 60


def test_accepted_shares_are_those_of_the_best_configuration(build):
    builder = build()
    builder.add_run(0, batch_size=64, validation=[0.9], layer_names=["best.weight"])
    builder.add_run(1, batch_size=256, validation=[0.8], layer_names=["other.weight"])
    layers = accepted_curves(analysis.load(builder.write()))
    assert list(layers["layer"]) == ["best.weight"]
    assert layers["accepted_share"].tolist() == pytest.approx([0.4], abs=1e-3)


def test_a_sweep_without_rso_has_no_chart_of_visits(build):
    builder = build()
    builder.add_run(0, optimizer="sgd")
    names = [chart.name for chart in standard_charts(analysis.load(builder.write()))]
    assert names == ["accuracy_by_cycle", "accuracy_by_images", "accuracy_by_seconds"]


def test_every_axis_has_a_title_and_networks_have_a_panel_each(whole_sweep):
    charts = {chart.name: chart for chart in standard_charts(analysis.load(whole_sweep))}
    titles = {
        "accuracy_by_cycle": "Cycle (SGD: epoch)",
        "accuracy_by_images": "Images passed forwards, log scale",
        "accuracy_by_seconds": "Training time (s), log scale",
    }
    for name, title in titles.items():
        specification = charts[name].chart.to_dict()
        assert specification["facet"]["sort"] == ["one_conv", "two_conv"]
        for layer in specification["spec"]["layer"]:
            assert layer["encoding"]["x"]["title"] == title
    assert len(charts["accepted_by_layer"].chart.to_dict()["concat"]) == 2


def test_a_drawing_is_a_picture(build):
    builder = build()
    builder.add_run(0, architecture="<script>&")
    drawing = Drawing.of(standard_charts(analysis.load(builder.write()))[0])
    assert drawing.svg.startswith("<svg")
    assert "<script" not in drawing.svg
    assert drawing.png().startswith(b"\x89PNG")


def test_light_and_dark_share_the_palette_of_okabe_and_ito():
    palette = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"}
    for dark in (False, True):
        colours = theme(dark)["range"]["category"]
        assert set(colours) - {"#000000", "#FFFFFF"} <= palette
        assert len(set(colours)) == len(colours)
