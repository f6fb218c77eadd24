"""What a compiled engine does to a tile: `LANES` images, side by side in the lanes of vectors.

A tile's activation is [channels, height, width, LANES] in one flat float32 array, with steps of
its own between channels and between rows, so that it may have a border of zeros for a
convolution's padding, and so that a single channel of a larger one can be addressed alike. All
offsets and steps count floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from rso_core.incremental.compiled import simd
from rso_core.incremental.compiled.blocks import (
    broadcast_block,
    load_block,
    multiply_add_block,
    store_block,
    zero_block,
)
from rso_core.incremental.compiled.simd import LANES

compiled: Callable[..., Any] = njit(nogil=True, error_model="numpy")
"""Compiles a function that is only called from compiled code."""

merged: Callable[..., Any] = njit(nogil=True, error_model="numpy", inline="always")
"""Compiles a function as a part of its callers. Every level of calls is optimised once more, with
all that it calls, so that few levels compile faster."""

IDENTITY, RELU, LEAKY_RELU, HARDTANH, THRESHOLD, SIGMOID, TANH, SILU, ELU, SOFTPLUS, GELU = range(
    11
)
FUNCTION_CODES = {
    "relu": RELU,
    "leaky_relu": LEAKY_RELU,
    "hardtanh": HARDTANH,
    "threshold": THRESHOLD,
    "sigmoid": SIGMOID,
    "tanh": TANH,
    "silu": SILU,
    "elu": ELU,
    "softplus": SOFTPLUS,
    "gelu": GELU,
}
"""Of the pointwise functions, by their name in a graph."""


# ----------------------------------------------------------------------------------- convolution


def _block_of_rows(n_outputs: int, n_pixels: int) -> Any:
    """A kernel that computes n_outputs channels of rows of a convolution, n_pixels at a time."""

    @compiled
    def kernel(
        memory, source, source_plane, source_row, target, target_plane, target_row, kept,
        weight, weight_plane, bias, n_inputs, kernel_size, steps, height, first, end,
    ):  # fmt: skip
        simd.never_inline()
        n_rows, n_columns = kernel_size
        step_y, step_x, tap_y, tap_x = steps
        for y in range(height):
            for x in range(first, end, n_pixels):
                place = target + y * target_row + x * LANES
                if kept >= 0:
                    at = kept + place - target
                    sums = load_block(memory, at, target_plane, LANES, n_outputs, n_pixels)
                elif bias >= 0:
                    sums = broadcast_block(memory, bias, n_outputs, n_pixels)
                else:
                    sums = zero_block(n_outputs, n_pixels)
                corner = source + y * step_y * source_row + x * step_x * LANES
                for channel in range(n_inputs):
                    w = weight + channel * weight_plane
                    for row in range(n_rows):
                        at = corner + channel * source_plane + row * tap_y * source_row
                        for _ in range(n_columns):
                            sums = multiply_add_block(
                                sums, memory, w, memory, at, step_x * LANES, n_outputs, n_pixels
                            )
                            at += tap_x * LANES
                            w += n_outputs
                store_block(memory, place, target_plane, LANES, n_outputs, n_pixels, sums)

    return kernel


_rows_8x2, _rows_8x1 = _block_of_rows(8, 2), _block_of_rows(8, 1)
_rows_4x4, _rows_4x1 = _block_of_rows(4, 4), _block_of_rows(4, 1)
_rows_2x4, _rows_2x1 = _block_of_rows(2, 4), _block_of_rows(2, 1)
_rows_1x4, _rows_1x1 = _block_of_rows(1, 4), _block_of_rows(1, 1)


@merged
def convolve(
    memory, source, source_plane, source_row, target, target_plane, target_row, kept,
    weight, bias, n_inputs, n_outputs, kernel_size, steps, height, width,
):  # fmt: skip
    """target = kept (or the bias) + the convolution of the source.

    Args:
        memory: the flat array that holds everything.
        source: offset of the top left tap of the first output pixel.
        source_plane, source_row, target_plane, target_row: steps between channels and rows.
        kept: offset of what is added to, with the target's steps; -1 for the bias.
        weight: offset of the weights, packed as `packed_weights` describes.
        bias: offset; -1 where there is none.
        n_inputs, n_outputs: channels.
        kernel_size: (rows, columns).
        steps: strides (vertical, horizontal) and dilations (vertical, horizontal).
        height, width: of the target.
    """
    n_taps = kernel_size[0] * kernel_size[1]
    weight_plane = n_taps * n_outputs
    done = 0
    while done < n_outputs:
        left = n_outputs - done
        n = 8 if left >= 8 else (4 if left >= 4 else (2 if left >= 2 else 1))
        n_at_once = 2 if n == 8 else 4
        even = width - width % n_at_once
        to = target + done * target_plane
        add_to = kept + done * target_plane if kept >= 0 else -1
        w = weight + done * n_taps
        b = bias + done if bias >= 0 else -1
        if n == 8:
            if even > 0:
                _rows_8x2(memory, source, source_plane, source_row, to, target_plane, target_row,
                          add_to, w, weight_plane, b, n_inputs, kernel_size, steps,
                          height, 0, even)  # fmt: skip
            if even < width:
                _rows_8x1(memory, source, source_plane, source_row, to, target_plane, target_row,
                          add_to, w, weight_plane, b, n_inputs, kernel_size, steps,
                          height, even, width)  # fmt: skip
        elif n == 4:
            if even > 0:
                _rows_4x4(memory, source, source_plane, source_row, to, target_plane, target_row,
                          add_to, w, weight_plane, b, n_inputs, kernel_size, steps,
                          height, 0, even)  # fmt: skip
            if even < width:
                _rows_4x1(memory, source, source_plane, source_row, to, target_plane, target_row,
                          add_to, w, weight_plane, b, n_inputs, kernel_size, steps,
                          height, even, width)  # fmt: skip
        elif n == 2:
            if even > 0:
                _rows_2x4(memory, source, source_plane, source_row, to, target_plane, target_row,
                          add_to, w, weight_plane, b, n_inputs, kernel_size, steps,
                          height, 0, even)  # fmt: skip
            if even < width:
                _rows_2x1(memory, source, source_plane, source_row, to, target_plane, target_row,
                          add_to, w, weight_plane, b, n_inputs, kernel_size, steps,
                          height, even, width)  # fmt: skip
        else:
            if even > 0:
                _rows_1x4(memory, source, source_plane, source_row, to, target_plane, target_row,
                          add_to, w, weight_plane, b, n_inputs, kernel_size, steps,
                          height, 0, even)  # fmt: skip
            if even < width:
                _rows_1x1(memory, source, source_plane, source_row, to, target_plane, target_row,
                          add_to, w, weight_plane, b, n_inputs, kernel_size, steps,
                          height, even, width)  # fmt: skip
        done += n


def packed_weights(weight: np.ndarray) -> np.ndarray:
    """The order in which `convolve` reads the weights.

    The output channels are cut into blocks of 8, then of 4, 2 and 1 for what is left. For every
    input channel come the blocks, for every block the taps, for every tap its channels.

    Args:
        weight: [n_outputs, n_inputs, rows, columns] of any dtype.

    Returns:
        The same elements, flat.
    """
    n_outputs, n_inputs = weight.shape[:2]
    taps = weight.reshape(n_outputs, n_inputs, -1)
    blocks, done = [], 0
    while done < n_outputs:
        n = next(n for n in (8, 4, 2, 1) if n <= n_outputs - done)
        # [n_inputs, n_taps, n]
        blocks.append(taps[done : done + n].transpose(1, 2, 0).reshape(n_inputs, -1))
        done += n
    return np.ascontiguousarray(np.concatenate(blocks, axis=1)).reshape(-1)


# ------------------------------------------------------------------------------ pointwise, affine


@compiled
def apply_function(code, first, second, x):
    """The pointwise function of that code, with its arguments, of one vector."""
    one, nothing = simd.broadcast(np.float32(1.0)), simd.zero()
    if code == RELU:
        return simd.larger(x, nothing)
    if code == LEAKY_RELU:
        return simd.where_positive(x, x, simd.multiply(simd.broadcast(first), x))
    if code == HARDTANH:
        return simd.smaller(simd.larger(x, simd.broadcast(first)), simd.broadcast(second))
    if code == THRESHOLD:
        above = simd.subtract(x, simd.broadcast(first))
        value = simd.where_positive(above, x, simd.broadcast(second))
        return simd.where_equal(x, x, value, x)
    if code == ELU:
        e = simd.exponential(simd.smaller(x, nothing))
        return simd.where_positive(
            x, x, simd.multiply(simd.broadcast(first), simd.subtract(e, one))
        )
    if code == SOFTPLUS:
        return simd.softplus(x)
    if code == GELU:
        return simd.multiply(x, _normal_distribution(x))
    if code == SIGMOID or code == SILU:
        s = _sigmoid(x)
        return s if code == SIGMOID else simd.multiply(x, s)
    if code == TANH:
        two = simd.broadcast(np.float32(2.0))
        return simd.subtract(simd.multiply(two, _sigmoid(simd.multiply(two, x))), one)
    return x


@compiled
def _sigmoid(x):
    one = simd.broadcast(np.float32(1.0))
    e = simd.exponential(simd.subtract(simd.zero(), simd.absolute(x)))
    of_magnitude = simd.divide(one, simd.add(one, e))
    return simd.where_positive(x, of_magnitude, simd.subtract(one, of_magnitude))


@compiled
def _normal_distribution(x):
    """Phi by the error function of Abramowitz & Stegun 7.1.26, error 1.5e-7."""
    one, half = simd.broadcast(np.float32(1.0)), simd.broadcast(np.float32(0.5))
    z = simd.multiply(simd.absolute(x), simd.broadcast(np.float32(0.7071067811865476)))
    t = simd.divide(one, simd.multiply_add(simd.broadcast(np.float32(0.3275911)), z, one))
    p = simd.broadcast(np.float32(1.061405429))
    p = simd.multiply_add(p, t, simd.broadcast(np.float32(-1.453152027)))
    p = simd.multiply_add(p, t, simd.broadcast(np.float32(1.421413741)))
    p = simd.multiply_add(p, t, simd.broadcast(np.float32(-0.284496736)))
    p = simd.multiply_add(p, t, simd.broadcast(np.float32(0.254829592)))
    tail = simd.multiply(simd.multiply(p, t), half)
    tail = simd.multiply(tail, simd.exponential(simd.subtract(simd.zero(), simd.multiply(z, z))))
    return simd.where_positive(x, simd.subtract(one, tail), tail)


@compiled
def transform(
    memory, source, source_plane, source_row, target, target_plane, target_row,
    n_channels, height, width, scales, function, first, second,
):  # fmt: skip
    """target = function(scale x source + shift), the scale and shift of each channel.

    Args:
        scales: offset of the first channel's scale, its shift, the second's scale and so on; -1
            for neither.
        function: a code; first and second are its arguments.
    """
    simd.never_inline()
    for channel in range(n_channels):
        scale, shift = simd.broadcast(np.float32(1.0)), simd.zero()
        if scales >= 0:
            scale = simd.broadcast(memory[scales + 2 * channel])
            shift = simd.broadcast(memory[scales + 2 * channel + 1])
        for y in range(height):
            at = source + channel * source_plane + y * source_row
            to = target + channel * target_plane + y * target_row
            if function == RELU and scales >= 0:
                for x in range(width):
                    v = simd.multiply_add(simd.load(memory, at + x * LANES), scale, shift)
                    simd.store(memory, to + x * LANES, simd.larger(v, simd.zero()))
            elif function == RELU:
                for x in range(width):
                    v = simd.load(memory, at + x * LANES)
                    simd.store(memory, to + x * LANES, simd.larger(v, simd.zero()))
            else:
                for x in range(width):
                    v = simd.load(memory, at + x * LANES)
                    if scales >= 0:
                        v = simd.multiply_add(v, scale, shift)
                    v = apply_function(function, first, second, v)
                    simd.store(memory, to + x * LANES, v)


@compiled
def add_planes(
    memory, left, left_plane, left_row, right, right_plane, right_row, sign,
    target, target_plane, target_row, n_channels, height, width,
):  # fmt: skip
    """target = left + sign x right; sign is 1 or -1."""
    simd.never_inline()
    factor = simd.broadcast(np.float32(sign))
    for channel in range(n_channels):
        for y in range(height):
            a = left + channel * left_plane + y * left_row
            b = right + channel * right_plane + y * right_row
            to = target + channel * target_plane + y * target_row
            for x in range(0, width * LANES, LANES):
                v = simd.multiply_add(simd.load(memory, b + x), factor, simd.load(memory, a + x))
                simd.store(memory, to + x, v)


@compiled
def copy_planes(
    memory, source, source_plane, source_row, target, target_plane, target_row,
    n_channels, height, width,
):  # fmt: skip
    simd.never_inline()
    if source == target:
        return
    for c in range(n_channels):
        for y in range(height):
            at, to = (
                source + c * source_plane + y * source_row,
                target + c * target_plane + y * target_row,
            )
            for x in range(0, width * LANES, LANES):
                simd.store(memory, to + x, simd.load(memory, at + x))


@compiled
def zero_border(memory, target, plane, row, n_channels, height, width, border_y, border_x):
    """Zeros round the image whose top left pixel the target is."""
    simd.never_inline()
    for channel in range(n_channels):
        corner = target + channel * plane - border_y * row - border_x * LANES
        for y in range(height + 2 * border_y):
            line = corner + y * row
            for x in range(border_x):  # to the left of the image, and to its right
                simd.store(memory, line + x * LANES, simd.zero())
                simd.store(memory, line + (border_x + width + x) * LANES, simd.zero())
            if y < border_y or y >= border_y + height:
                for x in range(border_x, border_x + width):
                    simd.store(memory, line + x * LANES, simd.zero())


# ------------------------------------------------------------------------------------------ pools


@compiled
def average_pool(
    memory, source, source_plane, source_row, target, target_plane, target_row,
    n_channels, height, width, kernel_size, strides,
):  # fmt: skip
    """Means of the pixels below a window without padding; height and width are the target's."""
    simd.never_inline()
    share = simd.broadcast(np.float32(1.0 / (kernel_size[0] * kernel_size[1])))
    for channel in range(n_channels):
        for y in range(height):
            for x in range(width):
                corner = source + channel * source_plane
                corner += y * strides[0] * source_row + x * strides[1] * LANES
                total = simd.zero()
                for row in range(kernel_size[0]):
                    at = corner + row * source_row
                    for column in range(kernel_size[1]):
                        total = simd.add(total, simd.load(memory, at + column * LANES))
                to = target + channel * target_plane + y * target_row + x * LANES
                simd.store(memory, to, simd.multiply(total, share))


