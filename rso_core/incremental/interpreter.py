"""Runs a program, a table of operations on tiles, over the images of a batch.

A program is cut into segments. Within a segment each tile goes through all the operations while
it is in the cache; between segments the threads meet, and the sums that the tiles left behind
become the scales and shifts of batch norms. `programs.py` writes the tables.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rso_core.incremental import kernels, simd
from rso_core.incremental.kernels import compiled
from rso_core.incremental.simd import LANES
from rso_core.incremental.threads import wait_for_all

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

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
FUNCTION = 18  # code of a pointwise function; its two arguments are in the table of arguments
SCALES = 19  # offset in the affine coefficients of a variant; -1 for none
SUMS = 20  # offset in the sums of a tile
SOURCE_HEIGHT, SOURCE_WIDTH = 21, 22
FLAG = 23
N_OPERATION_COLUMNS = 24

(
    IMAGES, CONVOLVE, SHARE, TRANSFORM, AVERAGE, MAXIMUM, ADD, ADD_CHANNEL, CHANGE, STATISTICS,
    LOSS, BORDER,
) = range(12)  # fmt: skip

# the columns of the table of batch norms
NORM_SUMS, NORM_CHANNELS, NORM_GAMMA, NORM_BETA, NORM_SCALES, NORM_PIXELS, NORM_ONE = range(7)
N_NORM_COLUMNS = 7

# the columns of the table of segments
FIRST_NORM, END_NORM, FIRST_OPERATION, END_OPERATION = range(4)


class Tables(NamedTuple):
    """The programs of a session and what they work on."""

    views: Integers
    """[n_views, N_VIEW_COLUMNS]"""
    operations: Integers
    """[n_operations, N_OPERATION_COLUMNS]"""
    arguments: Floats
    """[n_operations, 2]"""
    norms: Integers
    """[n_norms, N_NORM_COLUMNS]"""
    epsilons: Doubles
    """[n_norms]"""
    segments: Integers
    """[n_segments, 4], those of one program after those of another."""
    memory: Floats
    """[..]: the activations."""
    weights: Floats
    """[..]: packed weights, biases, scales and shifts."""
    affine: Floats
    """[n_threads, n_variants, n_affine]: scale and shift of every batch norm's channels."""
    sums: Doubles
    """[n_variants, n_tiles, n_sums]: what a tile adds to statistics and losses."""
    inputs: Floats
    """[n_images, n_features], read-only."""
    images: Integers
    """[n_batches, batch_size], positions in inputs."""
    labels: Floats
    """[n_batches, n_tiles x LANES]: class numbers, -1 in empty lanes."""


class Changes(NamedTuple):
    """The changes of weights that set a variant of the visited channel apart."""

    first: Integers
    """[n_variants], positions in `weight` and `delta`."""
    end: Integers
    """[n_variants]"""
    weight: Integers
    """[..]: position in the visited parameter."""
    delta: Floats
    """[..]"""
    scale: Floats
    """[n_variants, 2]: added to gamma and beta where a batch norm is visited."""


