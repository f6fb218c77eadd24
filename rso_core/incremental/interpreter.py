"""Runs a program, a table of operations on tiles, over the images of a batch.

A program is cut into segments. Within a segment each tile goes through all the operations while
it is in the cache; between segments the threads meet, and the sums that the tiles left behind
become the scales and shifts of batch norms. `programs.py` writes the tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rso_core.incremental import kernels, simd
from rso_core.incremental.blocks import load_block, multiply_add_block, store_block, transpose
from rso_core.incremental.kernels import compiled, merged
from rso_core.incremental.simd import LANES
from rso_core.incremental.threads import wait_for_all

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

# All that a session works on lies in four arrays, since compiled functions that hand on many take
# minutes to compile: `integers` (tables and indices), `floats` (weights and activations),
# `doubles` (sums) and the images themselves. The header, the first integers, says what is where.
N_TILES = 0  # tiles of a batch
N_IMAGES = 1  # images of a batch
N_SUMS = 2  # sums of a tile
N_AFFINE = 3  # scales and shifts of a variant
VIEWS, OPERATIONS, NORMS, SEGMENTS = range(4, 8)  # tables, in the integers
BATCHES = 8  # [n_batches, N_IMAGES], positions of the images, in the integers
LABELS = 9  # [n_batches, N_TILES x LANES], class numbers, -1 in empty lanes, in the floats
SUMS_AT = 38  # [N_VARIANTS, N_TILES, N_SUMS], in the doubles
AFFINE = 10  # [n_threads, N_VARIANTS, N_AFFINE], in the floats
# the changes of weights that set a variant of the visited channel apart from the kept one:
CHANGE_FIRST, CHANGE_END = 11, 12  # [N_VARIANTS], positions in the next two, in the integers
CHANGE_WEIGHT = 13  # [..], position in the visited parameter, in the integers
CHANGE_PLACE = 14  # [..], from the first tap of the visited weights to that of the changed one
CHANGE_DELTA = 15  # [..], in the floats
CHANGE_NEGATED = 39  # [..], minus CHANGE_DELTA, in the floats
IS_UPDATE = 40  # whether the changes are carried into what is kept of a batch
SCRATCH = 42  # [n_threads, LANES, LANES], in the floats
RAW = 41  # [n_weights], the visited parameter in its own order, in the floats
WEIGHTS_PER_CHANNEL = 18  # weights of a channel
PLACES = 19  # [WEIGHTS_PER_CHANNEL], the CHANGE_PLACE of each, in the integers
CHANGE_SCALE = 16  # [N_VARIANTS, 2], added to a visited batch norm's parameters, in the floats
N_HEADER = 48  # with what `visiting` and `last_linear` add

N_VARIANTS = 4
"""Of the visited channel: as it is, and the candidates."""

# the columns of the table of views: an offset in memory, then what is added to it ...
BASE = 0
PER_SLOT = 1  # ... for every slot before that in which the batch's activations are kept
PER_TILE = 2
PER_VARIANT = 3
PER_CHANNEL = 4  # ... for every channel before the one that is visited
PER_THREAD = 5
PLANE = 6  # from channel to channel
ROW = 7  # from row to row
N_VIEW_COLUMNS = 8

# the columns of the table of operations
CODE = 0
SOURCE, OTHER, TARGET = 1, 2, 3  # views; -1 for none
CHANNELS = 4  # of the target
HEIGHT, WIDTH = 5, 6  # of the target
KERNEL_Y, KERNEL_X, STRIDE_Y, STRIDE_X, DILATION_Y, DILATION_X, PADDING_Y, PADDING_X = range(7, 15)
WEIGHT, BIAS = 15, 16  # offsets in the weights; -1 for none
INPUTS = 17  # channels of the source
FUNCTION = 18  # code of a pointwise function
SCALES = 19  # offset in the affine coefficients of a variant; -1 for none
SUMS = 20  # offset in the sums of a tile
SOURCE_HEIGHT, SOURCE_WIDTH = 21, 22
FLAG = 23
ARGUMENTS = 24  # offset of the pointwise function's two in the floats
N_OPERATION_COLUMNS = 25

(
    IMAGES, CONVOLVE, SHARE, TRANSFORM, AVERAGE, MAXIMUM, ADD, ADD_CHANNEL, CHANGE, STATISTICS,
    LOSS, BORDER, CHANNEL,
) = range(13)  # fmt: skip

# the columns of the table of batch norms
NORM_SUMS, NORM_CHANNELS, NORM_GAMMA, NORM_BETA, NORM_SCALES, NORM_PIXELS, NORM_ONE = range(7)
NORM_EPSILON = 7  # offset in the floats
N_NORM_COLUMNS = 8

# the columns of the table of segments
FIRST_NORM, END_NORM, FIRST_OPERATION, END_OPERATION = range(4)
N_SEGMENT_COLUMNS = 4


@compiled
def run_program(
    integers: Any, floats: Any, doubles: Any, inputs: Any, first_segment: int, end_segment: int,
    batch: int, slot: int, channel: int, first_variant: int, end_variant: int, thread: int,
    n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    """Runs the segments over all tiles of a batch.

    Args:
        integers, floats, doubles: see the header.
        inputs: [n_images, n_features] float32.
        first_segment, end_segment: the program's.
        batch: whose images and labels are read.
        slot: where the batch's activations are kept.
        channel: the visited one.
        first_variant, end_variant: those to run.
        thread, n_threads, barrier: this one, all of them, and where they meet.
    """
    simd.never_inline()
    n_tiles = integers[N_TILES]
    first_tile, end_tile = thread * n_tiles // n_threads, (thread + 1) * n_tiles // n_threads
    for segment in range(first_segment, end_segment):
        row = integers[SEGMENTS] + segment * N_SEGMENT_COLUMNS
        first_norm, end_norm = integers[row + FIRST_NORM], integers[row + END_NORM]
        if first_norm < end_norm:
            wait_for_all(barrier, n_threads)
            for norm in range(first_norm, end_norm):
                for variant in range(first_variant, end_variant):
                    _set_scales(integers, floats, doubles, norm, variant, channel, thread)
        first, end = integers[row + FIRST_OPERATION], integers[row + END_OPERATION]
        for tile in range(first_tile, end_tile):
            for operation in range(first, end):
                for variant in range(first_variant, end_variant):
                    _run_operation(
                        integers, floats, doubles, inputs, operation, batch, slot, tile, variant,
                        channel, thread,
                    )  # fmt: skip


@merged
def _scales(integers: Any, variant: int, thread: int) -> int:
    """Offset of a thread's scales and shifts of a variant."""
    return integers[AFFINE] + (thread * N_VARIANTS + variant) * integers[N_AFFINE]


