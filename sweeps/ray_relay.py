"""The run folder for workers that do not see it: a small actor on the driver's machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.storage.holder import read_holder
from sweeps.storage.places import Place, StorageFailed


@dataclass(frozen=True)
class RelayedPlace:
    """A folder of another machine, through an actor there; a `Place`.

    Attributes:
        address: of the folder, as the driver has it.
        server: the actor.
    """

    address: str
    server: Any

    @property
    def is_local(self) -> bool:
        return False

    def address_of(self, name: str = "") -> str:
        return str(self._call("address_of", name))

    def make(self, *folders: str) -> None:
        self._call("make", *folders)

    def is_empty(self) -> bool:
        return bool(self._call("is_empty"))

    def exists(self, name: str) -> bool:
        return bool(self._call("exists", name))

    def names(self, folder: str = "") -> list[str]:
        return list(self._call("names", folder))

    def read(self, name: str) -> bytes:
        return bytes(self._call("read", name))

    def write(self, name: str, content: bytes) -> None:
        self._call("write", name, content)

    def delete(self, name: str) -> None:
        self._call("delete", name)

    def tidy(self, *folders: str) -> None:
        self._call("tidy", *folders)

    def modified_at(self, name: str) -> datetime | None:
        moment: datetime | None = self._call("modified_at", name)
        return moment

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            result, error = ray.get(self.server.call.remote(method, *arguments))
        except RayError as gone:
            raise StorageFailed(
                f"the driver's machine, which has '{self.address}', cannot be reached"
            ) from gone
        if error is not None:
            raise error
        return result


class Relay:
    """Serves a folder of this machine to all of the cluster, until it is closed."""

    def __init__(self, place: Place) -> None:
        here = ray.get_runtime_context().get_node_id()
        self._server: Any = (
            ray.remote(_Server)
            .options(
                num_cpus=0,
                max_concurrency=4,  # many workers write at once
                scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
            )
            .remote(place)
        )
        self.place = RelayedPlace(place.address, self._server)

    def close(self) -> None:
        """Serves no longer."""
        ray.kill(self._server)


class _Server:
    """Has the folder on its machine's disk."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def call(self, method: str, *arguments: Any) -> tuple[Any, Exception | None]:
        """What the place answers, or what it raises: Ray would wrap that."""
        called: Callable[..., Any] = getattr(self._place, method)
        try:
            return called(*arguments), None
        except (StorageFailed, FileNotFoundError) as error:
            return None, error


def is_same_folder(here: Place, there: Place) -> bool:
    """Whether both are the run folder of the driver: a path may name another one elsewhere."""
    record = read_holder(here)
    if record is None:
        return False
    driver = read_holder(there)
    return driver is not None and driver.holder == record.holder
