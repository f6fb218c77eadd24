"""Blocks of sums that stay in registers while a kernel walks over its inputs.

A block holds the sums of `n_outputs` channels at `n_pixels` pixels, channels first. Both numbers
are known when a kernel is compiled.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rso_core.incremental.compiled import simd
from rso_core.incremental.compiled.simd import LANES


def _count(literal: Any) -> int | None:
    return literal.literal_value if isinstance(literal, types.IntegerLiteral) else None


def _block(n: int) -> Any:
    return types.UniTuple(simd.VECTOR, n)


@intrinsic(prefer_literal=True)
def load_block(
    typing: Any,
    array: Any,
    index: Any,
    output_step: Any,
    pixel_step: Any,
    outputs: Any,
    pixels: Any,
) -> Any:
    """The vectors at index + output x output_step + pixel x pixel_step."""
    n_outputs, n_pixels = _count(outputs), _count(pixels)
    if n_outputs is None or n_pixels is None:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, output_step, pixel_step, *_ = arguments
        vectors = [
            simd.emit_load(context, builder, signature.args[0], array, place)
            for place in _places(builder, index, output_step, pixel_step, n_outputs, n_pixels)
        ]
        return context.make_tuple(builder, signature.return_type, vectors)

    integers = (types.intp,) * 3
    return _block(n_outputs * n_pixels)(array, *integers, outputs, pixels), generate


@intrinsic(prefer_literal=True)
def store_block(
    typing: Any,
    array: Any,
    index: Any,
    output_step: Any,
    pixel_step: Any,
    outputs: Any,
    pixels: Any,
    block: Any,
) -> Any:
    """Writes the vectors where `load_block` would read them."""
    n_outputs, n_pixels = _count(outputs), _count(pixels)
    if n_outputs is None or n_pixels is None:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, output_step, pixel_step, _, _, block = arguments
        places = _places(builder, index, output_step, pixel_step, n_outputs, n_pixels)
        for position, place in enumerate(places):
            vector = builder.extract_value(block, position)
            simd.emit_store(context, builder, signature.args[0], array, place, vector)
        return context.get_dummy_value()

    integers = (types.intp,) * 3
    return types.void(array, *integers, outputs, pixels, block), generate


@intrinsic(prefer_literal=True)
def broadcast_block(typing: Any, array: Any, index: Any, outputs: Any, pixels: Any) -> Any:
    """A block whose channels start at array[index], array[index + 1] and so on."""
    n_outputs, n_pixels = _count(outputs), _count(pixels)
    if n_outputs is None or n_pixels is None:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, *_ = arguments
        scalars = _scalars(context, builder, signature.args[0], array, index, n_outputs)
        vectors = [scalar for scalar in scalars for _ in range(n_pixels)]
        return context.make_tuple(builder, signature.return_type, vectors)

    return _block(n_outputs * n_pixels)(array, types.intp, outputs, pixels), generate


@intrinsic(prefer_literal=True)
def zero_block(typing: Any, outputs: Any, pixels: Any) -> Any:
    """A block of zeros."""
    n_outputs, n_pixels = _count(outputs), _count(pixels)
    if n_outputs is None or n_pixels is None:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = [ir.Constant(simd.FLOATS, [0.0] * LANES)] * (n_outputs * n_pixels)
        return context.make_tuple(builder, signature.return_type, vectors)

    return _block(n_outputs * n_pixels)(outputs, pixels), generate


@intrinsic(prefer_literal=True)
def multiply_add_block(
    typing: Any,
    block: Any,
    weights: Any,
    weight: Any,
    inputs: Any,
    index: Any,
    pixel_step: Any,
    outputs: Any,
    pixels: Any,
    taps: Any,
) -> Any:
    """A block and what some neighbouring taps add to it.

    That is, block[o, p] + the sum over t < taps of weights[weight + t x outputs + o] x the vector
    at inputs[index + (p + t) x pixel_step].
    """
    n_outputs, n_pixels, n_taps = _count(outputs), _count(pixels), _count(taps)
    if n_outputs is None or n_pixels is None or n_taps is None:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block, weights, weight, inputs, index, pixel_step, *_ = arguments
        fma = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(simd.FLOATS, [simd.FLOATS] * 3),
            f"llvm.fma.v{LANES}f32",
        )
        vectors = [
            simd.emit_load(context, builder, signature.args[3], inputs, place)
            for place in _places(builder, index, pixel_step, pixel_step, 1, n_pixels + n_taps - 1)
        ]
        sums = [builder.extract_value(block, i) for i in range(n_outputs * n_pixels)]
        scalars = _scalars(context, builder, signature.args[1], weights, weight, n_taps * n_outputs)
        for position, scalar in enumerate(scalars):
            tap, output = divmod(position, n_outputs)
            for pixel in range(n_pixels):
                sum_ = output * n_pixels + pixel
                sums[sum_] = builder.call(fma, (scalar, vectors[pixel + tap], sums[sum_]))
        return context.make_tuple(builder, signature.return_type, sums)

    places = (types.intp, inputs, types.intp, types.intp)
    return block(block, weights, *places, outputs, pixels, taps), generate


@intrinsic
def transpose(typing: Any, array: Any, index: Any) -> Any:
    """Transposes the LANES x LANES floats at an index, in place.

    Blocks off the diagonal are exchanged, of half the size at every step.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index = arguments
        step = ir.Constant(ir.IntType(64), LANES)
        places = _places(builder, index, step, step, 1, LANES)
        rows = [simd.emit_load(context, builder, signature.args[0], array, p) for p in places]
        size = LANES // 2
        while size:
            low = [lane if not lane & size else LANES + lane - size for lane in range(LANES)]
            high = [lane + size if not lane & size else LANES + lane for lane in range(LANES)]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), LANES), m) for m in (low, high)]
            for row in range(LANES):
                if not row & size:
                    pair = rows[row], rows[row + size]
                    rows[row], rows[row + size] = (builder.shuffle_vector(*pair, m) for m in masks)
            size //= 2
        for place, vector in zip(places, rows, strict=True):
            simd.emit_store(context, builder, signature.args[0], array, place, vector)
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


def _places(
    builder: Any, index: Any, output_step: Any, pixel_step: Any, n_outputs: int, n_pixels: int
) -> list[Any]:
    places, row = [], index
    for output in range(n_outputs):
        place = row
        for pixel in range(n_pixels):
            places.append(place)
            if pixel + 1 < n_pixels:
                place = builder.add(place, pixel_step)
        if output + 1 < n_outputs:
            row = builder.add(row, output_step)
    return places


def _scalars(
    context: Any, builder: Any, array_type: Any, array: Any, index: Any, n: int
) -> list[Any]:
    data = context.make_array(array_type)(context, builder, array).data
    first = builder.gep(data, [index])
    return [
        simd.emit_splat(builder, builder.load(builder.gep(first, [ir.Constant(ir.IntType(32), o)])))
        for o in range(n)
    ]
