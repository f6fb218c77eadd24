"""The runs that were cut short, by the death of an actor or its machine, and begun again."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from analysis.wording import listed

_DTYPES = {
    "sweep": "string",
    "trial": "Int64",
    "seed": "Int64",
    "run": "string",
    "n_cut_short": "Int64",
    "last_reason": "string",
    "reasons": "string",
    "hosts": "string",
}


def interruptions(attempts: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that were cut short, and how they ended in the end.

    Args:
        attempts: `Frames.attempts`.
        runs: `Frames.runs`.

    Returns:
        `sweep`, `trial`, `seed`, `run`, `architecture`, `batch_size`, `optimizer`, `n_cut_short`
        (attempts that were), `last_reason`, `reasons` (each with its number, the latest first),
        `hosts` (where those attempts ran), `state` (in the end; running if it has not ended) and
        `n_attempts` (missing if it has not ended). No rows where no run was cut short.
    """
    groups = attempts.groupby(["sweep", "trial", "seed", "run"], dropna=False)
    rows = [(*identity, *_summary(own)) for identity, own in groups]
    table = pd.DataFrame(rows, columns=list(_DTYPES)).astype(_DTYPES)
    described = ["architecture", "batch_size", "optimizer"]
    ended = runs[["sweep", "run", *described, "state", "n_attempts"]]
    table = table.merge(ended, on=["sweep", "run"], how="left")
    # one that was cut short within its first cycle is not among the runs before it ends
    table["state"] = table["state"].fillna("running")
    identity, summary = list(_DTYPES)[:4], list(_DTYPES)[4:]
    return table[[*identity, *described, *summary, "state", "n_attempts"]]


def _summary(attempts: pd.DataFrame) -> tuple[int, str, str, str | None]:
    """Of one run: `n_cut_short`, `last_reason`, `reasons` and `hosts`."""
    known = attempts["reason"].fillna("no reason known")
    reasons = [" ".join(str(reason).split()) for reason in known]
    counts = Counter(reversed(reasons))
    grouped = "; ".join(f"{n} × {reason}" if n > 1 else reason for reason, n in counts.items())
    hosts = [str(host) for host in attempts["host"].dropna().unique()]
    return len(reasons), reasons[-1], grouped, listed(hosts) if hosts else None