@compiled
def run_program(
    tables: Any, changes: Any, first_segment: int, end_segment: int, batch: int, slot: int,
    channel: int, first_variant: int, end_variant: int, thread: int, n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    """Runs the segments over all tiles of a batch.

    Args:
        tables: `Tables`.
        changes: `Changes`.
        first_segment, end_segment: the program's.
        batch: whose images and labels are read.
        slot: where the batch's activations are kept.
        channel: the visited one.
        first_variant, end_variant: those to run.
        thread, n_threads, barrier: this one, all of them, and where they meet.
    """
    n_tiles = tables.sums.shape[1]
    first_tile, end_tile = thread * n_tiles // n_threads, (thread + 1) * n_tiles // n_threads
    for segment in range(first_segment, end_segment):
        row = tables.segments[segment]
        if row[FIRST_NORM] < row[END_NORM]:
            wait_for_all(barrier, n_threads)
            for norm in range(row[FIRST_NORM], row[END_NORM]):
                for variant in range(first_variant, end_variant):
                    _set_scales(tables, changes, norm, variant, channel, thread)
        for tile in range(first_tile, end_tile):
            for operation in range(row[FIRST_OPERATION], row[END_OPERATION]):
                for variant in range(first_variant, end_variant):
                    _run_operation(
                        tables, changes, operation, batch, slot, tile, variant, channel, thread
                    )


@compiled
def _set_scales(
    tables: Any, changes: Any, norm: int, variant: int, channel: int, thread: int
) -> None:
    """Scale and shift of a batch norm from the sums of all tiles."""
    row = tables.norms[norm]
    n_images = tables.images.shape[1]
    n = n_images * row[NORM_PIXELS]
    first_parameter = channel if row[NORM_ONE] > 0 else 0
    scales = tables.affine[thread, variant]
    for c in range(row[NORM_CHANNELS]):
        total, squares = 0.0, 0.0
        for tile in range(tables.sums.shape[1]):
            total += tables.sums[variant, tile, row[NORM_SUMS] + 2 * c]
            squares += tables.sums[variant, tile, row[NORM_SUMS] + 2 * c + 1]
        mean = total / n
        variance = max(squares / n - mean * mean, 0.0) + 0.0 * squares
        gamma, beta = 1.0, 0.0
        if row[NORM_GAMMA] >= 0:
            gamma = float(tables.weights[row[NORM_GAMMA] + first_parameter + c])
        if row[NORM_BETA] >= 0:
            beta = float(tables.weights[row[NORM_BETA] + first_parameter + c])
        if row[NORM_ONE] == 2:
            gamma += float(changes.scale[variant, 0])
            beta += float(changes.scale[variant, 1])
        scale = gamma / np.sqrt(variance + tables.epsilons[norm])
        scales[row[NORM_SCALES] + 2 * c] = np.float32(scale)
        scales[row[NORM_SCALES] + 2 * c + 1] = np.float32(beta - mean * scale)


@compiled
def _offset(view: Any, slot: int, tile: int, variant: int, channel: int, thread: int) -> int:
    return (
        view[BASE]
        + slot * view[PER_SLOT]
        + tile * view[PER_TILE]
        + variant * view[PER_VARIANT]
        + channel * view[PER_CHANNEL]
        + thread * view[PER_THREAD]
    )


@compiled
def _run_operation(
    tables: Any, changes: Any, operation: int, batch: int, slot: int, tile: int, variant: int,
    channel: int, thread: int,
) -> None:  # fmt: skip
    memory = tables.memory
    row = tables.operations[operation]
    code = row[CODE]
    n_channels, height, width = row[CHANNELS], row[HEIGHT], row[WIDTH]
    kernel_size = (row[KERNEL_Y], row[KERNEL_X])
    strides = (row[STRIDE_Y], row[STRIDE_X])
    source = source_plane = source_row = other = other_plane = other_row = 0
    target = target_plane = target_row = 0
    if row[SOURCE] >= 0:
        view = tables.views[row[SOURCE]]
        source = _offset(view, slot, tile, variant, channel, thread)
        source_plane, source_row = view[PLANE], view[ROW]
    if row[OTHER] >= 0:
        view = tables.views[row[OTHER]]
        other = _offset(view, slot, tile, variant, channel, thread)
        other_plane, other_row = view[PLANE], view[ROW]
    if row[TARGET] >= 0:
        view = tables.views[row[TARGET]]
        target = _offset(view, slot, tile, variant, channel, thread)
        target_plane, target_row = view[PLANE], view[ROW]

    if code == CONVOLVE or code == SHARE:
        steps = (row[STRIDE_Y], row[STRIDE_X], row[DILATION_Y], row[DILATION_X])
        weight, bias, kept = row[WEIGHT], row[BIAS], -1
        if code == SHARE:  # of the visited channel alone, added to what is kept
            weight += channel * kernel_size[0] * kernel_size[1] * n_channels
            bias, kept = -1, other
            if variant == 0 and row[FLAG] == 0:  # nothing has changed
                _copy(memory, other, other_plane, other_row, target, target_plane, target_row,
                      n_channels, height, width)  # fmt: skip
                return
            if target_plane != other_plane or target_row != other_row:
                _copy(memory, other, other_plane, other_row, target, target_plane, target_row,
                      n_channels, height, width)  # fmt: skip
                kept = target
        kernels.convolve(
            memory, source, source_plane, source_row, target, target_plane, target_row, kept,
            tables.weights, weight, bias, row[INPUTS], n_channels, kernel_size, steps,
            height, width,
        )  # fmt: skip
    elif code == TRANSFORM:
        kernels.transform(
            memory, source, source_plane, source_row, target, target_plane, target_row,
            n_channels, height, width, tables.affine[thread, variant], row[SCALES],
            row[FUNCTION], tables.arguments[operation, 0], tables.arguments[operation, 1],
        )  # fmt: skip
    elif code == STATISTICS:
        labels = simd.load(tables.labels[batch], tile * LANES)
        empty, one = simd.broadcast(np.float32(-1.0)), simd.broadcast(np.float32(1.0))
        mask = simd.where_equal(labels, empty, simd.zero(), one)
        kernels.add_statistics(
            memory, source, source_plane, source_row, n_channels, height, width, mask,
            tables.sums[variant, tile], row[SUMS],
        )  # fmt: skip
    elif code == AVERAGE:
        kernels.average_pool(
            memory, source, source_plane, source_row, target, target_plane, target_row,
            n_channels, height, width, kernel_size, strides,
        )  # fmt: skip
    elif code == MAXIMUM:
        kernels.max_pool(
            memory, source, source_plane, source_row, (row[SOURCE_HEIGHT], row[SOURCE_WIDTH]),
            target, target_plane, target_row, n_channels, height, width, kernel_size, strides,
            (row[PADDING_Y], row[PADDING_X]),
        )  # fmt: skip
    elif code == ADD:
        kernels.add_planes(
            memory, source, source_plane, source_row, other, other_plane, other_row, row[FLAG],
            target, target_plane, target_row, n_channels, height, width,
        )  # fmt: skip
    elif code == ADD_CHANNEL:  # the change of the visited channel, to a copy of all channels
        _copy(memory, other, other_plane, other_row, target, target_plane, target_row,
              n_channels, height, width)  # fmt: skip
        to = target + channel * target_plane
        kernels.add_planes(
            memory, to, target_plane, target_row, source, source_plane, source_row, 1,
            to, target_plane, target_row, 1, height, width,
        )  # fmt: skip
    elif code == CHANGE:
        _change(tables, changes, row, source, source_row, other, other_plane, other_row,
                target, target_row, variant)  # fmt: skip
    elif code == IMAGES:
        _read_images(tables, batch, tile, target, target_plane, target_row,
                     n_channels, height, width)  # fmt: skip
    elif code == BORDER:
        kernels.zero_border(
            memory, target, target_plane, target_row, n_channels, height, width,
            row[PADDING_Y], row[PADDING_X],
        )  # fmt: skip
    else:
        labels = simd.load(tables.labels[batch], tile * LANES)
        loss, n_right = kernels.summed_loss(memory, source, n_channels, labels)
        tables.sums[variant, tile, row[SUMS]] = loss
        tables.sums[variant, tile, row[SUMS] + 1] = n_right


@compiled
def _copy(
    memory, source, source_plane, source_row, target, target_plane, target_row,
    n_channels, height, width,
):  # fmt: skip  # type: ignore[no-untyped-def]
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
def _read_images(tables, batch, tile, target, target_plane, target_row, n_channels, height, width):  # type: ignore[no-untyped-def]
    """Lays the tile's images side by side; empty lanes hold the batch's last one."""
    images = tables.images[batch]
    last = len(images) - 1
    for lane in range(LANES):
        image = tables.inputs[images[min(tile * LANES + lane, last)]]
        feature = 0
        for c in range(n_channels):
            for y in range(height):
                to = target + c * target_plane + y * target_row + lane
                for x in range(width):
                    tables.memory[to + x * LANES] = image[feature + x]
                feature += width


@compiled
def _change(
    tables,
    changes,
    row,
    kept,
    kept_row,
    source,
    source_plane,
    source_row,
    target,
    target_row,
    variant,
):  # type: ignore[no-untyped-def]
    """The visited channel's plane of a variant: the kept one, and what the changes add to it.

    A change of a weight adds delta times the shifted plane of its input channel, a change of a
    bias adds delta; where an average pool follows, all of it is pooled.
    """
    memory = tables.memory
    height, width = row[HEIGHT], row[WIDTH]
    pool_y, pool_x = row[PADDING_Y], row[PADDING_X]
    n_taps = row[KERNEL_Y] * row[KERNEL_X]
    share = np.float32(1.0) / np.float32(pool_y * pool_x)
    first, end = changes.first[variant], changes.end[variant]
    if first >= end:
        _copy(memory, kept, 0, kept_row, target, 0, target_row, 1, height, width)
    for position in range(first, end):
        at = kept if position == first else target
        at_row = kept_row if position == first else target_row
        delta = changes.delta[position]
        if row[FLAG] == 1:  # a bias
            step = simd.broadcast(delta)
            for y in range(height):
                for x in range(0, width * LANES, LANES):
                    v = simd.load(memory, at + y * at_row + x)
                    simd.store(memory, target + y * target_row + x, simd.add(v, step))
            continue
        weight = changes.weight[position] % (row[INPUTS] * n_taps)
        tap = weight % n_taps
        corner = source + (weight // n_taps) * source_plane
        corner += (tap // row[KERNEL_X]) * row[DILATION_Y] * source_row
        corner += (tap % row[KERNEL_X]) * row[DILATION_X] * LANES
        step_x = row[STRIDE_X] * LANES
        step_y = row[STRIDE_Y] * source_row
        if pool_y * pool_x == 1:
            step = simd.broadcast(delta)
            for y in range(height):
                line = corner + y * step_y
                for x in range(width):
                    v = simd.load(memory, at + y * at_row + x * LANES)
                    v = simd.multiply_add(step, simd.load(memory, line + x * step_x), v)
                    simd.store(memory, target + y * target_row + x * LANES, v)
        else:
            step = simd.broadcast(delta * share)
            for y in range(height):
                for x in range(width):
                    total = simd.zero()
                    for j in range(pool_y):
                        line = corner + (y * pool_y + j) * step_y + x * pool_x * step_x
                        for i in range(pool_x):
                            total = simd.add(total, simd.load(memory, line + i * step_x))
                    v = simd.load(memory, at + y * at_row + x * LANES)
                    v = simd.multiply_add(step, total, v)
                    simd.store(memory, target + y * target_row + x * LANES, v)
