"""The charts of a report: which there are, their families, and that they can be drawn."""

from __future__ import annotations

import json
import math
from itertools import groupby

import pandas as pd
import pytest
import vl_convert

import analysis
from analysis.chart_parts import packed, records, spread_out, theme
from analysis.charts import Drawing, standard_charts
from analysis.curve_charts import learning_charts
from analysis.drawings import file_stem
from analysis.heat_maps import heat_maps
from analysis.history_charts import history_charts
from analysis.layer_charts import layer_charts
from analysis.paired_charts import paired_charts
from analysis.parallel_charts import parallel_charts
from analysis.pareto_charts import pareto_charts
from analysis.slice_charts import slice_charts

FIGURES = ("Test accuracy", "Validation accuracy", "Test loss", "Training loss")
AGAINST = ("cycles", "images passed", "training time")


@pytest.fixture(scope="module")
def charts(whole_sweep):
    return standard_charts(analysis.load(whole_sweep))


@pytest.fixture(scope="module")
def specifications(charts):
    """Of the first chart of each family, and some more."""
    more = {"accuracy_by_images", "accuracy_by_seconds", "test_loss_by_cycle"}
    first = {next(own).name for _, own in groupby(charts, key=lambda chart: chart.family)}
    return {chart.name: chart.chart.to_dict() for chart in charts if chart.name in first | more}


