"""The same trainable under other schedulers: Ray Tune with OptunaSearch, and Optuna by itself.

Each is measured in a process of its own, as its users would run it; run as a module, this is that
process. Ray Tune is imported nowhere else.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sweeps.bench_scheduler_trial import (
    BATCH_SIZES,
    FINAL_FRACTION,
    N_VALUES,
    PERTURBATION_STD,
    WEIGHT_DECAY,
    accuracy,
    bench_folder,
)

PeerName = Literal["tune_reuse_limited", "tune_reuse", "tune", "optuna"]
PEERS: dict[PeerName, str] = {
    "tune_reuse_limited": "Ray Tune, OptunaSearch, reuse_actors, concurrency limiter",
    "tune_reuse": "Ray Tune, OptunaSearch, reuse_actors",
    "tune": "Ray Tune, OptunaSearch, no reuse",
    "optuna": "Optuna ask and tell, journal file, no actors",
}
PEER_SAMPLERS = ("random", "tpe")
EXTRA = "pip install 'rso-sweep[peers]'"
_MOST_S = 1800.0
_RESULT = "result.json"
_QUIET_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(frozen=True, slots=True)
class PeerTimes:
    """What a scheduler took over the trials."""

    peer: str
    trials: int
    actors: int
    """1 where there are none: Optuna's loop."""
    seconds: float
    sampler: str
    overhead_ms_per_trial: float | None = None
    """From the end of the first trial to that of the last, beyond the ideal; None if missing."""
    unavailable: str | None = None
    """Why it was not measured."""


def measure_peer(
    peer: PeerName, trials: int, actors: int, seconds: float, sampler: str
) -> PeerTimes:
    """Measures one of them; what it prints is kept back.

    Args:
        peer: which.
        trials: at least 2.
        actors: logical CPUs of the machine that Ray is told of, one for each trial.
        seconds: that each trial sleeps.
        sampler: one of `PEER_SAMPLERS`.

    Returns:
        Its times, or why there are none.

    Raises:
        InvalidInput: the current folder cannot be written.
    """
    given = PeerTimes(PEERS[peer], trials, 1 if peer == "optuna" else actors, seconds, sampler)
    if peer != "optuna" and not _has_tune():
        return replace(given, unavailable=EXTRA)
    with bench_folder() as folder:
        why = _run([peer, str(trials), str(actors), str(seconds), sampler, str(folder)])
        if why is not None:
            return replace(given, unavailable=why)
        per_trial_ms = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
    return replace(given, overhead_ms_per_trial=per_trial_ms)


def _run(arguments: Sequence[str]) -> str | None:
    """Runs this module as a program; why it has failed, or None."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_MOST_S,
            check=False,
            env=os.environ | _QUIET_RAY,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {_MOST_S:.0f} s"
    if done.returncode == 0:
        return None
    said = done.stderr.strip() or "nothing"
    return f"it ended with status {done.returncode}: {said.splitlines()[-1]}"


def _has_tune() -> bool:
    return all(importlib.util.find_spec(name) for name in ("ray.tune", "tensorboardX"))


def _main(peer: str, trials: str, actors: str, seconds: str, sampler: str, folder: str) -> None:
    measure = _optuna_ms if peer == "optuna" else _tune_ms
    per_trial_ms = measure(peer, int(trials), int(actors), float(seconds), sampler, Path(folder))
    (Path(folder) / _RESULT).write_text(json.dumps(per_trial_ms), encoding="utf-8")


def _per_trial_ms(ends: list[float], seconds: float, actors: int) -> float:
    """From the ends of the trials: what each took beyond its share of the actors' time."""
    n = len(ends) - 1
    return 1000 * ((max(ends) - min(ends)) / n - seconds / actors)


def _sampler(name: str) -> Any:
    from optuna.samplers import RandomSampler, TPESampler

    return TPESampler(seed=0) if name == "tpe" else RandomSampler(seed=0)


def _optuna_ms(
    peer: str, trials: int, actors: int, seconds: float, sampler: str, folder: Path
) -> float:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
        sampler=_sampler(sampler),
        direction="maximize",
    )
    ends = []
    for _ in range(trials):
        trial = study.ask()
        values: dict[str, Any] = {
            "batch_size": trial.suggest_categorical("batch_size", BATCH_SIZES),
            "perturbation_std": trial.suggest_float(
                "perturbation_std", *PERTURBATION_STD, log=True
            ),
            "weight_decay": trial.suggest_float("weight_decay", *WEIGHT_DECAY, log=True),
            "final_fraction": trial.suggest_float("final_fraction", *FINAL_FRACTION),
        }
        value = 0.0
        for cycle in range(1, N_VALUES + 1):
            time.sleep(seconds / N_VALUES)
            value = accuracy(**values, seed=0, cycle=cycle)
            trial.report(value, cycle)
        study.tell(trial, value)
        ends.append(time.perf_counter())
    return _per_trial_ms(ends, seconds, 1)


def _tune_ms(
    peer: str, trials: int, actors: int, seconds: float, sampler: str, folder: Path
) -> float:
    import ray
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    class Sleeping(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.values = config

        def step(self) -> dict[str, Any]:
            time.sleep(seconds / N_VALUES)
            cycle = self.iteration + 1
            value = accuracy(**self.values, seed=0, cycle=cycle)
            return {"value": value, "done": cycle == N_VALUES}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.values = new_config
            return True

    class Ends(tune.Callback):
        def __init__(self) -> None:
            self.moments: list[float] = []

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self.moments.append(time.perf_counter())

    ends = Ends()
    search: Any = OptunaSearch(metric="value", mode="max", sampler=_sampler(sampler))
    if peer == "tune_reuse_limited":
        search = ConcurrencyLimiter(search, max_concurrent=actors)
    ray.init(address="local", num_cpus=actors, include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        Sleeping,
        param_space={
            "batch_size": tune.choice(list(BATCH_SIZES)),
            "perturbation_std": tune.loguniform(*PERTURBATION_STD),
            "weight_decay": tune.loguniform(*WEIGHT_DECAY),
            "final_fraction": tune.uniform(*FINAL_FRACTION),
        },
        tune_config=tune.TuneConfig(
            search_alg=search, num_samples=trials, reuse_actors=peer != "tune"
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            callbacks=[ends],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()
    ray.shutdown()
    if len(ends.moments) != trials:
        raise RuntimeError(f"{len(ends.moments)} of {trials} trials ended")
    return _per_trial_ms(ends.moments, seconds, actors)


if __name__ == "__main__":
    _main(*sys.argv[1:])