@compiled
def sums_of(integers: Any, variant: int, tile: int) -> int:
    """Offset of a tile's sums for a variant."""
    return integers[SUMS_AT] + (variant * integers[N_TILES] + tile) * integers[N_SUMS]


@compiled
def _set_scales(
    integers: Any, floats: Any, doubles: Any, norm: int, variant: int, channel: int, thread: int
) -> None:
    """Scale and shift of a batch norm from the sums of all tiles."""
    simd.never_inline()
    row = integers[NORMS] + norm * N_NORM_COLUMNS
    n = integers[N_IMAGES] * integers[row + NORM_PIXELS]
    gamma_at, beta_at = integers[row + NORM_GAMMA], integers[row + NORM_BETA]
    one = integers[row + NORM_ONE]
    first_parameter = channel if one > 0 else 0
    target = _scales(integers, variant, thread) + integers[row + NORM_SCALES]
    epsilon = floats[integers[row + NORM_EPSILON]]
    for c in range(integers[row + NORM_CHANNELS]):
        total, squares = 0.0, 0.0
        for tile in range(integers[N_TILES]):
            at = sums_of(integers, variant, tile) + integers[row + NORM_SUMS] + 2 * c
            total += doubles[at]
            squares += doubles[at + 1]
        mean = total / n
        variance = squares / n - mean * mean
        if variance < 0.0:
            variance = 0.0
        gamma = float(floats[gamma_at + first_parameter + c]) if gamma_at >= 0 else 1.0
        beta = float(floats[beta_at + first_parameter + c]) if beta_at >= 0 else 0.0
        if one == 2:
            gamma += float(floats[integers[CHANGE_SCALE] + 2 * variant])
            beta += float(floats[integers[CHANGE_SCALE] + 2 * variant + 1])
        scale = gamma / np.sqrt(variance + epsilon)
        floats[target + 2 * c] = np.float32(scale)
        floats[target + 2 * c + 1] = np.float32(beta - mean * scale)


@merged
def _offset(
    integers: Any, view: int, slot: int, tile: int, variant: int, channel: int, thread: int
) -> int:
    return (
        integers[view + BASE]
        + slot * integers[view + PER_SLOT]
        + tile * integers[view + PER_TILE]
        + variant * integers[view + PER_VARIANT]
        + channel * integers[view + PER_CHANNEL]
        + thread * integers[view + PER_THREAD]
    )


