"""A sweep on a real Ray cluster whose actors, machines and driver are killed again and again.

    python -m tests.chaos --minutes 10

runs a sweep of about so many minutes undisturbed on this machine, then the same one on a cluster of
three nodes, where for every minute 2 drivers and 5 actors are killed with SIGKILL, and a node now
and then, at random points of the sweep. Each driver is resumed at once. At the end every trial must
have exactly one result, and the records must be those of the undisturbed sweep, bit for bit in all
but times, hosts and the number of attempts. A short form is part of `.ci/run`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# the cluster asks for a token, as a user's should; Ray reads this when it is imported
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.cluster_utils import Cluster

KILLS_A_MINUTE = {"driver": 2.0, "actor": 5.0, "node": 0.7}
TRIALS_A_MINUTE = 7
"""So many of six cycles keep two cores busy for about a minute, the kills included."""
LAST_PLANNED = 0.7
"""Of the work, after which nothing further is planned."""
LAST_CALL = 0.8
"""Of the work, after which what is planned waits no longer: how long the rest of a sweep takes
depends on the machine, and everything has to happen in it."""
VARYING = ("started_at", "ended_at", "host", "training_s", "evaluation_s", "n_attempts")

SWEEP = """
name: chaos
data: {name: mnist, train_size: 1000, validation_size: 200, test_size: 200}
budget: {cycles: CYCLES}
space:
  architecture: [mlp(), mlp(4)]
  batch_size: {low: 20, high: 100}
  optimizer: [rso, sgd]
  engine: [auto, reference]
  perturbation_std: {low: 0.3, high: 2.0}
  learning_rate: {low: 0.01, high: 0.5, log: true}
sampler: random
seed: 1                        # of which the short form, too, has long runs to be killed in
trials: TRIALS
seeds: 2
checkpoints: {every_s: 0.5}
limits: {attempts: 30}
"""


def main() -> int:
    """Disturbs a sweep as the command line says; 0 if nothing came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of disturbance")
    parser.add_argument("--trials", type=int, help="without it, enough for the minutes")
    parser.add_argument("--cycles", type=int, default=6, help="of each run")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed, and when")
    asked = parser.parse_args()
    n_trials = asked.trials or max(1, round(TRIALS_A_MINUTE * asked.minutes * 6 / asked.cycles))
    with tempfile.TemporaryDirectory(prefix="rso-chaos-") as scratch:
        folder = Path(scratch)
        (folder / "sweep.yaml").write_text(_sweep(n_trials, asked.cycles))
        started = time.monotonic()
        undisturbed = folder / "undisturbed"
        print(f"{n_trials} trials x 2 seeds, undisturbed", flush=True)
        driver = _driver(folder, "run", "sweep.yaml", "--out", undisturbed)
        if driver.wait() != 0:
            return _failed(folder, f"the undisturbed sweep ended with status {driver.returncode}")
        undisturbed_s = time.monotonic() - started
        print(f"  {undisturbed_s:.0f} s; now disturbed", flush=True)
        disturbed = folder / "disturbed"
        generator = random.Random(asked.seed)
        plan = _plan(asked.minutes, generator)
        chaos = _Chaos(folder, disturbed, plan, _Work(undisturbed), generator)
        try:
            status = chaos.run()
        finally:
            chaos.close()
        chaos.say()
        if status != 0:
            return _failed(folder, f"the disturbed sweep ended with status {status}")
        faults = [*_differences(undisturbed, disturbed), *chaos.shortcomings()]
        print("\n".join(f"FAULT: {fault}" for fault in faults) or "nothing lost, nothing twice")
        return int(bool(faults))


def _sweep(n_trials: int, cycles: int) -> str:
    return SWEEP.replace("TRIALS", str(n_trials)).replace("CYCLES", str(cycles))


@dataclass(frozen=True, slots=True)
class _Kill:
    """Something that is to be killed."""

    kind: str
    share: float
    """Once the records have so much of the sweep's work, 0 to 1."""
    delay_s: float
    """And then so much later, which may be while a driver or an actor starts."""


def _plan(minutes: float, generator: random.Random) -> list[_Kill]:
    kinds = [
        kind for kind, rate in KILLS_A_MINUTE.items() for _ in range(math.ceil(rate * minutes))
    ]
    kills = [
        _Kill(kind, generator.uniform(0, LAST_PLANNED), generator.uniform(0, 6)) for kind in kinds
    ]
    return sorted(kills, key=lambda kill: kill.share)


class _Work:
    """How far a sweep is, by what its cycles took in the undisturbed one.

    Their number says little: an epoch of SGD takes a hundredth of a cycle of RSO.
    """

    def __init__(self, undisturbed: Path) -> None:
        rows = _rows(undisturbed, "cycles.jsonl")
        self._training_s: dict[tuple[Any, ...], float] = {
            (row["run"], row["cycle"]): row["training_s"] for row in rows
        }

    def share(self, out: Path) -> float:
        """Of the work, what `out` has records of, 0 to 1."""
        done = {(row["run"], row["cycle"]) for row in _rows(out, "cycles.jsonl")}
        training_s = sum(self._training_s.get(cycle, 0.0) for cycle in done)
        return training_s / sum(self._training_s.values())


