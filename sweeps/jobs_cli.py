"""The commands of sweeps that run as jobs on a Ray cluster."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rso_core.errors import InvalidInput
from sweeps.progress_console import progress_console

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweeps.jobs.job import Job
    from sweeps.jobs.where import Where

Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="The launcher file of a Ray cluster, whose head node is reached by SSH; without it "
        "$RSO_SWEEP_CLUSTER.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The dashboard of a Ray cluster, http://HOST:8265; without it "
        "$RAY_API_SERVER_ADDRESS.",
    ),
]
_Job = Annotated[str, typer.Argument(metavar="JOB", help="The name that `submit` has printed.")]


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line, in the order of its help."""
    app.command(epilog="Example:  rso-sweep submit my_sweep.yaml --cluster cluster.yaml")(submit)
    app.command(epilog="Example:  rso-sweep logs mine-1127-4f2a --follow")(logs)
    app.command(epilog="Example:  rso-sweep stop mine-1127-4f2a")(stop)
    app.command(epilog="Example:  rso-sweep fetch mine-1127-4f2a --out runs/mine")(fetch)


def submit(
    sweep: Annotated[str, typer.Argument(help="A preset's name, or a sweep file.")],
    cluster: Cluster = None,
    address: Address = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The run folder on the cluster, from the home directory of its head node, or an "
            "address such as s3://bucket/x; without it $RSO_SWEEP_OUTPUT/JOB of the head node, the "
            "sweep's output, or ~/rso-sweep-runs/JOB.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a key of the sweep file, such as budget.cycles=3; may be repeated.",
        ),
    ] = None,
) -> None:
    """Send a sweep to a Ray cluster, where it runs on without this machine; prints its name.

    The project and the modules of the current folder travel with it, data sets do not.
    """
    from sweeps.jobs.connection import connected
    from sweeps.jobs.submitting import NewSweep
    from sweeps.jobs.where import the_cluster

    where = the_cluster(cluster, address, os.environ)
    new = NewSweep(sweep, out, overrides or ())
    say = _sayer()
    with connected(where, say) as server:
        job, folder = new.submit(server, ["rso-sweep", *sys.argv[1:]], say)
    print(job, flush=True)
    say(f"submitted: {new.summary}, into {folder} on the cluster")
    _say_what_next(job, where, say)


def logs(
    job: _Job,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job is over.")
    ] = False,
    cluster: Cluster = None,
    address: Address = None,
) -> int:
    """Show what a job's driver has said; ends with the exit status of the sweep, if it is over."""
    from sweeps.jobs.connection import connected
    from sweeps.jobs.following import followed, said_so_far
    from sweeps.jobs.job import found
    from sweeps.jobs.where import the_cluster

    where = the_cluster(cluster, address, os.environ)
    with connected(where, _sayer()) as server:
        known = found(job, server.jobs())
        for line in followed(server, known) if follow else said_so_far(server, known):
            print(line, end="", flush=True)
        now = server.job(known.name)
    if now.is_over:
        _sayer()(f"{now.name}: {now.state()}")
    return now.outcome


def stop(job: _Job, cluster: Cluster = None, address: Address = None) -> None:
    """Stop a job as Ctrl-C does: its runs write their checkpoints, and it can be gone on with."""
    from sweeps.jobs.connection import connected
    from sweeps.jobs.job import found
    from sweeps.jobs.stopping import stopped
    from sweeps.jobs.where import the_cluster

    where = the_cluster(cluster, address, os.environ)
    say = _sayer()
    with connected(where, say) as server:
        known = found(job, server.jobs())
        if known.is_over:
            say(f"{known.name} is over already: {known.state()}")
            return
        how = stopped(server, known, lambda line: print(line, end="", flush=True))
    say(f"{known.name}: {how}")
    say(f"`rso-sweep resume {known.about.first}{where.options}` goes on with it")


def fetch(
    job: _Job,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="A new folder; without it runs/JOB, numbered if taken."),
    ] = None,
    updates: Annotated[
        bool,
        typer.Option("--update", help="Replace the folder, if it was fetched from JOB before."),
    ] = False,
    has_checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="With the states of unfinished runs.")
    ] = False,
    cluster: Cluster = None,
    address: Address = None,
) -> None:
    """Bring a job's run folder here, running or ended, whole or not at all; prints its path."""
    from rich.markup import escape

    from sweeps.jobs.connection import connected
    from sweeps.jobs.fetching import destination
    from sweeps.jobs.fetching import fetch as bring
    from sweeps.jobs.job import found
    from sweeps.jobs.where import the_cluster

    where = the_cluster(cluster, address, os.environ)
    console, say = progress_console(), _sayer()
    with connected(where, say) as server:
        known = found(job, server.jobs())
        folder = destination(known, out, updates=updates)
        label = f"fetching {escape(known.about.folder)}"
        with console.status(label) as shown:

            def received(n_bytes: int, most: int) -> None:
                shown.update(f"{label}: {n_bytes / 1e6:.1f} MB, of at most {most / 1e6:.1f}")

            bring(server, known, folder, has_checkpoints=has_checkpoints, received=received)
    print(folder)
    say(f"fetched; `rso-sweep report {folder}` makes its tables, charts and page")


