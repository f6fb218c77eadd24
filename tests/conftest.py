"""What holds for all tests: their order, and that Ctrl-C can be sent to what they start."""

from __future__ import annotations

import signal

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


def pytest_configure() -> None:
    """A script starts what is to run beside it deaf to Ctrl-C, and all its children with it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """So that no process waits for the other one: those files first, each in its own order."""
    rank = {name: index for index, name in enumerate(_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
