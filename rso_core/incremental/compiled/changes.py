"""What a change of weights adds to the visited channel: shifted planes of the channels it reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from rso_core.incremental.compiled import simd
from rso_core.incremental.compiled.blocks import load_block, multiply_add_block, store_block
from rso_core.incremental.compiled.compilation import compiled, named
from rso_core.incremental.compiled.kernels import copy_planes
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.compiled.tables import (
    BIAS,
    CHANGE_DELTA,
    CHANGE_END,
    CHANGE_FIRST,
    CHANGE_NEGATED,
    CHANGE_PLACE,
    CHANGE_WEIGHT,
    DILATION_X,
    FLAG,
    HEIGHT,
    IS_UPDATE,
    KERNEL_X,
    KERNEL_Y,
    N_VARIANTS,
    OF_BIAS,
    PLACES,
    POOL_X,
    POOL_Y,
    RAW,
    RECOMPUTED,
    ROW_DELTA,
    ROW_PLACE,
    STRIDE_X,
    STRIDE_Y,
    WEIGHTS_PER_CHANNEL,
    WIDTH,
)

TAPS_AT_ONCE = 3
"""Taps of a row that are added together, so that what they read is read once."""


def _changed_rows(n_pixels: int, n_taps: int) -> Any:
    """A kernel that adds changes of weights to rows of a plane, n_pixels at a time.

    The changes are those of n_taps neighbouring taps each time. With every n_pixels, n_ahead
    vectors from `ahead` on are asked for from memory.
    """

    @compiled
    @named(n_pixels, n_taps)
    def kernel(
        floats, integers, kept, kept_row, source, target, target_row, steps, height, begin, width,
        changes, places, first, end, ahead, n_ahead,
    ):  # fmt: skip
        simd.never_inline()
        step_y, step_x = steps
        for y in range(height):
            for x in range(begin, width, n_pixels):
                at = kept + y * kept_row + x * LANES
                sums = load_block(floats, at, 0, LANES, 1, n_pixels)
                corner = source + y * step_y + x * step_x
                for _ in range(n_ahead):
                    simd.prefetch(floats, ahead)
                    ahead += LANES
                for change in range(first, end, n_taps):
                    sums = multiply_add_block(
                        sums, floats, changes + change, floats,
                        corner + integers[places + change], step_x, 1, n_pixels, n_taps,
                    )  # fmt: skip
                to = target + y * target_row + x * LANES
                store_block(floats, to, 0, LANES, 1, n_pixels, sums)

    return kernel


def _changed_plane(n_taps: int) -> Any:
    """A kernel that adds changes of weights, of n_taps neighbouring taps each time, to a plane."""
    sevens, fours, singles = (_changed_rows(n_pixels, n_taps) for n_pixels in (7, 4, 1))

    @compiled
    @named(n_taps)
    def kernel(
        floats, integers, kept, kept_row, source, target, target_row, steps, height, width,
        changes, places, first, end, ahead, n_to_ask_for,
    ):  # fmt: skip
        simd.never_inline()
        n_pixels = 7 if width % 7 == 0 else 4
        even = width - width % n_pixels
        n_ahead = 0
        if even > 0:
            n_ahead = -(-n_to_ask_for // (height * even // n_pixels))
        if n_pixels == 7:
            sevens(floats, integers, kept, kept_row, source, target, target_row, steps, height,
                   np.int64(0), even, changes, places, first, end, ahead, n_ahead)  # fmt: skip
        else:
            fours(floats, integers, kept, kept_row, source, target, target_row, steps, height,
                  np.int64(0), even, changes, places, first, end, ahead, n_ahead)  # fmt: skip
            singles(floats, integers, kept, kept_row, source, target, target_row, steps, height,
                    even, width, changes, places, first, end, ahead, np.int64(0))  # fmt: skip

    return kernel


_add_taps, _add_rows_of_taps = _changed_plane(1), _changed_plane(TAPS_AT_ONCE)


@compiled
def add_variant(
    integers, floats, row, kept, kept_row, source, source_row, next_source, target, target_row,
    variant, thread,
):  # fmt: skip
    """The visited channel's plane of a variant: the kept one, and what the changes add to it.

    During an update variant 1 also becomes the kept plane. Where no plane is kept but computed
    with the weights of now, variant 1 is that, and variant 0 lacks the changes.

    Args:
        next_source: where the source of the next tile lies, which is read next.
    """
    simd.never_inline()
    height, width = integers[row + HEIGHT], integers[row + WIDTH]
    firsts = integers[CHANGE_FIRST] + thread * N_VARIANTS
    ends = integers[CHANGE_END] + thread * N_VARIANTS
    first, end = integers[firsts + variant], integers[ends + variant]
    changes = integers[CHANGE_DELTA]
    if integers[integers[IS_UPDATE] + thread] == 1:
        if integers[row + FLAG] & RECOMPUTED and variant < 2:
            other = 1 - variant
            first, end = integers[firsts + other], integers[ends + other]
            changes = integers[CHANGE_NEGATED]
        elif first < end:
            _add_changes(integers, floats, row, kept, kept_row, source, source_row, next_source,
                         kept, kept_row, changes, first, end, thread)  # fmt: skip
            end = first
    if first >= end:
        copy_planes(floats, kept, 0, kept_row, target, 0, target_row, np.int64(1), height, width)
    else:
        _add_changes(integers, floats, row, kept, kept_row, source, source_row, next_source,
                     target, target_row, changes, first, end, thread)  # fmt: skip


@compiled
def compute_channel(
    integers, floats, row, source, source_row, target, target_row, channel,
):  # fmt: skip
    """The visited channel's plane with the weights of now."""
    simd.never_inline()
    start = simd.zero()
    if integers[row + BIAS] >= 0:
        start = simd.broadcast(floats[integers[row + BIAS] + channel])
    for y in range(integers[row + HEIGHT]):
        for x in range(integers[row + WIDTH]):
            simd.store(floats, target + y * target_row + x * LANES, start)
    n = integers[WEIGHTS_PER_CHANNEL]
    _add_shifted(integers, floats, row, target, target_row, source, source_row, source, target,
                 target_row, integers[RAW] + channel * n, integers[PLACES], np.int64(0), n,
                 _has_rows_of_taps(integers, row))  # fmt: skip


