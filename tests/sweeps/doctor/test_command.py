"""What `rso-sweep doctor` refuses, before it starts or joins any Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.doctor.sweep_needs import sweep_needs
from sweeps.resources import Needs

Call = Callable[..., tuple[int, str, str]]


def test_a_sweep_that_is_none_is_refused_with_a_line(call: Call) -> None:
    status, out, err = call("doctor", "quickstrat")
    assert (status, out) == (2, "")
    assert "quickstart" in err
    assert len(err.splitlines()) == 1


def test_all_faults_of_a_sweep_are_told(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: bad\nseeds: 0\nspace: {architecture: mlp()}\n")
    status, _, err = call("doctor", "bad.yaml")
    assert status == 2
    assert len(err.splitlines()) >= 3


def test_an_override_without_a_sweep_is_refused(call: Call) -> None:
    assert call("doctor", "--set", "seeds=3") == (
        2,
        "",
        "rso-sweep: '--set' is for a sweep, got 'seeds=3' without one; name its file before it\n",
    )


def test_a_cluster_that_is_not_there_is_refused(call: Call) -> None:
    status, _, err = call("doctor", "--address", "127.0.0.1:1")
    assert status == 2
    assert err.startswith("rso-sweep: '--address' must be a running Ray cluster, got '127.0.0.1:1'")


def test_an_address_of_no_storage_is_refused(call: Call) -> None:
    status, _, err = call("doctor", "--out", "nonsense://bucket/x")
    assert status == 2
    assert err.startswith("rso-sweep: 'nonsense://bucket/x' ")


def test_without_a_sweep_a_run_of_one_cpu_is_taken_and_no_output_tried() -> None:
    wanted, brought = sweep_needs(None, (), None, is_own=True)
    assert [kind.needs for kind in wanted.kinds] == [Needs()]
    assert (wanted.sweep, wanted.output, brought.output) == (None, None, None)
    assert wanted.data_bytes == 6000 * (784 * 4 + 8)
    assert brought.is_own


@pytest.fixture
def sweep(tmp_path: Path) -> str:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "name: mine\ndata: {train_size: 500, validation_size: 50, test_size: 50}\n"
        "space: {architecture: [one_conv, mlp()], batch_size: [50, 100], optimizer: [rso, sgd]}\n"
        "resources:\n  cpus_per_run: 2\n  concurrency: 7\n"
        "  rules: [{when: {optimizer: sgd}, gpus_per_run: 0.5}]\n"
        "output: memory://key:secret@bucket/mine\n"
    )
    return str(path)


def test_a_sweep_s_runs_are_grouped_by_what_they_need(sweep: str, tmp_path: Path) -> None:
    wanted, brought = sweep_needs(sweep, ["budget.cycles=3"], str(tmp_path / "x"), is_own=False)
    assert [(kind.needs, kind.n_configurations) for kind in wanted.kinds] == [
        (Needs(2), 4),
        (Needs(2, 0.5), 4),
    ]
    assert wanted.concurrency == 7
    assert (wanted.trial, wanted.trial_unit) == ("rso mlp(), batch 50", "visits")
    assert (brought.configuration.architecture, brought.n_threads) == ("mlp()", 2)
    assert wanted.engine_bytes == 6 * 2**30
    assert (wanted.output, wanted.is_output_local) == (str(tmp_path / "x"), True)


def test_the_output_is_shown_without_its_secrets(sweep: str) -> None:
    wanted, brought = sweep_needs(sweep, (), None, is_own=False)
    assert wanted.output is not None
    assert "secret" not in wanted.output
    assert brought.output == "memory://key:secret@bucket/mine"
    assert not wanted.is_output_local
