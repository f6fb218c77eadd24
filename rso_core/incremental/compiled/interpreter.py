"""Runs a program, a table of operations on tiles, over the images of a batch.

A program is cut into segments. Within a segment each tile goes through all the operations while
it is in the cache; between segments the threads meet, and the sums that the tiles left behind
become the scales and shifts of batch norms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rso_core.incremental.compiled import kernels, simd
from rso_core.incremental.compiled.blocks import transpose
from rso_core.incremental.compiled.changes import add_variant, compute_channel
from rso_core.incremental.compiled.compilation import compiled, merged
from rso_core.incremental.compiled.convolution import convolve
from rso_core.incremental.compiled.exchange import add_up
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.compiled.tables import (
    ADD,
    ADD_CHANNEL,
    AFFINE,
    ARGUMENTS,
    AVERAGE,
    BASE,
    BATCHES,
    BIAS,
    BORDER,
    CHANGE,
    CHANGE_SCALE,
    CHANNEL,
    CHANNELS,
    CODE,
    CONVOLVE,
    DILATION_X,
    DILATION_Y,
    END_NORM,
    END_OPERATION,
    FIRST_NORM,
    FIRST_OPERATION,
    FLAG,
    FUNCTION,
    GROUP,
    GROUP_SUMS,
    HEIGHT,
    IMAGES,
    INPUTS,
    KERNEL_X,
    KERNEL_Y,
    LABELS,
    MAXIMUM,
    N_AFFINE,
    N_ALL_IMAGES,
    N_IMAGES,
    N_NORM_COLUMNS,
    N_OPERATION_COLUMNS,
    N_SEGMENT_COLUMNS,
    N_SUMS,
    N_TILES,
    N_VARIANTS,
    N_VIEW_COLUMNS,
    NORM_BETA,
    NORM_CHANNELS,
    NORM_EPSILON,
    NORM_GAMMA,
    NORM_ONE,
    NORM_PIXELS,
    NORM_SCALES,
    NORM_SUMS,
    NORMS,
    OPERATIONS,
    OTHER,
    PADDING_X,
    PADDING_Y,
    PER_CHANNEL,
    PER_SLOT,
    PER_THREAD,
    PER_TILE,
    PER_VARIANT,
    PLANE,
    ROW,
    SCALES,
    SCRATCH,
    SEGMENTS,
    SHARE,
    SOFTMAX,
    SOURCE,
    SOURCE_HEIGHT,
    SOURCE_WIDTH,
    STATISTICS,
    STRIDE_X,
    STRIDE_Y,
    SUMS,
    SUMS_AT,
    TARGET,
    TRANSFORM,
    VIEWS,
    WEIGHT,
    WIDTH,
)
from rso_core.incremental.compiled.threads import wait_for_all


@compiled
def run_program(
    integers: Any, floats: Any, doubles: Any, inputs: Any, first_segment: int, end_segment: int,
    batch: int, slot: int, channel: int, first_variant: int, end_variant: int, first_tile: int,
    end_tile: int, thread: int, n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    """Runs the segments over a thread's tiles of a batch, or over some of them.

    Where batch norms are made ready, all threads have to run it, each over all of its tiles.

    Args:
        integers, floats, doubles: see the header.
        inputs: [n_images, n_features] float32.
        first_segment, end_segment: the program's.
        batch: whose images and labels are read.
        slot: where the batch's activations are kept.
        channel: the visited one.
        first_variant, end_variant: those to run.
        first_tile, end_tile: within `tiles_of` the thread.
        thread, n_threads, barrier: this one, all of them, and where they meet.
    """
    simd.never_inline()
    for segment in range(first_segment, end_segment):
        row = integers[SEGMENTS] + segment * N_SEGMENT_COLUMNS
        first_norm, end_norm = integers[row + FIRST_NORM], integers[row + END_NORM]
        if first_norm < end_norm:
            wait_for_all(barrier, n_threads)
            totals = -1
            if integers[GROUP] > 0:
                totals = integers[GROUP_SUMS]
                if thread == 0:
                    n = _gather_sums(
                        integers, doubles, first_norm, end_norm, first_variant, end_variant
                    )
                    add_up(integers, doubles, n)
                wait_for_all(barrier, n_threads)
            for norm in range(first_norm, end_norm):
                for variant in range(first_variant, end_variant):
                    _set_scales(integers, floats, doubles, norm, variant, channel, thread, totals)
                    if totals >= 0:
                        totals += 2 * _n_channels(integers, norm)
        first, end = integers[row + FIRST_OPERATION], integers[row + END_OPERATION]
        for tile in range(first_tile, end_tile):
            for operation in range(first, end):
                for variant in range(first_variant, end_variant):
                    _run_operation(
                        integers, floats, doubles, inputs, operation, batch, slot, tile, variant,
                        channel, thread,
                    )  # fmt: skip


@merged
def tiles_of(integers: Any, thread: int, n_threads: int) -> tuple[int, int]:
    """The first and the end of a thread's tiles."""
    n_tiles = integers[N_TILES]
    return thread * n_tiles // n_threads, (thread + 1) * n_tiles // n_threads


