"""`rso-sweep bench engine` as its users meet it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from rso_core.datasets import load_dataset
from sweeps import bench_command, bench_workers
from sweeps.bench_command import EngineRow, print_rows
from sweeps.bench_workers import WorkersRow, print_workers

Call = Callable[..., tuple[int, str, str]]

_SMALL = ("bench", "engine", "--network", "mlp()", "--batch-size", "50", "--quick")

_ROW = EngineRow(
    network="one_conv",
    batch_size=256,
    threads=1,
    reference_us_per_visit=20_712.3,
    engine_us_per_visit=41.26,
    ratio=502.0,
    gflop_per_cycle=5.941,
    share_of_peak=0.2148,
    reference_s_per_cycle=163.4,
    engine_s_per_cycle=0.3255,
    n_visits=7890,
    peak_gflop_per_s=85.0,
    n_reference_visits=53,
    engine="incremental",
    extrapolated=False,
    unsupported=None,
)


@pytest.fixture
def call(call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls the command line in an empty folder, on a few images: status, stdout, stderr."""
    small = bench_command.BENCH_DATA.model_copy(update={"train_size": 200, "test_size": 10})
    monkeypatch.setattr(bench_command, "load_dataset", lambda _: load_dataset(small))
    monkeypatch.setattr(bench_command, "matrix_product_peak", lambda n_threads: 1e11 * n_threads)
    return call


def test_json_is_a_list_of_rows_and_all_that_is_printed(call: Call) -> None:
    status, out, err = call(*_SMALL, "--batch-size", "20", "--json")
    assert status == 0
    rows = json.loads(out)
    assert [row["batch_size"] for row in rows] == [50, 20]
    for row in rows:
        assert set(row) == {field.name for field in fields(EngineRow)}
        assert (row["network"], row["threads"], row["n_visits"]) == ("mlp()", 1, 7850)
        assert (row["engine"], row["extrapolated"]) == ("incremental", True)
        assert row["n_reference_visits"] >= 8
        assert row["peak_gflop_per_s"] == 100.0
        ratio = row["reference_us_per_visit"] / row["engine_us_per_visit"]
        assert row["ratio"] == pytest.approx(ratio)
        assert row["engine_s_per_cycle"] == pytest.approx(row["engine_us_per_visit"] * 7850e-6)
        gflop_per_s = row["gflop_per_cycle"] / row["engine_s_per_cycle"]
        assert row["share_of_peak"] == pytest.approx(gflop_per_s / 100)
    assert err.splitlines() == ["1 of 2: mlp(), batch size 50", "2 of 2: mlp(), batch size 20"]


def test_without_json_there_is_a_table(call: Call) -> None:
    status, out, _ = call(*_SMALL, "--threads", "2")
    assert status == 0
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    assert "2 threads, torch " in lines[0]
    assert lines[0].endswith("matrix products at up to 200 GFLOP/s")
    assert lines[1].startswith("| Network | Batch | Threads |")
    assert lines[3].startswith("| mlp()   |    50 |       2 |")
    assert lines[-1].startswith("~ measured by --quick")


def test_the_table_aligns_its_numbers_and_chooses_units(capsys: pytest.CaptureFixture[str]) -> None:
    slow = replace(
        _ROW, network="paper_mnist", batch_size=1024, reference_us_per_visit=1_155_000.0,
        engine_us_per_visit=935.2, ratio=1235.0, gflop_per_cycle=16_600.0, extrapolated=True,
    )  # fmt: skip
    print_rows([_ROW, slow])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines == [
        "| Network     | Batch | Threads | Reference, µs | Incremental, µs |   Ratio "
        "| GFLOP a cycle | Of peak |",
        "|-------------|-------|---------|---------------|-----------------|---------"
        "|---------------|---------|",
        "| one_conv    |   256 |       1 |        20,712 |            41.3 |    ×502 "
        "|          5.94 |   21.5% |",
        "| paper_mnist | 1,024 |       1 |    ~1,155,000 |            ~935 | ~×1,235 "
        "|        16,600 |  ~21.5% |",
    ]


