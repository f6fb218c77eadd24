"""Examining a cluster from afar: what `rso-sweep doctor` does with `--cluster`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeps.jobs.cargo import Order, loaded
from sweeps.jobs.own_modules import own_modules
from sweeps.jobs.questions import ask
from sweeps.jobs.server import JobServer
from sweeps.located_yaml import read_yaml
from sweeps.reading import read_sweep
from sweeps.sweep_file import dump_sweep

_ANSWER_S = 900.0
"""Nodes may compile RSO's kernels first, and those of one machine have their trials in turn."""


def examined(
    server: JobServer, sweep: str | None, out: str | None, overrides: Sequence[str]
) -> Mapping[str, Any]:
    """What the head node finds out about its cluster, with the code of this machine.

    Args:
        server: of the cluster.
        sweep: a preset's name, or a sweep file; None for what any sweep needs.
        out: the run folder there; None for that of the sweep.
        overrides: the values of `--set`.

    Returns:
        `lines` to print, all that was found as `document`, and whether it `is_sound`.

    Raises:
        InvalidInput: a fault of the sweep, or the head node cannot examine anything.
    """
    details = {"has_sweep": sweep is not None, "out": out}
    if sweep is None:
        return ask(server, "doctor", details, within_s=_ANSWER_S)
    text = dump_sweep(read_sweep(sweep, overrides))
    order = Order("run", "doctor", "", ("rso-sweep", "doctor"), sweep=text)
    with loaded(order, own_modules(Path.cwd(), read_yaml(text).content)) as runtime_env:
        return ask(server, "doctor", details, runtime_env, within_s=_ANSWER_S)
