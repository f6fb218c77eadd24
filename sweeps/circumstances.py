"""How a sweep is run on this machine: where its runs are trained, and what is said about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console

from rso_core.datasets import Dataset
from rso_core.errors import InvalidInput
from sweeps.executors import Executor, InlineExecutor
from sweeps.points import typical_configurations
from sweeps.resources import Needs
from sweeps.spec import SweepSpec
from sweeps.storage.checkpoints import CheckpointFolder
from sweeps.storage.places import Place

ExecutorName = Literal["ray", "inline"]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How a sweep is to be run on this machine."""

    executor: ExecutorName
    """Where runs are trained."""
    address: str | None
    """Of a Ray cluster; None, or `local`, for this machine."""
    command: Sequence[str]
    """The command line, for the records."""
    console: Console

    def __post_init__(self) -> None:
        if self.cluster is not None and self.executor == "inline":
            raise InvalidInput(
                "'--address' names a Ray cluster, and '--executor inline' uses no Ray"
            )

    @property
    def cluster(self) -> str | None:
        """The address of the cluster to join; None if there is none to join."""
        return None if self.address == "local" else self.address

    def recorded(self) -> dict[str, Any]:
        """What a later driver takes over."""
        return {"executor": self.executor, "address": self.cluster}

    def say(self, line: str) -> None:
        """Prints a line, which may have rich's markup; nothing for an empty one."""
        if line:
            self.console.print(line, soft_wrap=True)


@contextmanager
def started_executor(
    spec: SweepSpec, data: Dataset, place: Place, circumstances: Circumstances
) -> Iterator[Executor]:
    """The executor, ready; RSO's kernels are compiled beside what it takes to start it."""
    console = circumstances.console
    kernels = _start_compiling(spec)
    with console.status("starting Ray") if circumstances.executor == "ray" else nullcontext():
        running = _new_executor(spec, data, place, circumstances)
    with closing(running):
        if kernels is not None:
            with console.status("compiling RSO's kernels, once on this machine: half a minute"):
                kernels.result()
        yield running


def kinds_of_runs(spec: SweepSpec) -> list[Needs]:
    """What the runs of the sweep need, the most frequent first."""
    if spec.resources.are_the_same:
        return list(spec.resources.kinds())
    typical = typical_configurations(spec)
    return [kind for kind, _ in Counter(map(spec.resources.needs_of, typical)).most_common()]


def _start_compiling(spec: SweepSpec) -> Future[None] | None:
    """Compiles RSO's kernels beside what is done meanwhile; they are kept for the actors."""
    if "rso" not in spec.space.optimizers():
        return None
    from rso_core.incremental.preparation import prepare_kernels  # takes a second to import

    pool = ThreadPoolExecutor(1)
    prepared = pool.submit(prepare_kernels)
    pool.shutdown(wait=False)
    return prepared


def _new_executor(
    spec: SweepSpec, data: Dataset, place: Place, circumstances: Circumstances
) -> Executor:
    resources = spec.resources
    checkpoints = CheckpointFolder(
        place, spec.checkpoints.every_s, spec.checkpoints.keep_final_weights
    )
    if circumstances.executor == "inline":
        return InlineExecutor(data, n_threads=resources.cpus_per_run, checkpoints=checkpoints)
    # Ray is not needed for the inline executor
    from sweeps.ray_connection import asks_for_token
    from sweeps.ray_executor import RayExecutor

    executor = RayExecutor(
        data,
        resources,
        kinds=kinds_of_runs(spec),
        address=circumstances.cluster,
        checkpoints=checkpoints,
    )
    if circumstances.cluster is not None and not asks_for_token():
        circumstances.say(
            "[yellow]the cluster asks for no token: whoever reaches it can run programs on it; "
            "RAY_AUTH_MODE=token on all its machines shuts it[/yellow]",
        )
    return executor