def test_in_a_terminal_the_table_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("TERM", "dumb"),
                        ("COLUMNS", "80")):  # fmt: skip
        monkeypatch.setenv(name, value)
    slow = replace(
        _ROW, network="paper_mnist", batch_size=1024, reference_us_per_visit=1_155_000.0,
        engine_us_per_visit=28_935.2, ratio=1235.0, gflop_per_cycle=16_600.0, extrapolated=True,
    )  # fmt: skip
    print_rows([slow])
    shown = capsys.readouterr().out
    for figure in ("paper_mnist", "1,024", "~1,155,000", "~28,935", "~×1,235", "16,600", "~21.5%"):
        assert figure in shown


def test_an_unsupported_network_s_row_says_so(call: Call) -> None:
    Path("own_bench.py").write_text(
        "from torch import nn\n"
        "def grouped():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 9, stride=9), nn.GroupNorm(1, 2),\n"
        "                         nn.Flatten(), nn.Linear(18, 10))\n"
    )
    arguments = ("bench", "engine", "--quick", "--network", "own_bench:grouped",
                 "--batch-size", "50")  # fmt: skip
    status, out, _ = call(*arguments, "--json")
    assert status == 0
    (row,) = json.loads(out)
    assert (row["engine"], row["ratio"]) == ("reference", 1.0)
    assert row["gflop_per_cycle"] is row["share_of_peak"] is None
    assert row["unsupported"] == "it holds a module of type GroupNorm"
    status, out, _ = call(*arguments)
    assert status == 0
    assert "| unsupported |" in " ".join(out.split())
    assert (
        "own_bench:grouped is left to the reference engine: it holds a module of type GroupNorm"
    ) in out


def test_a_user_s_network_that_fails_on_a_batch_gets_one_line_and_status_2(call: Call) -> None:
    Path("failing_networks.py").write_text(
        "from torch import nn\n"
        "class Failing(nn.Sequential):\n"
        "    def forward(self, inputs):\n"
        "        if len(inputs) > 2:\n"
        "            raise RuntimeError('too many')\n"
        "        return super().forward(inputs)\n"
        "def failing():\n"
        "    return Failing(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    status, out, err = call("bench", "engine", "--network", "failing_networks:failing",
                            "--batch-size", "50")  # fmt: skip
    assert status == 2
    assert out == ""
    assert err.splitlines()[-1] == (
        "rso-sweep: '--network' names 'failing_networks:failing', which fails on batches of "
        "50 images (RuntimeError: too many)"
    )


BAD_COMMANDS = [
    (
        ["--network", "one_cnv"],
        ["'--network' must be a network, got 'one_cnv'; did you mean 'one_conv'?"],
    ),
    (["--network", "nowhere:network"], ["'--network' names module 'nowhere'"]),
    (
        ["--batch-size", "0"],
        ["'--batch-size' must be an integer from 1 to 60000, the number of training images, got 0"],
    ),
    (["--batch-size", "60001"], ["'--batch-size' must be an integer from 1 to 60000"]),
    (["--threads", "0"], ["'--threads' must be an integer of at least 1, got 0"]),
    (["--batch-size", "0", "--threads", "0"], ["'--batch-size' must", "'--threads' must"]),
]


@pytest.mark.parametrize(
    ("arguments", "messages"), BAD_COMMANDS, ids=[" ".join(bad[0]) for bad in BAD_COMMANDS]
)
def test_bad_input_gets_a_line_for_each_fault_and_status_2(
    assert_refused: Callable[..., None], arguments: list[str], messages: list[str]
) -> None:
    assert_refused(["bench", "engine", *arguments], messages)


def test_bench_without_saying_what_gets_one_line_and_status_2(call: Call) -> None:
    status, out, err = call("bench")
    assert (status, out) == (2, "")
    assert err == "rso-sweep: Missing command; see 'rso-sweep bench --help'\n"


def test_help_has_an_example(call: Call) -> None:
    status, out, _ = call("bench", "engine", "--help")
    assert status == 0
    assert "Example:  rso-sweep bench engine" in out
    assert "one_conv, two_conv" in out


