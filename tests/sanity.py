"""Holds a quickstart against the README's figures: python -m tests.sanity runs/quickstart

The seeds are the same everywhere, but what a processor rounds differently may turn single decisions
of RSO, so that a run elsewhere is another run: the tolerances are for that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import analysis
from analysis.tables import Column, Table

EXPECTED = Path(__file__).with_name("sanity.csv")
KEYS = ["architecture", "batch_size", "optimizer"]


def main(arguments: Sequence[str]) -> int:
    """Prints the table; 0 if all figures are within their tolerances, else 1."""
    if len(arguments) != 1:
        print("usage: python -m tests.sanity DIR", file=sys.stderr)
        return 2
    try:
        runs = analysis.load(arguments[0]).runs
    except analysis.UnreadableRunFolder as error:
        print(error, file=sys.stderr)
        return 2
    found = compared(runs)
    print(_table(found).to_markdown())
    n_off = int((~found["is_within"]).sum())
    print("all figures are within their tolerances" if not n_off else f"{n_off} figures are not")
    return 1 if n_off else 0


def compared(runs: pd.DataFrame) -> pd.DataFrame:
    """The README's figures beside those of a run folder, of the best setting of each.

    Args:
        runs: `Frames.runs` of a sweep of the preset quickstart.

    Returns:
        `architecture`, `batch_size`, `optimizer`, `test_accuracy_percent` (the README's),
        `tolerance` (in points), `here` (missing where there is none) and `is_within`.
    """
    best = analysis.best_configurations(runs, within=["architecture", "batch_size"])
    here = best[[*KEYS, "test_accuracy_mean"]].rename(columns={"test_accuracy_mean": "here"})
    found = pd.read_csv(EXPECTED).merge(here, on=KEYS, how="left")
    found["here"] = 100 * found["here"]
    off = (found["here"] - found["test_accuracy_percent"]).abs()
    return found.assign(is_within=off <= found["tolerance"])


def _table(found: pd.DataFrame) -> Table:
    shown = found.assign(
        here=found["here"].round(1), verdict=found["is_within"].map({True: "ok", False: "OFF"})
    )
    return Table(
        name="sanity",
        title="Quickstart against the README",
        caption="Test accuracy in per cent: mean over the seeds of the best setting by validation.",
        frame=shown,
        columns=(
            Column("Network", "text", ("architecture",)),
            Column("Batch", "number", ("batch_size",)),
            Column("Optimiser", "optimizer", ("optimizer",)),
            Column("README", "number", ("test_accuracy_percent",)),
            Column("tolerance", "number", ("tolerance",)),
            Column("here", "number", ("here",)),
            Column("", "text", ("verdict",)),
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
