"""The hosts on which clusters are tried: separate, and gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's own program, unlike `python -m pytest`, does not look for modules here
sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.sweeps.cluster.hosts import ROOT, Hosts, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts(["desk", "first", "second"], "export GREETING=hello") as made:
        yield made


def test_each_has_a_name_a_home_and_processes_of_its_own(hosts: Hosts) -> None:
    for name in hosts.addresses:
        assert hosts.on(name, "hostname; echo $GREETING").stdout.split() == [name, "hello"]
        hosts.on(name, f"echo {name} | tee ~/mine /tmp/mine /dev/shm/mine")
        hosts.on(name, "sleep 300 > /dev/null 2>&1 &")
    for name in hosts.addresses:
        assert hosts.on(name, "cat ~/mine /tmp/mine /dev/shm/mine").stdout.split() == [name] * 3
        assert hosts.on(name, "pgrep -c -x sleep").stdout.split() == ["1"]


def test_they_share_the_environment_of_python_and_see_no_checkout(hosts: Hosts) -> None:
    for name in hosts.addresses:
        found = f"{sys.prefix}/bin/python -c 'import yaml, sys; print(sys.prefix)'"
        assert hosts.on(name, found).stdout.split() == [sys.prefix]
        assert hosts.on(name, f"ls {ROOT}/pyproject.toml").returncode != 0
        hosts.on(name, f"touch {sys.prefix}/{name}-{os.getpid()}")
        assert not Path(sys.prefix, f"{name}-{os.getpid()}").exists()


def test_one_that_is_unplugged_answers_no_more_and_the_others_do(hosts: Hosts) -> None:
    hosts.cut_off("second")
    assert hosts.on("second", "true").returncode != 0
    assert hosts.on("first", "true").returncode == 0


def test_nothing_of_them_is_left_whatever_happens() -> None:
    def namespaces() -> set[str]:
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        return {line.split()[0] for line in listed.splitlines()}

    def fail_within() -> None:
        with Hosts(["desk", "only"], "") as made:
            assert made.on("only", "sleep 4242 > /dev/null 2>&1 &").returncode == 0
            assert len(namespaces() - before) == 3
            raise ValueError("on purpose")

    before = namespaces()
    with pytest.raises(ValueError, match="on purpose"):
        fail_within()
    assert namespaces() == before
    assert subprocess.run(["pgrep", "-f", "sleep 4242"]).returncode != 0
