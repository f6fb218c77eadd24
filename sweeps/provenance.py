"""Under what circumstances a sweep was run: versions, machine, time, command."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sweeps.storage.redaction import redacted

_PACKAGES = ("rso-sweep", "torch", "torchvision", "ray", "optuna", "numpy", "pandas")


def provenance(command: Sequence[str]) -> dict[str, Any]:
    """What a reader needs to run it again, in YAML's own types.

    Args:
        command: the command line, program first.
    """
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": redacted(shlex.join(command)),
        "versions": versions(),
        "machine": {
            "host": platform.node(),
            "platform": platform.platform(),
            "processor": _processor(),
            "n_cpus": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "memory_bytes": _memory_bytes(),
        },
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide on the numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that is not installed
            continue
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not POSIX
        return None
