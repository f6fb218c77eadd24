"""How the engines are measured: by a clock that only the visits move, so that nothing is left
to the machine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rso_core import benchmark
from rso_core.batches import Batches
from rso_core.benchmark import (
    FULL,
    QUICK,
    Effort,
    EngineTimes,
    halves,
    matrix_product_peak,
    measure_engines,
    spread,
)
from rso_core.datasets import Dataset
from rso_core.engines import Visits
from rso_core.incremental.graph import UnsupportedNetwork
from rso_core.optimizers import RSO

_BATCH_SIZE = 20
_SIZES = {"5.weight": 24, "5.bias": 3, "1.weight": 2, "1.bias": 2, "0.weight": 18, "0.bias": 2}
"""Of `small_network`, in the order of a cycle."""


@dataclass
class _World:
    """A clock, and what was visited by whom."""

    now: float = 0.0
    visited: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Engine, parameter, weight, batch size."""

    def clock(self) -> float:
        return self.now

    def weights(self, engine: str) -> list[tuple[str, int]]:
        return [(p, w) for who, p, w, _ in self.visited if who == engine]


@dataclass
class _Engine:
    """Decides nothing; a layer's start and its visits take as long as is written down."""

    name: str
    world: _World
    start_s: float = 0.0
    first_s: float = 0.0
    """The first visit that sees a batch."""
    later_s: dict[str, float] = field(default_factory=dict)
    """The others, by the parameter; 0.001 for those that are not mentioned."""
    seen: set[int] = field(default_factory=set)

    def visit_(
        self, parameter: str, first_weight: int, deltas: torch.Tensor, batches: Batches,
        decay: float,
    ) -> Visits:  # fmt: skip
        assert decay == 1.0
        assert len(deltas) > 0
        if first_weight == 0:
            self.seen = set()
            self.world.now += self.start_s
        for weight in range(first_weight, first_weight + len(deltas)):
            batch = int(batches.drawn[weight])
            later_s = self.later_s.get(parameter, 0.001)
            self.world.now += later_s if batch in self.seen else self.first_s or later_s
            self.seen.add(batch)
            self.world.visited.append((self.name, parameter, weight, batches.batch_size))
        return Visits(torch.zeros(len(deltas), 3), torch.zeros(len(deltas), dtype=torch.int8))


Measure = Callable[..., EngineTimes]


@pytest.fixture
def world() -> _World:
    return _World()