# ---------------------------------------------------------------------------- several workers


def test_several_workers_are_measured_as_processes_of_their_own(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = bench_workers.BENCH_DATA.model_copy(update={"train_size": 200, "test_size": 10})
    monkeypatch.setattr(bench_workers, "BENCH_DATA", small)
    status, out, err = call("bench", "engine", "--workers", "2", "--network", "mlp(4)",
                            "--batch-size", "50", "--quick", "--json")  # fmt: skip
    assert status == 0, err
    (row,) = json.loads(out)
    assert set(row) == {field.name for field in fields(WorkersRow)}
    assert (row["network"], row["workers"], row["n_visits"]) == ("mlp(4)", 2, 784 * 4 + 4 + 50)
    assert row["speedup"] == pytest.approx(row["alone_s_per_cycle"] / row["group_s_per_cycle"])
    assert row["alone_us_per_visit"] == pytest.approx(
        1e6 * row["alone_s_per_cycle"] / row["n_visits"]
    )
    assert 0 < row["exchange_share"] < 1
    assert row["bound"] > 0
    assert err.splitlines() == ["1 of 1: mlp(4), batch size 50"]


def test_the_table_of_several_workers_aligns_its_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = WorkersRow(
        network="paper_mnist", batch_size=1024, workers=2, threads=1, alone_us_per_visit=24_322.4,
        group_us_per_visit=13_100.0, speedup=1.857, bound=1.951, exchange_share=0.0512,
        alone_s_per_cycle=292.0, group_s_per_cycle=157.0, n_visits=12_016, n_rounds=5,
    )  # fmt: skip
    print_workers([row, replace(row, network="one_conv", alone_us_per_visit=46.91)])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert "1 thread of each worker, torch " in lines[0]
    assert lines[1:5] == [
        "| Network     | Batch | Workers | One worker, µs | Together, µs | Faster | Bound | "
        "Exchanging |",
        "|-------------|-------|---------|----------------|--------------|--------|-------|"
        "------------|",
        "| paper_mnist | 1,024 |       2 |         24,322 |       13,100 |  ×1.86 | ×1.95 | "
        "      5.1% |",
        "| one_conv    | 1,024 |       2 |           46.9 |       13,100 |  ×1.86 | ×1.95 | "
        "      5.1% |",
    ]
    assert lines[-1].endswith("Medians of 5 rounds.")


_BAD_WORKERS = [
    (["--workers", "0"], ["'--workers' must be an integer of at least 1, got 0"]),
    (
        ["--workers", "4", "--batch-size", "3"],
        ["'--batch-size' must be at least 4, an image for each of '--workers', got 3"],
    ),
    (["--workers", "2", "--threads", "0"], ["'--threads' must be an integer of at least 1"]),
]


@pytest.mark.parametrize(
    ("arguments", "messages"), _BAD_WORKERS, ids=[" ".join(bad[0]) for bad in _BAD_WORKERS]
)
def test_workers_that_cannot_be_get_a_line_for_each_fault_and_status_2(
    call: Call, arguments: list[str], messages: list[str]
) -> None:
    status, out, err = call("bench", "engine", "--network", "mlp()", *arguments)
    assert (status, out) == (2, "")
    for line, message in zip(err.splitlines(), messages, strict=True):
        assert line.startswith(f"rso-sweep: {message}")


def test_several_workers_need_a_network_that_the_incremental_engine_knows(call: Call) -> None:
    Path("own_grouped.py").write_text(
        "from torch import nn\n"
        "def grouped():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 9, stride=9), nn.GroupNorm(1, 2),\n"
        "                         nn.Flatten(), nn.Linear(18, 10))\n"
    )
    status, out, err = call("bench", "engine", "--workers", "2", "--network",
                            "own_grouped:grouped")  # fmt: skip
    assert (status, out) == (2, "")
    assert err == (
        "rso-sweep: '--network' must be one that the incremental engine knows for '--workers', "
        "got 'own_grouped:grouped'; it holds a module of type GroupNorm\n"
    )
