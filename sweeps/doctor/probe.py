"""What looks at a node from within: an actor that runs there.

It must work where the project is not installed, or another version of it. So Ray is sent this
module as it stands, and it imports nothing but Python's own modules until it is asked to.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_GPU_S = 120.0
"""How long torch may take to count GPUs in a process of its own."""

_COUNT_GPUS = """
import torch
print(torch.cuda.device_count())
print("built for CUDA " + torch.version.cuda if torch.version.cuda else "built without CUDA")
"""


class NodeProbe:
    """Looks at the node on which it runs. Whatever goes wrong, it answers."""

    def look(self, packages: list[str], project: list[str], counts_gpus: bool) -> dict[str, Any]:
        """What the node runs and has; keys as the fields of `Software` and `Machine`."""
        return {
            "software": software(packages, project),
            "machine": _machine() | (_gpus() if counts_gpus else {}),
        }

    def now(self) -> tuple[float, float]:
        """When the message was received, and when it is answered."""
        return time.time(), time.time()

    def extend_path(self, folders: list[str]) -> None:
        """Lets modules be found there too, as the actors that train do."""
        sys.path.extend(folder for folder in folders if folder not in sys.path)

    def read(self, references: list[Any]) -> tuple[float, str] | str:
        """Reads a data set from the object store: seconds and digest, or why it cannot be read."""
        import ray

        try:
            started = time.perf_counter()
            arrays = ray.get(references[0])
            digest = digest_of(arrays)
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return time.perf_counter() - started, digest

    def machine_types(self) -> dict[str, tuple[float, float]]:
        """CPUs and GPUs of the machines that Ray's cluster launcher may add; asked on the head."""
        return machine_types(Path("~/ray_bootstrap_config.yaml").expanduser())

    def listens_beyond_loopback(self, port: int) -> bool | None:
        """Whether something accepts connections from other machines at a port of this one."""
        return listens_beyond_loopback(port)

    def call(self, module: str, function: str, *arguments: Any) -> tuple[Any, str | None]:
        """What a function of the project returns, or else the reason why it does not."""
        try:
            return getattr(importlib.import_module(module), function)(*arguments), None
        except BaseException as error:  # a user's module may do anything when it is imported
            return None, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def software(packages: list[str], project: list[str]) -> dict[str, Any]:
    """What this machine runs; keys as the fields of `Software`."""
    versions: dict[str, str | None] = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {"python": platform.python_version(), "versions": versions, "code": _code(project)}


def digest_of(arrays: dict[str, Any]) -> str:
    """A digest of numpy arrays and their names."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(memoryview(array).cast("B") if array.size else b"")
    return digest.hexdigest()


def listens_beyond_loopback(port: int) -> bool | None:
    """See `NodeProbe`; None where the system does not tell (all but Linux), or nothing listens."""
    addresses = []
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            local, state = line.split()[1], line.split()[3]
            address, _, listening = local.partition(":")
            if state == "0A" and int(listening, 16) == port:
                addresses.append(address)
    if not addresses:
        return None
    return any(not _is_loopback(address) for address in addresses)


def machine_types(file: Path) -> dict[str, tuple[float, float]]:
    """By type, as the file says with which the launcher has started a head; none without it.

    The type of the head itself is left out, and those whose size the file does not say.
    """
    import yaml  # Ray needs it, too

    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        found = {}
        for name, machine in config["available_node_types"].items():
            resources = machine.get("resources") or {}
            may_be_added = name != config.get("head_node_type") and machine.get("max_workers") != 0
            if may_be_added and resources.get("CPU"):
                found[str(name)] = (float(resources["CPU"]), float(resources.get("GPU", 0)))
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        return {}
    return found


def disk(folder: str) -> tuple[int, int] | None:
    """Bytes of a file system, and those that are free."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.total, usage.free


def memory() -> dict[str, int | None]:
    """All memory and what is available, of the machine or of this process's control group."""
    found: dict[str, int] = {}
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, amount = line.partition(":")
            found[name] = int(amount.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return {"memory_bytes": None, "memory_free_bytes": None}
    total, free = found.get("MemTotal"), found.get("MemAvailable")
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no limit
        return {"memory_bytes": total, "memory_free_bytes": free}
    return {
        "memory_bytes": min(limit, total or limit),
        "memory_free_bytes": min(max(0, limit - used), limit if free is None else free),
    }


def _is_loopback(written: str) -> bool:
    """Of an address of /proc/net: 127.x.x.x and ::1, in the machine's order of bytes."""
    raw = b"".join(
        int(written[at : at + 8], 16).to_bytes(4, sys.byteorder)
        for at in range(0, len(written), 8)
    )  # fmt: skip
    if len(raw) == 16 and raw[:12] == b"\x00" * 10 + b"\xff\xff":
        raw = raw[12:]
    return raw[0] == 127 if len(raw) == 4 else raw == b"\x00" * 15 + b"\x01"


def _code(project: list[str]) -> str | None:
    """A digest of the Python files of the packages; None if one of them is not there."""
    digest = hashlib.blake2b(digest_size=16)
    for package in project:
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            return None
        if spec is None or not spec.submodule_search_locations:
            return None
        root = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(root.rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{package}/{path.relative_to(root).as_posix()} ".encode())
            digest.update(f"{len(content)} ".encode() + content)
    return digest.hexdigest()


def _machine() -> dict[str, Any]:
    total, free = disk(_session_folder()) or (None, None)
    return {
        "n_cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **memory(),
        "shm_bytes": (disk("/dev/shm") or (None, None))[0],
        "disk_bytes": total,
        "disk_free_bytes": free,
    }


def _session_folder() -> str:
    import ray

    node: Any = ray._private.worker.global_worker.node
    return str(node.get_session_dir_path())


def _gpus() -> dict[str, Any]:
    """What torch sees in a process from which Ray hides none."""
    hiding = "CUDA_VISIBLE_DEVICES"
    environment = {name: value for name, value in os.environ.items() if name != hiding}
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _COUNT_GPUS],
            env=environment, capture_output=True, text=True, timeout=_GPU_S, check=True,
        )  # fmt: skip
        count, words = answer.stdout.splitlines()
        return {"n_gpus": int(count), "gpu_words": words}
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return {"n_gpus": 0, "gpu_words": said.strip().splitlines()[-1][:200] if said else ""}
