"""The commands with which operators look after clusters: `doctor` and `metrics`."""

from __future__ import annotations

from typing import Annotated

import typer

from sweeps.progress_console import progress_console

_HAS_FAULT = 1


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line, in the order of its help."""
    app.command(epilog="Example:  rso-sweep doctor my_sweep.yaml --address auto")(doctor)
    app.command(epilog="Example:  rso-sweep metrics --grafana > dashboard.json")(metrics)


def doctor(
    sweep: Annotated[
        str | None,
        typer.Argument(help="A preset's name, or a sweep file; without it, what any sweep needs."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster, such as auto; without it, this machine."),
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

    from sweeps.doctor.command import diagnosis

    found = diagnosis(sweep, overrides or (), out, address, progress_console())
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        found.print(Console(highlight=False))
    if not found.is_sound:
        raise typer.Exit(_HAS_FAULT)


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