@merged
def _scales(integers: Any, variant: int, thread: int) -> int:
    """Offset of a thread's scales and shifts of a variant."""
    return integers[AFFINE] + (thread * N_VARIANTS + variant) * integers[N_AFFINE]


@compiled
def sums_of(integers: Any, variant: int, tile: int) -> int:
    """Offset of a tile's sums for a variant."""
    return integers[SUMS_AT] + (variant * integers[N_TILES] + tile) * integers[N_SUMS]


@merged
def _n_channels(integers: Any, norm: int) -> int:
    return integers[integers[NORMS] + norm * N_NORM_COLUMNS + NORM_CHANNELS]


@compiled
def _sum_of_tiles(integers: Any, doubles: Any, norm: int, variant: int, which: int) -> float:
    """One of the sums that a batch norm is made ready from, over a worker's images."""
    first = integers[integers[NORMS] + norm * N_NORM_COLUMNS + NORM_SUMS] + which
    total = 0.0
    for tile in range(integers[N_TILES]):
        total += doubles[sums_of(integers, variant, tile) + first]
    return total


@compiled
def _gather_sums(
    integers: Any, doubles: Any, first_norm: int, end_norm: int, first_variant: int,
    end_variant: int,
) -> int:  # fmt: skip
    """Writes the sums of the norms and variants to GROUP_SUMS, in order; how many they are."""
    simd.never_inline()
    n = 0
    for norm in range(first_norm, end_norm):
        for variant in range(first_variant, end_variant):
            for which in range(2 * _n_channels(integers, norm)):
                total = _sum_of_tiles(integers, doubles, norm, variant, which)
                doubles[integers[GROUP_SUMS] + n] = total
                n += 1
    return n