@compiled
def _has_rows_of_taps(integers, row):
    """Whether TAPS_AT_ONCE taps make up a row, read neighbouring pixels and are not pooled."""
    is_dense = integers[row + STRIDE_X] == 1 and integers[row + DILATION_X] == 1
    is_pooled = integers[row + POOL_Y] * integers[row + POOL_X] > 1
    return is_dense and not is_pooled and integers[row + KERNEL_X] == TAPS_AT_ONCE


@compiled
def _add_changes(
    integers, floats, row, kept, kept_row, source, source_row, next_source, target, target_row,
    changes, first, end, thread,
):  # fmt: skip
    """target = kept + the changes, several by the rows of taps that they lie in."""
    places = integers[CHANGE_PLACE]
    is_by_row = (
        end - first > 1 and _has_rows_of_taps(integers, row) and integers[row + FLAG] & OF_BIAS == 0
    )
    if is_by_row:
        end = _gather_rows(integers, floats, changes, first, end, thread)
        first = np.int64(0)
        changes = integers[ROW_DELTA] + thread * integers[WEIGHTS_PER_CHANNEL]
        places = integers[ROW_PLACE] + thread * integers[WEIGHTS_PER_CHANNEL]
    _add_shifted(integers, floats, row, kept, kept_row, source, source_row, next_source, target,
                 target_row, changes, places, first, end, is_by_row)  # fmt: skip


@compiled
def _gather_rows(integers, floats, changes, first, end, thread):
    """Lays out changes by rows of taps at ROW_DELTA and ROW_PLACE; those with none are left out.

    Args:
        changes: offset in the floats.
        first, end: those to gather, in the order of their weights, of one channel.

    Returns:
        The number of taps of all these rows.
    """
    per_channel = integers[WEIGHTS_PER_CHANNEL]
    deltas = integers[ROW_DELTA] + thread * per_channel
    places = integers[ROW_PLACE] + thread * per_channel
    n, last_row = 0, -1
    for change in range(first, end):
        weight = integers[integers[CHANGE_WEIGHT] + change] % per_channel
        tap = weight % TAPS_AT_ONCE
        if weight - tap != last_row:
            last_row = weight - tap
            for i in range(TAPS_AT_ONCE):
                floats[deltas + n + i] = 0.0
            integers[places + n] = integers[integers[PLACES] + last_row]
            n += TAPS_AT_ONCE
        floats[deltas + n - TAPS_AT_ONCE + tap] += floats[changes + change]
    return n


@compiled
def _add_shifted(
    integers, floats, row, kept, kept_row, source, source_row, next_source, target, target_row,
    changes, places, first, end, is_by_row,
):  # fmt: skip
    """target = kept + the changes, which lie one after another or by rows of taps.

    A change of a weight adds delta times the shifted plane of its input channel, a change of a
    bias adds delta; where an average pool follows, all of it is pooled.
    """
    simd.never_inline()
    height, width = integers[row + HEIGHT], integers[row + WIDTH]
    steps = (integers[row + STRIDE_Y] * source_row, integers[row + STRIDE_X] * LANES)
    pool_y, pool_x = integers[row + POOL_Y], integers[row + POOL_X]
    if integers[row + FLAG] & OF_BIAS:
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
        # those of few planes at a time, so that what they read stays in the cache
        n_taps = integers[row + KERNEL_Y] * integers[row + KERNEL_X]
        n_at_once = 2 * n_taps
        plane = 0
        if integers[WEIGHTS_PER_CHANNEL] > n_taps:
            plane = integers[integers[PLACES] + n_taps] - integers[integers[PLACES]]
        at, at_row = kept, kept_row
        for begin in range(first, end, n_at_once):
            stop = min(begin + n_at_once, end)
            # planes lie further apart than a processor looks ahead by itself
            ahead, n_to_ask_for = next_source + integers[places + begin], 0
            if next_source != source and stop - begin > 1:
                last = integers[places + stop - (TAPS_AT_ONCE if is_by_row else 1)]
                n_to_ask_for = (last - integers[places + begin] + plane) // LANES
            if is_by_row:
                _add_rows_of_taps(floats, integers, at, at_row, source, target, target_row, steps,
                                  height, width, changes, places, begin, stop, ahead,
                                  n_to_ask_for)  # fmt: skip
            else:
                _add_taps(floats, integers, at, at_row, source, target, target_row, steps, height,
                          width, changes, places, begin, stop, ahead, n_to_ask_for)  # fmt: skip
            at, at_row = target, target_row


@compiled
def _change_pooled(
    integers, floats, kept, kept_row, source, target, target_row, steps, height, width, pool,
    changes, places, first, end,
):  # fmt: skip
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
