"""Configurations that train for cycles of their own, whatever the sweep's budget is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rso_core.configuration import Configuration
from sweeps.runs import Run
from sweeps.space import Space
from sweeps.spec import SweepSpec

MAIN: dict[str, Any] = {"architecture": "mlp()", "batch_size": 25, "optimizer": ["rso", "sgd"]}
OWN = (
    "space.optimizer=[rso, sgd]",
    "space.batch_size=[20, 25]",
    "space.learning_rate=0.1",
    "space.rso.cycles={choices: [1, 4], when: {batch_size: 20}}",
    "space.sgd.cycles=3",
)

FILE = """
name: own
data: {name: mnist, train_size: 60, validation_size: 20, test_size: 20}
budget: {cycles: 2}
space: {architecture: mlp(), batch_size: 20, optimizer: [sgd, adam], adam.cycles: 1}
"""


def accuracies(run: Run) -> list[float]:
    return [0.1 * cycle for cycle in range(1, run.configuration.cycles + 1)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 7),
        ({"cycles": 2}, 2),
        ({"rso.cycles": 3}, 3),
        ({"cycles": 2, "rso.cycles": 3}, 3),
        ({"cycles": 2, "sgd.cycles": 3}, 2),
    ],
)
def test_a_configuration_has_its_own_cycles_or_those_that_are_given(
    values: dict[str, Any], expected: int
) -> None:
    configuration = Configuration.from_values({**MAIN, "optimizer": "rso", **values}, cycles=7)
    assert configuration.cycles == expected
    assert "cycles" not in configuration.options.model_dump()


@pytest.mark.parametrize(
    ("dimensions", "expected"),
    [
        ({}, (7, 7)),
        ({"cycles": 9}, (9, 9)),
        ({"cycles": [2, 9]}, (2, 9)),
        ({"rso.cycles": 2}, (2, 7)),
        ({"rso.cycles": 2, "sgd.cycles": 9}, (2, 9)),
    ],
)
def test_a_space_knows_the_fewest_and_the_most_cycles(
    dimensions: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert Space.from_mapping(MAIN | dimensions).cycles(7) == expected


def test_runs_train_for_the_cycles_of_their_configuration(
    spec: Callable[..., SweepSpec], drive: Any, scripted: Any, tmp_path: Path, rows: Any
) -> None:
    sweep = spec(*OWN)
    executor = scripted(accuracies)
    drive(sweep, tmp_path / "run", executor)

    asked = {
        (run.configuration.optimizer, run.configuration.batch_size, run.configuration.cycles)
        for run in executor.started
    }
    assert asked == {("rso", 20, 1), ("rso", 20, 4), ("rso", 25, 2), ("sgd", 20, 3), ("sgd", 25, 3)}
    recorded = rows(tmp_path / "run", "runs")
    n_cycles = [row["run"] for row in rows(tmp_path / "run", "cycles")]
    assert all(n_cycles.count(row["run"]) == row["cycles"] for row in recorded)
    assert sweep.cycles_in_words() == "1 to 4 cycles"


def test_a_killed_sweep_trains_only_what_lacks_cycles_of_its_own(
    spec: Callable[..., SweepSpec], drive: Any, scripted: Any, tmp_path: Path, rows: Any
) -> None:
    sweep, folder = spec(*OWN), tmp_path / "run"
    with pytest.raises(scripted.Killed):
        drive(sweep, folder, scripted(accuracies, kill_at=9))
    ended = {row["run"] for row in rows(folder, "runs")}
    assert ended
    executor = scripted(accuracies)
    drive(sweep, folder, executor)

    assert not ended & {run.name for run in executor.started}
    assert len(rows(folder, "runs")) == 10
    assert len(rows(folder, "cycles")) == 2 * (1 + 4 + 2 + 3 + 3)


def test_more_cycles_are_for_configurations_that_have_none_of_their_own(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(FILE)
    arguments = ("run", file, "--executor", "inline", "--out", tmp_path / "run")
    assert call(*arguments)[0] == 0
    assert call("run", tmp_path / "run", "--set", "budget.cycles=3")[0] == 0

    lines = (tmp_path / "run/records/runs.jsonl").read_text().splitlines()
    cycles = {row["optimizer"]: row["cycles"] for row in map(json.loads, lines)}
    assert cycles == {"sgd": 3, "adam": 1}
    set_aside = (tmp_path / "run/records/set_aside.jsonl").read_text()
    assert '"sgd"' in set_aside
    assert '"adam"' not in set_aside


@pytest.mark.parametrize("value", ["0", "1.5", "true", "'2'"])
def test_cycles_that_are_none_are_refused(
    assert_refused: Any, sweep_file: Path, value: str
) -> None:
    shown = {"true": "True", "'2'": "'2'"}.get(value, value)
    assert_refused(
        ["check", str(sweep_file), "--set", f"space.cycles={value}"],
        [f"'space.cycles' must be an integer of at least 1, got {shown}"],
    )


def test_a_sweep_that_is_watched_tells_the_cycles_that_its_runs_have(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(FILE)
    call("run", file, "--executor", "inline", "--out", tmp_path / "run")
    status, told, _ = call("watch", tmp_path / "run", "--once")
    assert status == 0
    assert "1, 2 cycles" in told
