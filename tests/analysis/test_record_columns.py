"""The cycles as columns: the fast reader held against the careful one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.columns import check_frame
from analysis.cycle_frames import cycle_frames
from analysis.record_columns import SCHEMA, read_cycles
from analysis.record_lines import LineReader, Lines, Log, read_rows
from analysis.run_folder import UnreadableRunFolder
from analysis.typed_columns import frame_of
from rso_core.records import CycleRecord, LayerRecord

Frames = dict[str, pd.DataFrame]

LOG = Log(texts=("run",), integers=("trial", "cycle"), identity=("run", "cycle"))
ORDER = ["sweep", "trial", "seed", "run", "cycle"]
FIELDS = ["name", "n_visited", "n_accepted", "sigma"]


def read_slowly(files: list[Lines]) -> Frames:
    """The frames of the cycles and the layers of a sweep `s`, from a dictionary for each row."""
    rows = [{**row, "sweep": "s"} for row in read_rows(files, LOG)]
    cycles = frame_of(rows, "cycles").sort_values(ORDER)
    by_run = cycles.groupby(["sweep", "run"], sort=False)
    cycles["cumulative_images_passed"] = by_run["n_images_passed"].cumsum()
    cycles["cumulative_training_s"] = by_run["training_s"].cumsum()
    of_layers = []
    for row in rows:
        found = row.get("layers") or []
        if not isinstance(found, list) or not all(isinstance(layer, dict) for layer in found):
            raise UnreadableRunFolder(
                "'layers' of the cycles must be lists of objects in every row of the records"
            )
        for index, layer in enumerate(found):
            own = {name: row.get(name) for name in ORDER} | {"layer_index": index}
            of_layers.append(own | {name: layer.get(name) for name in FIELDS})
            of_layers[-1]["layer"] = of_layers[-1].pop("name")
    layers = frame_of(of_layers, "layers").sort_values([*ORDER, "layer_index"])
    visited = layers["n_visited"].astype("float64")
    layers["accepted_share"] = layers["n_accepted"].astype("float64") / visited.where(visited > 0)
    return {"cycles": cycles.reset_index(drop=True), "layers": layers.reset_index(drop=True)}


def read_fast(files: list[Lines], piece_bytes: int) -> Frames:
    cycles, layers = cycle_frames([("s", read_cycles(files, piece_bytes))])
    return {"cycles": cycles, "layers": layers}


def assert_read_as_slowly(files: list[Lines], piece_bytes: int) -> None:
    expected, message = frames_or_message(lambda: read_slowly(files))
    found, fast_message = frames_or_message(lambda: read_fast(files, piece_bytes))
    assert fast_message == message
    for name, frame in expected.items():
        check_frame(found[name], name)
        pd.testing.assert_frame_equal(found[name], frame, check_exact=True)


def frames_or_message(read: Callable[[], Frames]) -> tuple[Frames, str | None]:
    try:
        return read(), None
    except UnreadableRunFolder as error:
        return {}, str(error)


NAMES = st.sampled_from(["a", "trial-0-seed-0", "", 'q"\\\n', "}\n{", "é", "\u2028", "NaN", "Inf"])
COUNTS = st.integers(0, 9) | st.integers(-(2**63), 2**63 - 1) | st.none()
FIGURES = st.floats() | st.floats(0, 1) | COUNTS
LAYERS = st.fixed_dictionaries(
    {"name": NAMES}, optional={"n_visited": COUNTS, "n_accepted": COUNTS, "sigma": FIGURES}
)
RECORDS = st.fixed_dictionaries(
    {"trial": st.integers(0, 2), "run": NAMES, "cycle": st.integers(1, 3)},
    optional={
        "seed": st.integers(0, 3) | st.none(),
        "n_images_passed": st.integers(0, 2**40) | st.none(),
        "layers": st.lists(LAYERS, max_size=3) | st.none(),
        **dict.fromkeys(["training_loss", "test_accuracy", "training_s"], FIGURES),
    },
)
ODD = st.sampled_from(
    [
        *(None, True, False, 0, 1.0, 1.5, 2**63, -(2**70), 10**309, 10**400),
        *("", "x", "1.5", "\ud800"),
        *([], {}, [1], [None], {"a": 1}, [{"n_visited": "2"}, {"sigma": "x"}], [[{}]]),
    ]
)
"""Values that a column takes after all, or refuses."""


REPLACED = [
    *((b"1", b"-NaN"), (b"1", b"Inf"), (b"1", b"NaN"), (b"1", b"Infinity"), (b"1", b"01")),
    *((b"1", b"1."), (b"1", b"0x1"), (b"1", b"1e400"), (b"1", b"1" * 5000)),
    *((b"1", b"[" * 5000 + b"]" * 5000), (b'"', b"'"), (b": ", b":\n"), (b"{", b"{,")),
    *((b"}", b"},"), (b"}", b"}}"), (b"}", b'}{"trial": 1}'), (b"}", b', "trial": 1}')),
]
"""What becomes what in a damaged line; some of it Python's parser takes, some pyarrow's."""


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A record as the driver writes it; now and then with an odd value, or damaged."""
    record: dict[str, Any] = draw(RECORDS)
    if draw(st.integers(0, 7)) == 0:
        record[draw(st.sampled_from([*SCHEMA.names, "of old"]))] = draw(ODD)
    if draw(st.integers(0, 15)) == 0:
        record.pop(draw(st.sampled_from(sorted(record))))
    record = {name: record[name] for name in draw(st.permutations(sorted(record)))}
    text = json.dumps(record, ensure_ascii=draw(st.booleans()))
    line = text.encode(errors="surrogatepass")
    return draw(damaged(line)) if draw(st.integers(0, 11)) == 0 else line


