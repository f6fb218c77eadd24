"""How much work runs are, and what they are predicted to take."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rso_core.configuration import Configuration, Scalar
from rso_core.datasets import Dataset
from rso_core.incremental.graph_reader import network_graph
from rso_core.incremental.work import cycle_flop
from rso_core.networks import build_network
from rso_core.visited_layers import visited_layers
from sweeps.cost import CostModel, MeasuredCycle, costs_by_kind, kind_of, makespan
from sweeps.work import NOMINAL_RATES, Rates, Work, WorkCounter

FORWARD_FLOP = 2 * 784 * 10
"""Of one image in mlp()."""

OWN_NETWORK = """
from torch import nn

def network(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, n_classes), nn.Softmax(dim=1))
"""


def configuration(
    architecture: str = "mlp()", optimizer: str = "rso", cycles: int = 1, **options: Scalar
) -> Configuration:
    values = {"architecture": architecture, "batch_size": 25, "optimizer": optimizer, **options}
    return Configuration.from_values(values, cycles)


@pytest.fixture
def work(tiny_data: Dataset) -> WorkCounter:
    return WorkCounter(tiny_data)


def test_rso_needs_what_the_incremental_algorithm_does(work: WorkCounter) -> None:
    model = build_network("one_conv", (1, 28, 28), 10)
    graph = network_graph(model, (1, 28, 28))
    for batch_size in (1, 25, 30, 100):
        c = configuration("one_conv", batch_size=batch_size, cycles=3)
        sizes = {layer.name: layer.n_weights for layer in visited_layers(model, c.options)}  # type: ignore[arg-type]
        counted = work.count(c)
        assert counted.engine == "incremental"
        assert counted.n_flop == 3 * cycle_flop(graph, sizes, batch_size, 100)
        assert counted.n_steps == counted.n_visits == 3 * sum(sizes.values())


def test_a_gradient_step_is_worth_three_forward_passes(work: WorkCounter) -> None:
    counted = work.count(configuration(optimizer="sgd", batch_size=30, cycles=2))
    assert counted.engine == "gradient"
    assert counted.n_flop == 2 * 3 * 100 * FORWARD_FLOP
    assert (counted.n_visits, counted.n_steps) == (0, 2 * 4)
    assert counted.n_evaluation_flop == 2 * (50 + 50) * FORWARD_FLOP


def test_the_reference_engine_passes_forward_for_every_candidate(work: WorkCounter) -> None:
    counted = work.count(configuration(engine="reference"))
    assert counted.engine == "reference"
    assert counted.n_flop == 3 * 7850 * 25 * FORWARD_FLOP
    assert counted.cost > work.count(configuration()).cost


def test_a_network_that_the_incremental_engine_does_not_know_is_left_to_the_reference(
    work: WorkCounter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "softmax_network.py").write_text(OWN_NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    counted = work.count(configuration("softmax_network:network"))
    assert counted.engine == "reference"
    assert counted.n_flop == 3 * 7850 * 25 * FORWARD_FLOP


def test_options_that_change_the_work_are_not_taken_for_each_other(work: WorkCounter) -> None:
    one_batch, fresh = configuration("one_conv", batch_drawing="layer"), configuration("one_conv")
    no_biases = configuration("one_conv", visit_biases=False)
    assert work.count(one_batch).n_flop < work.count(fresh).n_flop
    assert work.count(no_biases).n_visits < work.count(fresh).n_visits
    assert work.count(configuration("one_conv", perturbation_std=0.5)) == work.count(fresh)


def test_counting_leaves_the_random_numbers_alone(work: WorkCounter) -> None:
    before = torch.get_rng_state()
    work.count(configuration("one_conv"))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_was_counted_before_is_counted_within_a_tenth_of_a_millisecond(
    work: WorkCounter,
) -> None:
    counted = [configuration("one_conv", perturbation_std=0.1 + i / 1000) for i in range(1000)]
    work.count(counted[0])
    started = time.process_time()
    for c in counted:
        work.count(c)
    assert time.process_time() - started < 0.1


KINDS = [("mlp()", "rso"), ("one_conv", "rso"), ("mlp()", "sgd"), ("two_conv", "adam")]
SIZES = {"mlp()": 1.0, "one_conv": 4.0, "two_conv": 50.0}


def made_up_work(c: Configuration) -> Work:
    """Pure numbers in place of a network's."""
    size, per_image = SIZES[c.architecture], 1e4
    is_gradient = c.optimizer != "rso"
    n_steps = -(-1000 // c.batch_size) if is_gradient else 1000
    return Work(
        n_parameters=1000,
        n_training_images=1000,
        n_visits=0 if is_gradient else 1000 * c.cycles,
        n_steps=n_steps * c.cycles,
        n_flop=c.cycles * size * n_steps * c.batch_size * per_image,
        n_evaluation_flop=c.cycles * size * 1e3 * per_image,
        engine="gradient" if is_gradient else "incremental",
    )


FACTORS = st.floats(0.02, 50.0)


@given(FACTORS, st.lists(st.sampled_from(KINDS), min_size=1, max_size=8))
def test_a_machine_that_is_off_by_a_factor_is_predicted_right(
    factor: float, kinds: list[tuple[str, str]]
) -> None:
    model = CostModel(made_up_work)
    for kind in kinds:
        model.observe(configuration(*kind), factor * made_up_work(configuration(*kind)).cost)
    for kind in KINDS:  # those that were not observed, too
        c = configuration(*kind, batch_size=100, cycles=7)
        assert model.predicted_s(c) == pytest.approx(factor * made_up_work(c).cost)


@given(FACTORS, st.integers(1, 10))
def test_a_kind_that_is_off_does_not_spoil_the_others(factor: float, n_runs: int) -> None:
    model = CostModel(made_up_work)
    off = dict.fromkeys(KINDS, 1.0) | {KINDS[0]: factor}
    for kind in KINDS * n_runs:
        c = configuration(*kind)
        model.observe(c, off[kind] * made_up_work(c).cost)
    for kind in KINDS[1:]:
        assert model.predicted_s(configuration(*kind)) == pytest.approx(
            made_up_work(configuration(*kind)).cost
        )
    own = model.predicted_s(configuration(*KINDS[0])) / made_up_work(configuration(*KINDS[0])).cost
    assert math.log(own) == pytest.approx(math.log(factor), rel=0.1)


def test_a_single_run_that_was_held_up_changes_next_to_nothing() -> None:
    model, c = CostModel(made_up_work), configuration()
    for factor in (2.0, 2.1, 100.0, 1.9, 2.0):
        model.observe(c, factor * made_up_work(c).cost)
    assert model.predicted_s(c) == pytest.approx(2.0 * made_up_work(c).cost, rel=0.05)


def test_a_machine_whose_load_changes_is_followed() -> None:
    model, c = CostModel(made_up_work), configuration()
    for factor in [1.0] * 100 + [3.0] * 20:
        model.observe(c, factor * made_up_work(c).cost)
    assert model.predicted_s(c) == pytest.approx(3.0 * made_up_work(c).cost)


def test_times_of_nothing_say_nothing() -> None:
    model, c = CostModel(made_up_work), configuration()
    model.observe(c, 0.0)
    assert model.predicted_s(c) == made_up_work(c).cost


def measured(c: Configuration, rates: Rates) -> MeasuredCycle:
    cycle = made_up_work(replace(c, cycles=1))
    return MeasuredCycle(
        kind_of(c),
        cycle,
        rates.training_s(cycle.n_flop, cycle.n_steps),
        rates.evaluation_flop_s * cycle.n_evaluation_flop,
    )


@given(FACTORS, FACTORS, FACTORS)
def test_two_batch_sizes_tell_the_operations_from_the_steps(
    flop: float, step: float, evaluation: float
) -> None:
    nominal = NOMINAL_RATES["incremental"]
    rates = Rates(
        flop * nominal.flop_s, step * nominal.step_s, evaluation * nominal.evaluation_flop_s
    )
    cycles = [measured(configuration("one_conv", batch_size=b), rates) for b in (64, 1024)]
    model = CostModel(made_up_work, cycles)
    between = configuration("one_conv", batch_size=256, cycles=4)
    assert model.predicted_s(between) == pytest.approx(rates.run_s(made_up_work(between)), rel=0.1)


@given(FACTORS)
def test_one_batch_size_tells_how_far_all_is_off(factor: float) -> None:
    nominal = NOMINAL_RATES["incremental"]
    rates = Rates(
        *(factor * r for r in (nominal.flop_s, nominal.step_s, nominal.evaluation_flop_s))
    )
    model = CostModel(made_up_work, [measured(configuration("one_conv"), rates)])
    other = configuration("mlp()", batch_size=500, cycles=2)
    assert model.predicted_s(other) == pytest.approx(rates.run_s(made_up_work(other)))
    assert model.is_measured(configuration("one_conv", batch_size=500))
    assert not model.is_measured(other)


def test_the_costs_of_kinds_add_up_to_those_of_the_sweep() -> None:
    listed = [configuration(*kind) for kind in (KINDS[0], KINDS[1], KINDS[1])]
    costs = costs_by_kind(listed, made_up_work, n_runs=30)
    one, other = (made_up_work(configuration(*kind)).cost for kind in KINDS[:2])
    assert costs == pytest.approx({KINDS[0]: 10 * one, KINDS[1]: 20 * other})


SECONDS = st.lists(st.floats(0.0, 1e4), max_size=30)


@given(SECONDS, st.integers(1, 8))
def test_workers_are_busy_as_long_as_there_are_runs(runs_s: list[float], n: int) -> None:
    end = makespan(runs_s, n)
    longest = max(runs_s, default=0.0)
    assert end >= max(longest, sum(runs_s) / n) * (1 - 1e-9)
    assert end <= (sum(runs_s) + (n - 1) * longest) / n * (1 + 1e-9)  # Graham, 1966


def test_a_long_run_at_the_end_is_waited_for() -> None:

    assert makespan([1.0, 1.0, 1.0, 1.0, 4.0], 2) == 6.0
    assert makespan([4.0, 1.0, 1.0, 1.0, 1.0], 2) == 4.0
