"""What a change of weights adds to the visited channel: shifted planes of the channels it reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from rso_core.incremental.compiled import simd
from rso_core.incremental.compiled.blocks import load_block, multiply_add_block, store_block
from rso_core.incremental.compiled.compilation import compiled
from rso_core.incremental.compiled.kernels import copy_planes
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.compiled.tables import (
    BIAS,
    CHANGE_DELTA,
    CHANGE_END,
    CHANGE_FIRST,
    CHANGE_NEGATED,
    CHANGE_PLACE,
    FLAG,
    HEIGHT,
    IS_UPDATE,
    KERNEL_X,
    KERNEL_Y,
    OF_BIAS,
    PLACES,
    POOL_X,
    POOL_Y,
    RAW,
    RECOMPUTED,
    STRIDE_X,
    STRIDE_Y,
    WEIGHTS_PER_CHANNEL,
    WIDTH,
)


def _changed_rows(n_pixels: int) -> Any:
    """A kernel that adds changes of weights to rows of a plane, n_pixels at a time."""

    @compiled
    def kernel(
        floats, integers, kept, kept_row, source, target, target_row, steps, height, begin, width,
        changes, places, first, end,
    ):  # fmt: skip
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
def add_variant(
    integers, floats, row, kept, kept_row, source, source_row, target, target_row, variant,
):  # fmt: skip
    """The visited channel's plane of a variant: the kept one, and what the changes add to it.

    During an update variant 1 also becomes the kept plane. Where no plane is kept but computed
    with the weights of now, variant 1 is that, and variant 0 lacks the changes.
    """
    simd.never_inline()
    height, width = integers[row + HEIGHT], integers[row + WIDTH]
    first = integers[integers[CHANGE_FIRST] + variant]
    end = integers[integers[CHANGE_END] + variant]
    changes = integers[CHANGE_DELTA]
    if integers[IS_UPDATE] == 1:
        if integers[row + FLAG] & RECOMPUTED and variant < 2:
            other = 1 - variant
            first = integers[integers[CHANGE_FIRST] + other]
            end = integers[integers[CHANGE_END] + other]
            changes = integers[CHANGE_NEGATED]
        elif first < end:
            _add_changes(integers, floats, row, kept, kept_row, source, source_row, kept, kept_row,
                         changes, integers[CHANGE_PLACE], first, end)  # fmt: skip
            end = first
    if first >= end:
        copy_planes(floats, kept, 0, kept_row, target, 0, target_row, np.int64(1), height, width)
    else:
        _add_changes(integers, floats, row, kept, kept_row, source, source_row, target, target_row,
                     changes, integers[CHANGE_PLACE], first, end)  # fmt: skip


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
    _add_changes(integers, floats, row, target, target_row, source, source_row, target, target_row,
                 integers[RAW] + channel * n, integers[PLACES], np.int64(0), n)  # fmt: skip


@compiled
def _add_changes(
    integers, floats, row, kept, kept_row, source, source_row, target, target_row, changes, places,
    first, end,
):  # fmt: skip
    """target = kept + the changes.

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
        # a few at a time, so that the planes that they read stay in the cache
        n_at_once = 2 * integers[row + KERNEL_Y] * integers[row + KERNEL_X]
        even = width - width % 4
        at, at_row = kept, kept_row
        for begin in range(first, end, n_at_once):
            stop = min(begin + n_at_once, end)
            if width % 7 == 0:
                _changed_rows_7(floats, integers, at, at_row, source, target, target_row, steps,
                                height, np.int64(0), width, changes, places,
                                begin, stop)  # fmt: skip
            else:
                _changed_rows_4(floats, integers, at, at_row, source, target, target_row, steps,
                                height, np.int64(0), even, changes, places,
                                begin, stop)  # fmt: skip
                _changed_rows_1(floats, integers, at, at_row, source, target, target_row, steps,
                                height, even, width, changes, places, begin, stop)  # fmt: skip
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
