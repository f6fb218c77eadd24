"""Compiled threads that wait for one another without leaving compiled code.

A visit can take a few microseconds, which is less than it takes to wake a thread. The threads of
an engine run the same loop side by side, therefore, and meet at barriers.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rso_core.incremental.compiled.compilation import compiled


@intrinsic
def _add_atomically(typing: Any, array: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, value = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        return builder.atomic_rmw("add", builder.gep(data, [index]), value, "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def _load_atomically(typing: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        return builder.load_atomic(builder.gep(data, [index]), "acquire", 8)

    return types.int64(array, types.intp), generate


@intrinsic
def let_others_run(typing: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        function_type = ir.FunctionType(ir.IntType(32), [])
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


_N_SPINS = 2000
"""How often a thread looks, in a few microseconds, before it lets others have its processor."""


@compiled
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
        n_looks = 0
        while _load_atomically(barrier, 1) == generation:
            n_looks += 1
            if n_looks > _N_SPINS:
                let_others_run()
