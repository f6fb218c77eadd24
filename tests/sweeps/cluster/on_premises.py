"""A sweep on a cluster that `ray up` starts on separate hosts, one of which is cut off meanwhile.

    python -m tests.sweeps.cluster.on_premises

makes four hosts on this machine: one where a user sits, a head and two workers, each with an SSH
server, and nothing shared but the Python environment. It launches `sweeps/cluster/on_premises.yaml`
there as it ships, with these hosts' addresses and key, runs a sweep, unplugs a worker while it
trains, and lets the sweep end. All results must be those of the same sweep run in process,
undisturbed, bit for bit in all but times, hosts and the number of attempts. Then `ray down`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import ray
import yaml

from tests.chaos import VARYING
from tests.sweeps.cluster.hosts import ROOT, Hosts, why_not

NOT_HERE = 77
"""The exit status where this machine cannot have such hosts."""

SWEEP = """
name: hosts
data: {name: mnist, train_size: 2000, validation_size: 500, test_size: 500}
budget: {cycles: 4}
space:
  architecture: [mlp(4), mlp(8)]
  batch_size: [100, 200]
  optimizer: [rso, sgd]
  perturbation_std: 1.0
  learning_rate: 0.1
sampler: grid
seeds: 2
checkpoints: {every_s: 2}
"""

PROFILE = f"""
. ~/rso-sweep/sweeps/cluster/environment.sh 2> /dev/null
export PATH="{sys.prefix}/bin:$PATH"
# one core each, and a small object store
export RSO_SWEEP_RAY_START="--num-cpus=1 --object-store-memory=100000000"
# there is no index of packages on this network, nor anything missing that would be on one
export PIP_NO_INDEX=1 PIP_NO_BUILD_ISOLATION=0 PIP_ROOT_USER_ACTION=ignore
"""

UP_S = 600
"""How long `ray up` may take on a busy machine."""
JOIN_S = 600
"""How long the workers may take to join."""
SWEEP_S = 900
"""How long the sweep may take, the silence of a machine that was cut off included."""


AT_THE_DESK = "PYTHONWARNINGS=ignore rso-sweep"


def main() -> int:
    """Does it all; 0 if nothing was lost, 77 if this machine cannot have the hosts."""
    reason = why_not()
    if reason is not None:
        print(f"not possible on this machine: {reason}")
        return NOT_HERE
    with tempfile.TemporaryDirectory(prefix="rso-on-premises-") as scratch:
        folder = Path(scratch)
        (folder / "sweep.yaml").write_text(SWEEP)
        watch = _Watch()
        undisturbed = _begin_in_process(folder)
        try:
            with Hosts(["desk", "head", "worker-1", "worker-2"], PROFILE) as hosts:
                faults = _on_hosts(hosts, folder, undisturbed, watch)
        finally:
            undisturbed.kill()
    print("\n".join(f"FAULT: {fault}" for fault in faults) or "nothing lost, nothing twice")
    return int(bool(faults))


class _Watch:
    """Says how long each step took."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self, step: str) -> None:
        now = time.monotonic()
        print(f"{now - self._since:6.1f} s  {step}", flush=True)
        self._since = now


def _begin_in_process(folder: Path) -> subprocess.Popen[str]:
    """The undisturbed sweep, which runs while the cluster is started."""
    options = ["--executor", "inline", "--out", "undisturbed"]
    program = "from sweeps.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "run", "sweep.yaml", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _end_of(undisturbed: subprocess.Popen[str]) -> None:
    said, _ = undisturbed.communicate(timeout=SWEEP_S)
    if undisturbed.returncode != 0:
        raise RuntimeError(f"the sweep in process ended with {undisturbed.returncode}:\n{said}")


def _on_hosts(
    hosts: Hosts, folder: Path, undisturbed: subprocess.Popen[str], watch: _Watch
) -> list[str]:
    _furnish(hosts, folder)
    watch.lap("four hosts, and the checkout on the first")
    _say(hosts, "cd checkout && ray up -y ../cluster.yaml", UP_S)
    watch.lap("ray up")
    faults = _faults_of_nodes(_joined(hosts))
    watch.lap("both workers have joined")
    faults += _faults_of_token(hosts)
    _end_of(undisturbed)
    watch.lap("the same sweep in process, begun at the start")
    faults += _disturbed_sweep(hosts, folder, watch)
    _say(hosts, "cd checkout && ray down -y ../cluster.yaml", 120)
    watch.lap("ray down")
    if hosts.on("head", "pgrep -f '[g]cs_server|[r]aylet'").returncode == 0:
        faults.append("Ray still runs on the head after `ray down`")
    return faults


