"""Compiled threads that wait for one another without leaving compiled code.

A visit can take a few microseconds, which is less than it takes to wake a thread. The threads of
an engine run the same loop side by side, therefore, and meet at barriers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_INT64 = ir.IntType(64)


@intrinsic  # type: ignore[untyped-decorator]
def _add_atomically(typing: Any, array: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, value = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        return builder.atomic_rmw("add", builder.gep(data, [index]), value, "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _load_atomically(typing: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        return builder.load_atomic(builder.gep(data, [index]), "acquire", 8)

    return types.int64(array, types.intp), generate


@njit(nogil=True)  # type: ignore[untyped-decorator]
def wait_for_all(barrier: Any, n_threads: int) -> None:
    """Returns when all n_threads threads have called it.

    Args:
        barrier: [2] int64, zeros at first: how many wait, and how often all have come.
        n_threads: at least 1.
    """
    if n_threads == 1:
        return
    generation = _load_atomically(barrier, 1)
    if _add_atomically(barrier, 0, 1) == n_threads - 1:
        _add_atomically(barrier, 0, -n_threads)
        _add_atomically(barrier, 1, 1)
    else:
        while _load_atomically(barrier, 1) == generation:
            pass
