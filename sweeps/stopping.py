"""When a sweep begins no further trial: what it was allowed is spent, or it has what it wanted."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

from sweeps.durations import duration
from sweeps.spec import Objective, Stop

Row = dict[str, Any]


class StopRule:
    """Is told what happens, and says whether that is the end; what is under way is finished.

    Args:
        stop: the section of the sweep file.
        objective: the sweep's, where it has one; the first of several.
        n_images_passed: in all runs, before this driver.
    """

    def __init__(self, stop: Stop, objective: Objective, n_images_passed: int = 0) -> None:
        self._stop = stop
        self._sign = 1 if objective.direction == "maximize" else -1
        self._metric = objective.metric
        self._n_images = n_images_passed
        self._best: float | None = None
        self._n_in_vain = 0

    @property
    def may_stop(self) -> bool:
        """Whether there is anything to watch for."""
        return any(value is not None for value in self._stop.model_dump().values())

    def images_passed(self, n_images: int) -> None:
        """So many more images have passed."""
        self._n_images += n_images

    def trial_ended(self, value: float | None) -> None:
        """A trial is over, after all those of earlier calls; None for one without an objective."""
        if value is not None and (self._best is None or self._sign * (value - self._best) > 0):
            self._best = value
            self._n_in_vain = 0
        else:
            self._n_in_vain += 1

    def reason(self, driven_s: float) -> str | None:
        """Why no further trial is to be begun, in a few words; None while there is no reason.

        Args:
            driven_s: seconds for which the sweep has been driven, by all drivers together.
        """
        stop, best = self._stop, self._best
        if best is not None:
            if stop.target is not None and self._sign * (best - stop.target) >= 0:
                return f"the target is reached: {self._metric} {best:.4g}"
            n = stop.no_improvement_trials
            if n is not None and self._n_in_vain >= n:
                return f"no improvement over {self._n_in_vain} trials"
        if stop.images_passed is not None and self._n_images >= stop.images_passed:
            return f"{self._n_images:,} images have passed"
        if stop.wall_clock_s is not None and driven_s >= stop.wall_clock_s:
            return f"{duration(stop.wall_clock_s)} are over"
        return None


def driven_s(drivers: list[Row], runs: list[Row]) -> float:
    """Seconds for which earlier drivers have driven a sweep, to go by the records.

    A driver that was ended from outside cannot say when that was: it counts to the last run that
    ended under it.

    Args:
        drivers: rows of drivers; those with `ended_at` tell of the end of the one before.
        runs: rows of ended runs.
    """
    starts = [_moment(row["started_at"]) for row in drivers if "started_at" in row]
    ends = [_moment(row["ended_at"]) for row in [*drivers, *runs] if "ended_at" in row]
    total = 0.0
    for start, following in pairwise([*starts, float("inf")]):
        total += max((end - start for end in ends if start <= end <= following), default=0.0)
    return total


def _moment(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()