@compiled
def max_pool(
    memory, source, source_plane, source_row, source_size, target, target_plane, target_row,
    n_channels, height, width, kernel_size, strides, padding, least,
):  # fmt: skip
    """Largest pixels below a window, or `least`; what lies outside the source is not looked at."""
    simd.never_inline()
    floor = simd.broadcast(np.float32(least))
    if kernel_size == (2, 2) and strides == (2, 2) and padding == (0, 0):
        for channel in range(n_channels):
            for y in range(height):
                at = source + channel * source_plane + 2 * y * source_row
                to = target + channel * target_plane + y * target_row
                for _ in range(width):
                    a, b = simd.load(memory, at), simd.load(memory, at + LANES)
                    c = simd.load(memory, at + source_row)
                    d = simd.load(memory, at + source_row + LANES)
                    best = simd.larger(simd.larger(simd.larger(a, b), simd.larger(c, d)), floor)
                    total = simd.add(simd.add(a, b), simd.add(c, d))
                    # what is not a number is the largest, as it is to torch
                    simd.store(memory, to, simd.where_equal(total, total, best, total))
                    at, to = at + 2 * LANES, to + LANES
        return
    for channel in range(n_channels):
        for y in range(height):
            top, left_most = y * strides[0] - padding[0], -padding[1]
            first_row, end_row = max(top, 0), min(top + kernel_size[0], source_size[0])
            for x in range(width):
                left = left_most + x * strides[1]
                first, end = max(left, 0), min(left + kernel_size[1], source_size[1])
                plane = source + channel * source_plane
                best = simd.load(memory, plane + first_row * source_row + first * LANES)
                total = simd.zero()
                for row in range(first_row, end_row):
                    for column in range(first, end):
                        v = simd.load(memory, plane + row * source_row + column * LANES)
                        best = simd.larger(best, v)
                        total = simd.add(total, v)
                best = simd.where_equal(total, total, simd.larger(best, floor), total)
                to = target + channel * target_plane + y * target_row + x * LANES
                simd.store(memory, to, best)