@merged
def _run_operation(
    integers: Any, floats: Any, doubles: Any, inputs: Any, operation: int, batch: int, slot: int,
    tile: int, variant: int, channel: int, thread: int,
) -> None:  # fmt: skip
    row = integers[OPERATIONS] + operation * N_OPERATION_COLUMNS
    code = integers[row + CODE]
    n_channels = integers[row + CHANNELS]
    height, width = integers[row + HEIGHT], integers[row + WIDTH]
    kernel_size = (integers[row + KERNEL_Y], integers[row + KERNEL_X])
    strides = (integers[row + STRIDE_Y], integers[row + STRIDE_X])
    source = source_plane = source_row = other = other_plane = other_row = 0
    target = target_plane = target_row = 0
    if integers[row + SOURCE] >= 0:
        view = integers[VIEWS] + integers[row + SOURCE] * N_VIEW_COLUMNS
        source = _offset(integers, view, slot, tile, variant, channel, thread)
        source_plane, source_row = integers[view + PLANE], integers[view + ROW]
    if integers[row + OTHER] >= 0:
        view = integers[VIEWS] + integers[row + OTHER] * N_VIEW_COLUMNS
        other = _offset(integers, view, slot, tile, variant, channel, thread)
        other_plane, other_row = integers[view + PLANE], integers[view + ROW]
    if integers[row + TARGET] >= 0:
        view = integers[VIEWS] + integers[row + TARGET] * N_VIEW_COLUMNS
        target = _offset(integers, view, slot, tile, variant, channel, thread)
        target_plane, target_row = integers[view + PLANE], integers[view + ROW]

    if code == CONVOLVE or code == SHARE:
        steps = (*strides, integers[row + DILATION_Y], integers[row + DILATION_X])
        weight, bias, kept = integers[row + WEIGHT], integers[row + BIAS], -1
        if code == SHARE:  # of the visited channel alone, added to what is kept
            weight += channel * kernel_size[0] * kernel_size[1] * n_channels
            bias, kept = -1, other
            nothing_changed = variant == 0
            if nothing_changed or target_plane != other_plane or target_row != other_row:
                _copy(floats, other, other_plane, other_row, target, target_plane, target_row,
                      n_channels, height, width)  # fmt: skip
                kept = target
            if nothing_changed:
                return
        kernels.convolve(
            floats, source, source_plane, source_row, target, target_plane, target_row, kept,
            weight, bias, integers[row + INPUTS], n_channels, kernel_size, steps, height, width,
        )  # fmt: skip
    elif code == TRANSFORM:
        scales = integers[row + SCALES]
        if scales >= 0:
            scales += _scales(integers, variant, thread)
        arguments = integers[row + ARGUMENTS]
        kernels.transform(
            floats, source, source_plane, source_row, target, target_plane, target_row,
            n_channels, height, width, scales, integers[row + FUNCTION],
            floats[arguments], floats[arguments + 1],
        )  # fmt: skip
    elif code == STATISTICS:
        labels = simd.load(floats, _labels(integers, batch, tile))
        empty, one = simd.broadcast(np.float32(-1.0)), simd.broadcast(np.float32(1.0))
        mask = simd.where_equal(labels, empty, simd.zero(), one)
        kernels.add_statistics(
            floats, source, source_plane, source_row, n_channels, height, width, mask,
            doubles, sums_of(integers, variant, tile) + integers[row + SUMS],
        )  # fmt: skip
    elif code == AVERAGE:
        kernels.average_pool(
            floats, source, source_plane, source_row, target, target_plane, target_row,
            n_channels, height, width, kernel_size, strides,
        )  # fmt: skip
    elif code == MAXIMUM:
        source_size = (integers[row + SOURCE_HEIGHT], integers[row + SOURCE_WIDTH])
        padding = (integers[row + PADDING_Y], integers[row + PADDING_X])
        kernels.max_pool(
            floats, source, source_plane, source_row, source_size, target, target_plane,
            target_row, n_channels, height, width, kernel_size, strides, padding,
        )  # fmt: skip
    elif code == ADD:
        kernels.add_planes(
            floats, source, source_plane, source_row, other, other_plane, other_row,
            integers[row + FLAG], target, target_plane, target_row, n_channels, height, width,
        )  # fmt: skip
    elif code == ADD_CHANNEL:  # the change of the visited channel, to a copy of all channels
        _copy(floats, other, other_plane, other_row, target, target_plane, target_row,
              n_channels, height, width)  # fmt: skip
        to = target + channel * target_plane
        kernels.add_planes(
            floats, to, target_plane, target_row, source, source_plane, source_row, np.int64(1),
            to, target_plane, target_row, np.int64(1), height, width,
        )  # fmt: skip
    elif code == CHANGE:
        _change(integers, floats, row, source, source_row, other, other_row, target, target_row,
                variant)  # fmt: skip
    elif code == CHANNEL:
        if variant == 0:  # it is the same for all
            _channel(integers, floats, row, source, source_row, target, target_row, channel)
    elif code == IMAGES:
        _read_images(integers, floats, inputs, batch, tile, target, target_plane, target_row,
                     n_channels, height, width, integers[SCRATCH] + thread * LANES * LANES)  # fmt: skip
    elif code == BORDER:
        kernels.zero_border(
            floats, target, target_plane, target_row, n_channels, height, width,
            integers[row + PADDING_Y], integers[row + PADDING_X],
        )  # fmt: skip
    else:
        labels = simd.load(floats, _labels(integers, batch, tile))
        sums = sums_of(integers, variant, tile) + integers[row + SUMS]
        kernels.summed_loss(floats, source, n_channels, labels, doubles, sums)


