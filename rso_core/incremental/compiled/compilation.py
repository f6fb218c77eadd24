"""How functions are compiled, and kept between processes until a source file here changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock, Timeout
from numba import njit
from numba.core import caching

_names: set[tuple[str, str]] = set()
_PATIENCE_S = 120.0
"""How long a process waits for another one's compilation before it compiles the same itself."""


def compiled(function: Callable[..., Any]) -> Any:
    """Compiles a function that is only called from compiled code."""
    return njit(nogil=True, error_model="numpy")(_checked(function))


def merged(function: Callable[..., Any]) -> Any:
    """Compiles a function as a part of its callers.

    Every level of calls is optimised once more, with all that it calls, so that few levels
    compile faster.
    """
    return njit(nogil=True, error_model="numpy", inline="always")(_checked(function))


def named(*numbers: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the numbers that a kernel was made for to its name; see `_checked`."""

    def rename(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__qualname__ = "_".join([function.__qualname__, *map(str, numbers)])
        return function

    return rename


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, if no other has its name.

    numba tells functions of one name apart by a number, in the order in which a process compiles
    them. What two processes have kept on disk may be loaded by a third, where the same name and
    number can mean two functions, and one of them is called in place of the other.
    """
    name = function.__module__, function.__qualname__
    if name in _names:
        raise ValueError(f"two compiled functions are called {'.'.join(name)}")
    _names.add(name)
    return function


def cached(function: Callable[..., Any]) -> Any:
    """Compiles a function, and keeps it on disk: beside its source, or in the user's cache folder.

    numba's own `cache=True` looks at the one file that holds the function, not at those of the
    functions that it calls. Processes that need a function at the same time wait for the first of
    them. Where no folder can be written to, every process compiles anew.
    """
    dispatcher = njit(nogil=True, error_model="numpy")(_checked(function))
    with suppress(RuntimeError):  # no folder can be written to
        dispatcher._cache = _KernelCache(function)
    return dispatcher


@cache
def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _PackageStamp:
    """For a locator of numba's: what is kept is valid for these sources."""

    def get_source_stamp(self) -> str:
        return _digest()


class _UserProvided(_PackageStamp, caching.UserProvidedCacheLocator):
    pass


class _InTree(_PackageStamp, caching.InTreeCacheLocator):
    pass


class _UserWide(_PackageStamp, caching.UserWideCacheLocator):
    pass


class _KernelCacheImplementation(caching.CompileResultCacheImpl):
    _locator_classes: ClassVar = [_UserProvided, _InTree, _UserWide]


class _KernelCache(caching.Cache):
    """Of one function. numba loads, compiles what is not there, and saves: from a load that finds
    nothing to the save that follows, the function is locked for other processes.
    """

    _impl_class = _KernelCacheImplementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._lock = FileLock(Path(self._cache_path) / f"{self._impl.filename_base}.lock")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super().load_overload(sig, target_context)
        if found is not None:
            return found
        with suppress(Timeout, OSError, NotImplementedError):  # not every file system has locks
            self._impl.locator.ensure_cache_path()
            self._lock.acquire(timeout=_PATIENCE_S)
        found = super().load_overload(sig, target_context)  # another may have compiled it just now
        if found is not None:
            self._lock.release(force=True)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        finally:
            self._lock.release(force=True)
