"""What jobs are called, where their sweeps are kept, and which cluster a command means."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rso_core.errors import InvalidInput
from sweeps.jobs.names import new_name, next_name
from sweeps.jobs.output import folder_on_head
from sweeps.jobs.where import Where, the_cluster, which_cluster
from sweeps.jobs_cli import cluster_of_a_job

_NAMES = st.text("ABCabc019._-", min_size=1, max_size=100)
_MOMENT = datetime(2026, 11, 27)


def test_a_name_says_the_sweep_and_the_day() -> None:
    assert new_name("mine", _MOMENT, "4f2a") == "mine-1127-4f2a"


@given(_NAMES)
def test_a_name_can_be_an_argument_of_the_next_command_and_a_folder(sweep: str) -> None:
    name = new_name(sweep, _MOMENT, "4f2a")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*-1127-4f2a", name)
    assert len(name) <= 50


@given(st.sets(st.sampled_from(["x-1127-aaaa", *(f"x-1127-aaaa-{n}" for n in range(2, 7))])))
def test_a_job_that_goes_on_has_the_first_free_number(taken: set[str]) -> None:
    name = next_name("x-1127-aaaa", taken)
    number = int(name.rpartition("-")[2])
    assert name not in taken
    assert all(f"x-1127-aaaa-{n}" in taken for n in range(2, number))


@pytest.mark.parametrize(
    ("out", "output", "variable", "expected"),
    [
        (None, None, None, "/home/ray/rso-sweep-runs/j"),
        (None, "runs/mine", None, "/home/ray/runs/mine"),
        (None, "runs/mine", "/data/", "/data/j"),
        (None, None, "s3://bucket/runs", "s3://bucket/runs/j"),
        ("~/here", "runs/mine", "/data", "/home/ray/here"),
        ("/disk/here", None, "/data", "/disk/here"),
        ("s3://bucket/here", "runs/mine", None, "s3://bucket/here"),
        ("~", None, None, "/home/ray"),
    ],
)
def test_where_a_sweep_is_kept(
    out: str | None, output: str | None, variable: str | None, expected: str
) -> None:
    environment = {} if variable is None else {"RSO_SWEEP_OUTPUT": variable}
    assert folder_on_head("j", out, output, environment, "/home/ray") == expected


@given(st.one_of(st.none(), _NAMES), st.one_of(st.none(), _NAMES))
def test_a_sweep_is_never_kept_relative_to_where_ray_runs_the_job(
    out: str | None, output: str | None
) -> None:
    folder = folder_on_head("j", out, output, {}, "/home/ray")
    assert PurePosixPath(folder).is_absolute()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://head:8265", "http://head:8265"),
        ("http://head:8265/", "http://head:8265"),
        ("head:8000", "http://head:8000"),
        ("head", "http://head:8265"),
        ("https://ray.example.org", "https://ray.example.org"),
        ("[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_a_dashboard_may_be_written_in_several_ways(address: str, expected: str) -> None:
    assert the_cluster(None, address, {}) == Where(None, expected, is_exported=False)


@pytest.mark.parametrize(
    "address", ["ray://head:10001", "auto", "head:99999", "http://a b", "", "x/y"]
)
def test_what_is_no_dashboard_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match=r"'--address' must be the dashboard of a Ray cluster"):
        the_cluster(None, address, {})


def test_an_option_wins_over_the_environment_and_two_clusters_are_refused() -> None:
    exported = {"RSO_SWEEP_CLUSTER": "cluster.yaml"}
    assert which_cluster(None, None, {}) is None
    assert which_cluster(None, None, exported) == Where("cluster.yaml", None, is_exported=True)
    assert which_cluster(None, "h:1", exported) == Where(None, "http://h:1", is_exported=False)
    with pytest.raises(InvalidInput, match=r"'--cluster' and '--address' name two clusters"):
        which_cluster("cluster.yaml", "h:1", {})
    both = exported | {"RAY_API_SERVER_ADDRESS": "h:1"}
    with pytest.raises(InvalidInput, match="RSO_SWEEP_CLUSTER and RAY_API_SERVER_ADDRESS name two"):
        which_cluster(None, None, both)
    with pytest.raises(InvalidInput, match="a cluster must be named: by '--cluster'"):
        the_cluster(None, None, {})


def test_a_command_is_completed_so_that_it_means_the_same_cluster() -> None:
    assert (
        Where("my cluster.yaml", None, is_exported=False).options == " --cluster 'my cluster.yaml'"
    )
    assert Where(None, "http://h:1", is_exported=False).options == " --address http://h:1"
    assert Where(None, "http://h:1", is_exported=True).options == ""


def test_jobs_and_run_folders_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RSO_SWEEP_CLUSTER", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    Path("folder").mkdir()
    Path("folder/sweep.yaml").touch()

    def is_job(name: str, address: str | None = None, *, joins: bool = False) -> bool:
        return cluster_of_a_job(name, None, address, joins=joins) is not None

    assert not is_job("folder")
    assert not is_job("mine-1127-4f2a")
    assert is_job("folder", "http://h:8265")
    # an address to join, for `resume`
    assert not is_job("folder", "h:6379", joins=True)
    assert not is_job("runs/gone", "h:6379", joins=True)
    assert not is_job("mine-1127-4f2a", "auto", joins=True)
    assert not is_job("mine-1127-4f2a", "ray://h:10001", joins=True)
    assert is_job("mine-1127-4f2a", "h:8265", joins=True)
    assert is_job("folder", "http://h:8265", joins=True)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://h:8265")
    assert not is_job("folder")
    assert not is_job("runs/gone")
    assert is_job("mine-1127-4f2a")
    assert is_job("mine-1127-4f2a", joins=True)
