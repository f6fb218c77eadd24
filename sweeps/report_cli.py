"""The commands that read run folders: `report`, `table`, `watch` and `status`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rso_core.errors import InvalidInput, reason
from sweeps import jobs_cli
from sweeps.jobs_cli import Address, Cluster
from sweeps.progress_console import progress_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis import Budget, Report, Table

Folder = Annotated[str, typer.Argument(metavar="DIR", help="A run folder.")]
_At = typer.Option(
    "--at",
    metavar="KIND=AMOUNT",
    help="Hold all runs to a budget: cycles=5, images=1e6, seconds=60 or updates=100 (updates of "
    "each weight)",
)


class StatisticChoice(StrEnum):
    """What is told of a metric over the seeds."""

    mean = "mean"
    median = "median"
    iqm = "iqm"


class FormChoice(StrEnum):
    """The forms of a table."""

    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    html = "html"
    parquet = "parquet"


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line, in the order of its help."""
    app.command(epilog="Example:  rso-sweep report runs/quickstart")(report)
    app.command(
        epilog="Example:  rso-sweep table runs/quickstart --rows architecture,batch_size "
        "--columns optimizer --metric test_accuracy"
    )(table)
    app.command(epilog="Example:  rso-sweep watch runs/quickstart")(watch)
    app.command(epilog="Example:  rso-sweep status runs/quickstart")(status)


def write_the_report(
    folder: str,
    budgets: Sequence[Budget] = (),
    target: float | None = None,
    out: str | None = None,
    only: Sequence[str] = (),
) -> Report:
    """Writes the report of a run folder, as `analysis.write_report` does.

    Raises:
        InvalidInput: it is not a run folder, or the report cannot be written.
    """
    from analysis import NoSuchFile, UnreadableRunFolder, write_report

    try:
        return write_report(folder, out, budgets=budgets, target=target, only=only)
    except UnreadableRunFolder as error:
        raise InvalidInput(str(error)) from error
    except NoSuchFile as error:
        raise InvalidInput(f"'--only' must name files of the report: {error}") from error
    except OSError as error:
        raise InvalidInput(
            f"'{out or folder}' must be a folder that can be written ({reason(error)}); "
            f"`rso-sweep report {folder}` writes the report once it is"
        ) from error


def report(
    folder: Folder,
    at: Annotated[list[str] | None, _At] = None,
    target: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="A test accuracy, such as 0.95: what does it take to reach it?"
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where to write. Default: report within it.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Write only this file, such as cost.md or 'accuracy_*.svg'; may be repeated.",
        ),
    ] = None,
) -> None:
    """Write the comparison tables, charts and report.html of a run folder.

    Without --at and --target the budgets and the target are those that all optimisers can meet.
    """
    budgets = [_budget(text) for text in at or ()]
    written = write_the_report(folder, budgets, target, out, only or ())
    if only:
        for path in written.paths:
            print(path)
        return
    # that of every trial, the last one, is for the page
    for each in written.tables[:-1]:
        print(f"{each.to_markdown(most_rows=MOST_PRINTED)}\n")
    print(f"Report: {written.html}")


MOST_PRINTED = 40
"""Rows of a table that the terminal shows."""


def table(
    folders: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="One or more run folders.")
    ],
    rows: Annotated[
        list[str],
        typer.Option(metavar="COLUMNS", help="A row for each combination: architecture,batch_size"),
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Columns whose values stand side by side: optimizer"),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="test_accuracy, validation_loss, training_s, objective ...")
    ] = "test_accuracy",
    statistic: Annotated[
        StatisticChoice, typer.Option(help="Over the seeds; iqm: interquartile mean.")
    ] = StatisticChoice.mean,
    at: Annotated[str | None, _At] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Only runs with it: optimizer=rso; repeatable."),
    ] = None,
    form: Annotated[FormChoice, typer.Option("--format", help="Of the table.")] = (
        FormChoice.markdown
    ),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file to write, in place of printing.")
    ] = None,
) -> None:
    """Compare any metric by any columns: the dimensions of the space and the options.

    All other dimensions are averaged; several folders are set beside each other, or with
    `--columns sweep` side by side.
    """
    from analysis import UnreadableRunFolder, load
    from analysis.any_table import UnknownColumn, comparison_table

    if form is FormChoice.parquet and out is None:
        raise InvalidInput("'--out' must name a file for the format parquet, got none")
    try:
        made = comparison_table(
            load(*folders),
            rows=_names(rows),
            columns=_names(columns or []),
            metric=metric,
            at=None if at is None else _budget(at),
            statistic=statistic.value,
            where=_values(where or []),
        )
    except UnreadableRunFolder as error:
        raise InvalidInput(str(error)) from error
    except UnknownColumn as error:
        raise InvalidInput(f"'--{str(error)[1:]}") from error
    content = _content(made, form)
    if out is not None:
        _write(out, content)
    elif isinstance(content, str):
        print(content, end="")


def watch(
    folder: Folder,
    every_s: Annotated[
        float, typer.Option("--every", min=0.2, metavar="SECONDS", help="Between two looks.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Watch a sweep while it runs: how far it is, what trains, and the comparison so far."""
    from rich.console import Console

    from analysis import UnreadableRunFolder
    from sweeps.watching.command import watch

    try:
        watch(folder, every_s=every_s, once=once, console=Console(highlight=False))
    except UnreadableRunFolder as error:
        raise InvalidInput(str(error)) from error


def status(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR|JOB",
            help="A run folder; or the job of a sweep on a cluster, which --cluster, --address or "
            "the environment names; without it, the sweeps on that cluster.",
        ),
    ] = None,
    cluster: Cluster = None,
    address: Address = None,
) -> None:
    """Say how far a sweep is, running or ended, on this machine or on a cluster."""
    if folder is None:
        jobs_cli.list_jobs(cluster, address)
        return
    where = jobs_cli.cluster_of_a_job(folder, cluster, address)
    lines = told_status(folder) if where is None else jobs_cli.told_job(folder, where)
    print("\n".join(lines))


def told_status(folder: str) -> list[str]:
    """What `status` says about a run folder.

    Raises:
        InvalidInput: it is not one.
    """
    from analysis import UnreadableRunFolder
    from sweeps.status_command import status_lines

    try:
        return status_lines(folder)
    except UnreadableRunFolder as error:
        raise InvalidInput(str(error)) from error


def _budget(text: str) -> Budget:
    from analysis import Budget

    try:
        return Budget.parse(text)
    except ValueError as error:
        raise InvalidInput(f"'--{str(error)[1:]}") from error


def _values(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, sign, _ in pairs:
        if not sign:
            raise InvalidInput(
                f"'--where' must be a column and its value, such as optimizer=rso, got '{name}'"
            )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _names(texts: list[str]) -> list[str]:
    """`a,b` and `a b` alike."""
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _content(made: Table, form: FormChoice) -> str | bytes:
    if form is FormChoice.parquet:
        return made.to_parquet()
    forms = {
        FormChoice.markdown: made.to_markdown,
        FormChoice.latex: made.to_latex,
        FormChoice.csv: made.to_csv,
        FormChoice.html: made.to_html,
    }
    text = forms[form]()
    return text if text.endswith("\n") else f"{text}\n"


def _write(out: Path, content: str | bytes) -> None:
    """Writes the file whole or not at all."""
    from analysis.places import place_at

    try:
        place = place_at(out.parent)
        place.write(out.name, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise InvalidInput(
            f"'--out' must be a file that can be written ({reason(error)})"
        ) from error
    progress_console().print(f"Written: {out}", markup=False, soft_wrap=True)
