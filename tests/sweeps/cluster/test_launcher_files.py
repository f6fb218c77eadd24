"""The files that start clusters, read as Ray reads them: its schemas, its defaults, its options."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.command_runner import SSHCommandRunner
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "sweeps" / "cluster"
LAUNCHER_FILES = {"aws": ROOT / "cluster.yaml", "on premises": CLUSTER / "on_premises.yaml"}
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)

Config = dict[str, Any]


@pytest.fixture(params=LAUNCHER_FILES.values(), ids=LAUNCHER_FILES.keys())
def launcher_file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def asked(launcher_file: Path) -> Config:
    """A launcher file's content."""
    config: Config = yaml.safe_load(launcher_file.read_text())
    return config


@pytest.fixture
def config(asked: Config) -> Config:
    """The same with Ray's defaults, as `ray up` prepares it before it asks the cloud."""
    prepared: Config = prepare_config(asked)
    return prepared


@pytest.fixture(scope="module")
def ray_job() -> Config:
    """The RayJob of the Kubernetes file."""
    documents = yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text())
    (job,) = [document for document in documents if document["kind"] == "RayJob"]
    found: Config = job
    return found


@pytest.fixture(scope="module")
def autoscaling(ray_job: Config) -> Config:
    """What Ray's autoscaler makes of its cluster; it validates that itself."""
    derived: Config = _derive_autoscaling_config_from_ray_cr(
        {
            "metadata": {"name": "sweep", "namespace": "default"},
            "spec": ray_job["spec"]["rayClusterSpec"],
        }
    )
    return derived


def test_ray_accepts_the_launcher_file(config: Config) -> None:
    validate_config(config)  # which refuses keys that it does not know, too


def test_every_command_is_sound_bash(config: Config) -> None:
    for name in COMMANDS:
        for command in config[name]:
            # the launcher wraps it so
            _bash_accepts(f"source ~/.bashrc; export A=1 && ({command})")


@pytest.mark.parametrize("script", sorted(CLUSTER.glob("*.sh")), ids=lambda path: path.name)
def test_every_script_is_sound_bash(script: Path) -> None:
    _bash_accepts(script.read_text())


def _bash_accepts(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), text


def test_no_run_is_trained_on_the_head_and_its_dashboard_is_reached_through_ssh_alone(
    config: Config,
) -> None:
    (start,) = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    assert "--num-cpus=0" in start
    assert "--dashboard-host" not in start  # Ray's own default is loopback
    assert "--disable-usage-stats" in start
    assert "RSO_SWEEP_OUTPUT=" in start


