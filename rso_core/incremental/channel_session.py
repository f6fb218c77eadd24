"""Visits a parameter of any layer by the channel that its weights move."""

from __future__ import annotations

from rso_core.batches import Batches
from rso_core.incremental.compiled import tables as code
from rso_core.incremental.compiled import visiting
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.compiled.tables import N_VARIANTS
from rso_core.incremental.graph import Kind
from rso_core.incremental.session import IntegerTables, Session, Workplace
from rso_core.incremental.visit_programs import VisitPrograms, visit_programs
from rso_core.incremental.writer import Writer
from rso_core.peers import largest_share


class ChannelSession(Session):
    """See `Session`; `visiting.visit_weights` is its loop."""

    def __init__(self, workplace: Workplace, parameter: str, batches: Batches) -> None:
        super().__init__(workplace, parameter, batches, visiting.visit_weights)
        graph = workplace.graph
        n_drawn = int(batches.drawn.max()) + 1
        writer, programs = self._written(parameter, 1)
        per_tile = 4 * (writer.n_kept_floats - len(self._packed.values)) // self._n_tiles
        # of a worker with the largest share, so that all workers keep as many batches
        per_slot = per_tile * -(-largest_share(batches.batch_size, workplace.peers) // LANES)
        n_slots = max(1, min(n_drawn, workplace.memory_bytes // per_slot))
        if n_slots > 1:
            writer, programs = self._written(parameter, n_slots)

        node = graph.nodes[graph.owner(parameter)]
        is_weight, is_norm = parameter == node.weight, node.kind is Kind.BATCH_NORM
        n_weights = self._parameter.size
        per_channel = n_weights // node.shape[0] if is_weight else 1
        n_threads = workplace.threads.n_threads
        n_variants = n_threads * N_VARIANTS
        n_changes = n_weights + n_variants
        integers = IntegerTables()
        header = {
            code.CHANGE_FIRST: integers.append([0] * n_variants),
            code.CHANGE_END: integers.append([0] * n_variants),
            code.CHANGE_WEIGHT: integers.append([0] * n_changes),
            code.CHANGE_PLACE: integers.append([0] * n_changes),
            code.CHANGE_DELTA: writer.room(n_changes),
            code.CHANGE_NEGATED: writer.room(n_changes),
            code.RAW: writer.room(n_weights),
            code.CHANGE_SCALE: writer.room(2 * n_variants),
            code.ROW_DELTA: writer.room(n_threads * per_channel),
            code.ROW_PLACE: integers.append([0] * (n_threads * per_channel)),
            code.IS_UPDATE: integers.append([0] * n_threads),
            visiting.PROGRAMS: integers.append(
                [(program.first_segment, program.end_segment) for program in programs.in_order()]
            ),
            code.WEIGHTS_PER_CHANNEL: per_channel,
            code.PLACES: integers.append(programs.places if is_weight else [0]),
            visiting.NORM_COLUMN: (0 if is_weight else 1) if is_norm else -1,
            visiting.PACKED: integers.append(self._positions),
            visiting.OWNERS: integers.append([-1] * n_slots),
            visiting.N_SLOTS: n_slots,
            visiting.SEEN: integers.append([0] * len(self._images)),
            visiting.SPARE: n_weights,
            visiting.VALUES: writer.room(n_variants),
            visiting.IS_TILEWISE: int(programs.is_tilewise),
        }
        self._lay_out(writer, integers, header)
        raw = header[code.RAW]
        self._floats[raw : raw + n_weights] = self._parameter

    def _written(self, parameter: str, n_slots: int) -> tuple[Writer, VisitPrograms]:
        writer = self._writer(n_slots)
        return writer, visit_programs(writer, parameter)
