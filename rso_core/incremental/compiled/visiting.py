"""The compiled loop over the weights of a parameter."""

from __future__ import annotations

from typing import Any

import numpy as np

from rso_core.incremental.compiled.compilation import cached, compiled, merged
from rso_core.incremental.compiled.exchange import add_up, is_lost
from rso_core.incremental.compiled.interpreter import run_program, sums_of, tiles_of
from rso_core.incremental.compiled.tables import (
    CHANGE_DELTA,
    CHANGE_END,
    CHANGE_FIRST,
    CHANGE_NEGATED,
    CHANGE_PLACE,
    CHANGE_SCALE,
    CHANGE_WEIGHT,
    GROUP,
    GROUP_SUMS,
    IS_UPDATE,
    N_ALL_IMAGES,
    N_TILES,
    N_VARIANTS,
    PLACES,
    RAW,
    WEIGHTS_PER_CHANNEL,
)
from rso_core.incremental.compiled.threads import wait_for_all

FILL, NARROW, SCORE, UPDATE = range(4)

# what is added to the header of `tables`; all but VALUES in the integers
PROGRAMS = 26  # [4, 2], first and end segment of FILL, NARROW, SCORE and UPDATE
NORM_COLUMN = 27  # 0 and 1 for a batch norm's scale and shift, -1 for a convolution
PACKED = 28  # [n_weights], places of the parameter's weights in the floats
OWNERS = 29  # [N_SLOTS], the batch whose activations a slot holds, -1 for none
N_SLOTS = 30
SEEN = 31  # [n_batches], how many of the accepted changes a batch's activations include
N_CHANGES = 32  # accepted changes so far, the first of those at CHANGE_WEIGHT and CHANGE_DELTA
SPARE = 33  # position of room for [n_threads, N_VARIANTS] changes behind them
VALUES = 34  # [n_threads, N_VARIANTS], the weight and its candidates, in the floats
IS_TILEWISE = 35  # whether NARROW, SCORE and UPDATE need nothing of other tiles

# compiled code is made anew for every literal number that a function is called with
_int = np.int64