@st.composite
def damaged(draw: st.DrawFn, line: bytes) -> bytes:
    place = draw(st.integers(0, len(line)))
    junk = st.sampled_from([b"", b" ", b"\r", b"\n", b"\0", b"\xff", b"{", b"}", b"-", b"1", b"\t"])
    old, new = draw(st.sampled_from(REPLACED))
    return draw(
        st.sampled_from(
            [
                line[:place],
                line[:place] + draw(junk) + line[place:],
                line.replace(old, new, 1),
                line + line,
                *(b"5", b"[1]", b"{}", b"null", b"\0\0", b"\xef\xbb\xbf" + line, line + b"\r"),
            ]
        )
    )


FILES = st.lists(
    st.tuples(st.lists(lines(), max_size=7), st.sampled_from([b"\n", b"\n", b"", b"\n\n"])),
    min_size=1,
    max_size=2,
)


@settings(deadline=None, max_examples=60)
@given(files=FILES, piece_bytes=st.sampled_from([1, 500, 2**24]))
def test_the_frames_or_the_error_are_those_of_the_careful_reader(files, piece_bytes):
    written = [
        Lines(b"\n".join(found) + end, f"part {index}") for index, (found, end) in enumerate(files)
    ]
    assert_read_as_slowly(written, piece_bytes)


@pytest.mark.parametrize(
    "rest",
    [
        b', "training_loss": -NaN}\n',
        b', "training_loss": Inf}\n',
        b', "training_loss": -Infinity}\n',
        b', "training_loss": ' + b"1" * 400 + b"}\n",
        b', "of old": ' + b"1" * 5000 + b"}\n",
        b', "of old": ' + b"[" * 5000 + b"]" * 5000 + b"}\n",
        b', "layers": [{"name": "\xc3"}]}\n',
        b', "layers": [{"name": "\\udc00"}]}\n',
        b', "layers": [null]}\n',
        b', "trial": 1}\n',
        b'}{"run": "b", "trial": 0, "cycle": 1}\n',
        b',\n"seed": 1}{"run": "b", "trial": 0, "cycle": 1}\n',
        b', "layers": [{"sigma": 1}\n]}{"run": "b", "trial": 0, "cycle": 1}\n',
        b', "layers": [\n{"sigma": 1}]}{"run": "b", "trial": 0, "cycle": 1}\n',
        b"}\r\n",
        b"} \n",
        b"}\0\n",
        b'}\n \n{"run": "b", "trial": 0, "cycle": 1}\n',
    ],
)
def test_what_pyarrow_takes_is_no_more_than_the_careful_reader_takes(rest):
    written = [
        Lines(before + b'{"run": "a", "trial": 0, "cycle": 2' + rest + after, "part")
        for before in (b"", b'{"run": "a", "trial": 0, "cycle": 1}\n')
        for after in (b"", b'{"run": "a", "trial": 0, "cycle": 3}\n')
    ]
    for each in written:
        assert_read_as_slowly([each], 2**24)


def test_what_the_driver_writes_needs_no_careful_reader(monkeypatch):
    monkeypatch.delattr(LineReader, "rows")
    layers = tuple(LayerRecord(f"conv{n}.weight", 10, n, 0.1 * n) for n in (1, 2))
    of_rso = CycleRecord(1, 2.5, 20, 3, 60, 0.5, layers, 0.9, 0.7, 0.8, 0.75, 0.1)
    of_sgd = CycleRecord(2, 2.25, 0, 0, 100, 0.5, test_loss=0.5, test_accuracy=0.75)
    own = {"trial": 0, "run": "trial-0-seed-3", "seed": 3}
    rows = [own | asdict(record) for record in (of_rso, of_sgd)]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    cycles, layers = read_fast([Lines(content, "cycles.jsonl")], 2**24).values()
    assert cycles["training_loss"].tolist() == [2.5, 2.25]
    assert cycles["seed"].tolist() == [3, 3]
    assert layers["layer"].tolist() == ["conv1.weight", "conv2.weight"]
    assert layers["accepted_share"].tolist() == [0.1, 0.2]


def test_a_cycle_in_several_rows_has_the_figures_of_the_last_wherever_they_are_read():
    rows = [
        {"trial": 0, "run": "a", "cycle": cycle, "test_accuracy": accuracy}
        for cycle, accuracy in ((1, 0.1), (2, 0.2), (1, 0.3), (3, 0.4), (1, None))
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for piece_bytes in (1, 100, 2**24):
        table = read_cycles([Lines(content, "cycles.jsonl")], piece_bytes)
        assert table["cycle"].to_pylist() == [1, 2, 3]
        assert table["test_accuracy"].to_pylist() == [None, 0.2, 0.4]


def test_a_damaged_line_has_its_number_whatever_the_pieces():
    good = b'{"trial": 0, "run": "a", "cycle": 1}\n'
    content = good * 2 + b"\n" + b'{"trial": 0\n' + good
    for piece_bytes in (1, 40, 2**24):
        with pytest.raises(UnreadableRunFolder) as caught:
            read_cycles([Lines(content, "cycles.jsonl")], piece_bytes)
        assert str(caught.value) == "'cycles.jsonl', line 4 is not valid JSON"
