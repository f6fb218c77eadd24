"""Run folders made for the tests, as the driver writes them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml

from analysis import report

RSO_OPTIONS = {"perturbation_std": 1.0, "annealing": "linear", "weight_decay": 0.0}
SGD_OPTIONS = {"learning_rate": 0.01, "momentum": 0.0}
N_PARAMETERS = {"one_conv": 7890, "two_conv": 10330}
N_IMAGES = 20_000


class RunFolderBuilder:
    """Collects runs and writes them as a run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.specification: dict[str, Any] = {
            "name": folder.name,
            "data": {"name": "mnist", "train_size": N_IMAGES, "validation_size": 5000},
            "budget": {"cycles": 3},
            "space": {"optimizer": ["rso", "sgd"], "batch_size": [64, 256]},
            "trials": 4,
            "objective": {"metric": "validation_accuracy", "direction": "maximize"},
            "seeds": [0, 1],
            "seed": 0,
            "provenance": {
                "started_at": "2026-11-24T07:00:00+00:00",
                "command": "rso-sweep run sweep.yaml",
                "versions": {"python": "3.11.2", "rso-sweep": "0.1.0", "torch": "2.9.1"},
                "machine": {"host": "node-1", "n_cpus": 8, "memory_bytes": 34359738368},
            },
        }
        self.cycle_rows: list[dict[str, Any]] = []
        self.run_rows: list[dict[str, Any]] = []
        self.attempt_rows: list[dict[str, Any]] = []
        self.driver_rows: list[dict[str, Any]] = []

    def add_run(
        self,
        trial: int,
        seed: int = 0,
        *,
        architecture: str = "one_conv",
        batch_size: int = 64,
        optimizer: str = "rso",
        options: dict[str, Any] | None = None,
        validation: Sequence[float | None] = (0.5, 0.6, 0.7),
        test: Sequence[float | None] | None = None,
        state: str | None = "finished",
        reason: str | None = None,
        training_s: float = 2.0,
        layer_names: Sequence[str] = ("conv1.weight", "linear.weight"),
    ) -> None:
        """A run with one cycle for each figure of `validation`; `state=None` leaves it unended."""
        run = f"trial-{trial}-seed-{seed}"
        rso = optimizer == "rso"
        defaults = RSO_OPTIONS if rso else SGD_OPTIONS
        n_parameters = N_PARAMETERS.get(architecture, 1000)
        shares = [0.4 / cycle for cycle in range(1, len(validation) + 1)]
        test = validation if test is None else test
        for index, (share, validated, tested) in enumerate(
            zip(shares, validation, test, strict=True)
        ):
            n_visited = n_parameters if rso else 0
            self.cycle_rows.append(
                {
                    "trial": trial,
                    "run": run,
                    "seed": seed,
                    "cycle": index + 1,
                    "training_loss": 2.0 / (index + 1),
                    "n_visited": n_visited,
                    "n_accepted": int(n_visited * share),
                    "n_images_passed": 3 * batch_size * n_visited if rso else N_IMAGES,
                    "training_s": training_s,
                    "layers": [
                        {
                            "name": name,
                            "n_visited": n_visited // len(layer_names),
                            "n_accepted": int(n_visited // len(layer_names) * share / (place + 1)),
                            "sigma": 0.1 * (place + 1),
                        }
                        for place, name in enumerate(layer_names)
                    ]
                    if rso
                    else [],
                    "validation_loss": None if validated is None else -math.log(validated),
                    "validation_accuracy": validated,
                    "test_loss": None if tested is None else -math.log(tested),
                    "test_accuracy": tested,
                    "evaluation_s": 0.5,
                }
            )
        if state is None:
            return
        self.run_rows.append(
            {
                "trial": trial,
                "run": run,
                "seed": seed,
                "state": state,
                "reason": reason,
                "architecture": architecture,
                "batch_size": batch_size,
                "optimizer": optimizer,
                "cycles": self.specification["budget"]["cycles"],
                "options": defaults | (options or {}),
                "parameters": {"batch_size": batch_size, "optimizer": optimizer, **(options or {})},
                "n_parameters": n_parameters,
                "n_training_images": N_IMAGES,
                "host": "node-1",
                "n_threads": 1,
                "started_at": "2026-11-24T07:00:00+00:00",
                "ended_at": "2026-11-24T07:10:00.5+00:00",
            }
        )

    def add_attempt(
        self,
        trial: int,
        seed: int = 0,
        *,
        reason: str | None = "the actor died",
        host: str | None = "node-2",
        resumed_from: dict[str, int] | None = None,
    ) -> None:
        """A further attempt at a run, which was cut short."""
        run = f"trial-{trial}-seed-{seed}"
        earlier = sum(row["run"] == run for row in self.attempt_rows)
        self.attempt_rows.append(
            {
                "trial": trial,
                "run": run,
                "seed": seed,
                "attempt": earlier + 1,
                "reason": reason,
                "host": host,
                "started_at": "2026-11-24T07:00:00+00:00",
                "ended_at": "2026-11-24T07:05:00+00:00",
                "resumed_from": resumed_from,
            }
        )

    def add_driver(self, command: str, host: str = "node-1") -> None:
        """A driver of the sweep, the first one included."""
        self.driver_rows.append(
            {
                "started_at": "2026-11-24T07:00:00+00:00",
                "host": host,
                "pid": 4000 + len(self.driver_rows),
                "command": command,
                "versions": {"python": "3.11.2"},
            }
        )

    def write(self) -> Path:
        """Writes what was added; may be called again after more was added."""
        records = self.folder / "records"
        records.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.specification, sort_keys=False)
        (self.folder / "sweep.yaml").write_text(text, encoding="utf-8")
        for name, rows in (
            ("cycles", self.cycle_rows),
            ("runs", self.run_rows),
            ("attempts", self.attempt_rows),
            ("drivers", self.driver_rows),
        ):
            if not rows and name in ("attempts", "drivers"):
                continue
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (records / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        return self.folder


@pytest.fixture(scope="session")
def run_folder_builder() -> type[RunFolderBuilder]:
    """The builder's class, for folders that several tests share."""
    return RunFolderBuilder


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., RunFolderBuilder]:
    """Makes a builder of a run folder below the test's own folder."""

    def make(name: str = "a-sweep") -> RunFolderBuilder:
        return RunFolderBuilder(tmp_path / name)

    return make


