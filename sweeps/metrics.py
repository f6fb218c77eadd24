"""How a sweep goes, in Ray's metrics: for its dashboard, Prometheus and Grafana.

`METRICS` says which there are. All have the tag `sweep`, the sweep's name, and Ray puts `ray_`
before each name and `_total` behind a counter's. The driver alone knows and tells them; the agent
of its machine, which Prometheus asks, is sent them by Ray every ten seconds
(`RAY_metrics_report_interval_ms`).

When a driver ends, what was under way is set to zero, and from 20 seconds later on Ray leaves its
gauges out. Counters stay as they are, and those of a driver that goes on with the sweep are counted
beside them: `sum by (sweep) (...)` adds them up.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rso_core.optimizers import OPTIMIZERS
from sweeps.progress import RunningRun, SweepProgress

_INTERVAL_S = 1.0
"""Between two updates at the least."""
_RATE_S = 10.0
"""Over which a rate is taken."""


@dataclass(frozen=True, slots=True)
class MetricKind:
    """One of the metrics."""

    name: str
    """As Ray is given it."""
    kind: Literal["gauge", "counter"]
    meaning: str
    tags: tuple[str, ...] = ("sweep",)

    @property
    def exported_name(self) -> str:
        """As Prometheus has it."""
        return f"ray_{self.name}{'_total' if self.kind == 'counter' else ''}"


METRICS: tuple[MetricKind, ...] = (
    MetricKind(
        "rso_sweep_trials",
        "gauge",
        "Trials of the sweep by state: to_come, running, finished, pruned, failed; those that "
        "earlier drivers ended among them",
        ("sweep", "state"),
    ),
    MetricKind("rso_sweep_runs_running", "gauge", "Runs that are being trained"),
    MetricKind("rso_sweep_slots", "gauge", "Runs for which the machines have room at once"),
    MetricKind(
        "rso_sweep_visits_per_second",
        "gauge",
        "Weights visited a second in all runs together, over the last ten seconds",
    ),
    MetricKind(
        "rso_sweep_images_per_second",
        "gauge",
        "Images passed a second in all runs together, over the last ten seconds",
    ),
    MetricKind(
        "rso_sweep_visits", "counter", "Weights visited in the cycles that are over, in all runs"
    ),
    MetricKind(
        "rso_sweep_images_passed",
        "counter",
        "Images passed in the cycles that are over, in all runs",
    ),
    MetricKind(
        "rso_sweep_interrupted_attempts",
        "counter",
        "Attempts at runs that were cut short, since an actor or a machine died",
    ),
)
STATES = ("to_come", "running", "finished", "pruned", "failed")


class Meter(Protocol):
    """Where metrics go: Ray, or a test."""

    def set(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        """A gauge has this value from now on."""
        ...

    def add(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        """A counter grows by a positive value."""
        ...


class SweepMetrics:
    """Tells a meter how a sweep goes, about once a second.

    Args:
        sweep: its name.
        n_slots: how many runs have room at once; asked at every update.
        meter: where the metrics go.
        clock: seconds.
    """

    def __init__(
        self,
        sweep: str,
        n_slots: Callable[[], int],
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sweep = sweep
        self._n_slots = n_slots
        self._meter = meter
        self._clock = clock
        self._updated = -float("inf")
        self._told = _Amounts()
        self._rates = _Rates()
        self._last: SweepProgress | None = None

    def update(self, progress: SweepProgress) -> None:
        """Tells the present state, unless it has just been told."""
        self._last = progress
        now = self._clock()
        if now - self._updated < _INTERVAL_S:
            return
        self._updated = now
        self._rates.add(now, progress)
        self._tell(progress, self._n_slots(), *self._rates.per_second())

    def close(self) -> None:
        """Tells the state in which the sweep is left; nothing is under way any more."""
        if self._last is not None:
            self._tell(self._last, 0, 0.0, 0.0, is_over=True)

    def _tell(
        self,
        progress: SweepProgress,
        n_slots: int,
        visits: float,
        images: float,
        is_over: bool = False,
    ) -> None:
        running = [] if is_over else list(progress.running.values())
        n_running = len({each.run.trial for each in running})
        states = {
            "to_come": max(0, progress.n_trials - progress.n_trials_ended - n_running),
            "running": n_running,
            "finished": progress.n_trials_finished,
            "pruned": progress.n_trials_pruned,
            "failed": progress.n_trials_failed,
        }
        for state, n_trials in states.items():
            self._set("rso_sweep_trials", n_trials, state=state)
        self._set("rso_sweep_runs_running", len(running))
        self._set("rso_sweep_slots", n_slots)
        self._set("rso_sweep_visits_per_second", visits)
        self._set("rso_sweep_images_per_second", images)
        amounts = _Amounts(progress.n_visited, progress.n_images_passed, progress.n_interrupted)
        self._add("rso_sweep_visits", amounts.visits - self._told.visits)
        self._add("rso_sweep_images_passed", amounts.images - self._told.images)
        self._add("rso_sweep_interrupted_attempts", amounts.interrupted - self._told.interrupted)
        self._told = amounts

    def _set(self, name: str, value: float, **tags: str) -> None:
        self._meter.set(name, value, {"sweep": self._sweep, **tags})

    def _add(self, name: str, value: float) -> None:
        if value > 0:
            self._meter.add(name, value, {"sweep": self._sweep})


class RayMeter:
    """The metrics of `METRICS` within Ray; this process must have joined it."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        kinds = {"gauge": Gauge, "counter": Counter}
        self._metrics: dict[str, Any] = {
            each.name: kinds[each.kind](each.name, each.meaning, each.tags) for each in METRICS
        }

    def set(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        """See `Meter.set`."""
        self._metrics[name].set(value, dict(tags))

    def add(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        """See `Meter.add`."""
        self._metrics[name].inc(value, dict(tags))


@dataclass(frozen=True, slots=True)
class _Amounts:
    """What counters have been told."""

    visits: int = 0
    images: int = 0
    interrupted: int = 0


class _Rates:
    """Visits and images a second, also within cycles, which may last for hours.

    What a run had done that is stopped within a cycle is taken back. So only what is gained between
    two updates counts.
    """

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None
        self._gains: deque[tuple[float, float, float]] = deque()
        """When, and visits and images gained since the entry before."""

    def add(self, now: float, progress: SweepProgress) -> None:
        visits, images = float(progress.n_visited), float(progress.n_images_passed)
        for running in progress.running.values():
            steps = _steps_within_cycle(running)
            visits_of_step, images_of_step = _of_step(running)
            visits += steps * visits_of_step
            images += steps * images_of_step
        before = self._before or (visits, images)
        gained = max(0.0, visits - before[0]), max(0.0, images - before[1])
        self._gains.append((now, *gained))
        self._before = visits, images
        while now - self._gains[0][0] > _RATE_S and len(self._gains) > 2:
            self._gains.popleft()

    def per_second(self) -> tuple[float, float]:
        """0 at first."""
        (start, *_), *gains = self._gains
        if not gains:
            return 0.0, 0.0
        seconds = gains[-1][0] - start
        return sum(g[1] for g in gains) / seconds, sum(g[2] for g in gains) / seconds


def _steps_within_cycle(running: RunningRun) -> int:
    """Visits or batches of the cycle that is not over, as far as this attempt has done them."""
    progress = running.progress
    if progress is None or (running.last is not None and running.last.cycle >= progress.cycle):
        return 0
    n_cycles, n_done = running.resumed_from
    return progress.n_done - (n_done if progress.cycle == n_cycles + 1 else 0)


def _of_step(running: RunningRun) -> tuple[float, float]:
    """Weights visited and images passed in one step of a run; 0 of what is not known yet."""
    if running.last is not None and running.progress is not None:
        n_steps = max(1, running.progress.n_total)
        return running.last.n_visited / n_steps, running.last.n_images_passed / n_steps
    configuration = running.run.configuration
    if configuration.optimizer == "rso":
        return 1.0, 3.0 * configuration.batch_size
    return 0.0, float(configuration.batch_size if configuration.optimizer in OPTIMIZERS else 0)