@pytest.fixture
def measure(
    world: _World, small_network: nn.Module, small_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> Measure:
    """Measures two engines whose times are known."""

    def run(
        effort: Effort = FULL,
        *,
        reference: _Engine | None = None,
        incremental: _Engine | None = None,
        batch_size: int = _BATCH_SIZE,
    ) -> EngineTimes:
        reference = reference or _Engine("reference", world)
        monkeypatch.setattr(benchmark, "ReferenceEngine", lambda *_: reference)
        engines = iter((_Engine("warm-up", world), incremental or _Engine("incremental", world)))
        return measure_engines(
            small_network, small_data.train_inputs, small_data.train_targets,
            batch_size=batch_size, effort=effort, make_engine=lambda *_, n_threads: next(engines),
            clock=world.clock,
        )  # fmt: skip

    return run


def test_a_measured_cycle_visits_what_rso_visits_in_its_order(
    measure: Measure, world: _World, small_network: nn.Module, small_data: Dataset
) -> None:
    times = measure(replace(FULL, repeated_below_s=0.0))
    rso = RSO(
        small_network, small_data.train_inputs, small_data.train_targets,
        batch_size=_BATCH_SIZE, cycles=1, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    layers = next(rso.run()).layers
    weights = [(layer.name, w) for layer in layers for w in range(layer.n_visited)]
    assert world.weights("incremental") == weights
    assert times.n_visits == len(weights) == sum(_SIZES.values())


def test_kernels_are_compiled_on_every_tensor_before_the_first_measured_visit(
    small_network: nn.Module, small_data: Dataset, world: _World
) -> None:
    made: list[_Engine] = []

    def make(*_: object, n_threads: int) -> _Engine:
        assert n_threads == 2
        made.append(_Engine(f"engine {len(made)}", world, start_s=1000.0 * (not made)))
        return made[-1]

    times = measure_engines(
        small_network, small_data.train_inputs, small_data.train_targets, n_threads=2,
        batch_size=100, make_engine=make, clock=world.clock,
    )  # fmt: skip
    assert len(made) == 2
    warmed_up = [(p, n) for who, p, _, n in world.visited if who == "engine 0"]
    assert {p for p, _ in warmed_up} == set(_SIZES)
    assert max(n for _, n in warmed_up) < 100
    assert times.engine_s_per_cycle < 1.0


def test_a_short_cycle_is_measured_three_times_and_a_long_one_once(
    measure: Measure, world: _World
) -> None:
    n_visits = sum(_SIZES.values())
    times = measure()
    assert len(world.weights("incremental")) == 3 * n_visits
    assert times.engine_s_per_cycle == pytest.approx(n_visits * 0.001)
    world.visited.clear()
    slow = _Engine("incremental", world, later_s=dict.fromkeys(_SIZES, 0.5))
    times = measure(incremental=slow)
    assert len(world.weights("incremental")) == n_visits
    assert times.engine_s_per_cycle == pytest.approx(n_visits * 0.5)


def test_a_cycle_s_time_holds_what_is_done_at_the_start_of_its_layers(
    measure: Measure, world: _World
) -> None:
    engine = _Engine("incremental", world, start_s=5.0, first_s=2.0)
    times = measure(incremental=engine)
    n_first = sum(min(size, 120 // _BATCH_SIZE) for size in _SIZES.values())
    n_later = sum(_SIZES.values()) - n_first
    assert times.engine_s_per_cycle == pytest.approx(5 * 6 + 2 * n_first + 0.001 * n_later)


@pytest.mark.parametrize("batch_size", [1, 5, 20, 120])
def test_a_sample_gives_the_time_of_the_whole_cycle(
    measure: Measure, world: _World, batch_size: int
) -> None:
    def engine() -> _Engine:
        return _Engine("incremental", world, start_s=3.0, first_s=2.0, later_s={"5.weight": 0.5})

    whole = measure(replace(FULL, repeated_below_s=0), incremental=engine(), batch_size=batch_size)
    sampled = measure(replace(QUICK, sampled_above_s=0), incremental=engine(),
                      batch_size=batch_size)  # fmt: skip
    assert sampled.engine_s_per_cycle == pytest.approx(whole.engine_s_per_cycle)


def test_quick_measures_a_short_cycle_whole_and_extrapolates_a_long_one(
    measure: Measure, world: _World
) -> None:
    beyond_the_sample = ("5.weight", 23)
    measure(QUICK)
    assert world.weights("incremental").count(beyond_the_sample) == 3
    world.visited.clear()
    measure(QUICK, incremental=_Engine("incremental", world, first_s=1.0))
    assert beyond_the_sample not in world.weights("incremental")


def test_half_of_the_reference_visits_come_before_the_other_engine_and_half_after(
    measure: Measure, world: _World
) -> None:
    times = measure()
    engines = [who for who, *_ in world.visited]
    first, end = engines.index("warm-up"), len(engines) - engines[::-1].index("incremental")
    n_before, n_after = first, len(engines) - end
    assert "reference" not in engines[first:end]
    assert abs(n_before - n_after) <= 1
    assert n_before + n_after == times.n_reference_visits + 2 * 2  # those of the warming up
    assert times.n_reference_visits >= 50


def test_quick_takes_at_least_eight_reference_visits(measure: Measure) -> None:
    assert 8 <= measure(QUICK).n_reference_visits < 20


def test_the_reference_engine_s_visits_are_weighted_by_the_size_of_their_tensors(
    measure: Measure, world: _World
) -> None:
    seconds = {name: float(i) for i, name in enumerate(_SIZES, start=1)}
    times = measure(reference=_Engine("reference", world, later_s=seconds))
    cycle_s = sum(size * seconds[name] for name, size in _SIZES.items())
    assert times.reference_s_per_cycle == pytest.approx(cycle_s)


def test_an_unsupported_network_is_left_to_the_reference_engine(
    small_network: nn.Module, small_data: Dataset
) -> None:
    def make(*_: object, n_threads: int) -> _Engine:
        raise UnsupportedNetwork("it knows nothing")

    times = measure_engines(
        small_network, small_data.train_inputs, small_data.train_targets,
        batch_size=_BATCH_SIZE, effort=QUICK, make_engine=make,
    )  # fmt: skip
    assert times.unsupported == "it knows nothing"
    assert times.flop_per_cycle is None
    assert times.engine_s_per_cycle == times.reference_s_per_cycle > 0


def test_the_incremental_engine_is_measured_if_nothing_else_is_said(
    small_network: nn.Module, small_data: Dataset
) -> None:
    words: list[str] = []
    times = measure_engines(
        small_network, small_data.train_inputs, small_data.train_targets,
        batch_size=_BATCH_SIZE, effort=QUICK, on_progress=words.append,
    )  # fmt: skip
    assert times.unsupported is None
    assert times.engine_s_per_cycle > 0
    assert times.flop_per_cycle is not None
    assert times.flop_per_cycle > 0
    assert words[0] == words[-1] == "reference engine"
    assert "incremental engine, 100% of a cycle" in words


def test_the_caller_s_model_threads_and_random_state_stay(
    measure: Measure, small_network: nn.Module
) -> None:
    weights = copy.deepcopy(small_network.state_dict())
    random_state = torch.get_rng_state()
    measure()
    assert all(torch.equal(w, weights[name]) for name, w in small_network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    torch.set_num_threads(1)
    assert matrix_product_peak(2, size=8, seconds=0.0) > 0
    assert torch.get_num_threads() == 1


@given(
    sizes=st.lists(st.integers(1, 10_000), min_size=1, max_size=30),
    n=st.integers(1, 100),
    at_least=st.integers(0, 2),
)
def test_visits_are_spread_in_proportion_to_the_sizes(
    sizes: list[int], n: int, at_least: int
) -> None:
    counts = spread(sizes, n, at_least)
    assert sum(counts) >= min(n, sum(sizes))
    for size, count in zip(sizes, counts, strict=True):
        assert min(size, at_least) <= count <= size
        assert count <= max(at_least, n * size / sum(sizes) + 1)


@given(counts=st.lists(st.integers(0, 50), max_size=30))
def test_halves_are_halves_of_each_and_of_all(counts: list[int]) -> None:
    before, after = halves(counts)
    assert [b + a for b, a in zip(before, after, strict=True)] == counts
    assert all(abs(b - a) <= 1 for b, a in zip(before, after, strict=True))
    assert abs(sum(before) - sum(after)) <= 1