def resume_job(name: str, overrides: Sequence[str], where: Where, command: Sequence[str]) -> int:
    """Submits a job that goes on with the sweep of another one."""
    from sweeps.jobs.connection import connected
    from sweeps.jobs.submitting import resubmit

    say = _sayer()
    with connected(where, say) as server:
        job, folder = resubmit(name, overrides, server, command, say)
    print(job, flush=True)
    say(f"submitted: goes on with {folder} on the cluster")
    _say_what_next(job.rpartition("-")[0], where, say)
    return 0


def told_job(name: str, where: Where) -> list[str]:
    """What `status` says about a job: its state, and then what it says about its run folder."""
    from sweeps.jobs.connection import connected
    from sweeps.jobs.job import found
    from sweeps.jobs.questions import ask

    with connected(where, _sayer()) as server:
        job = found(name, server.jobs())
        first = f"{job.name}: {job.state()}{_times(job)}"
        try:
            lines = ask(server, "status", {"folder": job.about.folder})["lines"]
        except InvalidInput as error:
            if not job.is_over:  # it has not come to that yet
                return [first, "no record yet"]
            return [first, *error.problems]
    here = f"rso-sweep resume {job.about.folder}"
    there = f"rso-sweep resume {job.about.first}{where.options}"
    return [first, *(str(line).replace(here, there) for line in lines)]


def list_jobs(cluster: str | None, address: str | None) -> None:
    """Prints the sweeps on a cluster, the newest first."""
    from sweeps.jobs.connection import connected
    from sweeps.jobs.job import sweeps_of
    from sweeps.jobs.where import the_cluster

    where = the_cluster(cluster, address, os.environ)
    with connected(where, _sayer()) as server:
        jobs = sweeps_of(server.jobs())
    if not jobs:
        _sayer()("no sweep has been submitted to this cluster; `rso-sweep submit` sends one")
        return
    width = max(len(job.name) for job in jobs)
    for job in jobs:
        state = job.state().partition(":")[0]
        print(f"{job.name:<{width}}  {_started(job)}  {state:<20}  {job.about.folder}")


def cluster_of_a_job(
    name: str, cluster: str | None, address: str | None, *, joins: bool = False
) -> Where | None:
    """The cluster, if a command's argument names a job there; None if it names a run folder.

    A cluster that is named by an option means a job; one that an environment variable names does
    so unless the argument is a run folder, or a path.

    Args:
        name: the argument.
        cluster: the value of `--cluster`.
        address: the value of `--address`.
        joins: whether `--address` may also be that of a cluster whose actors train the runs of a
            folder here: then HOST:PORT means a job only where there is no such folder.
    """
    from sweeps.jobs.where import which_cluster

    is_folder = _names_a_folder(name)
    is_dashboard = address is not None and address.startswith(("http://", "https://"))
    if joins and cluster is None and address is not None and not is_dashboard:
        if is_folder or ":" not in address or "://" in address:
            return None
        return which_cluster(None, address, os.environ)
    where = which_cluster(cluster, address, os.environ)
    if where is None or (where.is_exported and is_folder):
        return None
    return where


def _names_a_folder(name: str) -> bool:
    from pathlib import Path

    from sweeps.output_address import SWEEP_FILE

    if "/" in name or os.sep in name or name in (".", ".."):
        return True
    try:
        return (Path(name) / SWEEP_FILE).is_file()
    except OSError:  # a name that is too long
        return False


def _say_what_next(job: str, where: Where, say: Callable[[str], None]) -> None:
    for command, purpose in (
        ("logs {job} --follow", "what its driver says"),
        ("status {job}", "how far it is"),
        ("stop {job}", "stops it, to be gone on with by `resume`"),
        ("fetch {job}", "brings its run folder here, at any time"),
    ):
        line = f"rso-sweep {command.format(job=job)}{where.options}"
        say(f"  {line:<{len(job) + len(where.options) + 24}}  # {purpose}")


def _sayer() -> Callable[[str], None]:
    console = progress_console()
    return lambda line: console.print(line, markup=False, soft_wrap=True)


def _times(job: Job) -> str:
    if job.started_at is None:
        return ""
    ended = "" if job.ended_at is None else f", ended {job.ended_at:%Y-%m-%d %H:%M}Z"
    return f", submitted {_started(job)}{ended}"


def _started(job: Job) -> str:
    return "not known yet" if job.started_at is None else f"{job.started_at:%Y-%m-%d %H:%M}Z"