def _driver(folder: Path, *arguments: str | Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", "from sweeps.cli import main; main()", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=log,
            stderr=log,
        )


def _failed(folder: Path, what: str) -> int:
    print(f"FAULT: {what}; the end of its output:")
    print((folder / "log").read_text()[-3000:])
    return 1


class _Chaos:
    """Three nodes of one CPU each, a driver, and what is done to them."""

    def __init__(
        self,
        folder: Path,
        out: Path,
        plan: list[_Kill],
        work: _Work,
        generator: random.Random,
    ) -> None:
        self._folder = folder
        self._out = out
        self._plan = plan
        self._work = work
        self._random = generator
        self._kills: Counter[str] = Counter()
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        self._nodes = [self._cluster.add_node(num_cpus=1) for _ in range(2)]
        self._process: subprocess.Popen[bytes] | None = None
        self._started = time.monotonic()

    def run(self) -> int:
        """Disturbs the sweep, then lets it end; its driver's status."""
        self._started = time.monotonic()
        self._start_driver()
        assert self._process is not None
        due: list[tuple[float, str]] = []
        while (status := self._process.poll()) is None:
            time.sleep(0.1)
            now = time.monotonic()
            share = self._work.share(self._out)
            while self._plan and self._plan[0].share <= share:
                kill = self._plan.pop(0)
                due.append((now + kill.delay_s, kill.kind))
            for moment, kind in list(due):
                its_time = moment <= now or share >= LAST_CALL
                if its_time and getattr(self, f"_kill_{kind}")():
                    due.remove((moment, kind))
                    self._kills[kind] += 1
        self._plan += [_Kill(kind, 0, 0) for _, kind in due]
        return status

    def _start_driver(self) -> None:
        if (self._out / "sweep.yaml").exists():
            arguments = ("resume", self._out)
        else:
            arguments = ("run", "sweep.yaml", "--out", self._out)
        self._process = _driver(self._folder, *arguments, "--address", self._cluster.address)

    def _kill_driver(self) -> bool:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._start_driver()
        return True

    def _kill_actor(self) -> bool:
        actors = [
            process
            for node in self._cluster.list_all_nodes()
            for raylet in node.all_processes.get("raylet", ())
            for process in _children(raylet.process.pid)
            if "WorkerActor" in " ".join(_command(process))
        ]
        if actors:
            self._random.choice(actors).kill()
        return bool(actors)

    def _kill_node(self) -> bool:
        node = self._nodes.pop(self._random.randrange(len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._cluster.add_node(num_cpus=1))
        return True

    def close(self) -> None:
        """Ends what is left."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._cluster.shutdown()

    def say(self) -> None:
        """Prints the figures."""
        attempts = _rows(self._out, "attempts.jsonl")
        reasons = Counter(row["reason"].split(":")[0] for row in attempts)
        print(
            f"  {time.monotonic() - self._started:.0f} s; killed {self._kills['driver']} drivers, "
            f"{self._kills['actor']} actors and {self._kills['node']} nodes; "
            f"{len(attempts)} attempts were cut short: "
            + ", ".join(f"{n} x {reason}" for reason, n in reasons.most_common())
        )

    def shortcomings(self) -> list[str]:
        """What was to be killed, and was not."""
        return [f"a {kill.kind} was not killed before the sweep ended" for kill in self._plan]


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _differences(undisturbed: Path, disturbed: Path) -> list[str]:
    faults = []
    for name in ("cycles.jsonl", "runs.jsonl"):
        whole, found = _by_identity(undisturbed, name), _by_identity(disturbed, name)
        faults += [f"{name}: {len(rows)} rows of {key}" for key, rows in found.items() if rows[1:]]
        faults += [f"{name}: {key} is missing" for key in whole.keys() - found.keys()]
        faults += [f"{name}: {key} is too much" for key in found.keys() - whole.keys()]
        faults += [
            f"{name}: {key} is {found[key][0]}, not {whole[key][0]}"
            for key in whole.keys() & found.keys()
            if whole[key][0] != found[key][0]
        ]
    trials, expected = _trials(disturbed), _trials(undisturbed)
    if trials != expected:
        faults.append(f"the study has {trials}, not {expected}")
    faults += [f"trial {t[0]} is {t[1].name}" for t in trials if t[1] != TrialState.COMPLETE]
    left = [path.name for path in (disturbed / "checkpoints").iterdir()]
    return faults + [f"checkpoints/{name} is left" for name in left]


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / "records" / name
    if not path.exists():
        return []
    whole = path.read_bytes().split(b"\n")[:-1]  # a driver may be writing the next
    return [json.loads(line) for line in whole]


def _by_identity(folder: Path, name: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in _rows(folder, name):
        kept = {key: value for key, value in row.items() if key not in VARYING}
        found.setdefault((row["run"], row.get("cycle")), []).append(kept)
    return found


def _trials(folder: Path) -> list[tuple[Any, ...]]:
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    trials = optuna.load_study(study_name="chaos", storage=storage).trials
    return [(t.number, t.state, t.params, t.values, t.intermediate_values) for t in trials]


if __name__ == "__main__":
    sys.exit(main())
