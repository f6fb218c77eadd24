"""The runs that are under way: how far each is, of what configuration, and how it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.comparisons import varied
from analysis.wording import in_setting, optimizer_label, setting_text
from sweeps.watching.standing import Standing
from sweeps.watching.study import Points

MAIN = ("architecture", "batch_size", "optimizer")
"""The dimensions that every configuration has."""
_TOO_LARGE = 2**63
"""For a column of whole numbers."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A run that has begun and not ended, or a trial none of whose runs has left a cycle."""

    trial: int
    seed: int | None
    """None for a trial, of which nobody can tell which of its runs have begun."""
    configuration: str
    """In words; empty where it is not known."""
    n_cycles: int
    """Cycles that are over."""
    n_cycles_asked: int | None
    validation_accuracy: float
    """After the last cycle; NaN where there is none."""
    test_accuracy: float

    @property
    def share_done(self) -> float:
        """From 0 to 1; 0 where it is not known of how many."""
        return self.n_cycles / self.n_cycles_asked if self.n_cycles_asked else 0.0


def training_runs(standing: Standing, points: Points) -> list[TrainingRun]:
    """The runs under way, those that are nearest to their end first.

    Args:
        standing: the sweep by its records.
        points: the trials that its study has under way.
    """
    runs = with_configurations(standing, points)
    running = runs[runs["state"] == "running"]
    options = in_setting(varied(runs))
    found = [
        TrainingRun(
            trial=int(run["trial"]),
            seed=None if pd.isna(run["seed"]) else int(run["seed"]),
            configuration=_in_words(run, options, points.get(int(run["trial"]))),
            n_cycles=int(run["n_cycles"]),
            n_cycles_asked=None if pd.isna(run["cycles"]) else int(run["cycles"]),
            validation_accuracy=float(run["validation_accuracy"]),
            test_accuracy=float(run["test_accuracy"]),
        )
        for run in running.to_dict("records")
    ]
    unseen = [
        TrainingRun(
            number,
            None,
            _in_words(_main(standing, points[number]), (), points[number]),
            0,
            _main(standing, points[number]).get("cycles"),
            float("nan"),
            float("nan"),
        )
        for number in unseen_trials(standing, points)
    ]
    return sorted([*found, *unseen], key=lambda run: (-run.share_done, run.trial, run.seed or 0))


def with_configurations(standing: Standing, points: Points) -> pd.DataFrame:
    """`Frames.runs`, where the running ones have what the study and the sweep file know of them.

    That is the main dimensions and the cycles.
    """
    runs = standing.frames.runs.copy()
    for number in points:
        here = (runs["trial"] == number) & runs["architecture"].isna()
        if here.any():
            for name, value in _main(standing, points[number]).items():
                runs.loc[here, name] = value
    if not own_cycles(standing):
        runs["cycles"] = runs["cycles"].fillna(standing.n_cycles)
    return runs


def begun_kinds(standing: Standing, points: Points) -> list[tuple[object, ...]]:
    """The main dimensions of each run of the trials none of whose runs has left a cycle."""
    n_seeds = standing.frames.sweeps[0].n_seeds or 1
    return [
        tuple(_main(standing, points[number]).get(name) for name in MAIN)
        for number in unseen_trials(standing, points)
        for _ in range(n_seeds)
    ]


def unseen_trials(standing: Standing, points: Points) -> list[int]:
    """The trials of the study of which the records know nothing yet."""
    seen = set(standing.frames.runs["trial"])
    return [number for number in sorted(points) if number not in seen]


def words(run: Mapping[Any, Any], options: list[str]) -> str:
    """A configuration: `RSO one_conv, batch 64, perturbation_std=0.5`; what is missing is left out.

    Args:
        run: a row of `Frames.runs`.
        options: the columns of options to tell.
    """
    return _in_words(run, options, None)


def _in_words(
    run: Mapping[Any, Any], options: list[str] | tuple[()], point: Mapping[str, object] | None
) -> str:
    optimizer, network = (run.get(name) for name in ("optimizer", "architecture"))
    main = " ".join(
        ([] if pd.isna(optimizer) else [optimizer_label(str(optimizer))])
        + ([] if pd.isna(network) else [str(network)])
    )
    batch = run.get("batch_size")
    setting = setting_text(run, options)
    if not setting and point is not None:
        # under several optimisers the study keeps an option as rso.weight_decay
        values = {name.rpartition(".")[2]: value for name, value in point.items()}
        setting = setting_text(values, [name for name in values if name not in MAIN])
    parts = [main, "" if pd.isna(batch) else f"batch {batch}", setting]
    return ", ".join(part for part in parts if part)


def _main(standing: Standing, point: Mapping[str, object]) -> dict[str, Any]:
    """The main dimensions of a point and its cycles, as far as they are known.

    What the study does not keep is the same for all.
    """
    space = standing.frames.sweeps[0].specification.get("space")
    fixed = space if isinstance(space, dict) else {}
    found: dict[str, Any] = {}
    for name in MAIN:
        value = point.get(name, _only(fixed.get(name)))
        if name == "batch_size":
            is_sound = isinstance(value, int) and 0 < value < _TOO_LARGE
        else:
            is_sound = isinstance(value, str)
        if is_sound:
            found[name] = value
    cycles = standing.n_cycles
    for name in own_cycles(standing):
        if name in ("cycles", f"{found.get('optimizer')}.cycles"):
            is_conditional = isinstance(fixed[name], dict) and "when" in fixed[name]
            value = point.get(name, None if is_conditional else _only(fixed[name]))
            cycles = value if isinstance(value, int) else None
    return found if cycles is None else {**found, "cycles": cycles}


def own_cycles(standing: Standing) -> list[str]:
    """The dimensions by which runs have other cycles than the budget's, a prefixed one last."""
    space = standing.frames.sweeps[0].specification.get("space")
    names = space if isinstance(space, dict) else ()
    return sorted((n for n in names if n.rpartition(".")[2] == "cycles"), key=lambda n: "." in n)


def _only(written: object) -> object:
    """The value of a dimension that has one; None for any other."""
    if isinstance(written, dict):
        written = written.get("value", written.get("choices"))
    if isinstance(written, list):
        return written[0] if len(written) == 1 else None
    return written
