"""A folder at an address that fsspec reaches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rso_core.errors import InvalidInput, reason
from sweeps.storage.failures import failure, without_passwords

# they have no folders: making one there would make a bucket, or be refused
_OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az", "oci", "oss", "r2", "tos"}
)
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}


@dataclass(frozen=True)
class RemotePlace:
    """A folder, or the names with a common beginning, at an address; a `Place`.

    fsspec keeps one connection for a process, which is not pickled: each process makes its own.
    """

    address: str = field(repr=False)

    def check(self) -> None:
        """Raises what `open_place` says; connects where the protocol has connections."""
        protocol = self.address.partition("://")[0]
        try:
            if not protocol[:1].isalpha():
                raise ValueError("no protocol before ://")
            self._opened()
        except ImportError as error:
            extra = _EXTRAS.get(protocol)
            how = f"pip install 'rso-sweep[{extra}]'" if extra else reason(error)
            raise InvalidInput(
                f"'{self.address_of()}' needs a package for '{protocol}://' that is not installed"
                f" ({how})"
            ) from error
        except ValueError as error:
            why = without_passwords(" ".join(str(error).split()))
            raise InvalidInput(
                f"'{self.address_of()}' is no address of a storage ({why}); "
                "name a folder, or such as 's3://bucket/sweeps/x'"
            ) from error
        except Exception as error:
            raise failure(self.address, "reached", error) from error

    @property
    def is_local(self) -> bool:
        return False

    def address_of(self, name: str = "") -> str:
        return without_passwords(f"{self.address.rstrip('/')}/{name}" if name else self.address)

    def make(self, *folders: str) -> None:
        if self.address.partition("://")[0] in _OBJECT_STORES:
            return
        for folder in ("", *folders):
            with self._at(folder, "made") as (files, path):
                files.makedirs(path, exist_ok=True)

    def is_empty(self) -> bool:
        return not self._listed("")

    def exists(self, name: str) -> bool:
        # not `files.exists`, which takes a broken connection for an absent file
        with self._at(name, "read") as (files, path):
            try:
                return bool(files.info(path)["type"] == "file")
            except FileNotFoundError:
                return False

    def names(self, folder: str = "") -> list[str]:
        return sorted(name for name, kind in self._listed(folder).items() if kind == "file")

    def read(self, name: str) -> bytes:
        with self._at(name, "read", absence_is_an_answer=True) as (files, path):
            return bytes(files.cat_file(path))

    def write(self, name: str, content: bytes) -> None:
        with self._at(name, "written") as (files, path):
            files.pipe_file(path, content)

    def delete(self, name: str) -> None:
        with self._at(name, "deleted") as (files, path), contextlib.suppress(FileNotFoundError):
            files.rm_file(path)

    def tidy(self, *folders: str) -> None:
        pass

    def modified_at(self, name: str) -> datetime | None:
        with self._at(name, "read") as (files, path):
            try:
                found: datetime = files.modified(path)
            except (FileNotFoundError, NotImplementedError):
                return None
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)

    def _listed(self, folder: str) -> dict[str, str]:
        """Name and kind of what is directly in a folder."""
        with self._at(folder, "read") as (files, path):
            try:
                found = files.ls(path, detail=True)
            except FileNotFoundError:
                return {}
        # some stores list the folder itself, as an object of no bytes
        paths = {entry["name"].rstrip("/"): entry["type"] for entry in found}
        return {at.rpartition("/")[2]: kind for at, kind in paths.items() if at != path}

    def _opened(self) -> tuple[Any, str]:
        """The file system, and the path of the folder in it."""
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # takes long to import

        files, root = url_to_fs(self.address)
        return files, root.rstrip("/")

    @contextlib.contextmanager
    def _at(
        self, name: str, done: str, *, absence_is_an_answer: bool = False
    ) -> Iterator[tuple[Any, str]]:
        """The file system and a path in it; errors inside become `StorageFailed`.

        Each store has errors of its own, which need not be OSErrors.
        """
        try:
            files, root = self._opened()
            path = f"{root}/{name}".rstrip("/")
            files.invalidate_cache(path)  # what others have written since is to be seen
            yield files, path
        except Exception as error:
            if absence_is_an_answer and isinstance(error, FileNotFoundError):
                raise
            raise failure(self.address_of(name), done, error) from error
