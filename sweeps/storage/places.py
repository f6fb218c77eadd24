"""Where the files of a sweep lie: a folder of this machine, or one at any address of fsspec."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sweeps.storage.failures import StorageFailed
from sweeps.storage.local_place import LocalPlace
from sweeps.storage.remote_place import RemotePlace

__all__ = ["LocalPlace", "Place", "RemotePlace", "StorageFailed", "open_place"]


def open_place(address: str) -> Place:
    """The folder at an address, which need not exist yet; nothing is read or written.

    Args:
        address: `proto://...` for what fsspec reaches, anything else is a path of this machine.

    Raises:
        InvalidInput: fsspec does not know the protocol, or its package is not installed.
        StorageFailed: it knows the protocol, but not what to do with this address.
    """
    if "://" not in address:
        return LocalPlace(address)
    place = RemotePlace(address)
    place.check()
    return place


class Place(Protocol):
    """A folder and what is in it. It can be pickled and used on another machine.

    A `name` is that of a file in the folder, relative, parts separated by '/'. Every method raises
    `StorageFailed` where the storage fails.
    """

    @property
    def address(self) -> str:
        """The address as the user gave it, with its password if it has one."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether this is a `LocalPlace`."""
        ...

    def address_of(self, name: str = "") -> str:
        """The address of a file, or of the folder itself, for messages: without a password."""
        ...

    def make(self, *folders: str) -> None:
        """Makes the folder and these in it. Before anything can be written in a folder."""
        ...

    def is_empty(self) -> bool:
        """Whether there is no file and no folder in it, or no such folder."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        ...

    def names(self, folder: str = "") -> list[str]:
        """The names of the files directly in a folder, sorted; none if there is no folder."""
        ...

    def read(self, name: str) -> bytes:
        """What is in a file.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Writes a file whole or, when that fails, not at all; it is durable on return."""
        ...

    def delete(self, name: str) -> None:
        """Removes a file; one that is not there is as good as removed."""
        ...

    def tidy(self, *folders: str) -> None:
        """Removes what killed processes left half written; not while others write there."""
        ...

    def modified_at(self, name: str) -> datetime | None:
        """When a file was last written, in UTC; None if it is absent or the storage cannot say."""
        ...
