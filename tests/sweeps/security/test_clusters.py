"""Who can reach the Ray processes of a sweep."""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

_LISTENING = "0A"

_OWN_CLUSTER = """
import json, os, sys
from sweeps.ray_connection import connect
import ray

started = sys.argv[1]
if started == "ours":
    connect(None)
else:
    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="ERROR",
             num_cpus=1)
print("ready", flush=True)
sys.stdin.read()
ray.shutdown()
"""


def _listening_addresses(pid: int) -> set[str]:
    """The addresses on which a process and its descendants listen, without ports."""
    inodes = {inode for each in _family(pid) for inode in _sockets(each)}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            local, state, inode = fields[1], fields[3], fields[9]
            if state == _LISTENING and inode in inodes:
                found.add(_address(local.partition(":")[0]))
    return found


def _address(written: str) -> str:
    """An address of /proc/net: words of four bytes, each in this machine's order."""
    words = [int(written[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(written), 8)]  # fmt: skip  # noqa: E501
    return str(ipaddress.ip_address(b"".join(words)))


def _family(pid: int) -> set[int]:
    """A process and its descendants; Ray's own keep its process group or its session's parent."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:  # it has ended
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _sockets(pid: int) -> Iterator[str]:
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1]
    except OSError:  # it has ended
        return


def _is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def _addresses_of(kind: str) -> set[str]:
    with subprocess.Popen(
        [sys.executable, "-c", _OWN_CLUSTER, kind],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = _listening_addresses(process.pid)
        process.stdin.close()
    assert process.returncode == 0
    return found


needs_proc = pytest.mark.skipif(
    not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens where"
)


@needs_proc
def test_on_one_machine_nothing_listens_beyond_loopback() -> None:
    found = _addresses_of("ours")
    assert found
    assert not {address for address in found if not _is_loopback(address)}


@needs_proc
@pytest.mark.long
def test_ray_left_to_itself_would_listen_everywhere() -> None:
    assert {address for address in _addresses_of("plain") if not _is_loopback(address)}


@needs_proc
def test_a_socket_that_listens_is_found() -> None:
    for family, host in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as listener:
                listener.bind((host, 0))
                listener.listen()
                assert host in _listening_addresses(os.getpid())
        except OSError:  # no IPv6 here
            assert family is socket.AF_INET6


_CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""

_SWEEP = """
name: small
data: {train_size: 100, validation_size: 50, test_size: 50}
budget: {cycles: 1}
space: {architecture: mlp(), batch_size: 50, optimizer: rso}
"""

Drive = Callable[..., subprocess.CompletedProcess[str]]


def _environment(**changed: str | None) -> dict[str, str]:
    environment = os.environ | changed
    return {name: value for name, value in environment.items() if value is not None}


@pytest.fixture
def cluster() -> Iterator[Callable[..., str]]:
    """Starts a cluster in another process, with that environment; gives its address."""
    started: list[subprocess.Popen[str]] = []

    def start(**environment: str | None) -> str:
        process = subprocess.Popen(
            [sys.executable, "-c", _CLUSTER], env=_environment(**environment),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        while ":" not in (line := process.stdout.readline()):
            assert line, "the cluster did not start"
        return line.split()[-1]

    yield start
    for process in started:
        process.communicate("", timeout=60)


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    """Runs a small sweep on the cluster at an address, in a process with that environment."""

    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(_SWEEP)

    def run(address: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        cache = os.environ.get("RSO_SWEEP_CACHE") or str(Path.home() / ".cache" / "rso-sweep")
        changed: dict[str, Any] = {"HOME": str(home), "RSO_SWEEP_CACHE": cache, **environment}
        return subprocess.run(
            [
                *(sys.executable, "-c", "from sweeps.cli import main; main()", "run"),
                *(str(sweep), "--address", address, "--out", str(tmp_path / "out")),
            ],
            cwd=ROOT, env=_environment(**changed), capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    return run


@pytest.mark.long
def test_a_cluster_that_asks_for_a_token_lets_only_its_driver_in(
    tmp_path: Path, cluster: Callable[..., str], drive: Drive
) -> None:
    address = cluster()
    for environment in (
        {"RAY_AUTH_TOKEN": secrets.token_hex(32)},
        {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": None},
    ):
        refused = drive(address, **environment)
        assert refused.stderr == (
            f"rso-sweep: '--address' {address} is a cluster that asks for its token; set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or put the token into ~/.ray/auth_token\n"
        )
        assert refused.returncode == 2
        assert not (tmp_path / "out").exists()
    let_in = drive(address)
    assert let_in.returncode == 0, let_in.stderr
    assert "whoever reaches it" not in let_in.stderr


@pytest.mark.long
def test_a_cluster_that_asks_for_no_token_is_warned_of_whatever_the_driver_has(
    tmp_path: Path, cluster: Callable[..., str], drive: Drive
) -> None:
    address = cluster(RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN=None)
    run = drive(address, RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN=None)
    assert run.returncode == 0, run.stderr
    assert (
        "the cluster asks for no token: whoever reaches it can run programs on it; "
        "RAY_AUTH_MODE=token on all its machines shuts it\n"
    ) in run.stderr
    rows = (tmp_path / "out" / "records" / "runs.jsonl").read_text().splitlines()
    assert {json.loads(row)["state"] for row in rows} == {"finished"}
