"""The order of the tests, so that no process waits for the other one."""

from __future__ import annotations

import pytest

_FIRST = (
    # the first compiles the kernels on a machine that has none yet; meanwhile, in the other
    # process, come those that need none
    "test_interrupting.py",
    "test_study_storage.py",
    "test_ray.py",
    "test_sweeps_in_databases.py",
    "test_hostile_text.py",
    "test_driver_lock.py",
    "test_report.py",
    # then the longest
    "test_executors.py",
    "test_command_line.py",
    "test_clusters.py",
    "test_secrets.py",
    "test_resuming.py",
    "test_engines_contract.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of those files before the others; within a file they stay in order."""
    rank = {name: index for index, name in enumerate(_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
