"""What travels with a job: the user's modules and no more, the order, and never a secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rso_core.errors import InvalidInput
from sweeps.jobs.cargo import Order, loaded, order_in
from sweeps.jobs.own_modules import MOST_BYTES, modules_below, own_modules
from sweeps.jobs.submitting import NewSweep

_SWEEP: dict[str, Any] = {"space": {"optimizer": ["sgd", "mine:Optimizer"]}}


def _make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_all_python_files_of_the_folder_travel_and_nothing_else(tmp_path: Path) -> None:
    _make(tmp_path, "mine.py", "parts/__init__.py", "parts/deep/net.py", "namespace/a.py")
    _make(tmp_path, "data.npz", "parts/images.pt", "notes.md")
    _make(tmp_path, ".hidden/a.py", "env/pyvenv.cfg", "env/lib/a.py", "old-code/a.py")
    _make(tmp_path, "results/sweep.yaml", "results/records/a.py", "runs/x/a.py")
    _make(tmp_path, "parts/__pycache__/a.py", "sweeps/a.py", "parts/sweeps/a.py")
    found = own_modules(tmp_path, _SWEEP)
    assert found.named == ("mine",)
    assert [path.as_posix() for path in found.files] == [
        "mine.py", "namespace/a.py", "parts/__init__.py", "parts/deep/net.py", "parts/sweeps/a.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sweep",
    [
        {"space": {"optimizer": "sgd"}},
        {"study": {"storage": "mine:pass@host"}, "output": "s3://mine/x"},
        {"space": {"architecture": "sweeps.x:Y"}},
        {"space": {"architecture": "elsewhere.x:Y"}},
    ],
)
def test_nothing_travels_for_a_sweep_that_names_no_module_here(
    tmp_path: Path, sweep: dict[str, Any]
) -> None:
    _make(tmp_path, "other.py", "sweeps/x.py")
    assert own_modules(tmp_path, sweep).files == ()


@pytest.mark.parametrize(
    "sweep",
    [
        {"data": {"name": "mine:load"}},
        {"space": {"mine.parts:Net.width": [1, 2]}},
        {"sampler": {"name": "mine.samplers:Own", "options": {}}},
        {"space": {"architecture": {"choices": [{"x": "mine:net(3)"}]}}},
    ],
)
def test_a_module_may_be_named_anywhere(tmp_path: Path, sweep: dict[str, Any]) -> None:
    _make(tmp_path, "mine.py")
    assert own_modules(tmp_path, sweep).named == ("mine",)


def test_too_much_is_refused_with_the_largest(tmp_path: Path) -> None:
    _make(tmp_path, "mine.py", "small.py")
    (tmp_path / "tables.py").write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(InvalidInput, match=r"at most 10.0 MiB together.* largest is 'tables.py'"):
        own_modules(tmp_path, _SWEEP)


def test_a_folder_that_holds_half_a_disk_is_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.jobs.own_modules._MOST_FOLDERS", 20)
    _make(tmp_path, "mine.py", *(f"a{n}/b.py" for n in range(20)))
    with pytest.raises(InvalidInput, match="more than 20 folders"):
        modules_below(tmp_path, ["mine"])


def test_an_order_arrives_as_it_was_given_beside_the_modules(tmp_path: Path) -> None:
    _make(tmp_path, "mine.py", "parts/net.py")
    order = Order("run", "x-1", "/runs/x", ("rso-sweep", "submit", "x y"), ("a=1",), "name: ü\n")
    with loaded(order, own_modules(tmp_path, _SWEEP)) as runtime_env:
        place = Path(runtime_env["working_dir"])
        assert (place / "parts/net.py").is_file()
        arrived, sweep = order_in(place)
        assert sweep.read_text(encoding="utf-8") == "name: ü\n"
        assert arrived == Order("run", "x-1", "/runs/x", order.command, order.overrides)
    assert not place.exists()


def test_a_module_that_travels_is_not_one_of_the_project_s_own(tmp_path: Path) -> None:
    with loaded(Order("run", "x", "x", ()), own_modules(tmp_path, {})) as runtime_env:
        names = {Path(path).name for path in runtime_env["py_modules"]}
        assert names == {"rso_core", "sweeps", "analysis"}
        place = Path(runtime_env["working_dir"])
        assert [path.name for path in place.iterdir()] == ["rso_sweep_job"]


@pytest.mark.parametrize(
    ("overrides", "out"),
    [
        (["study.storage=postgresql://me:hunter22@db/x"], None),
        (["output=s3://key:hunter22@bucket/x"], None),
        ([], "s3://key:hunter22@bucket/x"),
    ],
)
def test_a_written_secret_is_not_sent(overrides: list[str], out: str | None) -> None:
    with pytest.raises(
        InvalidInput, match=r"password or a token written out.*\$\{NAME\}"
    ) as caught:
        NewSweep("smoke", out, overrides)
    assert "hunter22" not in str(caught.value)


def test_a_variable_that_only_the_cluster_has_is_no_fault_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    new = NewSweep("smoke", None, ["study.storage=postgresql://me:${DB_PASSWORD}@db/x"])
    assert new.summary == "4 trials x 2 seeds = 8 runs of 2 cycles"


def test_all_faults_of_a_sweep_are_told_before_anything_is_sent(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    status, out, said = call(
        "submit", "smoke", "--set", "budget.cycles=0", "--set", "seeds=[]", "--address", "h.invalid"
    )
    assert (status, out) == (2, "")
    assert "'budget.cycles' must" in said
    assert "'seeds' must" in said
    assert "h.invalid" not in said
