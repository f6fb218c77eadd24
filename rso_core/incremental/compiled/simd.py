"""Vectors of float32 within compiled loops: one lane an image.

LLVM keeps a `Vector` in a register. That lets a kernel hold a block of sums in registers while it
walks over the inputs, which automatic vectorisation of plain loops does not do, and brings a
convolution to the speed of the machine's multiply-add units. Everything here can only be called
from compiled code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

_FEATURES = llvmlite.binding.get_host_cpu_features()
LANES: int = 16 if _FEATURES.get("avx512f") else 8
"""Images in a vector: as many as a register holds, or two registers on machines with short ones."""

_FLOAT = ir.FloatType()
_DOUBLE = ir.DoubleType()
_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)
FLOATS = ir.VectorType(_FLOAT, LANES)
_DOUBLES = ir.VectorType(_DOUBLE, LANES)
_INTS = ir.VectorType(_INT32, LANES)


class _VectorType(types.Type):
    def __init__(self, name: str) -> None:
        super().__init__(name=f"{name}{LANES}")


VECTOR = _VectorType("Vector")
_wide = _VectorType("WideVector")


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _VectorType) -> None:
        super().__init__(manager, kind, FLOATS if kind == VECTOR else _DOUBLES)


def _elementwise(emit: Callable[..., Any], n: int, of: Any = VECTOR, to: Any = VECTOR) -> Any:
    """An intrinsic of n vectors that emits one instruction or a few."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit(builder, *arguments)

    def typed_1(typing: Any, a: Any) -> Any:
        return to(of), generate

    def typed_2(typing: Any, a: Any, b: Any) -> Any:
        return to(of, of), generate

    def typed_3(typing: Any, a: Any, b: Any, c: Any) -> Any:
        return to(of, of, of), generate

    return intrinsic((typed_1, typed_2, typed_3)[n - 1])


def _call(name: str, kind: Any, n: int) -> Callable[..., Any]:
    suffix = f"v{LANES}f32" if kind == FLOATS else f"v{LANES}f64"

    def emit(builder: Any, *arguments: Any) -> Any:
        function_type = ir.FunctionType(kind, [kind] * n)
        function = cgutils.get_or_insert_function(
            builder.module, function_type, f"llvm.{name}.{suffix}"
        )
        return builder.call(function, arguments)

    return emit


def _constant(value: float) -> Any:
    return ir.Constant(FLOATS, [value] * LANES)


def emit_splat(builder: Any, scalar: Any) -> Any:
    """For intrinsics: a vector of one scalar."""
    undefined = ir.Constant(FLOATS, ir.Undefined)
    vector = builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(vector, undefined, ir.Constant(_INTS, [0] * LANES))


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def emit_load(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """For intrinsics: the vector at an index of an array, aligned or not."""
    address = _address(context, builder, array_type, array, index)
    return builder.load(builder.bitcast(address, FLOATS.as_pointer()), align=4)


def emit_store(context: Any, builder: Any, array_type: Any, array: Any, index: Any, v: Any) -> None:
    """For intrinsics: writes a vector at an index of an array."""
    address = _address(context, builder, array_type, array, index)
    builder.store(v, builder.bitcast(address, FLOATS.as_pointer()), align=4)


@intrinsic
def never_inline(typing: Any) -> Any:
    """Called in a function, keeps that function from being copied to where it is called from."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


# ------------------------------------------------------------------------------------ one vector


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """The vector at array[index : index + LANES]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit_load(context, builder, signature.args[0], *arguments)

    return VECTOR(array, types.intp), generate


@intrinsic
def load2(typing: Any, array: Any, row: Any, column: Any) -> Any:
    """The vector at array[row, column : column + LANES] of a contiguous array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, column = arguments
        n_columns = builder.extract_value(
            context.make_array(signature.args[0])(context, builder, array).shape, 1
        )
        index = builder.add(builder.mul(row, n_columns), column)
        return emit_load(context, builder, signature.args[0], array, index)

    return VECTOR(array, types.intp, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """Writes array[index : index + LANES]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit_store(context, builder, signature.args[0], *arguments)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), generate


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Asks for the cache line at an index, which may lie outside, in the second-level cache."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], *arguments)
        kind = ir.FunctionType(ir.VoidType(), [address.type, *[ir.IntType(32)] * 3])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # to read; into the second level (a full first level would hold up the loads); data
        hints = [ir.Constant(ir.IntType(32), hint) for hint in (0, 2, 1)]
        builder.call(function, (address, *hints))
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def broadcast(typing: Any, scalar: Any) -> Any:
    """The vector whose lanes all are the scalar."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit_splat(builder, arguments[0])

    return VECTOR(types.float32), generate


@intrinsic
def zero(typing: Any) -> Any:
    """The vector of zeros."""
    return VECTOR(), lambda *_: _constant(0.0)


# comparisons are ordered: where a is not a number, it stays
add = _elementwise(lambda b, x, y: b.fadd(x, y), 2)
subtract = _elementwise(lambda b, x, y: b.fsub(x, y), 2)
multiply = _elementwise(lambda b, x, y: b.fmul(x, y), 2)
divide = _elementwise(lambda b, x, y: b.fdiv(x, y), 2)
multiply_add = _elementwise(_call("fma", FLOATS, 3), 3)
larger = _elementwise(lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), y, x), 2)
smaller = _elementwise(lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), y, x), 2)
absolute = _elementwise(_call("fabs", FLOATS, 1), 1)


def _emit_where_positive(builder: Any, condition: Any, yes: Any, no: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", condition, _constant(0.0)), yes, no)


def _emit_where_equal(builder: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    return builder.select(builder.fcmp_ordered("==", a, b), yes, no)


where_positive = _elementwise(_emit_where_positive, 3)
"""where_positive(condition, yes, no): yes in the lanes in which condition > 0."""


@intrinsic
def where_equal(typing: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """Lanes of yes where a == b, else of no."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _emit_where_equal(builder, *arguments)

    return VECTOR(VECTOR, VECTOR, VECTOR, VECTOR), generate


