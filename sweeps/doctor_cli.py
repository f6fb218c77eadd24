"""The commands with which operators look after clusters: `doctor` and `metrics`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from sweeps.jobs_cli import Cluster
from sweeps.progress_console import progress_console

_HAS_FAULT = 1


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line, in the order of its help."""
    app.command(epilog="Example:  rso-sweep doctor my_sweep.yaml --cluster cluster.yaml")(doctor)
    app.command(epilog="Example:  rso-sweep metrics --grafana > dashboard.json")(metrics)


def doctor(
    sweep: Annotated[
        str | None,
        typer.Argument(help="A preset's name, or a sweep file; without it, what any sweep needs."),
    ] = None,
    cluster: Cluster = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A running Ray cluster: HOST:PORT or auto on one of its machines, its dashboard, "
            "http://HOST:8265, from elsewhere; without it and --cluster, this machine.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="The run folder, or an address such as s3://bucket/x."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a key of the sweep file; may be repeated.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, with all that was found out.")
    ] = False,
) -> None:
    """Examine a Ray cluster, or this machine, before a sweep, and say what to put right.

    Every node is looked at: versions, clock, GPUs, memory, disk; whether data, output and own
    modules reach it; how fast it trains; and how many runs of the sweep have room. Nodes need no
    free CPU for it. The exit status is 1 if there is a fault.
    """
    import json

    from rich.console import Console

    found = _found(sweep, cluster, address, out, overrides or ())
    if as_json:
        print(json.dumps(found["document"], indent=2))
    else:
        console = Console(highlight=False)
        for line in found["lines"]:
            console.print(line, soft_wrap=True)
    if not found["is_sound"]:
        raise typer.Exit(_HAS_FAULT)


def _found(
    sweep: str | None,
    cluster: str | None,
    address: str | None,
    out: str | None,
    overrides: Sequence[str],
) -> Mapping[str, Any]:
    """What is found out: by this process, or on the head node of a cluster that it cannot join."""
    from sweeps.jobs.where import which_cluster

    console = progress_console()
    is_joined = address is not None and not address.startswith(("http://", "https://"))
    where = None if is_joined and cluster is None else which_cluster(cluster, address, os.environ)
    if where is None:
        from sweeps.doctor.command import diagnosis

        here = diagnosis(sweep, overrides, out, address, console)
        return {"lines": here.lines(), "document": here.as_json(), "is_sound": here.is_sound}
    from sweeps.jobs.connection import connected
    from sweeps.jobs.examining import examined

    with (
        connected(where, lambda line: console.print(line, markup=False, soft_wrap=True)) as server,
        console.status("the head node examines its cluster"),
    ):
        return examined(server, sweep, out, overrides)


def metrics(
    grafana: Annotated[
        bool, typer.Option("--grafana", help="A dashboard to import into Grafana, as JSON.")
    ] = False,
) -> None:
    """List the metrics of a sweep that Ray exports to Prometheus, or print a dashboard of them."""
    from sweeps.grafana import dashboard_text
    from sweeps.metrics import METRICS

    if grafana:
        print(dashboard_text(), end="")
        return
    width = max(len(metric.exported_name) for metric in METRICS)
    for metric in METRICS:
        print(f"{metric.exported_name:<{width}}  {metric.kind:<7}  {metric.meaning}")
