"""The log of cycles as columns: hundreds of thousands of rows without an object for each.

pyarrow reads what the driver writes, and nothing beside it, an order of magnitude faster than
Python does. A piece of the log in which anything is otherwise goes to the careful reader, which
says what is wrong with it or reads it after all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped, unused-ignore]
import pyarrow.json as pj  # type: ignore[import-untyped, unused-ignore]

from analysis.columns import COLUMNS
from analysis.errors import UnreadableRunFolder
from analysis.record_lines import LineReader, Lines, Log, Row, latest
from analysis.typed_columns import typed_column

_LOG = Log(texts=("run",), integers=("trial", "cycle"), identity=("run", "cycle"))
PIECE_BYTES = 2**24
"""What is read at once: enough for several cores, little beside the whole log."""

_TYPES = {"string": pa.string(), "Int64": pa.int64(), "float64": pa.float64()}
_PLAIN: dict[str, set[type]] = {"string": {str}, "Int64": {int}, "float64": {int, float}}
_MADE = ("sweep", "cumulative_images_passed", "cumulative_training_s")
"""Columns of the cycles that no record has."""
_OF_A_CYCLE = {name: dtype for name, (dtype, _) in COLUMNS["cycles"].items() if name not in _MADE}
_OF_A_LAYER = {
    # by its field in a record: its column in the frame of the layers, which says its dtype
    "name": "layer",
    "n_visited": "n_visited",
    "n_accepted": "n_accepted",
    "sigma": "sigma",
}
_LAYER = pa.struct(
    [(field, _TYPES[COLUMNS["layers"][column][0]]) for field, column in _OF_A_LAYER.items()]
)
SCHEMA = pa.schema(
    [*((name, _TYPES[dtype]) for name, dtype in _OF_A_CYCLE.items()), ("layers", pa.list_(_LAYER))]
)
"""The columns of the cycles frame that a record has, and the record's layers."""
_PARSING = pj.ParseOptions(
    explicit_schema=SCHEMA, newlines_in_values=False, unexpected_field_behavior="error"
)
_LAX = (b"NaN", b"Inf", b"\\u")
"""Where these are, pyarrow takes more than Python does: `-NaN`, `Inf` and half a character."""

_Array = Callable[[Sequence[object], str, str], pa.Array]
"""Makes an array of values, which are those of a column of a frame."""


def read_cycles(files: Iterable[Lines], piece_bytes: int = PIECE_BYTES) -> pa.Table:
    """The cycles of a log, in its files in their order; of two rows for a cycle the later one.

    Args:
        files: whole files of the log.
        piece_bytes: what is read at once; it makes no difference to the result.

    Returns:
        A table of `SCHEMA`.

    Raises:
        UnreadableRunFolder: a line is no record of a cycle, or a value is not what it should be.
    """
    reader = LineReader(_LOG)
    pieces: list[pa.Table | list[Row]] = []
    for lines in _pieces(files, piece_bytes):
        table = _clean_table(lines.content)
        if table is not None:
            reader.goes_on()
            pieces.append(table)
            continue
        rows = reader.rows(lines)
        table = _plain_table(rows)
        pieces.append(rows if table is None else table)
    if all(isinstance(piece, pa.Table) for piece in pieces):
        return _latest(pa.concat_tables([SCHEMA.empty_table(), *pieces]).combine_chunks())
    # what a value becomes, or whether it is an error, depends on all that stay in its column
    every = [piece.to_pylist() if isinstance(piece, pa.Table) else piece for piece in pieces]
    return _table(latest(list(itertools.chain(*every)), _LOG), _converted)


def _pieces(files: Iterable[Lines], piece_bytes: int) -> Iterator[Lines]:
    """The files cut between lines."""
    for lines in files:
        start, first = 0, lines.first
        while start < len(lines.content):
            end = lines.content.find(b"\n", start + piece_bytes) + 1 or len(lines.content)
            content = lines.content[start:end]
            yield Lines(content, lines.place, first)
            start, first = end, first + content.count(b"\n")