@pytest.fixture(scope="module")
def odd_charts(run_folder_builder, tmp_path_factory):
    """Of runs in all states, with seeds, cycles and figures missing, and hostile names."""
    builder = run_folder_builder(tmp_path_factory.mktemp("odd") / "sweep")
    builder.specification |= {"objective": {"metric": "validation_loss"}, "seeds": [0, 1]}
    states = ("finished", "finished", "pruned", "failed", None, "finished", "finished")
    for trial, state in enumerate(states):
        for seed in (0, 1)[: 1 + trial % 2]:
            builder.add_run(
                trial,
                seed,
                optimizer=("rso", "sgd", "</script> mine")[trial % 3],
                batch_size=(64, 256)[trial // 3 % 2],
                options={"a b": 0.1 * trial, "a/b": str(trial), "../../etc": trial},
                validation=(None if trial == 5 else 0.5, 0.6)[: 1 + seed],
                state=state,
            )
    builder.add_run(9, validation=(), state="failed")
    for row in builder.cycle_rows[:3]:
        row["training_loss"] = math.inf
    return standard_charts(analysis.load(builder.write()))


def test_the_main_charts_come_first_and_families_stay_together(charts):
    assert [family for family, _ in groupby(charts, key=lambda chart: chart.family)] == [
        "learning_curves",
        "paired_seeds",
        "heat_maps",
        "slices",
        "parallel_coordinates",
        "pareto",
        "layers",
        "history",
    ]


def test_the_choices_tell_the_charts_of_a_family_apart(charts):
    for _, own in groupby(charts, key=lambda chart: chart.family):
        family = list(own)
        choices = {tuple(chart.choices.items()) for chart in family}
        assert len(choices) == len(family)
        assert len({tuple(chart.choices) for chart in family}) == 1
        assert bool(family[0].choices) or len(family) == 1
    learning = [chart.choices for chart in charts if chart.family == "learning_curves"]
    assert learning == [{"Figure": f, "Against": a} for f in FIGURES for a in AGAINST]


def test_names_are_those_of_files_and_distinct(odd_charts):
    names = [chart.name for chart in odd_charts]
    assert {"slice_a-b", "slice_a-b-2", "slice_-etc"} <= set(names)
    assert len(set(names)) == len(names)
    assert all(file_stem(name) == name for name in names)


def test_an_optimiser_has_the_same_colour_in_every_chart(specifications):
    domains = []

    def collect(part):
        if isinstance(part, dict):
            colour = part.get("color")
            if isinstance(colour, dict) and colour.get("field") == "optimizer":
                domains.append(colour["scale"]["domain"])
            for each in part.values():
                collect(each)
        elif isinstance(part, list):
            for each in part:
                collect(each)

    for specification in specifications.values():
        collect({name: part for name, part in specification.items() if name != "datasets"})
    assert len(domains) >= 15
    assert all(domain == ["RSO", "SGD"] for domain in domains)


def test_a_page_can_fit_every_chart(specifications):
    for specification in specifications.values():
        if "concat" in specification:
            assert all("width" in panel for panel in specification["concat"])
        else:
            assert specification["facet"]["sort"]
            assert "width" in specification["spec"]


@pytest.mark.parametrize(
    ("order", "layers"),
    [
        ("last_to_first", ["conv1.weight", "linear.weight"]),
        ("first_to_last", ["linear.weight", "conv1.weight"]),
    ],
)
def test_layers_stand_in_the_order_of_the_network_also_where_no_option_was_varied(
    build, order, layers
):
    builder = build()
    for seed in (0, 1):
        # the records have the tensors in the order of the visits
        builder.add_run(
            0,
            seed,
            options={"layer_order": order},
            layer_names=("linear.weight", "conv1.weight"),
        )
    charts = {chart.name: chart for chart in standard_charts(analysis.load(builder.write()))}
    (panel,) = charts["accepted_by_layer"].chart.to_dict()["concat"]
    assert panel["layer"][0]["encoding"]["color"]["sort"] == layers


def test_every_axis_has_a_title(specifications):
    titles = {
        "accuracy_by_cycle": "Cycle (SGD: epoch)",
        "accuracy_by_images": "Images passed forwards, log scale",
        "accuracy_by_seconds": "Training time (s), log scale",
    }
    for name, title in titles.items():
        assert specifications[name]["facet"]["sort"] == ["one_conv", "two_conv"]
        for layer in specifications[name]["spec"]["layer"]:
            assert layer["encoding"]["x"]["title"] == title
    assert len(specifications["accepted_by_layer"]["concat"]) == 2
    assert specifications["test_loss_by_cycle"]["spec"]["layer"][0]["encoding"]["y"][
        "title"
    ].startswith("Test loss (nats)")


def test_every_family_can_be_drawn_on_a_dark_page(charts, specifications):
    for _, family in groupby(charts, key=lambda chart: chart.family):
        dark = {**specifications[next(family).name], "config": theme(dark=True)}
        assert vl_convert.vegalite_to_svg(dark).startswith("<svg")


def test_charts_of_odd_runs_hold_numbers_only_and_no_markup(odd_charts):
    assert len({chart.family for chart in odd_charts}) >= 6
    for _, family in groupby(odd_charts, key=lambda chart: chart.family):
        drawing = Drawing.of(next(family))
        assert drawing.picture.svg.startswith("<svg")
        assert "<script" not in drawing.picture.svg
        assert "</script" not in drawing.picture.svg
        json.dumps(drawing.specification, allow_nan=False)


def test_a_drawing_is_a_picture_and_a_page(charts):
    drawing = Drawing.of(charts[0])
    assert drawing.picture.png.startswith(b"\x89PNG")
    assert drawing.picture.pdf.startswith(b"%PDF")


def test_runs_that_did_not_finish_have_no_charts(build):
    builder = build()
    builder.add_run(0, state="pruned")
    builder.add_run(1, state=None)
    assert standard_charts(analysis.load(builder.write())) == ()


def test_a_sweep_of_one_configuration_has_curves_alone(build):
    builder = build()
    for seed in (0, 1):
        builder.add_run(0, seed, optimizer="sgd", test=[0.5, 0.5, 0.6])
    frames = analysis.load(builder.write())
    for charts_of in (
        paired_charts,
        heat_maps,
        slice_charts,
        parallel_charts,
        pareto_charts,
        layer_charts,
        history_charts,
    ):
        assert charts_of(frames) == ()


def test_a_figure_that_was_not_measured_has_no_chart(build, monkeypatch):
    monkeypatch.setattr(
        "analysis.curve_charts.CURVE_METRICS", ("test_accuracy", "validation_accuracy")
    )
    builder = build()
    builder.add_run(0, validation=[None, None], test=[0.5, 0.6])
    charts = learning_charts(analysis.load(builder.write()))
    assert [chart.choices["Figure"] for chart in charts] == ["Test accuracy"] * 3


def test_a_run_that_explodes_can_be_drawn_and_flattens_no_chart(build):
    builder = build()
    builder.specification["objective"] = {"metric": "validation_loss", "direction": "minimize"}
    for trial in range(3):
        builder.add_run(trial, batch_size=2**trial, validation=[0.4, 0.5])
    builder.add_run(3, batch_size=2**3, optimizer="sgd", validation=[0.4, 0.5])
    losses = (row for row in builder.cycle_rows if row["run"] == "trial-2-seed-0")
    for row, loss in zip(losses, (8.6552082123438e19, 2.5), strict=True):
        row |= {"training_loss": loss, "validation_loss": loss, "test_loss": loss}
    charts = standard_charts(analysis.load(builder.write()))
    drawn = {chart.name: Drawing.of(chart) for chart in charts}
    huge = {name for name, each in drawn.items() if "8.6552e+19" in json.dumps(each.specification)}
    assert not huge
    cut = {chart.name for chart in charts if "bold lines is left out" in chart.caption}
    assert {"test_loss_by_cycle", "training_loss_by_cycle", "test_loss_by_images"} <= cut
    assert "accuracy_by_cycle" not in cut


def test_whole_numbers_that_few_readers_take_are_written_as_figures():
    frame = pd.DataFrame({"loss": [2.0, 2.0**53, 8.6552082123438e19]})
    values = [record["loss"] for record in records(frame, ["loss"])]
    assert values == [2, 9.0072e15, 8.6552e19]
    assert [type(value) for value in values] == [int, float, float]


def test_light_and_dark_share_the_palette_of_okabe_and_ito():
    palette = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"}
    for dark in (False, True):
        colours = theme(dark)["range"]["category"]
        assert set(colours) - {"#000000", "#FFFFFF"} <= palette
        assert len(set(colours)) == len(colours)


@pytest.mark.parametrize(("n", "most"), [(0, 5), (5, 5), (7, 5), (10_000, 300)])
def test_a_sample_is_spread_from_the_first_to_the_last(n, most):
    places = spread_out(n, most)
    assert len(places) == min(n, most)
    assert sorted(set(places)) == list(places)
    if n:
        assert (places[0], places[-1]) == (0, n - 1)


def test_packed_rows_are_the_rows(whole_sweep):
    runs = analysis.load(whole_sweep).runs
    values = packed(runs, ["trial", "seed"], ["optimizer", "architecture"])
    rows = [
        (record["optimizer"], record["architecture"], trial, seed)
        for record in values
        for trial, seed in zip(record["trial"], record["seed"], strict=True)
    ]
    columns = ["optimizer", "architecture", "trial", "seed"]
    assert sorted(rows) == sorted(runs[columns].itertuples(index=False, name=None))
    assert len(values) == 4
