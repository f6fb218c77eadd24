"""How functions are compiled, and kept between processes until a source file here changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from numba import njit
from numba.core import caching

compiled: Callable[..., Any] = njit(nogil=True, error_model="numpy")
"""Compiles a function that is only called from compiled code."""

merged: Callable[..., Any] = njit(nogil=True, error_model="numpy", inline="always")
"""Compiles a function as a part of its callers. Every level of calls is optimised once more, with
all that it calls, so that few levels compile faster."""


def cached(function: Callable[..., Any]) -> Any:
    """Compiles a function, and keeps it on disk: beside its source, or in the user's cache folder.

    numba's own `cache=True` looks at the one file that holds the function, not at those of the
    functions that it calls. Where no folder can be written to, every process compiles anew.
    """
    dispatcher = njit(nogil=True, error_model="numpy")(function)
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
    _impl_class = _KernelCacheImplementation