def _clean_table(content: bytes) -> pa.Table | None:
    """The rows of lines that are as the driver writes them; None if anything is otherwise.

    pyarrow is laxer than the careful reader: it takes several objects in a line, one in several
    lines, and broken UTF-8. It is told to refuse other fields, so that nothing is in the lines
    that it does not look at.
    """
    if not content.isascii() or any(token in content for token in _LAX if token[:1] in content):
        return None
    characters = np.frombuffer(content, dtype="uint8")
    ends = np.flatnonzero(characters == ord("\n"))
    # with every line between braces, and as many objects as lines, each line is one object: within
    # an object no brace is followed by the next one with nothing but space between them
    begins = np.concatenate([[0], ends[:-1] + 1])
    if not content.endswith(b"}\n") or (characters[begins] != ord("{")).any():
        return None
    if (characters[ends - 1] != ord("}")).any():
        return None
    try:
        table = pj.read_json(pa.py_buffer(content), parse_options=_PARSING)
    except pa.ArrowInvalid:
        return None
    if len(table) != len(ends) or any(table[name].null_count for name in ("run", "trial", "cycle")):
        return None
    layers = pc.list_flatten(table["layers"])
    if layers.null_count:
        return None
    # a whole number that no float64 can hold
    figures = [table[name] for name, dtype in _OF_A_CYCLE.items() if dtype == "float64"]
    if any(
        pc.any(pc.is_inf(each)).as_py() for each in (*figures, pc.struct_field(layers, "sigma"))
    ):
        return None
    return table


def _plain_table(rows: Sequence[Row]) -> pa.Table | None:
    """Rows of the same kinds of values as in a clean line; None if a value is of another."""
    try:
        return _table(rows, _plain)
    except (UnreadableRunFolder, ValueError, OverflowError):
        return None


def _table(rows: Sequence[Row], array: _Array) -> pa.Table:
    columns = {name: array([row.get(name) for row in rows], name, "cycles") for name in _OF_A_CYCLE}
    layers = [row.get("layers") or [] for row in rows]
    if not all(
        isinstance(each, list) and all(isinstance(x, dict) for x in each) for each in layers
    ):
        raise UnreadableRunFolder(
            "'layers' of the cycles must be lists of objects in every row of the records"
        )
    fields = [
        array([layer.get(field) for each in layers for layer in each], column, "layers")
        for field, column in _OF_A_LAYER.items()
    ]
    ends = np.cumsum([0, *(len(each) for each in layers)], dtype="int32")
    flat = pa.StructArray.from_arrays(fields, fields=list(_LAYER))
    columns["layers"] = pa.ListArray.from_arrays(pa.array(ends), flat)
    return pa.table(columns, schema=SCHEMA)


def _plain(values: Sequence[object], column: str, name: str) -> pa.Array:
    """An array of values that are of its type already, or missing.

    Raises:
        ValueError: one is not.
        OverflowError: one is too large.
    """
    dtype, _ = COLUMNS[name][column]
    if not {type(value) for value in values if value is not None} <= _PLAIN[dtype]:
        raise ValueError(f"not all {dtype}")
    if dtype == "float64":
        values = [None if value is None else float(value) for value in values]  # type: ignore[arg-type]
    return pa.array(values, _TYPES[dtype])


def _converted(values: Sequence[object], column: str, name: str) -> pa.Array:
    """An array of whatever pandas can make a column of.

    Raises:
        UnreadableRunFolder: it cannot.
    """
    dtype, _ = COLUMNS[name][column]
    return pa.array(typed_column(values, column, name).array).cast(_TYPES[dtype])


def _latest(table: pa.Table) -> pa.Table:
    """As `record_lines.latest`: the last row for a cycle of a run, at the place of the first."""
    runs = pc.dictionary_encode(table["run"]).combine_chunks().indices.to_numpy()
    keys = pd.DataFrame({"run": runs, "cycle": table["cycle"].to_numpy()})
    if not keys.duplicated().any():
        return table
    numbers = keys.groupby(["run", "cycle"], sort=False).ngroup().to_numpy()
    last = np.zeros(numbers.max() + 1, dtype="int64")
    np.maximum.at(last, numbers, np.arange(len(numbers)))
    return table.take(pa.array(last))