@cached
def visit_weights(
    integers: Any, floats: Any, doubles: Any, inputs: Any, first_weight: int, deltas: Any,
    drawn: Any, decay: float, losses: Any, chosen: Any, thread: int, n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    """Visits consecutive weights; every thread of an engine runs it side by side.

    Args:
        integers, floats, doubles, inputs: see `tables`.
        first_weight: position of the first.
        deltas: [n_visits] float32.
        drawn: [n_visits] int64, each the position of a batch.
        decay: float32, the factor on a weight before its candidates are made, as torch has it.
        losses: [n_visits, 3] float64, written.
        chosen: [n_visits] int8, written.
        thread: this one, from 0.
        n_threads: how many run.
        barrier: where they meet.
    """
    is_decayed = decay != 1.0
    first_candidate = 1 if is_decayed else 0  # without decay the kept weight is the one that is
    n_variants = first_candidate + 3
    first_tile, end_tile = tiles_of(integers, thread, n_threads)
    # batch norms need all tiles before the next step; without them each tile goes through all
    # steps while it is in the cache; a thread without tiles has to meet the others all the same
    n_at_once = 1 if integers[IS_TILEWISE] == 1 else max(end_tile - first_tile, 1)
    for position in range(len(deltas)):
        weight, batch = first_weight + position, drawn[position]
        channel = weight // integers[WEIGHTS_PER_CHANNEL]
        slot = min(batch, integers[N_SLOTS] - 1)  # the last is shared by the batches without one
        wait_for_all(barrier, n_threads)  # for what the visit before has changed
        end_change = integers[N_CHANGES]
        is_held = integers[integers[OWNERS] + slot] == batch
        first_change = integers[integers[SEEN] + batch] if is_held else end_change
        if not is_held:
            _run(
                integers, floats, doubles, inputs, _int(FILL), batch, slot, _int(0), _int(0),
                _int(1), first_tile, end_tile, thread, n_threads, barrier,
            )  # fmt: skip
        for tile in range(first_tile, max(end_tile, first_tile + 1), n_at_once):
            end = min(tile + n_at_once, end_tile)
            _carry_changes(
                integers, floats, doubles, inputs, batch, slot, first_change, end_change, tile,
                end, thread, n_threads, barrier,
            )  # fmt: skip
            _set_candidates(
                integers, floats, weight, deltas[position], decay, first_candidate, thread
            )
            _run(
                integers, floats, doubles, inputs, _int(NARROW), batch, slot, channel,
                _int(0), n_variants, tile, end, thread, n_threads, barrier,
            )  # fmt: skip
            for variant in range(first_candidate, n_variants):
                _run(
                    integers, floats, doubles, inputs, _int(SCORE), batch, slot, channel,
                    variant, variant + 1, tile, end, thread, n_threads, barrier,
                )  # fmt: skip
        wait_for_all(barrier, n_threads)
        if thread == 0:
            integers[integers[OWNERS] + slot] = batch
            integers[integers[SEEN] + batch] = end_change
            for candidate in range(3):
                variant = first_candidate + candidate
                total = 0.0
                for tile in range(integers[N_TILES]):
                    total += doubles[sums_of(integers, variant, tile)]
                losses[position, candidate] = total
            choice = decide(integers, doubles, losses, chosen, position)
            if choice >= 0:
                _accept(integers, floats, weight, first_candidate + choice)
        if integers[GROUP] > 0:
            wait_for_all(barrier, n_threads)
            if has_ended(integers, losses, chosen, position):
                break
    wait_for_all(barrier, n_threads)


@compiled
def decide(integers: Any, doubles: Any, losses: Any, chosen: Any, position: int) -> int:
    """Makes a visit's losses of their sums, notes the choice, and returns it; -1 if there is none.

    There is none if another worker has left.
    """
    if integers[GROUP] > 0:
        for candidate in range(3):
            doubles[integers[GROUP_SUMS] + candidate] = losses[position, candidate]
        add_up(integers, doubles, np.int64(3))
        if is_lost(integers):
            return -1
        for candidate in range(3):
            losses[position, candidate] = doubles[integers[GROUP_SUMS] + candidate]
    for candidate in range(3):
        losses[position, candidate] /= integers[N_ALL_IMAGES]
    choice = choose_candidate(losses[position])
    chosen[position] = choice
    return choice


@compiled
def has_ended(integers: Any, losses: Any, chosen: Any, position: int) -> bool:
    """Whether workers make no visit after this one; see `Engine`."""
    return is_lost(integers) or not np.isfinite(losses[position, chosen[position]])


@compiled
def choose_candidate(losses: Any) -> int:
    """As `engines.choose`: a tie goes to the first, and what is no number never wins."""
    choice = 0
    for candidate in range(1, 3):
        if losses[candidate] < losses[choice]:
            choice = candidate
    return choice


@merged
def _run(
    integers: Any, floats: Any, doubles: Any, inputs: Any, program: int, batch: int, slot: int,
    channel: int, first_variant: int, end_variant: int, first_tile: int, end_tile: int,
    thread: int, n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    segments = integers[PROGRAMS] + 2 * program
    run_program(
        integers, floats, doubles, inputs, integers[segments], integers[segments + 1], batch,
        slot, channel, first_variant, end_variant, first_tile, end_tile, thread, n_threads,
        barrier,
    )  # fmt: skip


@merged
def _carry_changes(
    integers: Any, floats: Any, doubles: Any, inputs: Any, batch: int, slot: int, first: int,
    end: int, first_tile: int, end_tile: int, thread: int, n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    """Carries the accepted changes from first to end into what is kept of the tiles."""
    while first < end:
        channel, after = _run_of_changes(integers, first, end)
        _set_variants(integers, floats, first, after, thread)
        _run(
            integers, floats, doubles, inputs, _int(NARROW), batch, slot, channel,
            _int(0), _int(2), first_tile, end_tile, thread, n_threads, barrier,
        )  # fmt: skip
        _run(
            integers, floats, doubles, inputs, _int(UPDATE), batch, slot, channel,
            _int(1), _int(2), first_tile, end_tile, thread, n_threads, barrier,
        )  # fmt: skip
        if integers[IS_TILEWISE] == 0:
            wait_for_all(barrier, n_threads)  # until all have read the sums
        first = after


@compiled
def _run_of_changes(integers: Any, first: int, end: int) -> tuple[int, int]:
    """The channel of an accepted change, and the end of those of the same channel."""
    weights, per_channel = integers[CHANGE_WEIGHT], integers[WEIGHTS_PER_CHANNEL]
    channel = integers[weights + first] // per_channel
    after = first
    while after < end and integers[weights + after] // per_channel == channel:
        after += 1
    return channel, after


@compiled
def _set_variants(integers: Any, floats: Any, first: int, end: int, thread: int) -> None:
    """Variant 0 is the channel before the changes, variant 1 after them."""
    _clear_variants(integers, floats, thread)
    integers[integers[IS_UPDATE] + thread] = 1
    variant = thread * N_VARIANTS + 1
    integers[integers[CHANGE_FIRST] + variant] = first
    integers[integers[CHANGE_END] + variant] = end
    if integers[NORM_COLUMN] >= 0:  # a batch norm's scale and shift are already those of now
        scale = integers[CHANGE_SCALE] + 2 * thread * N_VARIANTS + integers[NORM_COLUMN]
        for position in range(first, end):
            floats[scale] -= floats[integers[CHANGE_DELTA] + position]


@compiled
def _clear_variants(integers: Any, floats: Any, thread: int) -> None:
    for variant in range(thread * N_VARIANTS, (thread + 1) * N_VARIANTS):
        integers[integers[CHANGE_FIRST] + variant] = integers[integers[CHANGE_END] + variant] = 0
        floats[integers[CHANGE_SCALE] + 2 * variant] = 0.0
        floats[integers[CHANGE_SCALE] + 2 * variant + 1] = 0.0


@compiled
def _set_candidates(
    integers: Any, floats: Any, weight: int, delta: float, decay: float, first: int, thread: int
) -> None:
    """Variant 0 is the weight as it is; after it come the candidates that differ from it."""
    _clear_variants(integers, floats, thread)
    integers[integers[IS_UPDATE] + thread] = 0
    old = floats[integers[integers[PACKED] + weight]]
    kept = old * decay if first == 1 else old
    own = thread * N_VARIANTS
    values = integers[VALUES] + own
    floats[values] = old
    floats[values + first] = kept
    floats[values + first + 1] = kept + delta
    floats[values + first + 2] = kept - delta
    for variant in range(1, first + 3):
        step = floats[values + variant] - old
        if integers[NORM_COLUMN] >= 0:
            scale = integers[CHANGE_SCALE] + 2 * (own + variant) + integers[NORM_COLUMN]
            floats[scale] = step
        position = integers[SPARE] + own + variant
        _note(integers, floats, position, weight, step)
        integers[integers[CHANGE_FIRST] + own + variant] = position
        integers[integers[CHANGE_END] + own + variant] = position + 1


@compiled
def _accept(integers: Any, floats: Any, weight: int, variant: int) -> None:
    """Moves the weight, and notes it for the batches that have to be brought up to date."""
    old, value = floats[integers[VALUES]], floats[integers[VALUES] + variant]
    if value == old:
        return
    floats[integers[integers[PACKED] + weight]] = value
    floats[integers[RAW] + weight] = value
    position = integers[N_CHANGES]
    _note(integers, floats, position, weight, value - old)
    integers[N_CHANGES] = position + 1


@compiled
def _note(integers: Any, floats: Any, position: int, weight: int, step: float) -> None:
    integers[integers[CHANGE_WEIGHT] + position] = weight
    place = integers[PLACES] + weight % integers[WEIGHTS_PER_CHANNEL]
    integers[integers[CHANGE_PLACE] + position] = integers[place]
    floats[integers[CHANGE_DELTA] + position] = step
    floats[integers[CHANGE_NEGATED] + position] = -step