def _furnish(hosts: Hosts, folder: Path) -> None:
    """Gives the desk a checkout, the sweep and the launcher file; the machines an environment."""
    config = yaml.safe_load((ROOT / "sweeps/cluster/on_premises.yaml").read_text())
    # all that the file's comments ask for, and nothing else
    config["provider"]["head_ip"] = hosts.addresses["head"]
    config["provider"]["worker_ips"] = [hosts.addresses[name] for name in ("worker-1", "worker-2")]
    config["auth"] = {"ssh_user": "root", "ssh_private_key": "~/.ssh/id"}
    pin = (
        f"RAY_VERSION={ray.__version__} PYTHON_VERSION={sys.version_info[0]}.{sys.version_info[1]}"
    )
    config["setup_commands"] = [
        re.sub(r"^RAY_VERSION=\S+ PYTHON_VERSION=\S+", pin, command)
        for command in config["setup_commands"]
    ]
    (folder / "cluster.yaml").write_text(yaml.safe_dump(config))
    parts = [ROOT / part for part in config["file_mounts"].values()]
    hosts.put({part: f"~/checkout/{part.name}" for part in parts})
    hosts.put({folder / name: f"~/{name}" for name in ("cluster.yaml", "sweep.yaml")})
    _say(hosts, "pip install -q --no-deps ./checkout", UP_S)
    for name in hosts.addresses:
        hosts.on(name, f"ln -s {sys.prefix} ~/rso-sweep-env")


def _say(hosts: Hosts, command: str, timeout_s: float) -> str:
    """The output of a command of the user's, which must succeed."""
    done = hosts.here(command, timeout_s=timeout_s)
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


_NODES = """
import json, ray
ray.init(address="auto", logging_level="ERROR")
print("NODES", json.dumps([node for node in ray.nodes() if node["Alive"]]))
"""

Node = dict[str, Any]


def _nodes(hosts: Hosts) -> list[Node]:
    """The living nodes as the head knows them."""
    printed = hosts.on("head", f"python -W ignore -c {shlex.quote(_NODES)}").stdout
    (line,) = [line for line in printed.splitlines() if line.startswith("NODES ")] or ["NODES []"]
    nodes: list[Node] = json.loads(line.removeprefix("NODES "))
    return nodes


def _joined(hosts: Hosts) -> list[Node]:
    """The nodes once all are there."""
    deadline = time.monotonic() + JOIN_S
    while len(nodes := _nodes(hosts)) < 3:
        if time.monotonic() > deadline:
            log = hosts.on("head", "tail -n 80 /tmp/ray/session_latest/logs/monitor.log").stdout
            raise RuntimeError(f"only {len(nodes)} nodes have joined:\n{log}")
        time.sleep(10)  # to ask costs some seconds of a core
    return nodes


def _faults_of_nodes(nodes: list[Node]) -> list[str]:
    cpus = {node["NodeManagerHostname"]: node["Resources"].get("CPU", 0) for node in nodes}
    expected = {"head": 0, "worker-1": 1, "worker-2": 1}
    return [] if cpus == expected else [f"the nodes' CPUs are {cpus}, not {expected}"]


def _faults_of_token(hosts: Hosts) -> list[str]:
    """The machines must have one token, readable by its owner alone, and nobody in without it."""
    tokens = {
        hosts.on(name, "stat -c %a ~/.ray/auth_token; cat ~/.ray/auth_token").stdout
        for name in ("head", "worker-1", "worker-2")
    }
    faults = [] if len(tokens) == 1 else ["the machines have not one token"]
    (mode, token), *_ = [found.split() for found in tokens]
    if mode != "600":
        faults.append(f"the token's mode is {mode}")
    for name in ("head", "worker-1", "worker-2"):
        if token in hosts.on(name, "ps axww -o args; cat ~/.bashrc ~/*.yaml").stdout:
            faults.append(f"the token can be read on {name}")
    stranger = hosts.on("worker-2", "unset RAY_AUTH_MODE; HOME=/tmp ray status").stdout
    if "Node status" in stranger:
        faults.append("a stranger is told the cluster's status")
    return faults


