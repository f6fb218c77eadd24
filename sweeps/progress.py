"""What a sweep has done so far: the figures behind the live display and the closing lines."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rso_core.configuration import Configuration
from rso_core.records import CycleRecord, Progress
from sweeps.cost import Kind, ObservedRatios, kind_of
from sweeps.runs import START, Position, Run
from sweeps.search import Trial
from sweeps.spec import Objective

_TOO_EARLY_S = 2.0
"""Before this nothing is said of what is left."""
_TOO_SMALL_A_SHARE = 0.01
"""Of a run: what has been done of it says nothing of its time yet."""
_START_S = 5.0
"""For so long as many runs as there are at once are taken to be trained at full speed."""


@dataclass(slots=True)
class RunningRun:
    """A run that is being trained."""

    run: Run
    cost: float
    """Its whole work, in `Work.cost`'s unit."""
    started: float = 0.0
    """By the progress's clock."""
    progress: Progress | None = None
    last: CycleRecord | None = None
    training_s: float = 0.0
    """Seconds that its cycles took, those before it was resumed included."""
    share_before: float = 0.0
    """What was done of it before this driver, or this attempt, began."""
    resumed_from: Position = START
    """Where this attempt began."""

    @property
    def share_done(self) -> float:
        """From 0 to 1."""
        within = 0.0
        if self.progress is not None:
            within = self.progress.cycle - 1 + self.progress.n_done / self.progress.n_total
        return max(self.share_before, self.share_of_cycles, within / self._n_cycles)

    @property
    def share_of_cycles(self) -> float:
        """What the cycles are of it of which this driver has heard."""
        return 0.0 if self.last is None else self.last.cycle / self._n_cycles

    @property
    def _n_cycles(self) -> int:
        return self.run.configuration.cycles


@dataclass(frozen=True, slots=True)
class Best:
    """A trial that no other one beats."""

    trial: int
    values: tuple[float, ...]
    """Of the sweep's objectives."""
    configuration: Configuration

    @property
    def value(self) -> float:
        """Of the first objective."""
        return self.values[0]


