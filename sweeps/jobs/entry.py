"""The driver of a sweep that was submitted as a job: `python -m sweeps.jobs.entry` on the head.

It is what `rso-sweep run` and `rso-sweep resume` do, in the cluster that the job belongs to, with
its progress as lines in the job's log.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sweeps.ending import conclude, end_with
from sweeps.jobs.cargo import Order, order_in
from sweeps.jobs.log_lines import StampedLines
from sweeps.progress_console import progress_console

_CLUSTER = "auto"
"""Ray's word for the cluster in which a job runs."""


def main() -> None:
    """Drives the sweep that lies in the working directory, and ends as `rso-sweep run` does."""
    order, sweep = order_in(Path.cwd())
    # the user's own modules lie there, and are found by the full path; everything else that is
    # relative, such as a database's file, must outlive the job and goes out from the home directory
    os.chdir(Path.home())
    in_the_words_of_jobs = {
        f"rso-sweep resume {order.folder}": f"rso-sweep resume {order.job}",
        "; interrupt again to stop at once": "",  # a job is stopped once
    }
    lines = StampedLines(sys.stderr, in_the_words_of_jobs)
    sys.stderr = lines
    try:
        end_with(lambda: _drive(order, sweep))
    finally:
        lines.finish()


def _drive(order: Order, sweep: Path) -> int:
    from sweeps.circumstances import Circumstances
    from sweeps.going_on import resume
    from sweeps.launch import launch

    console = progress_console()
    if order.action == "resume":
        return conclude(
            lambda: resume(order.folder, order.overrides, "ray", _CLUSTER, order.command, console),
            console,
        )
    circumstances = Circumstances("ray", _CLUSTER, order.command, console)
    return conclude(lambda: launch(str(sweep), order.folder, (), circumstances), console)


if __name__ == "__main__":
    main()
