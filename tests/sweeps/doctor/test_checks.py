"""From facts of nodes to findings; without Ray."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeps.doctor.clock_checks import LEASE_S
from sweeps.doctor.facts import Clock, DataRead, Failure, Growth, RunKind, TrialSpeed
from sweeps.doctor.findings import STATUSES, Finding
from sweeps.doctor.software_checks import REQUIRED
from sweeps.resources import Needs
from sweeps.storage.lease import Lease

GB = 10**9


def test_where_all_is_well_every_topic_has_one_line_for_all_nodes(cases: Any) -> None:
    found = cases.findings(cases.nodes(12))
    assert {finding.status for finding in found} == {"ok"}
    topics = [finding.topic for finding in found]
    assert topics == [
        *("token", "dashboard", "versions", "code", "machine", "clock", "data", "output"),
        *("modules", "trial", "room"),
    ]
    assert all(len(f.nodes) == 12 for f in found if f.topic not in ("token", "dashboard", "room"))


def test_a_node_that_does_not_answer_is_a_fault_and_nothing_else_is_said_of_it(
    cases: Any, only: Any
) -> None:
    a, b = cases.nodes(2)
    silent = replace(b, software=Failure("no answer within 60 s"), machine=None, clock=None)
    found = only(cases.bad([a, silent]))
    assert (found.topic, found.status, found.nodes) == ("nodes", "fault", ("b",))
    assert found.text == "cannot be examined: no answer within 60 s"
    assert all(
        "b" not in f.nodes
        for f in cases.findings([a, silent])
        if f is not found and f.status == "ok"
    )


@pytest.mark.parametrize(
    ("package", "there", "status", "says"),
    [
        ("ray", "2.59.0", "fault", "ray 2.59.0, and the driver has ray 2.60.0: actors and driver"),
        ("torch", "2.9.0", "warning", "torch 2.9.0, and the driver has torch 2.14.1: its runs may"),
        ("numpy", "2.0.0", "warning", "its runs may give other numbers"),
        (
            "numba",
            None,
            "fault",
            "no numba, and the driver has numba 0.68.1: no run can be trained",
        ),
        ("optuna", "4.5.0", "note", "only the driver uses it"),
        ("optuna", None, "note", "only the driver uses it"),
    ],
)
def test_another_version_than_the_driver_s_is_told_with_what_it_means(
    cases: Any, only: Any, package: str, there: str | None, status: str, says: str
) -> None:
    a, b, c = cases.nodes(3)
    other = replace(cases.software, versions={**cases.software.versions, package: there})
    found = only(cases.bad([a, replace(b, software=other), replace(c, software=other)]))
    assert (found.topic, found.status, found.nodes) == ("versions", status, ("b", "c"))
    assert says in found.text
    if found.remedy is not None:
        assert f"pip install '{package}==" in found.remedy


@pytest.mark.parametrize(("there", "status"), [("3.11.2", "note"), ("3.12.1", "fault")])
def test_another_python_matters_where_its_minor_version_differs(
    cases: Any, only: Any, there: str, status: str
) -> None:
    (a,) = cases.nodes(1)
    found = only(cases.bad([replace(a, software=replace(cases.software, python=there))]))
    assert found.status == status
    assert f"python {there}, and the driver has python 3.11.9" in found.text


@pytest.mark.parametrize(
    ("code", "says"),
    [(None, "rso-sweep cannot be imported"), ("0ther", "another rso-sweep than the driver's")],
)
def test_other_code_of_the_project_is_a_fault_though_versions_agree(
    cases: Any, only: Any, code: str | None, says: str
) -> None:
    a, b = cases.nodes(2)
    found = only(cases.bad([a, replace(b, software=replace(cases.software, code=code))]))
    assert (found.topic, found.status, found.nodes) == ("code", "fault", ("b",))
    assert says in found.text
    assert "rso-sweep submit" in found.remedy


def test_a_driver_that_is_too_old_is_a_fault(cases: Any, only: Any) -> None:
    old = replace(cases.software, versions={**cases.software.versions, "ray": "2.40.0"})
    found = only(cases.bad(cases.nodes(2, software=old), driver=old))
    assert found.text == "the driver has ray 2.40.0, and needs ray>=2.50"
    assert found.remedy == "pip install 'ray[default]>=2.50' on all machines"


def test_the_required_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert set(REQUIRED) <= set(project["dependencies"])


def test_gpus_that_torch_does_not_see_are_a_fault_with_what_torch_says(
    cases: Any, only: Any
) -> None:
    machine = replace(cases.machine, n_gpus=0, gpu_words="built without CUDA")
    sees = replace(cases.machine, n_gpus=8, gpu_words="built for CUDA 12.8")
    a, b, c = cases.nodes(3, gpus=4.0, machine=machine)
    c = replace(c, machine=sees)
    found = only(cases.bad([a, b, c]))
    assert (found.topic, found.status, found.nodes) == ("gpus", "fault", ("a", "b"))
    assert found.text == "Ray counts 4 GPUs, and torch sees 0 (built without CUDA)"
    assert "--num-gpus=0" in found.remedy
    well = [f for f in cases.findings([a, b, c]) if f.topic == "gpus" and f.status == "ok"]
    assert only(well).nodes == ("c",)


def test_more_cpus_than_a_process_may_use_are_a_warning(cases: Any, only: Any) -> None:
    found = only(cases.bad(cases.nodes(2, machine=replace(cases.machine, n_cpus=2))))
    assert (found.topic, found.status, found.nodes) == ("cpus", "warning", ("a", "b"))
    assert found.text == "Ray counts 8 CPUs, and a process may use 2: runs share them"


@pytest.mark.parametrize(
    ("free", "status"), [(10**8, "fault"), (10 * GB, "warning"), (26 * GB, None)]
)
def test_a_full_disk_is_told(cases: Any, free: int, status: str | None) -> None:
    found = cases.bad(cases.nodes(1, machine=replace(cases.machine, disk_free_bytes=free)))
    assert [(f.topic, f.status) for f in found] == ([("disk", status)] if status else [])


def test_a_data_set_that_is_larger_than_the_object_store_is_a_fault(cases: Any, only: Any) -> None:
    a, b = cases.nodes(2)
    found = only(cases.bad([a, replace(b, object_store_bytes=15 * 10**6)]))
    assert (found.topic, found.status, found.nodes) == ("object store", "fault", ("b",))
    assert found.text == "15.0 MB, and the data set takes 19.0 MB"
    assert "--object-store-memory of 28500000 bytes" in found.remedy


def test_an_object_store_that_is_larger_than_its_memory_is_a_warning(cases: Any, only: Any) -> None:
    found = only(cases.bad(cases.nodes(1, machine=replace(cases.machine, shm_bytes=64 * 10**6))))
    assert (found.topic, found.status) == ("object store", "warning")
    assert "/dev/shm has 64.0 MB" in found.text


def test_memory_for_fewer_runs_than_cpus_is_a_warning_unless_they_train_already(
    cases: Any, only: Any
) -> None:
    little = replace(cases.machine, memory_free_bytes=2 * GB)
    found = only(cases.bad(cases.nodes(1, machine=little)))
    assert (found.topic, found.status) == ("memory", "warning")
    assert "the 8 runs for which it has CPUs take 4.3 GB or more" in found.text
    busy = cases.bad(cases.nodes(1, machine=little, cpus_free=0.0))
    assert "memory" not in [f.topic for f in busy]
    few = replace(cases.wanted, concurrency=2)
    assert cases.bad(cases.nodes(1, machine=little), wanted=few) == []


def test_what_the_engine_may_keep_beyond_the_memory_is_noted_once_for_equal_nodes(
    cases: Any, only: Any
) -> None:
    wanted = replace(cases.wanted, engine_bytes=10 * GB)
    found = only(cases.bad(cases.nodes(3), wanted=wanted))
    assert (found.topic, found.status, found.nodes) == ("memory", "note", ("a", "b", "c"))
    assert "of 64.0 GB the 8 runs may keep up to 80.0 GB" in found.text


@pytest.mark.parametrize(
    ("clock", "status"),
    [
        (Clock(-0.9, 0.01), None),
        (Clock(1.5, 0.7), None),  # it may be less than a second
        (Clock(1.5, 0.1), "warning"),
        (Clock(-5.0, 0.1), "warning"),
        (Clock(100.0, 1.0), "fault"),
    ],
)
def test_a_clock_that_is_off_for_sure_by_more_than_a_second_is_told(
    cases: Any, clock: Clock, status: str | None
) -> None:
    a, b = cases.nodes(2)
    found = cases.bad([a, replace(b, clock=clock)])
    assert [(f.topic, f.status, f.nodes) for f in found] == (
        [("clock", status, ("b",))] if status else []
    )
    if status:
        assert ("ahead of" if clock.offset_s > 0 else "behind") in found[0].text


def test_a_clock_is_a_fault_where_it_can_take_a_lease() -> None:
    defaults = Lease.__init__.__defaults__
    assert defaults is not None
    renew_s, stale_s, _ = defaults
    assert stale_s - renew_s == LEASE_S


def test_data_that_does_not_arrive_or_arrives_changed_or_late_is_told(cases: Any) -> None:
    a, b, c, d = cases.nodes(4)
    nodes = [
        a,
        replace(b, data=Failure("its machine is gone")),
        replace(c, data=DataRead(0.1, is_same=False)),
        replace(d, data=DataRead(9.5, is_same=True)),
    ]
    found = cases.bad(nodes)
    assert [(f.topic, f.status, f.nodes) for f in found] == [
        ("data", "fault", ("b",)),
        ("data", "fault", ("c",)),
        ("data", "warning", ("d",)),
    ]
    assert "takes 9.5 s to arrive, at 2.0 MB a second" in found[2].text


@pytest.mark.parametrize(
    ("output", "status"), [("shared", None), ("elsewhere", "note"), (Failure("denied"), "warning")]
)
def test_a_folder_that_is_not_shared_is_no_fault(cases: Any, output: Any, status: Any) -> None:
    a, b = cases.nodes(2)
    found = cases.bad([a, replace(b, output=output)])
    assert [(f.topic, f.status, f.nodes) for f in found] == (
        [("output", status, ("b",))] if status else []
    )


def test_an_address_that_cannot_be_written_is_a_fault(cases: Any, only: Any) -> None:
    wanted = replace(cases.wanted, output="s3://bucket/mine", is_output_local=False)
    a, b = cases.nodes(2, output="written")
    found = only(cases.bad([a, replace(b, output=Failure("no s3fs"))], wanted=wanted))
    assert (found.status, found.text) == ("fault", "'s3://bucket/mine' cannot be used: no s3fs")


def test_an_output_that_the_driver_itself_cannot_write_is_a_fault(cases: Any, only: Any) -> None:
    found = only(cases.bad(cases.nodes(2, output=None), output_fault="'/x' cannot be written (no)"))
    assert (found.topic, found.status, found.nodes) == ("output", "fault", ())


def test_own_modules_that_are_missing_are_a_fault_for_each_reason(cases: Any) -> None:
    a, b, c = cases.nodes(3)
    missing = {"mine:network": "'space.architecture' names module 'mine', ...", "mine:data": None}
    nodes = [a, replace(b, modules=missing), replace(c, modules=missing)]
    found = cases.bad(nodes)
    assert [(f.topic, f.status, f.nodes) for f in found] == [("modules", "fault", ("b", "c"))]


def test_a_slow_node_is_a_warning_and_a_busy_one_a_note(cases: Any) -> None:
    nodes = cases.nodes(4)
    slow = TrialSpeed(9_000.0, 1.0, are_compiled=False)
    nodes[3] = replace(nodes[3], trial=slow)
    found = cases.bad(nodes)
    assert [(f.topic, f.status, f.nodes) for f in found] == [("trial", "warning", ("d",))]
    assert found[0].text == (
        "rso one_conv, batch 256: 9,000 visits a second, where the others have 30,000"
    )
    nodes[3] = replace(nodes[3], machine=replace(cases.machine, load=9.0))
    assert [f.status for f in cases.bad(nodes)] == ["note"]
    nodes[3] = replace(cases.nodes(4)[3], trial=slow, cpus_free=2.0)
    assert [f.topic for f in cases.bad(nodes)] == ["trial", "room"]


def test_two_nodes_of_which_one_is_slow_are_told_apart(cases: Any) -> None:
    a, b = cases.nodes(2)
    found = cases.bad([a, replace(b, trial=TrialSpeed(100.0, 1.0, False))])
    assert [(f.topic, f.nodes) for f in found] == [("trial", ("b",))]


def test_kernels_that_were_compiled_are_noted_with_the_longest_time(cases: Any, only: Any) -> None:
    a, b, c = cases.nodes(3)
    nodes = [
        a,
        replace(b, trial=TrialSpeed(3e4, 31.2, are_compiled=True)),
        replace(c, trial=TrialSpeed(3e4, 28.0, are_compiled=True)),
    ]
    found = only(cases.bad(nodes))
    assert (found.topic, found.status, found.nodes) == ("kernels", "note", ("b", "c"))
    assert "in up to 31 s" in found.text


def test_a_trial_that_fails_is_a_fault(cases: Any, only: Any) -> None:
    a, b = cases.nodes(2)
    found = only(cases.bad([a, replace(b, trial=Failure("TrainingDiverged: nan"))]))
    assert (found.topic, found.status, found.nodes) == ("trial", "fault", ("b",))


def _kind(needs: Needs, n: int = 3) -> RunKind:
    return RunKind(needs, "sgd two_conv, batch 64", n)


def _room(
    cases: Any, nodes: list[Any], *kinds: RunKind, growth: Growth | None = None
) -> list[Finding]:
    wanted = replace(cases.wanted, kinds=kinds)
    cluster = replace(cases.cluster, growth=growth)
    found: list[Finding] = cases.findings(nodes, wanted=wanted, cluster=cluster)
    return [finding for finding in found if finding.topic == "room"]


def test_each_kind_of_run_has_its_room_told(cases: Any) -> None:
    a, b, c = cases.nodes(3)
    c = replace(c, gpus=2.0, machine=replace(cases.machine, n_gpus=2))
    found = _room(
        cases, [a, b, c], _kind(Needs(cpus=3), 1), _kind(Needs(1, 0.5)), _kind(Needs(4, 0, 5))
    )
    assert [finding.text for finding in found] == [
        "6 runs at once with 3 CPUs (sgd two_conv, batch 64), on 3 nodes",
        "4 runs at once with 1 CPU and 0.5 GPUs (sgd two_conv, batch 64 and 2 more), on one node",
        "1 run at a time with 4 CPUs in each of 5 workers (sgd two_conv, batch 64 and 2 more), "
        "on 3 nodes",
    ]
    assert {finding.status for finding in found} == {"ok"}


def test_configurations_that_fit_nowhere_are_a_fault_with_what_there_is(cases: Any) -> None:
    big, gpu, crew = _kind(Needs(16), 1), _kind(Needs(1, 1.0), 1), _kind(Needs(4, 0, 5), 1)
    first, second, third = _room(cases, cases.nodes(2), big, gpu, crew)
    assert {each.status for each in (first, second, third)} == {"fault"}
    assert third.text.endswith(", nor all together more than 16 CPUs")
    assert first.text == (
        "no room for runs with 16 CPUs (sgd two_conv, batch 64): "
        "no node has more than 8 CPUs or 0 GPUs"
    )
    assert "(resources.cpus_per_run; or resources.rules)" in str(first.remedy)
    assert "(resources.cpus_per_run, gpus_per_run; or resources.rules)" in str(second.remedy)


@pytest.mark.parametrize(
    ("growth", "status", "says"),
    [
        (Growth(), "note", "the autoscaler may add a machine, of what size is not told"),
        (Growth({"small": (8, 0), "gpu": (16, 1)}), "note", "the autoscaler adds gpu"),
        (Growth({"small": (8, 0)}), "fault", "and the autoscaler has no type that holds it"),
    ],
)
def test_an_autoscaler_may_make_room(
    cases: Any, only: Any, growth: Growth, status: str, says: str
) -> None:
    found = only(_room(cases, cases.nodes(1), _kind(Needs(16, 1.0)), growth=growth))
    assert found.status == status
    assert found.text.endswith(says)


def test_the_sweep_s_own_bound_and_what_others_hold_are_said(cases: Any) -> None:
    wanted = replace(cases.wanted, concurrency=2)
    found = cases.findings(cases.nodes(2, cpus_free=3.0), wanted=wanted)
    assert [f.text for f in found if f.topic == "room"] == [
        "16 runs at once with 1 CPU (rso one_conv, batch 256 and 11 more), on 2 nodes; "
        "resources.concurrency asks for 2",
        "10 of 16 CPUs are held by others at the moment",
    ]


def test_a_cluster_that_anyone_can_use_is_warned_of(cases: Any) -> None:
    cluster = replace(
        cases.cluster, asks_for_token=False, dashboard="0.0.0.0:8265", is_dashboard_open=True
    )
    found = cases.bad(cases.nodes(1), cluster=cluster)
    assert [(f.topic, f.status) for f in found] == [("token", "warning"), ("dashboard", "warning")]
    assert all("RAY_AUTH_MODE=token" in f.remedy for f in found)
    closed = replace(cluster, asks_for_token=True)
    assert cases.bad(cases.nodes(1), cluster=closed) == []


def test_ray_on_this_machine_alone_is_reached_by_nobody_and_has_no_token_line(cases: Any) -> None:
    own = replace(cases.cluster, is_own=True, asks_for_token=False, dashboard=None)
    assert not {"token", "dashboard"} & {
        f.topic for f in cases.findings(cases.nodes(1), cluster=own)
    }


def test_machines_that_died_are_noted(cases: Any, only: Any) -> None:
    cluster = replace(cases.cluster, deaths=tuple(f"node{n} (lost)" for n in range(5)))
    found = only(cases.bad(cases.nodes(1), cluster=cluster))
    assert found.text == (
        "ended unexpectedly since the cluster began: node0 (lost); node1 (lost); node2 (lost); "
        "and 2 more"
    )


def test_every_warning_and_fault_has_its_remedy() -> None:
    for status in STATUSES:
        has_remedy = status in ("warning", "fault")
        Finding("x", status, "y", remedy="z" if has_remedy else None)
        with pytest.raises(AssertionError):
            Finding("x", status, "y", remedy=None if has_remedy else "z")