# --------------------------------------------------------------------------------- statistics, loss


@compiled
def add_statistics(
    memory, source, source_plane, source_row, n_channels, height, width, mask, sums, first,
):  # fmt: skip
    """Writes each channel's sum and sum of squares over a tile's pixels and images.

    Args:
        mask: the vector of 1 for the tile's images and 0 for its empty lanes.
        sums: [..] float64; those of channel c go to first + 2 c and after.
    """
    simd.never_inline()
    weight = simd.widen(mask)
    for channel in range(n_channels):
        total, squares = simd.wide_zero(), simd.wide_zero()
        for y in range(height):
            at = source + channel * source_plane + y * source_row
            for x in range(0, width * LANES, LANES):
                v = simd.widen(simd.load(memory, at + x))
                total = simd.wide_add(total, v)
                squares = simd.wide_multiply_add(v, v, squares)
        sums[first + 2 * channel] = simd.wide_sum(simd.wide_multiply(total, weight))
        sums[first + 2 * channel + 1] = simd.wide_sum(simd.wide_multiply(squares, weight))


@compiled
def summed_loss(memory, logits, n_classes, labels, sums, first):
    """Writes the cross entropy, in nats, summed over a tile's images, and how many are right.

    A loss is softplus(u - z), with z the logit of the image's own class and u the log-sum-exp of
    the others, so that small losses keep their precision.

    Args:
        logits: offset of [n_classes, LANES].
        labels: a vector of class numbers, -1 in empty lanes.
        sums: [..] float64; the two go to first and after.
    """
    simd.never_inline()
    lowest = simd.broadcast(np.float32(-np.inf))
    own, largest = simd.zero(), lowest
    for k in range(n_classes):
        z = simd.load(memory, logits + k * LANES)
        label = simd.broadcast(np.float32(k))
        own = simd.where_equal(labels, label, z, own)
        largest = simd.larger(largest, simd.where_equal(labels, label, lowest, z))
    total = simd.zero()
    for k in range(n_classes):
        z = simd.load(memory, logits + k * LANES)
        term = simd.exponential(simd.subtract(z, largest))
        label = simd.broadcast(np.float32(k))
        total = simd.add(total, simd.where_equal(labels, label, simd.zero(), term))
    others = simd.add(simd.logarithm(total), largest)
    losses = simd.softplus(simd.subtract(others, own))
    empty = simd.broadcast(np.float32(-1.0))
    losses = simd.where_equal(labels, empty, simd.zero(), losses)
    right = simd.where_positive(
        simd.subtract(own, largest), simd.broadcast(np.float32(1.0)), simd.zero()
    )
    right = simd.where_equal(labels, empty, simd.zero(), right)
    sums[first] = simd.wide_sum(simd.widen(losses))
    sums[first + 1] = simd.wide_sum(simd.widen(right))