@merged
def _labels(integers: Any, batch: int, tile: int) -> int:
    return integers[LABELS] + (batch * integers[N_TILES] + tile) * LANES


@compiled
def _copy(
    memory, source, source_plane, source_row, target, target_plane, target_row,
    n_channels, height, width,
):  # fmt: skip  # type: ignore[no-untyped-def]
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
def _read_images(
    integers, floats, inputs, batch, tile, target, target_plane, target_row, n_channels, height,
    width, scratch,
):  # fmt: skip  # type: ignore[no-untyped-def]
    """Lays the tile's images side by side; empty lanes hold the batch's last one.

    Args:
        scratch: offset of room for LANES vectors.
    """
    simd.never_inline()
    last = integers[N_IMAGES] - 1
    images = integers[BATCHES] + batch * integers[N_IMAGES]
    n_pixels = height * width
    n_features = n_channels * n_pixels
    for first in range(0, n_features, LANES):
        n = min(LANES, n_features - first)
        if n == LANES:
            for lane in range(LANES):
                image = integers[images + min(tile * LANES + lane, last)]
                simd.store(floats, scratch + lane * LANES, simd.load2(inputs, image, first))
            transpose(floats, scratch)
        else:
            for lane in range(LANES):
                image = integers[images + min(tile * LANES + lane, last)]
                for feature in range(n):
                    floats[scratch + feature * LANES + lane] = inputs[image, first + feature]
        for feature in range(n):
            c, pixel = (first + feature) // n_pixels, (first + feature) % n_pixels
            to = target + c * target_plane + pixel // width * target_row + pixel % width * LANES
            simd.store(floats, to, simd.load(floats, scratch + feature * LANES))


