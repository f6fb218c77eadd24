"""Folders that are read and written alike on this machine's disks and at addresses (fsspec)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from analysis.addresses import address_of, local_path, secrets_of, without_credentials

_LONGEST_REASON = 200


class Place(Protocol):
    """A folder. The names of files in it are relative, with forward slashes.

    Whatever goes wrong is an OSError whose `strerror` is one line without credentials.
    """

    def shown(self, name: str = "") -> Path | str:
        """The folder or a file in it: a path, or an address without its credentials."""

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is no such file."""

    def names(self, name: str) -> list[str]:
        """The last parts of the names of what a folder in it holds; none if it is absent."""

    def write(self, name: str, content: bytes) -> None:
        """Writes a file as a whole, and the folders above it that are absent."""

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""


def place_at(folder: Path | str, *below: str) -> Place:
    """The place that a path or an address names, or the folder `below` it.

    Raises:
        OSError: the address's protocol is unknown or needs a package that is not installed.
    """
    address = address_of(folder)
    if address is None:
        return LocalPlace(local_path(folder).joinpath(*below))
    return RemotePlace("/".join((address.rstrip("/"), *below)) if below else address)


class LocalPlace:
    """A folder on this machine. A reader finds a file's old content or its new one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def shown(self, name: str = "") -> Path:
        return self._folder / name

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, name: str) -> list[str]:
        try:
            return [path.name for path in (self._folder / name).iterdir()]
        except FileNotFoundError:
            return []

    def write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


class RemotePlace:
    """A folder at an address. A file is put whole, as object stores do it."""

    def __init__(self, address: str) -> None:
        # a second's import that a local folder does without
        import fsspec  # type: ignore[import-untyped, unused-ignore]

        self._address = address
        with self._reasons():
            files, root = fsspec.core.url_to_fs(address)
            # another process writes the folder: what was listed a while ago says little
            files.invalidate_cache()
        self._files: Any = files
        self._root = str(root).rstrip("/")

    def shown(self, name: str = "") -> str:
        address = " ".join(without_credentials(self._address).split())
        return f"{address.rstrip('/')}/{name}" if name else address

    def read(self, name: str) -> bytes | None:
        with self._reasons():
            try:
                return bytes(self._files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def names(self, name: str) -> list[str]:
        with self._reasons():
            try:
                found = self._files.ls(self._path(name), detail=False)
            except FileNotFoundError:
                return []
            return [str(path).rstrip("/").rpartition("/")[2] for path in found]

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        with self._reasons():
            try:
                self._files.pipe_file(path, content)
            except FileNotFoundError:  # not an object store: a folder has to be made
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._files.pipe_file(path, content)

    def remove(self, name: str) -> None:
        with self._reasons(), contextlib.suppress(FileNotFoundError):
            if self._files.exists(self._path(name)):
                self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _reasons(self) -> Iterator[None]:
        """Turns what a protocol's library raises, each its own, into one kind of error."""
        try:
            yield
        except Exception as error:
            number = (error.errno if isinstance(error, OSError) else None) or errno.EIO
            raise OSError(number, _reason(error, secrets_of(self._address))) from error


def _reason(error: Exception, secrets: list[str]) -> str:
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    else:
        text = str(error) or type(error).__name__
    for secret in secrets:
        text = text.replace(secret, "***")
    text = " ".join(without_credentials(text).split())
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"
