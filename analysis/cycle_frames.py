"""The cycles of run folders as two frames: a row for each cycle, and one for each layer of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped, unused-ignore]

from analysis.columns import COLUMNS
from analysis.record_columns import SCHEMA

_ORDER = ("sweep", "trial", "seed", "run", "cycle")


def cycle_frames(sweeps: Sequence[tuple[str, pa.Table]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frames `cycles` and `layers` of sweeps.

    Args:
        sweeps: of each its name, which no other one has, and its cycles as `read_cycles` has them.
    """
    names = pa.array([name for name, _ in sweeps], pa.string())
    places = np.repeat(np.arange(len(sweeps)), [len(table) for _, table in sweeps])
    table = pa.concat_tables([SCHEMA.empty_table(), *(table for _, table in sweeps)])
    table = table.append_column("sweep", names.take(pa.array(places, pa.int64())))
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in _ORDER])
    table = table.take(order).combine_chunks()
    return _cycles(table), _layers(table)


def _cycles(table: pa.Table) -> pd.DataFrame:
    own = [name for name in COLUMNS["cycles"] if name in table.column_names]
    cycles = _frame(table.select(own))
    by_run = cycles.groupby(["sweep", "run"], sort=False)
    cycles["cumulative_images_passed"] = by_run["n_images_passed"].cumsum()
    cycles["cumulative_training_s"] = by_run["training_s"].cumsum()
    return cycles


def _layers(table: pa.Table) -> pd.DataFrame:
    lists = table["layers"].combine_chunks()
    flat, parents = pc.list_flatten(lists), pc.list_parent_indices(lists)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    columns = {name: table[name].take(parents) for name in _ORDER}
    columns["layer_index"] = pa.array(np.arange(len(flat)) - first, pa.int64())
    columns["layer"] = pc.struct_field(flat, "name")
    for name in ("n_visited", "n_accepted", "sigma"):
        columns[name] = pc.struct_field(flat, name)
    layers = _frame(pa.table(columns))
    visited = layers["n_visited"].astype("float64")
    layers["accepted_share"] = layers["n_accepted"].astype("float64") / visited.where(visited > 0)
    return layers[list(COLUMNS["layers"])]


def _frame(table: pa.Table) -> pd.DataFrame:
    dtypes = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=dtypes.get)
    return frame