@dataclass(slots=True)
class SweepProgress:
    """Kept up by the driver; read by a display.

    Args:
        n_trials: trials that the sweep will have.
        n_seeds: runs of each.
        mean_cost: of a run, in `Work.cost`'s unit.
        objectives: what makes a trial the best.
        total_costs: of all runs that the sweep file asks for, by kind, where that is known.
            Without it the runs to come are like `mean_cost` each.
    """

    n_trials: int
    n_seeds: int
    mean_cost: float
    objectives: tuple[Objective, ...]
    total_costs: Mapping[Kind, float] | None = None
    clock: Callable[[], float] = time.monotonic
    n_trials_finished: int = 0
    n_trials_pruned: int = 0
    n_trials_failed: int = 0
    running: dict[str, RunningRun] = field(default_factory=dict)
    pareto: list[Best] = field(default_factory=list)
    """The trials that no other one beats in all objectives; with one objective the best."""
    n_visited: int = 0
    """Weight visits in all cycles that this driver has written; so `n_images_passed`."""
    n_images_passed: int = 0
    n_interrupted: int = 0
    """Attempts at runs that this driver has seen cut short, since an actor or a machine died."""
    n_runs_added: int = 0
    """Seeds beyond the sweep file's that trials were given."""
    stop_reason: str | None = None
    """Why no further trial is begun; None while there is no reason."""
    is_interrupted: bool = False
    """Whether the sweep was left to be gone on with."""
    started: float = 0.0
    _most_at_once: int = 1
    _seconds_ended: float = 0.0
    """Of the runs that have ended, as far as this driver has trained them."""
    _cost_ended: float = 0.0
    """Of the same runs, had each been trained to its end."""
    _cost_trained: float = 0.0
    """Of the same runs, as far as each has come."""
    _n_recorded: int = 0
    _costs_known: defaultdict[Kind, float] = field(default_factory=lambda: defaultdict(float))
    """Of the runs that were begun or recorded, whole."""
    _cost_recorded: float = 0.0
    """Of the recorded ones whose kind is not known."""
    _begun: Counter[int] = field(default_factory=Counter)
    """Runs that were begun, by trial."""
    _n_begun: int = 0
    """All of them: there may be too many to add up at every poll."""
    _observed: ObservedRatios = field(default_factory=ObservedRatios)

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def best(self) -> Best | None:
        """The best trial so far; None for several objectives, which have the `pareto` set."""
        return self.pareto[0] if len(self.objectives) == 1 and self.pareto else None

    @property
    def n_runs(self) -> int:
        """Runs that the sweep will have."""
        return self.n_trials * self.n_seeds + self.n_runs_added

    @property
    def n_trials_ended(self) -> int:
        """Trials that have a result, whichever."""
        return self.n_trials_finished + self.n_trials_pruned + self.n_trials_failed

    @property
    def elapsed_s(self) -> float:
        """Since the sweep began."""
        return self.clock() - self.started

    def run_recorded(self, cost: float, configuration: Configuration | None = None) -> None:
        """A run was over before this driver began, or is over without having been trained."""
        self._n_recorded += 1
        if configuration is None:
            self._cost_recorded += cost
        else:
            self._costs_known[kind_of(configuration)] += cost

    def run_started(self, run: Run, cost: float) -> None:
        """A run is being trained from now on."""
        self.running[run.name] = RunningRun(run, cost, self.clock())
        self._most_at_once = max(self._most_at_once, len(self.running))
        self._begun[run.trial] += 1
        self._n_begun += 1
        self._costs_known[kind_of(run.configuration)] += cost

    def run_ended(self, run: Run, seconds: float | None = None) -> None:
        """A run is over.

        Args:
            run: the run.
            seconds: that its cycles took, all that it has come to; None where that is not known.
        """
        ended = self.running.pop(run.name)
        kind, share = kind_of(run.configuration), ended.share_of_cycles or 1.0
        if seconds:
            self._observed.observe(kind, share * ended.cost, seconds)
        else:
            share = ended.share_done
            seconds = share * ended.cost * self._observed.factor(kind)
        if share > 0:
            self._seconds_ended += seconds * max(0.0, share - ended.share_before) / share
        self._cost_ended += ended.cost
        self._cost_trained += share * ended.cost

    def run_left(self, run: Run) -> None:
        """A run is not being trained any more, though it is not over."""
        left = self.running.pop(run.name)
        self._begun[run.trial] -= 1
        self._n_begun -= 1
        self._costs_known[kind_of(run.configuration)] -= left.cost

    def trial_finished(self, trial: Trial, values: tuple[float, ...]) -> None:
        """A trial has its objectives."""
        self.n_trials_finished += 1
        new = Best(trial.number, values, trial.configuration)
        if not any(self._beats(old, new) for old in self.pareto):
            self.pareto = [old for old in self.pareto if not self._beats(new, old)] + [new]

    def left_s(self) -> float | None:
        """Seconds until the sweep ends; None while it is too early to tell.

        What is predicted for the runs that are not over, corrected by what runs have taken so far,
        and divided by how many were trained at once; but no less than the longest run needs.
        """
        if self.elapsed_s < _TOO_EARLY_S:
            return None
        ratios = self._ratios()
        done_s, left_s = self._seconds_ended, []
        for running in self.running.values():
            run_s = running.cost * ratios.factor(kind_of(running.run.configuration))
            done = running.share_done
            done_s += max(0.0, done - running.share_before) * run_s
            # the further it has come, the less likely it is to be pruned
            left_s.append((1 - done) * (done + (1 - done) * self._expected_share) * run_s)
        n_to_come = self.n_to_come()
        n_left = n_to_come + len(left_s)
        if n_left == 0:
            return 0.0
        at_start_s = _START_S * self._most_at_once
        at_once = (done_s + at_start_s) / (self.elapsed_s + _START_S)
        at_once = min(at_once, self._most_at_once, n_left)
        to_come_s = self._to_come_s(n_to_come, ratios)
        return max((sum(left_s) + to_come_s) / at_once, *left_s, 0.0)

    def _ratios(self) -> ObservedRatios:
        """What was observed of runs that are over, and of those that are not."""
        ratios = self._observed.copy()
        untold = []
        for running in self.running.values():
            kind = kind_of(running.run.configuration)
            ratios.observe(kind, running.share_of_cycles * running.cost, running.training_s)
            if not ratios.has(kind):
                untold.append((kind, running))
        for kind, running in untold:
            share = running.share_done - running.share_before
            if share >= _TOO_SMALL_A_SHARE:
                # not every part of a first cycle takes equally long
                trust = min(1.0, share * running.run.configuration.cycles)
                seconds = self.clock() - running.started
                ratios.observe(kind, share * running.cost, seconds, trust)
        return ratios

    def n_to_come(self) -> int:
        """Runs that are yet to be begun."""
        if self.stop_reason is not None:  # no trial but those that are under way
            trials = {running.run.trial for running in self.running.values()}
            return sum(max(0, self.n_seeds - self._begun[trial]) for trial in trials)
        # of a trial that has failed without a run there is none to come
        n_open_trials = self.n_trials - self.n_trials_ended
        most = n_open_trials * self.n_seeds + self.n_runs_added - len(self.running)
        return max(0, min(self._n_unknown, most))

    @property
    def _n_unknown(self) -> int:
        """Runs that were neither recorded nor begun."""
        return self.n_runs - self._n_recorded - self._n_begun

    @property
    def _expected_share(self) -> float:
        """Of a run that is trained before it is pruned; at first none is expected to be."""
        one = max(self.mean_cost, 1e-9)
        return (self._cost_trained + one) / (self._cost_ended + one)

    def _to_come_s(self, n_to_come: int, ratios: ObservedRatios) -> float:
        """Seconds of all runs that are yet to be begun, one after the other."""
        mix: Mapping[Kind, float] = self._costs_known
        cost = n_to_come * self.mean_cost
        if n_to_come > 0 and self.total_costs is not None and self.stop_reason is None:
            mix = {k: max(0.0, c - self._costs_known[k]) for k, c in self.total_costs.items()}
            unknown = sum(mix.values()) - self._cost_recorded + self.n_runs_added * self.mean_cost
            cost = max(0.0, unknown) * n_to_come / self._n_unknown
        weight = sum(mix.values())
        factor = ratios.overall
        if weight > 0:
            factor = sum(c * ratios.factor(kind) for kind, c in mix.items()) / weight
        return cost * factor * self._expected_share

    def _beats(self, one: Best, other: Best) -> bool:
        """Whether it is at least as good in all objectives; with several, and better in one."""
        gains = [
            a - b if objective.direction == "maximize" else b - a
            for objective, a, b in zip(self.objectives, one.values, other.values, strict=True)
        ]
        is_equal = not any(gains)
        # of several trials with the best value the first is the best
        return min(gains) >= 0 and (not is_equal or len(gains) == 1)
