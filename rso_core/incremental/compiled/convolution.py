"""Convolution of a tile, with its sums in registers."""

from __future__ import annotations

from typing import Any

import numpy as np

from rso_core.incremental.compiled import simd
from rso_core.incremental.compiled.blocks import (
    broadcast_block,
    load_block,
    multiply_add_block,
    store_block,
    zero_block,
)
from rso_core.incremental.compiled.compilation import compiled, merged, named
from rso_core.incremental.compiled.simd import LANES


def _blocks(n_outputs: int, n_pixels: int) -> Any:
    """A kernel that computes n_outputs channels of rows of a convolution, n_pixels at a time."""

    @compiled
    @named(n_outputs, n_pixels)
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
                                sums, memory, w, memory, at, step_x * LANES, n_outputs, n_pixels, 1
                            )
                            at += tap_x * LANES
                            w += n_outputs
                store_block(memory, place, target_plane, LANES, n_outputs, n_pixels, sums)

    return kernel


def _rows(n_outputs: int, n_pixels: int) -> Any:
    """A kernel that computes n_outputs channels of all rows; what n_pixels do not fill singly."""
    many, single = _blocks(n_outputs, n_pixels), _blocks(n_outputs, 1)

    @compiled
    @named(n_outputs, n_pixels)
    def kernel(
        memory, source, source_plane, source_row, target, target_plane, target_row, kept,
        weight, weight_plane, bias, n_inputs, kernel_size, steps, height, width,
    ):  # fmt: skip
        simd.never_inline()
        even = width - width % n_pixels
        if even > 0:
            many(memory, source, source_plane, source_row, target, target_plane, target_row, kept,
                 weight, weight_plane, bias, n_inputs, kernel_size, steps, height, np.int64(0),
                 even)  # fmt: skip
        if even < width:
            single(memory, source, source_plane, source_row, target, target_plane, target_row, kept,
                   weight, weight_plane, bias, n_inputs, kernel_size, steps, height, even,
                   width)  # fmt: skip

    return kernel


_rows_8, _rows_4, _rows_2, _rows_1 = _rows(8, 2), _rows(4, 4), _rows(2, 4), _rows(1, 4)


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
        to = target + done * target_plane
        add_to = kept + done * target_plane if kept >= 0 else -1
        w = weight + done * n_taps
        b = bias + done if bias >= 0 else -1
        if n == 8:
            _rows_8(memory, source, source_plane, source_row, to, target_plane, target_row, add_to,
                    w, weight_plane, b, n_inputs, kernel_size, steps, height, width)  # fmt: skip
        elif n == 4:
            _rows_4(memory, source, source_plane, source_row, to, target_plane, target_row, add_to,
                    w, weight_plane, b, n_inputs, kernel_size, steps, height, width)  # fmt: skip
        elif n == 2:
            _rows_2(memory, source, source_plane, source_row, to, target_plane, target_row, add_to,
                    w, weight_plane, b, n_inputs, kernel_size, steps, height, width)  # fmt: skip
        else:
            _rows_1(memory, source, source_plane, source_row, to, target_plane, target_row, add_to,
                    w, weight_plane, b, n_inputs, kernel_size, steps, height, width)  # fmt: skip
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
