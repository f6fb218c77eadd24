"""The compiled loop over the weights of the last linear layer, which needs no matrix product.

A weight (c, i) moves the logit of class c by delta x a_i. With u the log-sum-exp of the other
logits, which do not move while row c is visited, and t = z_c - u, an image's loss is
softplus(lse of the logits that are neither c's nor its own - its own) + softplus(t), or, where c
is its own class, softplus(-t). So a loss takes one column of activations and the column t, and
an accepted change adds to t of all images.

Columns hold a float for every image of the drawn batches, batch after batch, each batch filled up
to whole vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rso_core.incremental.compiled import simd
from rso_core.incremental.compiled.compilation import cached, compiled, merged
from rso_core.incremental.compiled.interpreter import run_program, tiles_of
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.compiled.tables import GROUP, LABELS, N_TILES
from rso_core.incremental.compiled.threads import wait_for_all
from rso_core.incremental.compiled.visiting import decide, has_ended

# what is added to the header of `tables`
FIRST_SEGMENT, END_SEGMENT = 13, 14  # of the program that computes features and logits of a batch
N_FEATURES, N_CLASSES = 15, 16
FIRST_BATCH, END_BATCH = 17, 18  # those that are drawn lie between
FEATURES, LOGITS = 19, 20  # where the program leaves them, [N_TILES, .., LANES]
COLUMNS = 21  # [N_FEATURES] columns
LOGIT_COLUMNS = 22  # [N_CLASSES] columns
OTHERS = 23  # a column: u, the log-sum-exp of the other logits
MARGIN = 24  # a column: t
BIASES = 25  # where the biases begin in the floats; -1 for none
IS_BIAS = 26  # whether biases are visited
ROW = 27  # the class that is visited; -1 for none
N_CHANGES = 28  # of the row, since its logits were computed from the weights
FILLED = 29  # [n_batches], whether a batch's columns are filled, in the integers
ROW_SUMS = 30  # [n_batches], the losses' part that the row does not move, in the doubles
CHUNK_SUMS = 31  # [n_chunks, 3], in the doubles
PACKED = 32  # [n_weights], places of the visited parameter's weights in the floats
N_PENDING = 33  # accepted changes of the row that the column t does not hold yet
PENDING_COLUMN = 34  # [MOST_PENDING], in the integers
PENDING_STEP = 35  # [MOST_PENDING], in the floats

TILES_AT_ONCE = 4
"""Whose losses are added up in float32 before they are added to a float64 sum."""
MOST_PENDING = 4
"""Changes that are added to the column t at once, since that has to be read and written each time;
until then a visit adds them to the few numbers of its own batch."""
MOST_CHANGES = 2048
"""After so many changes of a row its logits are computed anew, so that roundings do not add up."""

_NO_IMAGE = np.float32(-1e30)  # t of an empty lane: its loss is nothing


@cached
def visit_last_linear(
    integers: Any, floats: Any, doubles: Any, inputs: Any, first_weight: int, deltas: Any,
    drawn: Any, decay: float, losses: Any, chosen: Any, thread: int, n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    """Visits consecutive weights or biases; the arguments are those of `visit_weights`."""
    n_features = integers[N_FEATURES]
    n_chunks = -(-integers[N_TILES] // TILES_AT_ONCE)
    first_chunk, end_chunk = thread * n_chunks // n_threads, (thread + 1) * n_chunks // n_threads
    for position in range(len(deltas)):
        weight, batch = first_weight + position, drawn[position]
        if integers[IS_BIAS] == 1:
            row, column = weight, -1
        else:
            row = weight // n_features
            column = integers[COLUMNS] + (weight % n_features) * _length(integers)
        _make_ready(integers, floats, doubles, inputs, row, batch, thread, n_threads, barrier)

        place = integers[integers[PACKED] + weight]
        old = floats[place]
        kept = old if decay == 1.0 else old * decay
        plus, minus = kept + deltas[position], kept - deltas[position]
        for chunk in range(first_chunk, end_chunk):
            _add_losses(
                integers, floats, doubles, row, batch, column, chunk, kept - old, plus - old,
                minus - old,
            )  # fmt: skip
        wait_for_all(barrier, n_threads)
        if thread == 0:
            for candidate in range(3):
                total = doubles[integers[ROW_SUMS] + batch]
                for chunk in range(n_chunks):
                    total += doubles[integers[CHUNK_SUMS] + 3 * chunk + candidate]
                losses[position, candidate] = total
            choice = decide(integers, doubles, losses, chosen, position)
            value = plus if choice == 1 else (minus if choice == 2 else kept)
            if choice >= 0 and value != old:
                floats[place] = value
                integers[N_CHANGES] += 1
                pending = integers[N_PENDING]
                integers[integers[PENDING_COLUMN] + pending] = column
                floats[integers[PENDING_STEP] + pending] = value - old
                integers[N_PENDING] = pending + 1
        wait_for_all(barrier, n_threads)
        if integers[N_PENDING] == MOST_PENDING:
            _add_pending(integers, floats, thread, n_threads)
            wait_for_all(barrier, n_threads)
            if thread == 0:
                integers[N_PENDING] = 0
        if integers[GROUP] > 0 and has_ended(integers, losses, chosen, position):
            break
    wait_for_all(barrier, n_threads)


@compiled
def _length(integers: Any) -> int:
    """Floats of a column."""
    return (integers[END_BATCH] - integers[FIRST_BATCH]) * integers[N_TILES] * LANES


@compiled
def _place(integers: Any, batch: int) -> int:
    """Where a batch begins in a column."""
    return (batch - integers[FIRST_BATCH]) * integers[N_TILES] * LANES


@compiled
def _span(integers: Any, thread: int, n_threads: int) -> tuple[int, int]:
    """The part of a column that is a thread's to change."""
    n = _length(integers) // LANES
    return thread * n // n_threads * LANES, (thread + 1) * n // n_threads * LANES


