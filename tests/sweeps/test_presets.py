"""The sweep files that come with the project: each is sound, and is what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.published import published_figures
from analysis.published_settings import published_settings
from rso_core.configuration import Configuration
from sweeps.presets import preset_names, preset_summary
from sweeps.reading import read_sweep

Call = Callable[..., tuple[int, str, str]]
SYNTHETIC = "data.name=tests.synthetic_cifar10:images"
OVERRIDES = {"paper-cifar10": ("--set", SYNTHETIC, "--set", "space.batch_size=100")}
"""CIFAR-10 is not on every machine."""


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_sound_and_can_be_copied(call: Call, preset: str) -> None:
    assert read_sweep(preset).name == preset
    _, text, _ = call("show", preset)
    Path("copy.yaml").write_text(text)
    assert call("check", "copy.yaml", *OVERRIDES.get(preset, ()))[0] == 0


def test_presets_are_listed_with_what_they_are_for(call: Call) -> None:
    _, listed, _ = call("presets")
    for line, name in zip(listed.splitlines(), preset_names(), strict=True):
        assert line.split(maxsplit=1) == [name, preset_summary(name)]
    starts = {re.match(r"\S+ +", line).end() for line in listed.splitlines()}  # type: ignore[union-attr]
    assert len(starts) == 1


def configurations(preset: str) -> list[Configuration]:
    spec = read_sweep(preset)
    points = spec.space.grid()
    return [Configuration.from_values(point, spec.budget.cycles) for point in points]


def test_the_notebook_s_table_has_all_of_its_rows_and_no_others() -> None:
    figures = published_figures()
    published = figures[figures["publication"] == "STMOZOO, table"]
    rows = published[["architecture", "batch_size", "cycles"]].values.tolist()
    ours = configurations("stmozoo-table")
    assert sorted([each.architecture, each.batch_size, each.cycles] for each in ours) == sorted(
        rows
    )
    assert len(read_sweep("stmozoo-table").seeds) >= 3


@pytest.mark.parametrize("preset", ["stmozoo-table", "stmozoo-rso-vs-sgd"])
def test_the_notebook_s_conventions_are_those_that_its_presets_set(preset: str) -> None:
    data = read_sweep(preset).data
    assert (data.standardise, data.train_size, data.validation_size) == (False, None, 0)
    for each in configurations(preset):
        options = each.options.model_dump() | {
            "n_training_images": 60_000, "standardise": data.standardise,
        }  # fmt: skip
        settings = published_settings("STMOZOO, table", each.optimizer, each.architecture)
        assert {name: options[name] for name in settings} == settings


def test_the_ablations_change_one_thing_at_a_time() -> None:
    found = [each.options.model_dump() for each in configurations("ablations")]
    usual = configurations("ablations-raw-inputs")[0].options.model_dump()
    changed = [sum(options[name] != usual[name] for name in usual) for options in found]
    assert sorted(changed) == [0, 0, *[1] * (len(found) - 2)]
    assert read_sweep("ablations").data.standardise
    assert not read_sweep("ablations-raw-inputs").data.standardise


def test_sgd_has_as_many_trials_as_rso_in_models_and_batches() -> None:
    spec = read_sweep("models-and-batches")
    n_rso = len(spec.space["perturbation_std"].domain.listed())
    assert spec.sampler.searches_each == n_rso
    assert spec.n_trials() == 2 * 3 * 2 * n_rso
    assert len(spec.seeds) == 5


def test_the_paper_s_presets_are_the_paper_s() -> None:
    for preset, cycles in (("paper-mnist", 50), ("paper-cifar10", 500)):
        rso = next(each for each in configurations(preset) if each.optimizer == "rso")
        assert (rso.architecture, rso.batch_size, rso.cycles) == (
            preset.replace("-", "_"), 5000, cycles,
        )  # fmt: skip
    reduced = read_sweep("paper-mnist-reduced")
    assert reduced.budget.cycles <= 5


@pytest.mark.long
def test_the_preset_for_cifar10_trains_on_data_of_its_shape(call: Call) -> None:
    status, out, _ = call(
        "run", "paper-cifar10", "--executor", "inline", "--out", "run", "--set", SYNTHETIC,
        "--set", "budget.cycles=1", "--set", "space.batch_size=2",
    )  # fmt: skip
    assert status == 0
    assert re.search(r"\| paper_cifar10 \| +2 \|", out)