@pytest.fixture
def without_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have no charts: to make and draw them takes most of the time, and other tests do."""
    monkeypatch.setattr(report, "standard_charts", lambda _: ())


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """An address at which nothing lies, and nothing is left."""
    files = fsspec.filesystem("memory")
    yield f"memory://{tmp_path.name}"
    if files.exists(f"/{tmp_path.name}"):
        files.rm(f"/{tmp_path.name}", recursive=True)


@pytest.fixture
def cut_short(build: Callable[..., RunFolderBuilder]) -> RunFolderBuilder:
    """A sweep that was resumed twice, with two runs that were cut short and one that was not."""
    builder = build("cut-short")
    for seed in (0, 1):
        builder.add_run(0, seed)
        builder.add_run(1, seed, optimizer="sgd")
    for row in builder.run_rows:
        row["n_attempts"] = 1
    builder.run_rows[0]["n_attempts"] = 4
    builder.add_attempt(0, reason="the node was lost")
    builder.add_attempt(0, resumed_from={"cycle": 1, "n_done": 12, "n_total": 7890})
    builder.add_attempt(0, host="node-3")
    builder.add_attempt(2, reason="the driver was killed", host=None)
    builder.add_driver("rso-sweep run sweep.yaml")
    builder.add_driver("rso-sweep resume runs/cut-short")
    builder.add_driver("rso-sweep resume runs/cut-short", host="node-9")
    return builder


@pytest.fixture
def trade_off(build: Callable[..., RunFolderBuilder]) -> RunFolderBuilder:
    """Four trials, of which the third is worse than the second and the last has failed."""
    builder = build("trade-off")
    builder.specification["objective"] = [
        {"metric": "validation_accuracy", "direction": "maximize"},
        {"metric": "training_s", "direction": "minimize"},
    ]
    figures = [(0.9, 50.0, "rso"), (0.8, 5.0, "sgd"), (0.7, 6.0, "sgd"), (0.99, 1.0, "sgd")]
    for trial, (accuracy, seconds, optimizer) in enumerate(figures):
        for seed in (0, 1):
            builder.add_run(
                trial,
                seed,
                optimizer=optimizer,
                batch_size=(64, 256)[trial % 2],
                validation=[0.1, accuracy + 0.01 * seed],
                test=[0.1, accuracy],
                training_s=seconds,
                state="failed" if (trial, seed) == (3, 1) else "finished",
            )
    return builder


@pytest.fixture(scope="session")
def whole_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep: 2 optimisers x 2 networks x 2 batch sizes x 2 settings, 2 seeds."""
    builder = RunFolderBuilder(tmp_path_factory.mktemp("whole") / "rso-against-sgd")
    builder.specification |= {
        "budget": {"cycles": 4},
        "trials": 16,
        "space": {
            "architecture": ["one_conv", "two_conv"],
            "batch_size": [256, 1024],
            "optimizer": ["rso", "sgd"],
            "rso.perturbation_std": [0.5, 1.0],
            "sgd.learning_rate": [0.01, 0.1],
        },
        "sampler": {"name": "grid"},
        "pruner": {"name": "none"},
    }
    grid = itertools.product(("one_conv", "two_conv"), (256, 1024), ("rso", "sgd"), (0, 1))
    for trial, (architecture, batch_size, optimizer, choice) in enumerate(grid):
        rso = optimizer == "rso"
        options = (
            {"perturbation_std": (0.5, 1.0)[choice]}
            if rso
            else {"learning_rate": (0.01, 0.1)[choice]}
        )
        ceiling = 0.90 + 0.05 * (not rso) + 0.02 * (architecture == "two_conv") - 0.015 * choice
        ceiling += 0.01 * (batch_size == 1024) * (1 if rso else -1)
        for seed in (0, 1):
            validation = [
                ceiling * (1 - 0.45 * math.exp(-0.9 * cycle)) + 0.002 * seed
                for cycle in range(1, 5)
            ]
            builder.add_run(
                trial,
                seed,
                architecture=architecture,
                batch_size=batch_size,
                optimizer=optimizer,
                options=options,
                validation=validation,
                test=[accuracy - 0.004 + 0.001 * seed for accuracy in validation],
                training_s=(40.0 if rso else 1.5) * batch_size / 256,
                layer_names=("linear.weight", "linear.bias", "conv1.weight", "conv1.bias")
                if architecture == "one_conv"
                else ("linear.weight", "linear.bias", "conv2.weight", "conv2.bias", "conv1.weight"),
            )
    return builder.write()