def test_the_clouds_workers_are_spot_instances_from_none_to_a_named_maximum() -> None:
    config = yaml.safe_load(LAUNCHER_FILES["aws"].read_text())
    types = config["available_node_types"]
    assert types.pop(config["head_node_type"])["resources"]["CPU"] == 0
    assert {name: kind["resources"].get("GPU", 0) for name, kind in types.items()} == {
        "cpu": 0,
        "gpu": 1,
    }
    for kind in types.values():
        assert kind["min_workers"] == 0
        assert 0 < kind["max_workers"] <= config["max_workers"]
        assert kind["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert config["idle_timeout_minutes"] <= 10


def test_workers_on_kubernetes_come_from_none_and_the_head_trains_nothing(
    autoscaling: Config,
) -> None:
    types = autoscaling["available_node_types"]
    head = types.pop(autoscaling["head_node_type"])
    assert head["resources"]["CPU"] == 0
    assert {name: kind["resources"].get("GPU", 0) for name, kind in types.items()} == {
        "cpu": 0,
        "gpu": 1,
    }
    assert all(kind["min_workers"] == 0 < kind["max_workers"] for kind in types.values())
    assert autoscaling["idle_timeout_minutes"] == 5


def test_kubernetes_mounts_every_volume_that_it_declares(ray_job: Config) -> None:
    pod = ray_job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    entrypoint = ray_job["spec"]["entrypoint"]
    assert all(path in entrypoint for path in mounts.values())
    _bash_accepts(entrypoint)


def test_clusters_ask_for_a_token_that_is_in_no_file_and_in_no_command(
    asked: Config, ray_job: Config
) -> None:
    assert "~/.ray/auth_token" in asked["cluster_synced_files"]
    assert any("make_token.sh" in command for command in asked["head_setup_commands"])
    assert "export RAY_AUTH_MODE=token" in (CLUSTER / "environment.sh").read_text().splitlines()
    assert not re.search(r"RAY_AUTH_TOKEN|auth_token *=", yaml.safe_dump(asked))
    assert ray_job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_the_head_makes_a_token_once_that_only_its_owner_reads_and_prints_none(
    tmp_path: Path,
) -> None:
    (tmp_path / "rso-sweep-env").symlink_to(sys.prefix)

    def made() -> str:
        done = subprocess.run(
            ["bash", CLUSTER / "make_token.sh"],
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        token = (tmp_path / ".ray" / "auth_token").read_text()
        assert token not in done.stdout + done.stderr
        return token

    first = made()
    assert len(first) >= 32
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert made() == first


@pytest.mark.parametrize(("n_failures", "n_starts", "status"), [(0, 1, 0), (2, 3, 0), (9, 4, 1)])
def test_ray_is_started_again_where_it_does_not_start_in_time(
    tmp_path: Path, n_failures: int, n_starts: int, status: int
) -> None:
    calls = tmp_path / "calls"
    is_over = f"[ $1 = stop ] || [ $(grep -c start {calls}) -gt {n_failures} ]"
    programs = {"ray": f'echo "$@" >> {calls}\n{is_over}', "sleep": "true"}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", CLUSTER / "start_ray.sh", "ray", "start", "--address=head:6379"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.returncode == status
    said = calls.read_text().splitlines()
    assert said.count("start --address=head:6379") == n_starts
    assert said.count("stop --force") == min(n_failures, n_starts - (status == 1))


def test_ray_and_python_are_the_same_everywhere_and_within_the_project_s_ranges(
    ray_job: Config,
) -> None:
    ray_versions, python_versions = set(), set()
    for path in LAUNCHER_FILES.values():
        ((ray_version, python_version),) = re.findall(
            r"^  - RAY_VERSION=(\S+) PYTHON_VERSION=(\S+) ", path.read_text(), re.MULTILINE
        )
        ray_versions.add(ray_version)
        python_versions.add(python_version)
    dockerfile = (CLUSTER / "Dockerfile").read_text()
    ((base, minor),) = re.findall(r"^FROM rayproject/ray:(\S+)-py3(\d+)-cpu$", dockerfile, re.M)
    ray_versions |= {base, *re.findall(r"ray==([\d.]+)", dockerfile)}
    ray_versions |= set(re.findall(r"RAY_VERSION=([\d.]+)", (CLUSTER / "install.sh").read_text()))
    for page in (ROOT / "README.md", CLUSTER / "README.md"):
        ray_versions |= set(re.findall(r"ray==([\d.]+)", page.read_text()))
    ray_versions.add(ray_job["spec"]["rayClusterSpec"]["rayVersion"])
    python_versions.add(f"3.{minor}")
    (ray_version,), (python_version,) = ray_versions, python_versions

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (needed,) = [
        requirement
        for requirement in map(Requirement, project["dependencies"])
        if requirement.name == "ray"
    ]
    assert ray_version in needed.specifier
    assert python_version in SpecifierSet(project["requires-python"])


def test_the_image_and_the_launcher_take_the_same_parts_of_the_checkout(asked: Config) -> None:
    copied = {
        word
        for line in (CLUSTER / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY")
        for word in line.split()[2:-1]
    }
    assert copied == set(asked["file_mounts"].values())


@pytest.mark.skipif(shutil.which("rsync") is None, reason="there is no rsync")
def test_all_of_the_packages_reach_the_nodes_and_nothing_else_of_the_checkout(
    asked: Config, tmp_path: Path
) -> None:
    """With rsync itself, and the options with which the launcher calls it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    whole = {
        path.relative_to(ROOT)
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {Path("pyproject.toml"), Path("README.md"), Path("LICENSE")}
    checkout = tmp_path / "checkout"
    unwanted = [
        ".venv/lib/torch.so",
        ".git/objects/1",
        "runs/mine/records/cycles.jsonl",
        "data/cifar10.tar",
        "rso_core/__pycache__/x.cpython-311.pyc",
        "rso_core/.secret",
        "sweeps/runs/mine/sweep.yaml",
        "analysis/data/large.bin",
        "build/lib/rso_core/x.py",
        "my_sweep.yaml",
        ".env",
    ]
    for name in [*map(str, whole), *unwanted]:
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    arrived = {
        Path(remote).relative_to("~/rso-sweep") / Path(line)
        if (checkout / local).is_dir()
        else Path(remote).relative_to("~/rso-sweep")
        for remote, local in asked["file_mounts"].items()
        for line in _sent(checkout / local, tmp_path / "node", asked["rsync_exclude"])
    }
    assert arrived == whole


def _sent(source: Path, target: Path, excluded: list[str]) -> list[str]:
    """The files that rsync would send, as the launcher calls it."""
    options = SSHCommandRunner._create_rsync_filter_args(None, {"rsync_exclude": excluded})
    is_folder = source.is_dir()
    done = subprocess.run(
        [
            "rsync",
            "-az",
            "--dry-run",
            "--out-format=%n",
            *options,
            f"{source}/" if is_folder else str(source),
            f"{target}/" if is_folder else str(target),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if not line.endswith("/")]


def test_the_files_are_part_of_the_package() -> None:
    installed = {path.name for path in files("sweeps.cluster").iterdir()}
    assert {"on_premises.yaml", "rayjob.yaml", "install.sh", "README.md"} <= installed
