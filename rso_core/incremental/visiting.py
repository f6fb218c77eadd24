"""The compiled loop over the weights of a parameter."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rso_core.incremental.cache import cached
from rso_core.incremental.interpreter import Doubles, Floats, Integers, run_program
from rso_core.incremental.kernels import compiled
from rso_core.incremental.threads import wait_for_all

FILL, NARROW, SCORE, UPDATE = range(4)


class Visit(NamedTuple):
    """What is known of the visited parameter."""

    programs: Integers
    """[4, 2]: first and end segment of FILL, NARROW, SCORE and UPDATE."""
    weights_per_channel: int
    norm_column: int
    """0 and 1 for the scale and shift of a batch norm, -1 for a convolution."""
    parameter: Floats
    """[n_weights]: the parameter itself."""
    packed: Integers
    """[n_weights]: where a weight lies among the packed ones."""


class State(NamedTuple):
    """What goes on from one call to the next, and between threads."""

    owners: Integers
    """[n_slots]: the batch whose activations a slot holds; -1 for none."""
    seen: Integers
    """[n_batches]: how many of the accepted changes the kept activations of a batch include."""
    n_changes: Integers
    """[1]: accepted changes so far; they are the first of `Changes`."""
    new_values: Floats
    """[N_VARIANTS]: the candidates."""


@cached
def visit_weights(
    tables: Any, changes: Any, visit: Any, state: Any, first_weight: int, deltas: Any, drawn: Any,
    decay: float, losses: Any, chosen: Any, thread: int, n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    """Visits consecutive weights; every thread of an engine runs it side by side.

    Args:
        tables: `interpreter.Tables`.
        changes: `interpreter.Changes`, with room for N_VARIANTS more than the parameter's weights.
        visit: `Visit`.
        state: `State`.
        first_weight: position of the first.
        deltas: [n_visits] float32.
        drawn: [n_visits] int64, each the position of a batch.
        decay: factor on a weight before its candidates are made.
        losses: [n_visits, 3] float64, written.
        chosen: [n_visits] int8, written.
        thread: this one, from 0.
        n_threads: how many run.
        barrier: where they meet.
    """
    n_slots = len(state.owners)
    for position in range(len(deltas)):
        weight, batch = first_weight + position, drawn[position]
        channel = weight // visit.weights_per_channel
        slot = min(batch, n_slots - 1)  # the last one is shared by the batches that have none
        if state.owners[slot] != batch:
            run_program(
                tables, changes, visit.programs[FILL, 0], visit.programs[FILL, 1], batch, slot,
                channel, 0, 1, thread, n_threads, barrier,
            )  # fmt: skip
            wait_for_all(barrier, n_threads)
            if thread == 0:
                state.owners[slot] = batch
                state.seen[batch] = state.n_changes[0]
        elif state.seen[batch] < state.n_changes[0]:
            _bring_up_to_date(
                tables, changes, visit, state, batch, slot, thread, n_threads, barrier
            )
        wait_for_all(barrier, n_threads)
        if thread == 0:
            _set_candidates(changes, visit, state, weight, deltas[position], decay)
        wait_for_all(barrier, n_threads)
        is_decayed = decay != 1.0
        n_variants = 4 if is_decayed else 3
        run_program(
            tables, changes, visit.programs[NARROW, 0], visit.programs[NARROW, 1], batch, slot,
            channel, 0, n_variants, thread, n_threads, barrier,
        )  # fmt: skip
        for variant in range(1 if is_decayed else 0, n_variants):
            run_program(
                tables, changes, visit.programs[SCORE, 0], visit.programs[SCORE, 1], batch, slot,
                channel, variant, variant + 1, thread, n_threads, barrier,
            )  # fmt: skip
        wait_for_all(barrier, n_threads)
        if thread == 0:
            n_images = tables.images.shape[1]
            for candidate in range(3):
                variant = candidate + 1 if is_decayed else candidate
                total = 0.0
                for tile in range(tables.sums.shape[1]):
                    total += tables.sums[variant, tile, 0]
                losses[position, candidate] = total / n_images
            choice = choose_candidate(losses[position])
            chosen[position] = choice
            _accept(
                tables, changes, visit, state, weight,
                state.new_values[choice + 1 if is_decayed else choice],
            )  # fmt: skip
        # the others wait for the change before they read it, at the next visit's first barrier
    wait_for_all(barrier, n_threads)


@compiled
def choose_candidate(losses: Any) -> int:
    """As `engines.choose`: a tie goes to the first, and what is no number never wins."""
    choice = 0
    for candidate in range(1, 3):
        if losses[candidate] < losses[choice]:
            choice = candidate
    return choice


@compiled
def _bring_up_to_date(
    tables: Any, changes: Any, visit: Any, state: Any, batch: int, slot: int, thread: int,
    n_threads: int, barrier: Any,
) -> None:  # fmt: skip
    """Carries the accepted changes that a batch has not seen into what is kept of it."""
    first, end = state.seen[batch], state.n_changes[0]
    while first < end:
        channel = changes.weight[first] // visit.weights_per_channel
        after = first
        while after < end and changes.weight[after] // visit.weights_per_channel == channel:
            after += 1
        wait_for_all(barrier, n_threads)
        if thread == 0:
            _set_variants(changes, visit, first, after)
        wait_for_all(barrier, n_threads)
        run_program(
            tables, changes, visit.programs[NARROW, 0], visit.programs[NARROW, 1], batch, slot,
            channel, 0, 2, thread, n_threads, barrier,
        )  # fmt: skip
        run_program(
            tables, changes, visit.programs[UPDATE, 0], visit.programs[UPDATE, 1], batch, slot,
            channel, 1, 2, thread, n_threads, barrier,
        )  # fmt: skip
        first = after
    wait_for_all(barrier, n_threads)
    if thread == 0:
        state.seen[batch] = end


@compiled
def _set_variants(changes: Any, visit: Any, first: int, end: int) -> None:
    """Variant 0 is the channel before the changes, variant 1 after them."""
    changes.first[0] = changes.end[0] = 0
    changes.first[1], changes.end[1] = first, end
    changes.scale[:] = 0.0
    if visit.norm_column >= 0:  # a batch norm's scale and shift are those of now
        for position in range(first, end):
            changes.scale[0, visit.norm_column] -= changes.delta[position]


@compiled
def _set_candidates(
    changes: Any, visit: Any, state: Any, weight: int, delta: float, decay: float
) -> None:
    """Variant 0 is the weight as it is; after it come the candidates that differ from it."""
    old = visit.parameter[weight]
    kept = old if decay == 1.0 else np.float32(old * decay)
    values = state.new_values
    first = 0
    values[0] = old
    if decay != 1.0:
        values[1] = kept
        first = 1
    values[first + 1], values[first + 2] = kept + delta, kept - delta
    changes.scale[:] = 0.0
    changes.first[0] = changes.end[0] = 0
    spare = len(changes.weight) - len(values)
    for variant in range(1, first + 3):
        step = values[variant] - old
        if visit.norm_column >= 0:
            changes.scale[variant, visit.norm_column] = step
        changes.weight[spare + variant] = weight
        changes.delta[spare + variant] = step
        changes.first[variant], changes.end[variant] = spare + variant, spare + variant + 1


@compiled
def _accept(tables: Any, changes: Any, visit: Any, state: Any, weight: int, value: float) -> None:
    old = visit.parameter[weight]
    if value == old:
        return
    visit.parameter[weight] = value
    tables.weights[visit.packed[weight]] = value
    position = state.n_changes[0]
    changes.weight[position] = weight
    changes.delta[position] = value - old
    state.n_changes[0] = position + 1
