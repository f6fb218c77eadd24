"""The command line, `rso-sweep`. Each command imports what it needs when it is called."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated, Any, Literal, NoReturn

import typer

from rso_core.errors import InvalidInput
from sweeps import doctor_cli, jobs_cli, report_cli
from sweeps.bench_cli import bench
from sweeps.ending import INTERRUPTED, RUNS_FAILED, conclude, end_with, tell
from sweeps.jobs_cli import Cluster
from sweeps.progress_console import progress_console
from sweeps.report_cli import Folder

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""Hyperparameter sweeps for RSO, which trains a network one weight at a time without
    gradients, and for SGD beside it.

    Begin with:  rso-sweep run quickstart""",
)

app.add_typer(bench, name="bench")

# typer gives no public name to the base of its usage errors
_UsageError: type[Any] = typer.BadParameter.__bases__[0]

_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the sweep file, such as budget.cycles=3; may be repeated.",
    ),
]
_Sweep = Annotated[str, typer.Argument(help="A preset's name, or a sweep file.")]


class ExecutorChoice(StrEnum):
    """Where runs are trained."""

    ray = "ray"
    inline = "inline"


def main() -> NoReturn:
    """The entry point: users see a line for what they can put right, never a traceback."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  so that `package.module:function` is found here
    end_with(_status_of_the_command)


def _status_of_the_command() -> int:
    try:
        status = app(standalone_mode=False, prog_name="rso-sweep")
    except _UsageError as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "rso-sweep"
        message = error.format_message().rstrip(".")
        raise InvalidInput(f"{message}; see '{command} --help'") from error
    except typer.Abort:
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _executor_name(choice: ExecutorChoice) -> Literal["ray", "inline"]:
    return "inline" if choice is ExecutorChoice.inline else "ray"


def _command() -> list[str]:
    return ["rso-sweep", *sys.argv[1:]]


@app.command(epilog="Example:  rso-sweep run quickstart --out runs/first --set budget.cycles=5")
def run(
    sweep: Annotated[
        str,
        typer.Argument(
            help="A preset's name, or a sweep file; or the run folder of a sweep that is to have "
            "more than it had: --set trials=, seeds=, budget.cycles= or space...."
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The run folder, or an address such as s3://bucket/x; without it runs/NAME, "
            "numbered.",
        ),
    ] = None,
    overrides: _Set = None,
    executor: Annotated[
        ExecutorChoice | None,
        typer.Option(help="Ray actors (the default), or this process alone."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster to join, such as auto.")
    ] = None,
    grown: Annotated[
        str | None,
        typer.Option(
            "--grow", metavar="DIR", help="A run folder, to be grown to what the sweep file says."
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Of a run folder: run failed trials again.")
    ] = False,
) -> int:
    """Run a sweep: train its configurations, print the comparison, write the report."""
    from sweeps.circumstances import Circumstances
    from sweeps.going_on import grow, is_run_folder
    from sweeps.launch import launch

    console = progress_console()
    is_folder = grown is None and is_run_folder(sweep)
    if not is_folder and grown is None:
        if retry_failed:
            raise InvalidInput(
                f"'--retry-failed' is for a run folder, got the sweep '{sweep}'; "
                "name its folder, such as runs/quickstart"
            )
        choice = _executor_name(executor or ExecutorChoice.ray)
        circumstances = Circumstances(choice, address, _command(), console)
        return conclude(lambda: launch(sweep, out, overrides or (), circumstances), console)
    if out is not None:
        raise InvalidInput(
            f"'--out' is for a new sweep, got '{out}'; leave it out: a sweep is grown in its folder"
        )
    return conclude(
        lambda: grow(
            sweep if grown is None else grown,
            None if grown is None else sweep,
            overrides or (),
            retries_failed=retry_failed,
            executor=None if executor is None else _executor_name(executor),
            ray_address=address,
            command=_command(),
            console=console,
        ),
        console,
    )


@app.command(epilog="Example:  rso-sweep resume runs/quickstart")
def resume(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR|JOB",
            help="A run folder; or the job of a sweep on a cluster, which --cluster, --address "
            "http://HOST:8265 or the environment names.",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a key of resources, checkpoints, limits, study or logging; may be "
            "repeated.",
        ),
    ] = None,
    executor: Annotated[
        ExecutorChoice | None, typer.Option(help="Without it, the one that was used before.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="A running Ray cluster to join, or local; without it, as before. Of a job: the "
            "cluster's dashboard."
        ),
    ] = None,
    cluster: Cluster = None,
) -> int:
    """Go on with a sweep that was interrupted, or whose driver or machine has died."""
    where = jobs_cli.cluster_of_a_job(folder, cluster, address, joins=True)
    if where is not None:
        if executor is not None:
            raise InvalidInput(
                f"'--executor' is for a run folder, got it with the job '{folder}', whose runs are "
                "trained in the cluster's actors; leave it out"
            )
        return jobs_cli.resume_job(folder, overrides or (), where, _command())
    from sweeps.going_on import resume

    console = progress_console()
    choice = None if executor is None else _executor_name(executor)
    return conclude(
        lambda: resume(folder, overrides or (), choice, address, _command(), console), console
    )


@app.command(
    epilog="Example:  rso-sweep train --architecture one_conv --optimizer rso --batch-size 512 "
    "--cycles 10 --seed 0"
)
def train(
    architecture: Annotated[
        str, typer.Option(help="A network, such as one_conv, mlp(64,32) or package.module:function")
    ] = "one_conv",
    optimizer: Annotated[str, typer.Option(help="rso, sgd or adam.")] = "rso",
    batch_size: Annotated[int, typer.Option(help="Images in a batch.")] = 512,
    cycles: Annotated[int, typer.Option(help="Cycles (RSO) or epochs.")] = 10,
    seed: Annotated[int, typer.Option(help="Of weights, batches and perturbations.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads that torch may use.")] = 1,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of the optimiser (perturbation_std=0.5) or of the data "
            "(data.train_size=5000); may be repeated.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object for every cycle instead of a line.")
    ] = False,
) -> None:
    """Train one configuration, without a sweep; a line for every cycle."""
    from sweeps.train_command import RunFailed, train_one

    try:
        train_one(
            {"architecture": architecture, "optimizer": optimizer, "batch_size": batch_size},
            cycles,
            seed,
            threads,
            overrides or (),
            as_json,
            progress_console(),
        )
    except RunFailed as error:
        tell(str(error))
        raise typer.Exit(RUNS_FAILED) from error


report_cli.add_commands(app)
jobs_cli.add_commands(app)
doctor_cli.add_commands(app)


@app.command(epilog="Example:  rso-sweep dashboard runs/quickstart --port 8081")
def dashboard(
    folder: Folder,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="To listen on; 0 for any that is free.")
    ] = 8080,
    host: Annotated[
        str,
        typer.Option(help="To listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for all."),
    ] = "127.0.0.1",
    opens_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Whether a browser is shown the study.")
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Of the study's database or proxy; without it, the one of the sweep file.",
        ),
    ] = None,
) -> None:
    """Watch a sweep, running or ended, in optuna-dashboard; it cannot change anything."""
    from sweeps.dashboard_command import serve_dashboard

    console = progress_console()
    serve_dashboard(
        folder,
        host,
        port,
        storage=storage,
        opens_browser=opens_browser,
        say=lambda line: console.print(line, markup=False, soft_wrap=True),
    )


@app.command(epilog="Example:  rso-sweep presets")
def presets() -> None:
    """List the sweep files that come with the project."""
    from sweeps.presets import preset_names, preset_summary

    names = preset_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {preset_summary(name)}")


@app.command(epilog="Example:  rso-sweep show quickstart > my_sweep.yaml")
def show(preset: Annotated[str, typer.Argument(help="A preset's name.")]) -> None:
    """Print a preset's sweep file, to copy and edit."""
    from sweeps.presets import preset_text

    print(preset_text(preset), end="")


@app.command(epilog="Example:  rso-sweep check my_sweep.yaml")
def check(
    sweep: _Sweep,
    overrides: _Set = None,
    is_to_calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Measure this machine first, for some 10 seconds."),
    ] = False,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Go by the records of this run folder, which may still be growing."
        ),
    ] = None,
    n_workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            help="Runs that are trained at once; without it, as many as this machine would hold.",
        ),
    ] = None,
) -> None:
    """Check a sweep file, and say what it holds and costs: trials, runs, visits, operations, time.

    The time is that of a nominal machine unless it is measured, or told by an earlier sweep.
    """
    from sweeps.check_command import check_lines

    lines = check_lines(
        sweep,
        overrides or (),
        is_to_calibrate=is_to_calibrate,
        like=like,
        n_workers=n_workers,
        console=progress_console(),
    )
    print("\n".join(lines))


@app.command(epilog="Example:  rso-sweep schema > sweep.schema.json")
def schema() -> None:
    """Print the JSON schema of a sweep file, for editors."""
    import json

    from sweeps.spec import json_schema

    print(json.dumps(json_schema(), indent=2))
