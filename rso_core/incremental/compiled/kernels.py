"""What a compiled engine does to a tile: `LANES` images, side by side in the lanes of vectors.

A tile's activation is [channels, height, width, LANES] in one flat float32 array, with steps of
its own between channels and between rows, so that it may have a border of zeros for a
convolution's padding, and so that a single channel of a larger one can be addressed alike. All
offsets and steps count floats.
"""

from __future__ import annotations

import numpy as np

from rso_core.incremental.compiled import simd
from rso_core.incremental.compiled.compilation import compiled
from rso_core.incremental.compiled.functions import RELU, apply_function
from rso_core.incremental.compiled.simd import LANES


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
def softmax(memory, logits, n_classes, target):
    """Writes the probabilities that a tile's logits stand for.

    Args:
        logits: offset of [n_classes, LANES].
        target: offset of [n_classes, LANES], another place.
    """
    simd.never_inline()
    largest, total = simd.broadcast(np.float32(-np.inf)), simd.zero()
    for k in range(n_classes):
        largest = simd.larger(largest, simd.load(memory, logits + k * LANES))
    for k in range(n_classes):
        z = simd.load(memory, logits + k * LANES)
        term = simd.exponential(simd.subtract(z, largest))
        total = simd.add(total, term)
        simd.store(memory, target + k * LANES, term)
    for k in range(n_classes):
        at = target + k * LANES
        simd.store(memory, at, simd.divide(simd.load(memory, at), total))


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
