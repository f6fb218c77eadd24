"""What is left of a sweep, and which of its trials are the best."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rso_core.configuration import Configuration
from rso_core.records import CycleRecord, Progress
from sweeps.cost import Kind
from sweeps.progress import SweepProgress
from sweeps.runs import Run
from sweeps.search import Trial
from sweeps.spec import Direction, Metric, Objective

RSO: Kind = ("one_conv", "rso")
SGD: Kind = ("one_conv", "sgd")
N_CYCLES = 4


def configuration(kind: Kind = RSO) -> Configuration:
    values = {"architecture": kind[0], "batch_size": 10, "optimizer": kind[1]}
    return Configuration.from_values(values, N_CYCLES)


CONFIGURATIONS = {kind: configuration(kind) for kind in (RSO, SGD)}


def objectives(*metrics: Metric) -> tuple[Objective, ...]:
    directions: dict[str, Direction] = {"validation_accuracy": "maximize"}
    return tuple(Objective(metric=m, direction=directions.get(m, "minimize")) for m in metrics)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def new_progress(
    clock: Clock, n_trials: int, n_seeds: int = 1, mean_cost: float = 10.0, **more: object
) -> SweepProgress:
    return SweepProgress(
        n_trials, n_seeds, mean_cost, objectives("validation_accuracy"), clock=clock, **more
    )  # type: ignore[arg-type]


def run(trial: int, kind: Kind = RSO, seed: int = 0) -> Run:
    return Run(trial, seed, CONFIGURATIONS[kind])


def cycle(number: int, seconds: float) -> CycleRecord:
    return CycleRecord(number, 1.0, 100, 10, 100, seconds)


@dataclass
class Sweep:
    """Acts as a driver with some workers; each run takes its cost times the factor of its kind."""

    runs: Sequence[tuple[Kind, float]]
    n_workers: int
    factors: dict[Kind, float]
    progress: SweepProgress
    clock: Clock
    share_trained: float = 1.0
    """Of each run, until it is pruned."""
    estimates: list[tuple[float, float | None]] = field(default_factory=list)
    """What was said to be left, and when."""

    def drive(self, every_s: float) -> float:
        """To the end, asking now and then; when that was."""
        busy: list[tuple[float, int, float]] = []
        waiting = list(range(len(self.runs)))
        next_s = 0.0
        while waiting or busy:
            while waiting and len(busy) < self.n_workers:
                number = waiting.pop(0)
                kind, cost = self.runs[number]
                self.progress.run_started(run(number, kind), cost)
                takes_s = cost * self.factors[kind] * self.share_trained
                heapq.heappush(busy, (self.clock.now + takes_s, number, self.clock.now))
            while next_s < busy[0][0]:
                self.clock.now = next_s
                self._tell(busy)
                self.estimates.append((next_s, self.progress.left_s()))
                next_s += every_s
            end, number, start = heapq.heappop(busy)
            self.clock.now = end
            kind, _ = self.runs[number]
            self._tell([(end, number, start)])
            self.progress.run_ended(run(number, kind), end - start)
            if self.share_trained < 1:
                self.progress.n_trials_pruned += 1
            else:
                self.progress.n_trials_finished += 1
        return self.clock.now

    def _tell(self, busy: Sequence[tuple[float, int, float]]) -> None:
        """How far the runs are: within their cycles and by the cycles that are over."""
        for end, number, start in busy:
            running = self.progress.running[run(number, self.runs[number][0]).name]
            done = (self.clock.now - start) / (end - start) * self.share_trained * N_CYCLES
            n_cycles = min(int(done + 1e-9), N_CYCLES)
            running.progress = Progress(n_cycles + 1, int(1000 * (done - n_cycles)), 1000)
            if n_cycles:
                running.training_s = n_cycles * running.cost * self.factors[self.runs[number][0]]
                running.training_s /= N_CYCLES
                running.last = cycle(n_cycles, running.training_s)


def check(sweep: Sweep, every_s: float, within: float, after: float) -> None:
    """Holds what was said to be left, from a share of the time on, against what was."""
    end = sweep.drive(every_s)
    judged = [(at, left) for at, left in sweep.estimates if at >= max(after * end, 2.0)]
    assert len(judged) >= 5
    for at, left in judged:
        assert left == pytest.approx(end - at, rel=within, abs=within * end / 10), (at, end)
    assert sweep.progress.left_s() == 0.0


@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0])
@pytest.mark.parametrize("n_workers", [1, 3])
def test_time_left_is_corrected_by_what_runs_have_taken(factor: float, n_workers: int) -> None:
    clock = Clock()
    runs = [(RSO, 10.0)] * 12
    progress = new_progress(clock, 12)
    check(Sweep(runs, n_workers, {RSO: factor}, progress, clock), 2.5 * factor, 0.15, after=0.25)


def test_what_a_nominal_machine_takes_is_said_while_nothing_else_is_known() -> None:
    clock = Clock()
    progress = new_progress(clock, 8)
    progress.run_started(run(0), 10.0)
    progress.run_started(run(1), 10.0)
    clock.now = 1.9
    assert progress.left_s() is None
    clock.now = 2.1
    assert progress.left_s() == pytest.approx(40.0, rel=0.5)


def test_a_kind_that_is_slower_than_the_others_is_known_for_what_it_is() -> None:
    clock = Clock()
    runs = [(RSO, 20.0)] * 6 + [(SGD, 10.0)] * 12  # the longest first
    totals = {RSO: 120.0, SGD: 120.0}
    progress = new_progress(clock, 18, mean_cost=240 / 18, total_costs=totals)
    sweep = Sweep(runs, 2, {RSO: 1.0, SGD: 4.0}, progress, clock)
    check(sweep, 10.0, 0.15, after=0.4)


def test_the_longest_runs_first_do_not_make_those_to_come_long() -> None:
    clock = Clock()
    runs = [(RSO, cost) for cost in (80.0, 80.0, *[10.0] * 12)]
    progress = new_progress(clock, 14, mean_cost=20.0, total_costs={RSO: 280.0})
    check(Sweep(runs, 2, {RSO: 1.0}, progress, clock), 10.0, 0.15, after=0.1)


def test_runs_that_are_pruned_make_those_to_come_shorter() -> None:
    clock = Clock()
    progress = new_progress(clock, 40)
    sweep = Sweep([(RSO, 10.0)] * 40, 2, {RSO: 1.0}, progress, clock, share_trained=0.25)
    check(sweep, 3.0, 0.5, after=0.5)


def test_a_sweep_is_not_over_before_its_longest_run() -> None:
    clock = Clock()
    progress = new_progress(clock, 8)
    for trial in range(7):
        progress.run_started(run(trial), 10.0)
    progress.run_started(run(7), 100.0)
    clock.now = 10.0
    for trial in range(7):
        progress.run_ended(run(trial), 10.0)
    progress.running[run(7).name].progress = Progress(1, 400, 1000)  # a tenth of it
    assert progress.left_s() == pytest.approx(90.0, rel=0.01)


def test_what_earlier_drivers_did_is_not_left_and_says_nothing_of_this_one_s_pace() -> None:
    clock = Clock()
    progress = new_progress(clock, 6)
    for _ in range(3):
        progress.run_recorded(10.0)
    progress.run_started(run(3), 10.0)
    half = progress.running[run(3).name]
    half.share_before = 0.5
    clock.now = 10.0  # the second half took ten seconds, so that a run takes twenty
    half.last, half.training_s = cycle(N_CYCLES, 20.0), 20.0
    progress.run_ended(run(3), 20.0)
    assert progress.left_s() == pytest.approx(40.0, rel=0.05)


def test_a_trial_that_fails_without_a_run_leaves_none_to_come() -> None:
    clock = Clock()
    progress = new_progress(clock, 2, n_seeds=2)
    for seed in (0, 1):
        progress.run_started(run(0, seed=seed), 10.0)
        progress.run_ended(run(0, seed=seed), 10.0)
    progress.n_trials_finished, progress.n_trials_failed = 1, 1
    clock.now = 20.0
    assert progress.left_s() == 0.0


def test_a_run_that_goes_on_elsewhere_is_counted_once() -> None:
    clock = Clock()
    progress = new_progress(clock, 3)
    for _ in range(5):
        progress.run_started(run(0), 10.0)
        progress.run_left(run(0))
    progress.run_started(run(0), 10.0)
    progress.run_ended(run(0), 10.0)
    progress.n_trials_finished = 1
    clock.now = 10.0
    assert progress.left_s() == pytest.approx(20.0, rel=0.05)


def test_seeds_that_were_added_are_left_too() -> None:
    clock = Clock()
    progress = new_progress(clock, 2)
    progress.run_started(run(0), 10.0)
    clock.now = 10.0
    progress.run_ended(run(0), 10.0)
    progress.n_runs_added = 1
    assert progress.n_runs == 3
    assert progress.left_s() == pytest.approx(20.0, rel=0.01)


def test_after_a_stop_only_the_trials_under_way_are_left() -> None:
    clock = Clock()
    progress = new_progress(clock, 100, n_seeds=3)
    progress.run_started(run(0, seed=0), 10.0)
    progress.run_ended(run(0, seed=0), 10.0)
    progress.run_started(run(0, seed=1), 10.0)
    clock.now = 10.0
    assert (progress.left_s() or 0) > 1000
    progress.stop_reason = "the target is reached"
    assert progress.left_s() == pytest.approx(20.0, rel=0.05)


def trial(number: int) -> Trial:
    return Trial(number, CONFIGURATIONS[RSO], {})


def finished(progress: SweepProgress, *values: tuple[float, ...]) -> SweepProgress:
    for number, of_trial in enumerate(values):
        progress.trial_finished(trial(number), of_trial)
    return progress


def test_the_first_of_several_equally_good_trials_is_the_best() -> None:
    progress = finished(new_progress(Clock(), 4), (0.5,), (0.8,), (0.8,), (0.7,))
    assert progress.best is not None
    assert (progress.best.trial, progress.best.value) == (1, 0.8)
    assert progress.n_trials_finished == 4


def test_the_direction_says_what_is_best() -> None:
    progress = SweepProgress(3, 1, 1.0, objectives("test_loss"))
    assert progress.best is None
    best = finished(progress, (0.5,), (0.2,), (0.3,)).best
    assert best is not None
    assert best.trial == 1


VALUES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12)


@given(VALUES)
def test_of_several_objectives_the_trials_are_kept_that_no_other_one_beats(
    values: list[tuple[float, float]],
) -> None:
    progress = SweepProgress(20, 1, 1.0, objectives("validation_accuracy", "n_visited"))
    finished(progress, *values)
    expected = [
        number
        for number, (a, b) in enumerate(values)
        if not any(x >= a and y <= b and (x, y) != (a, b) for x, y in values)
    ]
    assert sorted(best.trial for best in progress.pareto) == expected
    assert progress.best is None