widen = _elementwise(lambda b, x: b.fpext(x, _DOUBLES), 1, to=_wide)
wide_add = _elementwise(lambda b, x, y: b.fadd(x, y), 2, of=_wide, to=_wide)
wide_multiply = _elementwise(lambda b, x, y: b.fmul(x, y), 2, of=_wide, to=_wide)
wide_multiply_add = _elementwise(_call("fma", _DOUBLES, 3), 3, of=_wide, to=_wide)


@intrinsic
def wide_zero(typing: Any) -> Any:
    """The float64 vector of zeros."""
    return _wide(), lambda *_: ir.Constant(_DOUBLES, [0.0] * LANES)


def _emit_sum(builder: Any, vector: Any) -> Any:
    """Halves are added to each other, in the same order whatever the machine."""
    n = LANES
    while n > 1:
        n //= 2
        positions = [ir.Constant(ir.VectorType(_INT32, n), [*range(s, s + n)]) for s in (0, n)]
        undefined = ir.Constant(vector.type, ir.Undefined)
        low, high = (builder.shuffle_vector(vector, undefined, p) for p in positions)
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, ir.Constant(_INT32, 0))


wide_sum = _elementwise(_emit_sum, 1, of=_wide, to=types.float64)
"""The sum of the lanes of a float64 vector."""


# -------------------------------------------------------------------------- exponential, logarithm


def _emit_exponential(builder: Any, x: Any) -> Any:
    """exp, for x up to 88; below -87 it gives exp(-87), about 1e-38.

    x = n ln 2 + r with |r| <= ln 2 / 2: exp(r) by its Taylor polynomial of degree 7, whose
    error of 5e-9 is below a rounding; 2^n by the bits of its exponent.
    """
    fma = _call("fma", FLOATS, 3)
    least = _constant(-87.0)
    x = builder.select(builder.fcmp_ordered("<", x, least), least, x)
    shift = _constant(12582912.0)  # 1.5 x 2^23: adding it rounds to an integer in the low bits
    shifted = fma(builder, x, _constant(1.4426950408889634), shift)
    n = builder.fsub(shifted, shift)
    r = fma(builder, n, _constant(-0.693145751953125), x)
    r = fma(builder, n, _constant(-1.428606765330187e-06), r)
    value = _constant(1 / 5040)
    for divisor in (720, 120, 24, 6, 2, 1, 1):
        value = fma(builder, value, r, _constant(1 / divisor))
    bits = builder.shl(builder.bitcast(shifted, _INTS), ir.Constant(_INTS, [23] * LANES))
    power = builder.bitcast(builder.add(bits, ir.Constant(_INTS, [127 << 23] * LANES)), FLOATS)
    return builder.fmul(value, power)


def _emit_logarithm(builder: Any, x: Any) -> Any:
    """log of positive normal numbers; coefficients of Cephes' logf (S. L. Moshier)."""
    fma = _call("fma", FLOATS, 3)
    bits = builder.bitcast(x, _INTS)
    # the exponent for which the mantissa lies between sqrt(1/2) and sqrt(2)
    offset = ir.Constant(_INTS, [0x3F3504F3] * LANES)
    exponent = builder.ashr(builder.sub(bits, offset), ir.Constant(_INTS, [23] * LANES))
    scaled = builder.sub(bits, builder.shl(exponent, ir.Constant(_INTS, [23] * LANES)))
    f = builder.fsub(builder.bitcast(scaled, FLOATS), _constant(1.0))
    value = _constant(7.0376836292e-2)
    for coefficient in (
        -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ):  # fmt: skip
        value = fma(builder, value, f, _constant(coefficient))
    square = builder.fmul(f, f)
    value = builder.fmul(builder.fmul(value, f), square)
    n = builder.sitofp(exponent, FLOATS)
    value = fma(builder, n, _constant(-2.12194440e-4), value)
    value = fma(builder, square, _constant(-0.5), value)
    value = fma(builder, n, _constant(0.693359375), builder.fadd(f, value))
    return fma(builder, x, _constant(0.0), value)  # the bits of NaN were taken for a number's


# log(1 + e) / e on [0, 1]: fitted at Chebyshev points, largest relative error 5e-9
_LOG1P = (
    9.999999954e-1, -4.999990399e-1, 3.333000404e-1, -2.495455887e-1, 1.967811726e-1,
    -1.531186310e-1, 1.061426469e-1, -5.706420081e-2, 1.990716095e-2, -3.256378480e-3,
)  # fmt: skip


def _emit_softplus(builder: Any, x: Any) -> Any:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)), exact where the result is tiny."""
    fma = _call("fma", FLOATS, 3)
    magnitude = _call("fabs", FLOATS, 1)(builder, x)
    e = _emit_exponential(builder, builder.fsub(_constant(0.0), magnitude))
    value = _constant(_LOG1P[-1])
    for coefficient in _LOG1P[-2::-1]:
        value = fma(builder, value, e, _constant(coefficient))
    positive = builder.select(builder.fcmp_ordered("<", x, _constant(0.0)), _constant(0.0), x)
    return fma(builder, value, e, positive)


exponential = _elementwise(_emit_exponential, 1)
logarithm = _elementwise(_emit_logarithm, 1)
softplus = _elementwise(_emit_softplus, 1)
