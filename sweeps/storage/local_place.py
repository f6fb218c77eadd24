"""A folder of this machine."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sweeps.storage.failures import failure


@dataclass(frozen=True)
class LocalPlace:
    """A folder on a local disk, or on a file system that machines share; a `Place`.

    Attributes:
        address: the path as it was given, which may be relative.
        path: the same, absolute.
    """

    address: str
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.address).absolute())

    @property
    def is_local(self) -> bool:
        return True

    def address_of(self, name: str = "") -> str:
        return str(Path(self.address) / name)

    def make(self, *folders: str) -> None:
        for folder in ("", *folders):
            with self._failing("made", folder):
                _make_folder(self.path / folder)

    def is_empty(self) -> bool:
        with self._failing("read"):
            try:
                return all(_is_temporary(name) for name in os.listdir(self.path))  # noqa: PTH208
            except FileNotFoundError:
                return True

    def exists(self, name: str) -> bool:
        with self._failing("read", name):
            # not `Path.is_file`, which may take a folder that cannot be searched for an absent file
            try:
                return stat.S_ISREG((self.path / name).stat().st_mode)
            except FileNotFoundError:
                return False

    def names(self, folder: str = "") -> list[str]:
        with self._failing("read", folder):
            try:
                with os.scandir(self.path / folder) as entries:
                    found = [entry.name for entry in entries if entry.is_file()]
            except FileNotFoundError:
                return []
        return sorted(name for name in found if not _is_temporary(name))

    def read(self, name: str) -> bytes:
        with self._failing("read", name, absence_is_an_answer=True):
            return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        path = self.path / name
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        with self._failing("written", name):
            try:
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)

    def append(self, name: str, content: bytes) -> None:
        """Appends to a file, whole or, when that fails, not at all; it is durable on return.

        There must be no other writer.
        """
        path = self.path / name
        with self._failing("written", name), path.open("ab", buffering=0) as file:
            length = os.fstat(file.fileno()).st_size
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
                if length == 0:
                    _sync_folder(path.parent)
            except BaseException:
                file.truncate(length)
                os.fsync(file.fileno())
                raise

    def cut(self, name: str, length: int) -> None:
        """Drops what a file has beyond that many bytes; it is durable on return."""
        with self._failing("written", name), (self.path / name).open("r+b", buffering=0) as file:
            file.truncate(length)
            os.fsync(file.fileno())

    def delete(self, name: str) -> None:
        with self._failing("deleted", name):
            (self.path / name).unlink(missing_ok=True)

    def tidy(self, *folders: str) -> None:
        for folder in ("", *folders):
            with self._failing("read", folder):
                for path in (self.path / folder).glob(".*.tmp"):
                    path.unlink(missing_ok=True)

    def modified_at(self, name: str) -> datetime | None:
        with self._failing("read", name):
            try:
                return datetime.fromtimestamp((self.path / name).stat().st_mtime, UTC)
            except FileNotFoundError:
                return None

    @contextlib.contextmanager
    def _failing(
        self, done: str, name: str = "", *, absence_is_an_answer: bool = False
    ) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if absence_is_an_answer and isinstance(error, FileNotFoundError):
                raise
            raise failure(self.address_of(name), done, error) from error


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _make_folder(path: Path) -> None:
    """Makes a folder and those above it; each is durable in the one above."""
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some shared file systems do not offer it
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
