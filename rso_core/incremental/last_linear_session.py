"""Visits the last linear layer by columns."""

from __future__ import annotations

from rso_core.batches import Batches
from rso_core.incremental.compiled import last_linear
from rso_core.incremental.compiled.simd import LANES
from rso_core.incremental.graph import Kind, NetworkGraph
from rso_core.incremental.programs import forward_program
from rso_core.incremental.session import IntegerTables, Session, Workplace
from rso_core.peers import Peers, largest_share


def is_of_last_linear(graph: NetworkGraph, parameter: str) -> bool:
    """Whether the parameter is the weight or the bias of a linear layer that gives the logits."""
    node = graph.nodes[-1]
    if parameter not in (node.weight, node.bias) or node.kind is not Kind.CONVOLUTION:
        return False
    assert node.window is not None
    image = graph.nodes[node.inputs[0]].shape[1:]
    return node.window.kernel == image and node.window.padding == (0, 0)


def column_bytes(graph: NetworkGraph, batches: Batches, peers: Peers) -> int:
    """Memory for the columns of the batches that are drawn, of a worker with the largest share."""
    n_columns = _n_features(graph) + graph.nodes[-1].shape[0] + 2
    n_tiles = -(-largest_share(batches.batch_size, peers) // LANES)
    n_drawn = int(batches.drawn.max() - batches.drawn.min()) + 1
    return 4 * n_columns * n_drawn * n_tiles * LANES


class LastLinearSession(Session):
    """See `Session`; `last_linear.visit_last_linear` is its loop."""

    def __init__(self, workplace: Workplace, parameter: str, batches: Batches) -> None:
        super().__init__(workplace, parameter, batches, last_linear.visit_last_linear)
        graph = workplace.graph
        node = graph.nodes[-1]
        n_features, n_classes = _n_features(graph), node.shape[0]
        first_batch, end_batch = int(batches.drawn.min()), int(batches.drawn.max()) + 1
        length = (end_batch - first_batch) * self._n_tiles * LANES
        writer = self._writer(n_slots=1)
        source = node.inputs[0]
        kept = {
            position: writer.kept(position, (0, 0)) for position in (source, len(graph.nodes) - 1)
        }
        columns = {
            last_linear.COLUMNS: writer.room(n_features * length),
            last_linear.LOGIT_COLUMNS: writer.room(n_classes * length),
            last_linear.OTHERS: writer.room(length),
            last_linear.MARGIN: writer.room(length),
        }
        writer.n_kept_floats = writer.n_floats
        program = forward_program(writer, kept)
        n_chunks = -(-self._n_tiles // last_linear.TILES_AT_ONCE)
        integers = IntegerTables()
        header = {
            **columns,
            last_linear.FIRST_SEGMENT: program.first_segment,
            last_linear.END_SEGMENT: program.end_segment,
            last_linear.N_FEATURES: n_features,
            last_linear.N_CLASSES: n_classes,
            last_linear.FIRST_BATCH: first_batch,
            last_linear.END_BATCH: end_batch,
            last_linear.FEATURES: kept[source].base,
            last_linear.LOGITS: kept[len(graph.nodes) - 1].base,
            last_linear.BIASES: -1 if node.bias is None else self._packed.offsets[node.bias],
            last_linear.IS_BIAS: int(parameter == node.bias),
            last_linear.ROW: -1,
            last_linear.FILLED: integers.append([0] * len(self._images)),
            last_linear.PACKED: integers.append(self._positions),
            last_linear.PENDING_COLUMN: integers.append([0] * last_linear.MOST_PENDING),
            last_linear.PENDING_STEP: writer.room(last_linear.MOST_PENDING),
            last_linear.ROW_SUMS: 0,
            last_linear.CHUNK_SUMS: len(self._images),
        }
        n_doubles = len(self._images) + 3 * n_chunks
        self._lay_out(writer, integers, header, n_doubles)


def _n_features(graph: NetworkGraph) -> int:
    node = graph.nodes[graph.nodes[-1].inputs[0]]
    return node.shape[0] * node.n_pixels
