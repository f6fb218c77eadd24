"""A run folder as large as sweeps get, made up: what the analysis has to read within seconds.

`python -m tests.analysis.large_sweep FOLDER` writes one to look at.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Row = dict[str, Any]

_N_IMAGES, _N_TEST, _N_VALIDATION = 50_000, 10_000, 10_000
_BATCH_SIZES = (32, 64, 128, 256, 512, 1024)
_LAYERS = {
    "one_conv": {"linear.weight": 7840, "linear.bias": 10, "conv1.weight": 36, "conv1.bias": 4},
    "mlp(64)": {"2.weight": 640, "2.bias": 10, "0.weight": 50_176, "0.bias": 64},
    "two_conv": {
        **{"linear.weight": 7840, "linear.bias": 10, "conv2.weight": 2304, "conv2.bias": 16},
        **{"conv1.weight": 144, "conv1.bias": 16},
    },
}
_RSO_OPTIONS = {
    "initialisation": "he",
    "sigma": "he",
    "batch_norm_sigma": 0.167,
    "sampler": "normal",
    "annealing": "paper",
    "final_fraction": 0.1,
    "layer_order": "last_to_first",
    "visit_biases": True,
    "visit_batch_norm": True,
    "weight_decay": 0.0,
    "batch_drawing": "fresh",
    "engine": "auto",
    "engine_memory_gib": 6.0,
}
_SGD_OPTIONS = {
    "weight_decay": 0.0,
    "schedule": "constant",
    "step_cycles": 5,
    "step_factor": 0.1,
    "initialisation": "model",
    "momentum": 0.0,
    "nesterov": False,
}
_FAILED, _PRUNED = 0.01, 0.1
"""Shares of the trials."""
_BEGAN = datetime(2026, 11, 24, 7, tzinfo=UTC)


def write_large_sweep(
    folder: Path, n_trials: int = 10_000, n_seeds: int = 3, n_cycles: int = 10, seed: int = 0
) -> Path:
    """Writes the run folder of a random search, half RSO and half SGD; the same one every time.

    The accuracies approach a ceiling that depends on network, batch size and option, with what
    chance adds for each seed. Some runs of SGD failed, some trials were pruned.
    """
    random = np.random.default_rng(seed)
    records = folder / "records"
    records.mkdir(parents=True)
    specification = _specification(folder.name, n_trials, n_seeds, n_cycles)
    text = yaml.safe_dump(specification, sort_keys=False)
    (folder / "sweep.yaml").write_text(text, encoding="utf-8")
    encode = json.JSONEncoder(allow_nan=False).encode  # once: `dumps` makes one for every line
    with ExitStack() as files:
        cycles, runs = (
            files.enter_context((records / f"{log}.jsonl").open("w", encoding="utf-8"))
            for log in ("cycles", "runs")
        )
        for trial in range(n_trials):
            drawn = _trial(trial, random)
            ended = [_run(drawn, number, n_cycles, random) for number in range(n_seeds)]
            for run_row, cycle_rows in ended:
                cycles.writelines(f"{encode(row)}\n" for row in cycle_rows)
                runs.write(f"{encode(run_row)}\n")
    return folder


@dataclass(frozen=True)
class _Trial:
    """What was drawn for a trial."""

    number: int
    architecture: str
    batch_size: int
    optimizer: str
    option: float
    """`perturbation_std` of RSO, `learning_rate` of SGD."""
    ceiling: float
    """The accuracy that its runs approach."""
    state: str


def _specification(name: str, n_trials: int, n_seeds: int, n_cycles: int) -> Row:
    return {
        "name": name,
        "data": {
            **{"name": "mnist", "train_size": _N_IMAGES, "validation_size": _N_VALIDATION},
            **{"test_size": None, "standardise": True, "split_seed": 0},
        },
        "budget": {"cycles": n_cycles},
        "space": {
            "architecture": list(_LAYERS),
            "batch_size": list(_BATCH_SIZES),
            "optimizer": ["rso", "sgd"],
            "rso.perturbation_std": {"low": 0.1, "high": 3.0, "log": True},
            "sgd.learning_rate": {"low": 0.001, "high": 1.0, "log": True},
        },
        "sampler": {"name": "random"},
        "pruner": {"name": "median"},
        "trials": n_trials,
        "objective": {"metric": "validation_accuracy", "direction": "maximize"},
        "seeds": list(range(n_seeds)),
        "seed": 0,
        "provenance": {
            "started_at": _BEGAN.isoformat(),
            "command": "rso-sweep run large.yaml",
            "versions": {"python": "3.11.7", "rso-sweep": "0.1.0", "torch": "2.9.1"},
            "machine": {"host": "node-0", "n_cpus": 64, "memory_bytes": 2**38},
        },
    }


def _trial(number: int, random: np.random.Generator) -> _Trial:
    architecture = str(random.choice(list(_LAYERS)))
    batch_size = int(random.choice(_BATCH_SIZES))
    optimizer = ("rso", "sgd")[number % 2]
    low, high, best = (0.1, 3.0, 0.7) if optimizer == "rso" else (0.001, 1.0, 0.1)
    option = math.exp(random.uniform(math.log(low), math.log(high)))
    ceiling = (0.91 if optimizer == "rso" else 0.96) + 0.02 * (architecture == "two_conv")
    ceiling += (0.008 if optimizer == "rso" else -0.004) * math.log2(batch_size / 256)
    ceiling -= 0.02 * math.log(option / best) ** 2
    state = "finished"
    chance = random.random()
    if optimizer == "sgd" and chance < 2 * _FAILED:
        state = "failed"
    elif chance > 1 - _PRUNED:
        state = "pruned"
    return _Trial(
        number, architecture, batch_size, optimizer, option, min(max(ceiling, 0.2), 0.985), state
    )


def _run(
    trial: _Trial, seed: int, n_cycles: int, random: np.random.Generator
) -> tuple[Row, list[Row]]:
    """The row of an ended run, and those of its cycles."""
    state, reason, n_done = trial.state, None, n_cycles
    if state == "failed":
        if seed == 0:
            n_done = int(random.integers(n_cycles))
            reason = f"the loss in cycle {n_done + 1} is nan"
        else:
            state = "finished"
    elif state == "pruned":  # the first seed decided: nobody began the others
        n_done = int(random.integers(1, n_cycles + 1)) if seed == 0 else 0
    began = _BEGAN + timedelta(seconds=20 * trial.number + random.uniform(0, 5))
    has_begun = state != "pruned" or n_done > 0
    n_parameters = sum(_LAYERS[trial.architecture].values())
    name, defaults = (
        ("perturbation_std", _RSO_OPTIONS)
        if trial.optimizer == "rso"
        else ("learning_rate", _SGD_OPTIONS)
    )
    run = f"trial-{trial.number}-seed-{seed}"
    run_row = {
        "trial": trial.number,
        "run": run,
        "seed": seed,
        "state": state,
        "reason": reason,
        "architecture": trial.architecture,
        "batch_size": trial.batch_size,
        "optimizer": trial.optimizer,
        "cycles": n_cycles,
        "options": {name: trial.option, **defaults},
        "parameters": {
            "architecture": trial.architecture,
            "batch_size": trial.batch_size,
            "optimizer": trial.optimizer,
            f"{trial.optimizer}.{name}": trial.option,
        },
        "n_parameters": n_parameters,
        "n_training_images": _N_IMAGES,
        "n_attempts": int(has_begun),
        "host": f"node-{trial.number % 8}" if has_begun else "",
        "n_threads": int(has_begun),
        "started_at": began.isoformat(timespec="milliseconds"),
        "ended_at": (began + timedelta(seconds=60)).isoformat(timespec="milliseconds"),
    }
    return run_row, list(_cycles(trial, run, seed, n_done, n_cycles, random))


def _cycles(
    trial: _Trial, run: str, seed: int, n_done: int, n_cycles: int, random: np.random.Generator
) -> Iterator[Row]:
    sizes, is_rso = _LAYERS[trial.architecture], trial.optimizer == "rso"
    n_visited = sum(sizes.values()) if is_rso else 0
    n_images = 3 * trial.batch_size * n_visited if is_rso else _N_IMAGES
    speed = 0.35 if is_rso else 0.8
    of_the_seed = random.normal(0, 0.004)
    noise = random.normal(0, 0.002, size=(n_done, 3)).tolist()
    seconds = random.uniform(0.9, 1.1, size=(n_done, 2)).tolist()
    for index in range(n_done):
        progress = 1 - math.exp(-speed * (index + 1))
        expected = 0.1 + (trial.ceiling + of_the_seed - 0.1) * progress
        trained, validated, tested = (min(max(expected + each, 0.0), 1.0) for each in noise[index])
        annealed = 1 - 0.9 * index / n_cycles
        yield {
            "trial": trial.number,
            "run": run,
            "seed": seed,
            "cycle": index + 1,
            "training_loss": -math.log(max(trained, 0.01)),
            "n_visited": n_visited,
            "n_accepted": int(n_visited * 0.9 * annealed),
            "n_images_passed": n_images,
            "training_s": seconds[index][0] * (1e-7 * n_images if is_rso else 0.5),
            "layers": [
                {
                    "name": name,
                    "n_visited": size,
                    "n_accepted": int(size * annealed * (0.95 - 0.1 * place)),
                    "sigma": trial.option * annealed / math.sqrt(size),
                }
                for place, (name, size) in enumerate(sizes.items())
                if is_rso
            ],
            "validation_loss": -1.05 * math.log(max(validated, 0.01)),
            "validation_accuracy": round(validated * _N_VALIDATION) / _N_VALIDATION,
            "test_loss": -1.04 * math.log(max(tested, 0.01)),
            "test_accuracy": round(tested * _N_TEST) / _N_TEST,
            "evaluation_s": 0.5 * seconds[index][1],
        }


if __name__ == "__main__":
    write_large_sweep(Path(sys.argv[1]))