@compiled
def _set_scales(
    integers: Any, floats: Any, doubles: Any, norm: int, variant: int, channel: int, thread: int,
    totals: int,
) -> None:  # fmt: skip
    """Scale and shift of a batch norm from the sums of all tiles.

    Args:
        totals: offset of the sums over all workers; -1 where there is one.
    """
    simd.never_inline()
    row = integers[NORMS] + norm * N_NORM_COLUMNS
    n = integers[N_ALL_IMAGES] * integers[row + NORM_PIXELS]
    gamma_at, beta_at = integers[row + NORM_GAMMA], integers[row + NORM_BETA]
    one = integers[row + NORM_ONE]
    first_parameter = channel if one > 0 else 0
    target = _scales(integers, variant, thread) + integers[row + NORM_SCALES]
    epsilon = floats[integers[row + NORM_EPSILON]]
    for c in range(integers[row + NORM_CHANNELS]):
        total, squares = 0.0, 0.0
        if totals >= 0:
            total, squares = doubles[totals + 2 * c], doubles[totals + 2 * c + 1]
        else:
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
            change = integers[CHANGE_SCALE] + 2 * (thread * N_VARIANTS + variant)
            gamma += float(floats[change])
            beta += float(floats[change + 1])
        scale = np.float32(gamma / np.sqrt(variance + epsilon))
        floats[target + 2 * c] = scale
        # of the rounded scale, whose error a mean far from zero would make much of
        floats[target + 2 * c + 1] = np.float32(beta - mean * np.float64(scale))


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
    source = source_plane = source_row = other = other_plane = other_row = next_other = 0
    target = target_plane = target_row = 0
    if integers[row + SOURCE] >= 0:
        view = integers[VIEWS] + integers[row + SOURCE] * N_VIEW_COLUMNS
        source = _offset(integers, view, slot, tile, variant, channel, thread)
        source_plane, source_row = integers[view + PLANE], integers[view + ROW]
    if integers[row + OTHER] >= 0:
        view = integers[VIEWS] + integers[row + OTHER] * N_VIEW_COLUMNS
        other = _offset(integers, view, slot, tile, variant, channel, thread)
        other_plane, other_row = integers[view + PLANE], integers[view + ROW]
        next_other = other + integers[view + PER_TILE]
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
                kernels.copy_planes(
                    floats, other, other_plane, other_row, target, target_plane, target_row,
                    n_channels, height, width,
                )  # fmt: skip
                kept = target
            if nothing_changed:
                return
        convolve(
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
            0.0 if integers[row + FLAG] == 1 else -np.inf,
        )  # fmt: skip
    elif code == ADD:
        kernels.add_planes(
            floats, source, source_plane, source_row, other, other_plane, other_row,
            integers[row + FLAG], target, target_plane, target_row, n_channels, height, width,
        )  # fmt: skip
    elif code == ADD_CHANNEL:  # the change of the visited channel, to a copy of all channels
        kernels.copy_planes(
            floats, other, other_plane, other_row, target, target_plane, target_row,
            n_channels, height, width,
        )  # fmt: skip
        to = target + channel * target_plane
        kernels.add_planes(
            floats, to, target_plane, target_row, source, source_plane, source_row, np.int64(1),
            to, target_plane, target_row, np.int64(1), height, width,
        )  # fmt: skip
    elif code == CHANGE:
        add_variant(integers, floats, row, source, source_row, other, other_row, next_other, target,
                    target_row, variant, thread)  # fmt: skip
    elif code == CHANNEL:
        if variant == 0:  # it is the same for all
            compute_channel(integers, floats, row, source, source_row, target, target_row, channel)
    elif code == IMAGES:
        _read_images(integers, floats, inputs, batch, tile, target, target_plane, target_row,
                     n_channels, height, width,
                     integers[SCRATCH] + thread * LANES * LANES)  # fmt: skip
    elif code == BORDER:
        kernels.zero_border(
            floats, target, target_plane, target_row, n_channels, height, width,
            integers[row + PADDING_Y], integers[row + PADDING_X],
        )  # fmt: skip
    elif code == SOFTMAX:
        kernels.softmax(floats, source, n_channels, target)
    else:
        labels = simd.load(floats, _labels(integers, batch, tile))
        sums = sums_of(integers, variant, tile) + integers[row + SUMS]
        kernels.summed_loss(floats, source, n_channels, labels, doubles, sums)


@merged
def _labels(integers: Any, batch: int, tile: int) -> int:
    return integers[LABELS] + (batch * integers[N_TILES] + tile) * LANES


@compiled
def _read_images(
    integers, floats, inputs, batch, tile, target, target_plane, target_row, n_channels, height,
    width, scratch,
):  # fmt: skip
    """Lays the tile's images side by side; empty lanes hold the batch's last one.

    Args:
        scratch: offset of room for LANES vectors.
    """
    simd.never_inline()
    last = integers[N_IMAGES] - 1
    images = integers[BATCHES] + batch * integers[N_IMAGES]
    n_features = n_channels * height * width
    c, y, x, to = 0, 0, 0, target
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
            simd.store(floats, to, simd.load(floats, scratch + feature * LANES))
            x, to = x + 1, to + LANES
            if x == width:  # divisions would take longer than all the rest
                x, y = 0, y + 1
                if y == height:
                    y, c = 0, c + 1
                to = target + c * target_plane + y * target_row