def _disturbed_sweep(hosts: Hosts, folder: Path, watch: _Watch) -> list[str]:
    """Submits the sweep from the desk, cuts off a worker that trains, and fetches its folder."""
    said = _say(hosts, f"{AT_THE_DESK} submit sweep.yaml --cluster cluster.yaml", 300)
    (job,) = re.findall(r"^hosts-\S+$", said, re.MULTILINE)
    watch.lap(f"rso-sweep submit: {job}")
    n_before = _await_training(hosts, job)
    watch.lap(f"until both workers have trained ({n_before} cycles are over)")
    hosts.cut_off("worker-2")
    followed = hosts.here(f"{AT_THE_DESK} logs {job} --follow --cluster cluster.yaml", SWEEP_S)
    watch.lap("rso-sweep logs --follow, from the cut to the sweep's end")
    if followed.returncode != 0:
        return [f"the job ended with status {followed.returncode}:\n{followed.stdout[-3000:]}"]
    state = _say(hosts, f"{AT_THE_DESK} status {job} --cluster cluster.yaml", 120)
    print(textwrap.indent(state.strip(), "          "), flush=True)
    _say(hosts, f"{AT_THE_DESK} fetch {job} --out disturbed --cluster cluster.yaml", 300)
    hosts.get("~/disturbed", folder / "disturbed")
    watch.lap("rso-sweep status and fetch")
    return _differences(folder) + _faults_of_cut(folder, watch)


def _await_training(hosts: Hosts, job: str) -> int:
    """Waits until each worker has ended a run; how many cycles are over by then."""
    deadline = time.monotonic() + SWEEP_S
    out = f"~/rso-sweep-runs/{job}"
    while True:
        rows = _rows_there(hosts, out, "runs.jsonl")
        if {row["host"] for row in rows} == {"worker-1", "worker-2"}:
            return len(_rows_there(hosts, out, "cycles.jsonl"))
        if time.monotonic() > deadline:
            said = hosts.here(f"{AT_THE_DESK} logs {job} --cluster cluster.yaml").stdout
            raise RuntimeError(f"not both workers have trained: {rows}\n{said[-3000:]}")
        time.sleep(3)


def _rows_there(hosts: Hosts, out: str, name: str) -> list[dict[str, Any]]:
    text = hosts.on("head", f"cat {out}/records/{name}").stdout
    return [
        json.loads(line)
        for line in text.splitlines()
        if line.startswith("{") and line.endswith("}")
    ]


def _differences(folder: Path) -> list[str]:
    faults = []
    for name in ("cycles.jsonl", "runs.jsonl"):
        whole, found = _records(folder / "undisturbed", name), _records(folder / "disturbed", name)
        faults += [f"{name}: {key} is there {n} times" for key, n in found[1].items() if n > 1]
        faults += [
            f"{name}: {key} is {found[0].get(key)}, not {whole[0].get(key)}"
            for key in whole[0].keys() | found[0].keys()
            if whole[0].get(key) != found[0].get(key)
        ]
    return faults


def _records(folder: Path, name: str) -> tuple[dict[Any, Any], Counter[Any]]:
    """What must be equal of each row, by run and cycle, and how many rows there are of each."""
    rows = [json.loads(line) for line in (folder / "records" / name).read_text().splitlines()]
    keys = [(row["run"], row.get("cycle")) for row in rows]
    kept = [{key: row[key] for key in row.keys() - set(VARYING)} for row in rows]
    return dict(zip(keys, kept, strict=True)), Counter(keys)


def _faults_of_cut(folder: Path, watch: _Watch) -> list[str]:
    """The cut must have cost an attempt, and told so."""
    path = folder / "disturbed" / "records" / "attempts.jsonl"
    attempts = [json.loads(line) for line in path.read_text().splitlines()]
    for attempt in attempts:
        watch.lap(f"attempt cut short: {attempt}")
    return (
        [] if attempts else ["no attempt was cut short: the worker trained nothing when it was cut"]
    )


if __name__ == "__main__":
    sys.exit(main())
