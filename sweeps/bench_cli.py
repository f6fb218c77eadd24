"""The commands `rso-sweep bench ...`: how fast this machine is. See `cli`."""

from __future__ import annotations

from typing import Annotated

import typer

from sweeps.progress_console import progress_console

bench = typer.Typer(help="Measure how fast this machine is.")


@bench.command(epilog="Example:  rso-sweep bench engine --network one_conv --batch-size 256")
def engine(
    networks: Annotated[
        list[str] | None,
        typer.Option(
            "--network",
            metavar="NAME",
            help="A network, such as one_conv, mlp(64,32) or package.module:function; may be "
            "repeated. Without it: one_conv, two_conv, paper_mnist and original.",
        ),
    ] = None,
    batch_sizes: Annotated[
        list[int] | None,
        typer.Option(
            "--batch-size",
            metavar="N",
            help="Images in a batch; may be repeated. Without it: 1024, and for one_conv and "
            "two_conv 256 before it.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(metavar="N", help="Threads of both engines, or of each worker.")
    ] = 1,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Measure instead how much faster so many workers, processes of their own, train "
            "one run than one does.",
        ),
    ] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure less: figures within a minute or two.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON list with an object for every row.")
    ] = False,
) -> None:
    """Compare the incremental engine with the reference engine, in microseconds a weight."""
    asked = (networks or (), batch_sizes or ())
    if workers != 1:
        from sweeps.bench_workers import bench_workers

        bench_workers(*asked, workers, threads, quick, as_json, progress_console())
        return
    from sweeps.bench_command import bench_engines

    bench_engines(*asked, threads, quick, as_json, progress_console())


@bench.command(epilog="Example:  rso-sweep bench scheduler --trials 2000 --actors 2")
def scheduler(
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Trials of the sweep; without it 2000.")
    ] = None,
    actors: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Ray actors, whose CPUs are logical: there may be more than the machine has; "
            "without it 2.",
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="That each trial sleeps; without it 0.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="random, tpe, ...; without it random."),
    ] = None,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers", help="Give the sweep to Ray Tune and plain Optuna too; needs 'peers'."
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure less: figures within a few minutes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure what driving a sweep takes, with trials that only report five values.

    Without options: the overhead at 500, 2,000 and 10,000 trials, 16 actors with one-second
    trials, the start of a sweep, and Ray Tune and plain Optuna beside them; a quarter of an hour.
    With --trials, --actors, --seconds or --sampler: that one sweep. Sweeps are written beneath the
    current folder, and removed.
    """
    from sweeps.bench_scheduler import LoadOptions, bench_scheduler

    asked = LoadOptions(trials, actors, seconds, sampler)
    bench_scheduler(asked, peers, quick, as_json, progress_console())


@bench.command(epilog="Example:  rso-sweep bench cluster --nodes 8 --trials 400")
def cluster(
    nodes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Simulated nodes of one CPU and one actor each; without it 32. Each takes about "
            "0.4 GB of memory.",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Trials of each block; without it 2000.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="That each trial sleeps; without it 1.")
    ] = None,
    leaving: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Nodes that go during a block, by turns killed and asked to leave, each replaced "
            "by a new one; without it 8.",
        ),
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(metavar="N", help="Blocks on one node and on many, by turns; without it 3."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure less: figures within a few minutes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Compare what the driver takes on many nodes, which come and go, with what it takes on one.

    The nodes are simulated: Ray's own processes, on this machine. Every block is a whole sweep
    with the real driver, and afterwards every trial must have exactly one result. Without options
    it takes a quarter of an hour and more. Sweeps are written beneath the current folder, and
    removed.
    """
    from sweeps.bench_cluster import ClusterOptions, bench_cluster

    asked = ClusterOptions(nodes, trials, seconds, leaving, blocks)
    bench_cluster(asked, quick, as_json, progress_console())
