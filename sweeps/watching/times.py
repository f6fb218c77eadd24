"""How long a sweep has been driven and about how long it will be, to go by its records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import pandas as pd

from analysis import Frames

_KIND = ("architecture", "batch_size", "optimizer")
_FEWEST_RECENT = 4
"""Trials by which those to come are judged, at the least; else the last quarter of those begun."""


def driven_s(frames: Frames, now: datetime, *, is_driven: bool) -> float | None:
    """Seconds for which the sweep has been driven, by all its drivers; None for no driver.

    A driver that was killed could not say when that was: it counts to the last run that ended
    under it.

    Args:
        frames: of one sweep.
        now: the present moment.
        is_driven: whether the last driver is still at work.
    """
    starts = _moments(frames.drivers["started_at"])
    # folders of old have no drivers
    starts = sorted(starts) or _moments(frames.runs["started_at"].nsmallest(1))
    if not starts:
        return None
    ends = [*_moments(frames.drivers["ended_at"]), *_moments(frames.runs["ended_at"])]
    ends += [now] if is_driven else []
    total = 0.0
    for start, following in pairwise([*starts, None]):
        assert start is not None
        own = [end for end in ends if start <= end and (following is None or end <= following)]
        total += max(((end - start).total_seconds() for end in own), default=0.0)
    return total


def left_s(
    runs: pd.DataFrame,
    last_cycle_s: pd.Series,
    begun: Sequence[Sequence[object]],
    *,
    n_runs: int,
    n_cycles: int,
    driven_s: float,
    n_kinds: int | None,
) -> float | None:
    """Seconds until the sweep ends, if no driver dies; None while there is no cycle to go by.

    What all runs have left, divided by how many are trained at once: as many as have begun and not
    ended, or as have been on average, for one in its first cycle is not seen. No less than the
    longest run has left. A run to come takes as long as those of the trials that were begun last,
    since most samplers come to prefer some. Not so in a grid, which begins with its most costly
    ones: there a run takes as long as the others of its network, batch size and optimiser, and
    where none of these has begun, half as long as the quickest of those that have.

    Args:
        runs: `Frames.runs`, with the configuration of the running ones where it is known.
        last_cycle_s: seconds of the last cycle of each, NaN for none: a first one may have had
            something to compile.
        begun: architecture, batch size and optimiser of each run that has been begun and has not
            left a cycle; its parts may be missing.
        n_runs: that the sweep will have.
        n_cycles: of a run.
        driven_s: seconds for which it has been driven.
        n_kinds: of a grid: combinations of network, batch size and optimiser, which are taken to
            have equally many trials; None for any other sampler.
    """
    seconds = (runs["training_s"] + runs["evaluation_s"]).fillna(0.0).astype("float64")
    if not (seconds > 0).any():
        return None
    is_running = runs["state"] == "running"
    n_left = runs["cycles"].fillna(n_cycles).astype("float64") - runs["n_cycles"].astype("float64")
    rest = (last_cycle_s * n_left).where(is_running).fillna(0.0).clip(lower=0.0)
    whole = seconds.clip(upper=last_cycle_s * runs["n_cycles"].astype("float64")) + rest
    by_kind = whole.groupby([runs[name] for name in _KIND]).mean().to_dict()
    n_unknown = max(0, n_runs - len(runs) - len(begun))
    if n_kinds is None:
        usual = _recent_s(runs, whole)
    else:
        usual = _rest_of_a_grid_s(runs, whole, begun, n_runs, n_kinds)
    coming = [float(by_kind.get(tuple(kind), usual)) for kind in begun]
    left = float(rest.sum()) + sum(coming) + n_unknown * usual
    at_once = max(seconds.sum() / driven_s if driven_s > 0 else 0.0, is_running.sum(), 1)
    return max(left / at_once, float(rest.max()), *coming, 0.0)


def _recent_s(runs: pd.DataFrame, whole: pd.Series) -> float:
    """What a run of the trials takes that were begun last."""
    trials = runs["trial"].drop_duplicates().sort_values()
    recent = trials.iloc[-max(_FEWEST_RECENT, len(trials) // 4) :]
    return float(whole[runs["trial"].isin(recent)].mean())


def _rest_of_a_grid_s(
    runs: pd.DataFrame,
    whole: pd.Series,
    begun: Sequence[Sequence[object]],
    n_runs: int,
    n_kinds: int,
) -> float:
    """What a run takes that a grid has left, by the kinds that it has had."""
    groups = whole.groupby([runs[name] for name in _KIND])
    means = groups.mean().to_dict()
    begun_of: Counter[object] = Counter(map(tuple, begun))
    if not means:  # nobody knows what they are
        return _recent_s(runs, whole)
    n_of_a_kind = n_runs / max(n_kinds, 1)
    left = {
        kind: max(0.0, n_of_a_kind - n_there - begun_of[kind])
        for kind, n_there in groups.size().to_dict().items()
    }
    n_unseen = max(0.0, n_runs - n_of_a_kind * len(left))
    n_left = sum(left.values()) + n_unseen
    total_s = sum(n * means[kind] for kind, n in left.items()) + n_unseen * min(means.values()) / 2
    return float(total_s / n_left) if n_left else _recent_s(runs, whole)


def _moments(column: pd.Series) -> list[datetime]:
    return [moment.to_pydatetime() for moment in column.dropna()]
