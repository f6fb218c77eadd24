"""What is known of a cluster and its nodes: the facts from which the findings are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sweeps.resources import Needs

PACKAGES = ("ray", "torch", "numba", "numpy", "optuna")
"""Whose versions nodes and driver should share."""


@dataclass(frozen=True, slots=True)
class Software:
    """What a machine runs."""

    python: str
    """Such as 3.11.9."""
    versions: Mapping[str, str | None]
    """Of `PACKAGES`; None for one that is not installed."""
    code: str | None
    """A digest of the project's own code; None where it cannot be imported."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node has, as a process on it sees it; None for what it cannot tell."""

    n_cpus: int
    """That the process may use."""
    load: float | None
    """Processes that wanted a CPU, over the last minute."""
    memory_bytes: int | None
    memory_free_bytes: int | None
    """That a new process could have."""
    shm_bytes: int | None
    """Of /dev/shm, where the object store lies."""
    disk_bytes: int | None
    """Of the disk to which Ray writes logs and what has no room in the object store."""
    disk_free_bytes: int | None
    n_gpus: int | None = None
    """That torch sees; asked only where Ray counts some."""
    gpu_words: str = ""
    """What torch says of them, such as which build it is."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A node's clock, less the driver's."""

    offset_s: float
    uncertainty_s: float
    """The true offset is no further than this from the measured one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not be found out, in one line."""

    reason: str


@dataclass(frozen=True, slots=True)
class DataRead:
    """The data set, read from the object store by a node."""

    seconds: float
    is_same: bool
    """Whether it has the digest of what was put there."""


Reach = Literal["shared", "elsewhere", "written"]
"""Of the output: a folder that the driver and the node share, one that is another on the node, or
an address at which the node has written, read and removed a file."""


@dataclass(frozen=True, slots=True)
class TrialSpeed:
    """A second of a real run on a node."""

    per_second: float
    """Weights visited, or batches of a gradient method."""
    kernels_s: float | None
    """What the kernels of RSO's engine took to be ready; None if none were needed."""
    are_compiled: bool
    """Whether they had to be compiled."""


@dataclass(frozen=True, slots=True)
class Node:
    """A living node; what it was not asked for is None."""

    name: str
    """Unique among the nodes: its host, with some of its identifier where hosts have several."""
    cpus: float
    """That Ray counts; so `gpus`."""
    gpus: float
    cpus_free: float
    """That nothing holds at the moment."""
    object_store_bytes: int
    software: Software | Failure
    """A failure if it did not answer at all."""
    machine: Machine | None = None
    clock: Clock | Failure | None = None
    data: DataRead | Failure | None = None
    output: Reach | Failure | None = None
    modules: Mapping[str, str | None] | Failure | None = None
    """By reference, why it cannot be imported; None if it can."""
    trial: TrialSpeed | Failure | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """What an autoscaler may add."""

    types: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """CPUs and GPUs of a machine of each type, as far as they are known."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is known of the cluster as a whole."""

    is_own: bool
    """Whether it is Ray on this machine alone, started for the examination."""
    address: str
    asks_for_token: bool
    dashboard: str | None
    """HOST:PORT of its dashboard; None if it has none."""
    is_dashboard_open: bool | None
    """Whether other machines can reach it; None where that cannot be told."""
    growth: Growth | None
    """None if no machine is ever added."""
    deaths: tuple[str, ...] = ()
    """Of nodes that ended unexpectedly, one line each."""


@dataclass(frozen=True, slots=True)
class RunKind:
    """Runs of the sweep that need the same."""

    needs: Needs
    example: str
    """One of their configurations, in words; empty for any."""
    n_configurations: int
    """Of those that were looked at."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sweep needs of a cluster, or any sweep where none is given."""

    sweep: str | None
    """Its name."""
    data: str
    """The data set, in words."""
    data_bytes: int
    kinds: tuple[RunKind, ...]
    concurrency: int | None
    """The most runs at once that it asks for."""
    trial: str
    """What the trial trains, in words."""
    trial_unit: Literal["visits", "batches"]
    output: str | None = None
    """The address of the run folder, without secrets; None if none was named."""
    is_output_local: bool = True
    """Whether that is a path."""
    engine_bytes: int = 0
    """The most that RSO's engine may keep of the batches of a run; 0 without RSO."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found out."""

    driver: Software
    cluster: Cluster
    nodes: tuple[Node, ...]
    wanted: Wanted
    output_fault: str | None = None
    """Why the driver itself cannot write where the run folder is to be."""