def _changed_rows(n_pixels: int) -> Any:
    """A kernel that adds changes of weights to rows of a plane, n_pixels at a time."""

    @compiled
    def kernel(
        floats, integers, kept, kept_row, source, target, target_row, steps, height, begin, width,
        changes, places, first, end,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        simd.never_inline()
        step_y, step_x = steps
        for y in range(height):
            for x in range(begin, width, n_pixels):
                at = kept + y * kept_row + x * LANES
                sums = load_block(floats, at, 0, LANES, 1, n_pixels)
                corner = source + y * step_y + x * step_x
                for change in range(first, end):
                    sums = multiply_add_block(
                        sums, floats, changes + change, floats,
                        corner + integers[places + change], step_x, 1, n_pixels,
                    )  # fmt: skip
                to = target + y * target_row + x * LANES
                store_block(floats, to, 0, LANES, 1, n_pixels, sums)

    return kernel


_changed_rows_7, _changed_rows_4, _changed_rows_1 = (_changed_rows(n) for n in (7, 4, 1))


@compiled
def _change(
    integers, floats, row, kept, kept_row, source, source_row, target, target_row, variant,
):  # fmt: skip  # type: ignore[no-untyped-def]
    """The visited channel's plane of a variant: the kept one, and what the changes add to it.

    During an update variant 1 also becomes the kept plane. Where no plane is kept but computed
    with the weights of now (FLAG 2), variant 1 is that, and variant 0 lacks the changes.
    """
    simd.never_inline()
    height, width = integers[row + HEIGHT], integers[row + WIDTH]
    first = integers[integers[CHANGE_FIRST] + variant]
    end = integers[integers[CHANGE_END] + variant]
    changes = integers[CHANGE_DELTA]
    if integers[IS_UPDATE] == 1:
        if integers[row + FLAG] & 2 and variant < 2:
            other = 1 - variant
            first = integers[integers[CHANGE_FIRST] + other]
            end = integers[integers[CHANGE_END] + other]
            changes = integers[CHANGE_NEGATED]
        elif first < end:
            _add_changes(integers, floats, row, kept, kept_row, source, source_row, kept, kept_row,
                         changes, integers[CHANGE_PLACE], first, end)  # fmt: skip
            end = first
    if first >= end:
        _copy(floats, kept, 0, kept_row, target, 0, target_row, np.int64(1), height, width)
    else:
        _add_changes(integers, floats, row, kept, kept_row, source, source_row, target, target_row,
                     changes, integers[CHANGE_PLACE], first, end)  # fmt: skip


@compiled
def _channel(
    integers, floats, row, source, source_row, target, target_row, channel,
):  # fmt: skip  # type: ignore[no-untyped-def]
    """The visited channel's plane with the weights of now."""
    simd.never_inline()
    start = simd.zero()
    if integers[row + BIAS] >= 0:
        start = simd.broadcast(floats[integers[row + BIAS] + channel])
    for y in range(integers[row + HEIGHT]):
        for x in range(integers[row + WIDTH]):
            simd.store(floats, target + y * target_row + x * LANES, start)
    n = integers[WEIGHTS_PER_CHANNEL]
    _add_changes(integers, floats, row, target, target_row, source, source_row, target, target_row,
                 integers[RAW] + channel * n, integers[PLACES], np.int64(0), n)  # fmt: skip


@compiled
def _add_changes(
    integers, floats, row, kept, kept_row, source, source_row, target, target_row, changes, places,
    first, end,
):  # fmt: skip  # type: ignore[no-untyped-def]
    """target = kept + the changes.

    A change of a weight adds delta times the shifted plane of its input channel, a change of a
    bias adds delta; where an average pool follows, all of it is pooled.
    """
    simd.never_inline()
    height, width = integers[row + HEIGHT], integers[row + WIDTH]
    steps = (integers[row + STRIDE_Y] * source_row, integers[row + STRIDE_X] * LANES)
    pool_y, pool_x = integers[row + PADDING_Y], integers[row + PADDING_X]
    if integers[row + FLAG] & 1:  # a bias
        step = simd.zero()
        for change in range(first, end):
            step = simd.add(step, simd.broadcast(floats[changes + change]))
        for y in range(height):
            for x in range(0, width * LANES, LANES):
                v = simd.load(floats, kept + y * kept_row + x)
                simd.store(floats, target + y * target_row + x, simd.add(v, step))
    elif pool_y * pool_x > 1:
        _change_pooled(integers, floats, kept, kept_row, source, target, target_row, steps, height,
                       width, (pool_y, pool_x), changes, places, first, end)  # fmt: skip
    else:
        # a few at a time, so that the planes that they read stay in the cache
        n_at_once = integers[row + KERNEL_Y] * integers[row + KERNEL_X]
        even = width - width % 4
        at, at_row = kept, kept_row
        for begin in range(first, end, n_at_once):
            stop = min(begin + n_at_once, end)
            if width % 7 == 0:
                _changed_rows_7(floats, integers, at, at_row, source, target, target_row, steps,
                                height, np.int64(0), width, changes, places, begin, stop)  # fmt: skip
            else:
                _changed_rows_4(floats, integers, at, at_row, source, target, target_row, steps,
                                height, np.int64(0), even, changes, places, begin, stop)  # fmt: skip
                _changed_rows_1(floats, integers, at, at_row, source, target, target_row, steps,
                                height, even, width, changes, places, begin, stop)  # fmt: skip
            at, at_row = target, target_row


@compiled
def _change_pooled(
    integers, floats, kept, kept_row, source, target, target_row, steps, height, width, pool,
    changes, places, first, end,
):  # fmt: skip  # type: ignore[no-untyped-def]
    simd.never_inline()
    share = np.float32(1.0) / np.float32(pool[0] * pool[1])
    for y in range(height):
        for x in range(width):
            v = simd.load(floats, kept + y * kept_row + x * LANES)
            corner = source + y * pool[0] * steps[0] + x * pool[1] * steps[1]
            for change in range(first, end):
                total = simd.zero()
                place = corner + integers[places + change]
                for j in range(pool[0]):
                    for i in range(pool[1]):
                        at = place + j * steps[0] + i * steps[1]
                        total = simd.add(total, simd.load(floats, at))
                step = simd.broadcast(floats[changes + change] * share)
                v = simd.multiply_add(step, total, v)
            simd.store(floats, target + y * target_row + x * LANES, v)
