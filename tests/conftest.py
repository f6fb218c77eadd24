"""The order of the tests: the longest files first, so that no process is left alone with one."""

from __future__ import annotations

import pytest

_LONGEST_FIRST = (
    "test_interrupting.py",  # compiles the kernels on a machine that has none yet
    "test_study_storage.py",  # needs none meanwhile, in the other process
    "test_ray.py",
    "test_sweeps_in_databases.py",  # nor does this
    "test_executors.py",
    "test_command_line.py",
    "test_clusters.py",
    "test_secrets.py",
    "test_resuming.py",
    "test_engines_contract.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of the longest files before the others; within a file they stay in order."""
    rank = {name: index for index, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