@merged
def _make_ready(
    integers: Any, floats: Any, doubles: Any, inputs: Any, row: int, batch: int, thread: int,
    n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    """Sees to it that the batch's columns are filled and that t is that of the row."""
    wait_for_all(barrier, n_threads)
    is_stale = integers[N_CHANGES] >= MOST_CHANGES
    is_new_row = is_stale or integers[ROW] != row
    is_filled = integers[integers[FILLED] + batch] == 1
    if not is_new_row and is_filled:
        return
    _add_pending(integers, floats, thread, n_threads)
    if is_new_row and integers[ROW] >= 0:
        begin, end = _span(integers, thread, n_threads)
        _leave_row(integers, floats, begin, end, is_stale)
    wait_for_all(barrier, n_threads)
    if not is_filled:
        first_tile, end_tile = tiles_of(integers, thread, n_threads)
        run_program(
            integers, floats, doubles, inputs, integers[FIRST_SEGMENT], integers[END_SEGMENT],
            batch, np.int64(0), np.int64(0), np.int64(0), np.int64(1), first_tile, end_tile,
            thread, n_threads, barrier,
        )  # fmt: skip
        for tile in range(first_tile, end_tile):
            _fill_columns(integers, floats, batch, tile)
    wait_for_all(barrier, n_threads)
    if thread == 0:
        integers[integers[FILLED] + batch] = 1
        integers[N_PENDING] = 0
        if is_new_row:
            integers[ROW], integers[N_CHANGES] = row, 0
    wait_for_all(barrier, n_threads)
    # batches are shared out, so that every sum over a batch is one thread's
    for other in range(integers[FIRST_BATCH] + thread, integers[END_BATCH], n_threads):
        if (is_new_row or other == batch) and integers[integers[FILLED] + other] == 1:
            _enter_row(integers, floats, doubles, row, other)
    wait_for_all(barrier, n_threads)


@compiled
def _fill_columns(integers: Any, floats: Any, batch: int, tile: int) -> None:
    """Copies a tile's features and logits to their columns."""
    length, place = _length(integers), _place(integers, batch) + tile * LANES
    n_features, n_classes = integers[N_FEATURES], integers[N_CLASSES]
    source = integers[FEATURES] + tile * n_features * LANES
    for feature in range(n_features):
        target = integers[COLUMNS] + feature * length + place
        simd.store(floats, target, simd.load(floats, source + feature * LANES))
    source = integers[LOGITS] + tile * n_classes * LANES
    for k in range(n_classes):
        target = integers[LOGIT_COLUMNS] + k * length + place
        simd.store(floats, target, simd.load(floats, source + k * LANES))


@compiled
def _enter_row(integers: Any, floats: Any, doubles: Any, row: int, batch: int) -> None:
    """u and t of a row for a batch, and the sum of the losses' part that the row leaves alone."""
    simd.never_inline()
    length, place = _length(integers), _place(integers, batch)
    n_classes = integers[N_CLASSES]
    lowest, empty = simd.broadcast(np.float32(-np.inf)), simd.broadcast(np.float32(-1.0))
    own_row = simd.broadcast(np.float32(row))
    total = simd.wide_zero()
    for tile in range(integers[N_TILES]):
        at = place + tile * LANES
        labels = simd.load(floats, integers[LABELS] + (batch * integers[N_TILES] + tile) * LANES)
        own, largest, largest_wrong = simd.zero(), lowest, lowest
        for k in range(n_classes):
            if k == row:
                continue
            z = simd.load(floats, integers[LOGIT_COLUMNS] + k * length + at)
            label = simd.broadcast(np.float32(k))
            own = simd.where_equal(labels, label, z, own)
            wrong = simd.where_equal(labels, label, lowest, z)
            largest = simd.larger(largest, z)
            largest_wrong = simd.larger(largest_wrong, wrong)
        others, wrongs = simd.zero(), simd.zero()
        for k in range(n_classes):
            if k == row:
                continue
            z = simd.load(floats, integers[LOGIT_COLUMNS] + k * length + at)
            label = simd.broadcast(np.float32(k))
            others = simd.add(others, simd.exponential(simd.subtract(z, largest)))
            term = simd.exponential(simd.subtract(z, largest_wrong))
            wrongs = simd.add(wrongs, simd.where_equal(labels, label, simd.zero(), term))
        u = simd.add(simd.logarithm(others), largest)
        z = simd.load(floats, integers[LOGIT_COLUMNS] + row * length + at)
        t = simd.where_equal(labels, empty, simd.broadcast(_NO_IMAGE), simd.subtract(z, u))
        simd.store(floats, integers[OTHERS] + at, u)
        simd.store(floats, integers[MARGIN] + at, t)
        loss = simd.zero()
        if n_classes > 2:
            wrong = simd.add(simd.logarithm(wrongs), largest_wrong)
            loss = simd.softplus(simd.subtract(wrong, own))
        loss = simd.where_equal(labels, own_row, simd.zero(), loss)
        loss = simd.where_equal(labels, empty, simd.zero(), loss)
        total = simd.wide_add(total, simd.widen(loss))
    doubles[integers[ROW_SUMS] + batch] = simd.wide_sum(total)


@compiled
def _leave_row(integers: Any, floats: Any, begin: int, end: int, is_stale: bool) -> None:
    """The logits of the row as its changes have left them."""
    simd.never_inline()
    length, row, n_features = _length(integers), integers[ROW], integers[N_FEATURES]
    logits = integers[LOGIT_COLUMNS] + row * length
    for at in range(begin, end, LANES):
        if is_stale:
            z = simd.zero()
            if integers[BIASES] >= 0:
                z = simd.broadcast(floats[integers[BIASES] + row])
            for feature in range(n_features):
                w = simd.broadcast(floats[integers[integers[PACKED] + row * n_features + feature]])
                a = simd.load(floats, integers[COLUMNS] + feature * length + at)
                z = simd.multiply_add(w, a, z)
        else:
            u = simd.load(floats, integers[OTHERS] + at)
            z = simd.add(u, simd.load(floats, integers[MARGIN] + at))
        simd.store(floats, logits + at, z)


@compiled
def _add_losses(
    integers: Any, floats: Any, doubles: Any, row: int, batch: int, column: int, chunk: int,
    kept: float, plus: float, minus: float,
) -> None:  # fmt: skip
    """Writes the part of the three losses that the row moves, summed over some of a batch's tiles.

    The last three are what each candidate adds to the weight; a column of -1 holds ones.
    """
    simd.never_inline()
    place = _place(integers, batch)
    own_row, nothing = simd.broadcast(np.float32(row)), simd.zero()
    steps = (simd.broadcast(kept), simd.broadcast(plus), simd.broadcast(minus))
    one = simd.broadcast(np.float32(1.0))
    a = one
    sum_kept, sum_plus, sum_minus = simd.zero(), simd.zero(), simd.zero()
    first = chunk * TILES_AT_ONCE
    for tile in range(first, min(first + TILES_AT_ONCE, integers[N_TILES])):
        at = place + tile * LANES
        t = _margin(integers, floats, at)
        labels = simd.load(floats, integers[LABELS] + (batch * integers[N_TILES] + tile) * LANES)
        if column >= 0:
            a = simd.load(floats, column + at)
        is_own = simd.where_equal(labels, own_row, one, nothing)
        sum_kept = simd.add(sum_kept, _moved_loss(simd.multiply_add(steps[0], a, t), is_own))
        sum_plus = simd.add(sum_plus, _moved_loss(simd.multiply_add(steps[1], a, t), is_own))
        sum_minus = simd.add(sum_minus, _moved_loss(simd.multiply_add(steps[2], a, t), is_own))
    sums = integers[CHUNK_SUMS] + 3 * chunk
    doubles[sums] = simd.wide_sum(simd.widen(sum_kept))
    doubles[sums + 1] = simd.wide_sum(simd.widen(sum_plus))
    doubles[sums + 2] = simd.wide_sum(simd.widen(sum_minus))


@compiled
def _moved_loss(t: Any, is_own: Any) -> Any:
    """What t gives to the loss of an image: of the row's own class, or of another."""
    return simd.softplus(simd.where_positive(is_own, simd.subtract(simd.zero(), t), t))


@compiled
def _margin(integers: Any, floats: Any, at: int) -> Any:
    """t with the pending changes."""
    t = simd.load(floats, integers[MARGIN] + at)
    for pending in range(integers[N_PENDING]):
        step = simd.broadcast(floats[integers[PENDING_STEP] + pending])
        column = integers[integers[PENDING_COLUMN] + pending]
        if column >= 0:
            t = simd.multiply_add(step, simd.load(floats, column + at), t)
        else:
            t = simd.add(t, step)
    return t


@compiled
def _add_pending(integers: Any, floats: Any, thread: int, n_threads: int) -> None:
    """Adds the pending changes to a thread's part of the column t."""
    simd.never_inline()
    if integers[N_PENDING] == 0:
        return
    begin, end = _span(integers, thread, n_threads)
    for at in range(begin, end, LANES):
        simd.store(floats, integers[MARGIN] + at, _margin(integers, floats, at))
