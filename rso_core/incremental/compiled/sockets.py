"""Sending and receiving from compiled code, without Python and its lock."""

from __future__ import annotations

import errno
import socket
import sys
import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rso_core.incremental.compiled.compilation import compiled
from rso_core.incremental.compiled.threads import let_others_run

CAN_EXCHANGE = sys.platform != "win32"
"""Whether there are sockets for compiled code: those of POSIX."""

_INTERRUPTED, _NOT_YET, _NOT_YET_EITHER = -errno.EINTR, -errno.EAGAIN, -errno.EWOULDBLOCK
# without a signal where the other side has left; Python ignores that one where this is not known
_SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)
_LOOK_FLAGS, _WAIT_FLAGS = getattr(socket, "MSG_DONTWAIT", 0), 0
_CLOCK = getattr(time, "CLOCK_MONOTONIC", 0)
_ERRNO_LOCATION = "__errno_location" if sys.platform.startswith("linux") else "__error"

_N_LOOKS = 400
"""How often a thread looks for what comes, for about as long as it takes to wake one, before it
sleeps until then."""


def _transfer(name: str) -> Any:
    """An intrinsic that calls `send` or `recv`: the bytes that went, or less than 0, minus errno.

    Its arguments: a float64 array, the first byte in it, how many, the descriptor and the flags.
    """

    def transfer(
        typing: Any, array: Any, first: Any, n_bytes: Any, descriptor: Any, flags: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if not CAN_EXCHANGE:
                return ir.Constant(ir.IntType(64), -1)
            array, first, n_bytes, descriptor, flags = arguments
            byte_pointer, int32, int64 = ir.IntType(8).as_pointer(), ir.IntType(32), ir.IntType(64)
            data = context.make_array(signature.args[0])(context, builder, array).data
            at = builder.gep(builder.bitcast(data, byte_pointer), [first])
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(int64, [int32, byte_pointer, int64, int32]), name
            )
            descriptor, flags = (builder.trunc(number, int32) for number in (descriptor, flags))
            n = builder.call(function, [descriptor, at, n_bytes, flags])
            location = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(int32.as_pointer(), []), _ERRNO_LOCATION
            )
            error = builder.sext(builder.load(builder.call(location, [])), int64)
            has_failed = builder.icmp_signed("<", n, ir.Constant(int64, 0))
            return builder.select(has_failed, builder.neg(error), n)

        number = types.int64
        return number(array, number, number, number, number), generate

    return intrinsic(transfer)


_send, _receive = _transfer("send"), _transfer("recv")


@intrinsic
def _nanoseconds(typing: Any) -> Any:
    """Of a clock that is never set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        int32, int64 = ir.IntType(32), ir.IntType(64)
        if not CAN_EXCHANGE:
            return ir.Constant(int64, 0)
        moment = cgutils.alloca_once(builder, ir.ArrayType(int64, 2))  # seconds and nanoseconds
        pointer = builder.bitcast(moment, int64.as_pointer())
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(int32, [int32, int64.as_pointer()]), "clock_gettime"
        )
        builder.call(function, [ir.Constant(int32, _CLOCK), pointer])
        seconds = builder.load(pointer)
        rest = builder.load(builder.gep(pointer, [ir.Constant(int64, 1)]))
        return builder.add(builder.mul(seconds, ir.Constant(int64, 1_000_000_000)), rest)

    return types.int64(), generate


@compiled
def nanoseconds() -> int:
    """Of a clock that is never set."""
    return _nanoseconds()


@compiled
def send_all(doubles: Any, first: int, n: int, descriptor: int) -> bool:
    """Sends n float64 numbers from the first on; whether the other side was there."""
    sent, n_bytes = 0, 8 * n
    while sent < n_bytes:
        went = _send(doubles, 8 * first + sent, n_bytes - sent, descriptor, np.int64(_SEND_FLAGS))
        if went >= 0:
            sent += went
        elif went != _INTERRUPTED:
            return False
    return True


@compiled
def receive_all(doubles: Any, first: int, n: int, descriptor: int) -> bool:
    """Receives n float64 numbers; whether the other side was there to send them."""
    received, n_bytes, n_looks = 0, 8 * n, 0
    while received < n_bytes:
        flags = _LOOK_FLAGS if n_looks < _N_LOOKS else _WAIT_FLAGS
        came = _receive(
            doubles, 8 * first + received, n_bytes - received, descriptor, np.int64(flags)
        )
        if came > 0:
            received += came
        elif came == _NOT_YET or came == _NOT_YET_EITHER:
            n_looks += 1
            let_others_run()
        elif came != _INTERRUPTED:
            return False
    return True
