"""How commands end: a line for what users can put right, a report, an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from rso_core.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from sweeps.driving import Outcome

BAD_INPUT, RUNS_FAILED, INTERRUPTED = 2, 1, 130
"""Exit statuses other than 0."""


def end_with(command: Callable[[], int]) -> NoReturn:
    """Ends the program as a command does: users see a line for each fault, never a traceback."""
    try:
        status = command()
    except InvalidInput as error:
        refuse(*error.problems)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(status)


def refuse(*problems: str) -> NoReturn:
    """Ends the program for bad input, with a line for each fault."""
    for problem in problems:
        tell(problem)
    sys.exit(BAD_INPUT)


def tell(problem: str) -> None:
    """Prints what is wrong on one line, without secrets and without what a terminal would obey."""
    from sweeps.storage.redaction import redacted

    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in redacted(problem))
    print(f"rso-sweep: {line}", file=sys.stderr)


def conclude(drive: Callable[[], Outcome], console: Console) -> int:
    """Drives a sweep, prints its comparison and writes its report.

    Returns:
        The exit status.
    """
    from sweeps.driving import SweepStopped
    from sweeps.report_cli import write_the_report

    try:
        outcome = drive()
    except SweepStopped as error:
        tell(str(error))
        return RUNS_FAILED
    if outcome.progress.is_interrupted:
        return INTERRUPTED
    with console.status("writing the report"):
        written = write_the_report(outcome.folder)
    print(f"\n{written.tables[0].to_markdown()}\n")
    print(f"Report: {written.html}")
    return RUNS_FAILED if outcome.progress.n_trials_failed else 0
