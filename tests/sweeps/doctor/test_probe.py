"""What is looked at on a node, without Ray."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.doctor import probe
from sweeps.doctor.on_node import imports, is_shared, write_and_remove
from sweeps.doctor.output_probe import driver_fault
from sweeps.storage.places import StorageFailed

ROOT = Path(__file__).parents[3]


def test_software_is_that_of_this_process() -> None:
    found = probe.software(["torch", "no-such-package"], ["rso_core", "sweeps"])
    assert found["python"] == platform.python_version()
    assert found["versions"] == {
        "torch": importlib.metadata.version("torch"),
        "no-such-package": None,
    }
    assert found["code"] == probe.software([], ["rso_core", "sweeps"])["code"]
    assert probe.software([], ["rso_core", "no_such_project"])["code"] is None


def _digest_of_copy(folder: Path) -> str:
    code = (
        "from sweeps.doctor import probe\nprint(probe.software([], ['rso_core', 'sweeps'])['code'])"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env={"PYTHONPATH": str(folder), "PATH": ""}, capture_output=True, text=True,
        check=True,
    ).stdout.strip()  # fmt: skip


def test_two_checkouts_have_the_same_digest_until_a_line_of_one_changes(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.gz")
    for package in ("rso_core", "sweeps"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    here = probe.software([], ["rso_core", "sweeps"])["code"]
    assert _digest_of_copy(tmp_path) == here
    with (tmp_path / "rso_core" / "sigma.py").open("a") as file:
        file.write("# a note\n")
    assert _digest_of_copy(tmp_path) != here


@given(st.lists(st.integers(0, 255), max_size=30), st.integers(0, 29), st.integers(1, 255))
def test_any_changed_byte_changes_the_digest_of_data(
    values: list[int], at: int, change: int
) -> None:
    array = np.array(values, dtype=np.uint8)
    before = probe.digest_of({"images": array, "targets": array[:0]})
    assert before == probe.digest_of({"targets": array[:0].copy(), "images": array.copy()})
    if at < len(values):
        array[at] ^= change
        assert probe.digest_of({"images": array, "targets": array[:0]}) != before


def test_the_digest_of_data_knows_shapes_types_and_names() -> None:
    array = np.zeros((2, 3), dtype=np.float32)
    different = [
        {"x": array},
        {"x": array.reshape(3, 2)},
        {"x": array.view(np.int32)},
        {"y": array},
        {"x": array, "y": array[:0]},
    ]
    assert len({probe.digest_of(each) for each in different}) == len(different)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens where")
@pytest.mark.parametrize(
    ("family", "host", "is_open"),
    [
        (socket.AF_INET, "127.0.0.1", False),
        (socket.AF_INET, "0.0.0.0", True),
        (socket.AF_INET6, "::1", False),
        (socket.AF_INET6, "::", True),
    ],
)
def test_who_can_reach_a_port_is_known(family: Any, host: str, is_open: bool) -> None:
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener:
        port = listener.getsockname()[1]
        assert probe.listens_beyond_loopback(port) is is_open
    assert probe.listens_beyond_loopback(port) is None


def test_a_function_that_raises_or_leaves_is_answered_with_its_reason() -> None:
    node = probe.NodeProbe()
    assert node.call("math", "sqrt", 9.0) == (3.0, None)
    assert node.call("math", "sqrt", -1.0)[1].startswith("ValueError: ")  # type: ignore[union-attr]
    assert node.call("no_such_module", "f") == (
        None,
        "ModuleNotFoundError: No module named 'no_such_module'",
    )
    assert node.call("sys", "exit", "left") == (None, "SystemExit: left")


def test_memory_and_disk_are_told_where_the_system_tells(tmp_path: Path) -> None:
    total, free = probe.disk(str(tmp_path)) or (0, 0)
    assert 0 < free <= total
    assert probe.disk(str(tmp_path / "absent")) is None
    memory = probe.memory()
    if Path("/proc/meminfo").exists():
        assert memory["memory_bytes"] is not None
        assert 0 < memory["memory_free_bytes"] <= memory["memory_bytes"]  # type: ignore[operator]


def test_a_folder_is_shared_where_the_driver_s_file_is_seen_and_answered(tmp_path: Path) -> None:
    (tmp_path / "mark").write_bytes(b"token")
    assert is_shared(str(tmp_path), "mark", b"token", "answer")
    assert (tmp_path / "answer").read_bytes() == b"token"
    assert not is_shared(str(tmp_path), "mark", b"another", "no answer")
    assert not is_shared(str(tmp_path / "absent"), "mark", b"token", "no answer")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer", "mark"]


def test_at_an_address_a_file_is_written_and_nothing_is_left(tmp_path: Path) -> None:
    write_and_remove(f"file://{tmp_path}/runs/mine", "probe")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageFailed, match="cannot be"):
        write_and_remove(f"file://{tmp_path}/taken/mine", "probe")


def test_a_driver_that_cannot_write_is_told_and_a_folder_that_is_to_be_made_is_not_made(
    tmp_path: Path,
) -> None:
    assert driver_fault(str(tmp_path / "runs" / "mine")) is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "taken").write_text("a file")
    fault = driver_fault(f"file://{tmp_path}/taken/mine")
    assert fault is not None
    assert "taken" in fault


def test_own_code_that_cannot_be_imported_is_told_by_reference() -> None:
    found = imports([("space.architecture", "math:sqrt"), ("space.optimizer", "absent_module:X")])
    assert found["math:sqrt"] is None
    assert found["absent_module:X"] == (
        "'space.optimizer' names module 'absent_module', which cannot be imported "
        "(ModuleNotFoundError: No module named 'absent_module'), got 'absent_module:X'"
    )


def test_what_the_launcher_may_add_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "ray_bootstrap_config.yaml"
    file.write_text(
        "head_node_type: head\n"
        "available_node_types:\n"
        "  head: {resources: {CPU: 4}, max_workers: 0}\n"
        "  small: {resources: {CPU: 8, memory: 1000}, max_workers: 3}\n"
        "  gpu: {resources: {CPU: 16, GPU: 2}, min_workers: 0}\n"
        "  none: {resources: {CPU: 16}, max_workers: 0}\n"
        "  unknown: {resources: {}}\n"
    )
    assert probe.machine_types(file) == {"small": (8.0, 0.0), "gpu": (16.0, 2.0)}


@pytest.mark.parametrize("text", ["", "a: [", "available_node_types: 3", "[]", "\x00"])
def test_a_file_that_says_nothing_of_machines_gives_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.yaml").write_text(text)
    assert probe.machine_types(tmp_path / "file.yaml") == {}
    assert probe.machine_types(tmp_path / "absent.yaml") == {}
