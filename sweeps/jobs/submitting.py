"""Sending a sweep to a cluster: what `submit` and `resume` of a job do."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rso_core.errors import InvalidInput
from sweeps.jobs.cargo import Order, loaded
from sweeps.jobs.interpreter import on_head
from sweeps.jobs.job import About, found
from sweeps.jobs.names import new_name, next_name
from sweeps.jobs.own_modules import OwnModules, modules_below, own_modules
from sweeps.jobs.questions import ask
from sweeps.jobs.server import JobServer
from sweeps.located_yaml import read_yaml
from sweeps.provenance import versions
from sweeps.reading import read_sweep
from sweeps.storage.redaction import redacted
from sweeps.sweep_file import dump_sweep

_DRIVER = on_head("sweeps.jobs.entry")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_OLDEST = {"ray": (2, 50), "python": (3, 11)}
"""With which this project works; see pyproject.toml."""

Say = Callable[[str], None]


class NewSweep:
    """A sweep that is to be submitted, checked as far as this machine can.

    Args:
        sweep: a preset's name, or a sweep file.
        out: the run folder on the cluster, as the user gave it.
        overrides: the values of `--set`.

    Attributes:
        summary: what it amounts to, in words.

    Raises:
        InvalidInput: a line for every fault; nothing was sent.
    """

    def __init__(self, sweep: str, out: str | None, overrides: Sequence[str]) -> None:
        spec = read_sweep(sweep, overrides)
        self._name, self._out, self._output = spec.name, out, spec.output
        self._text = dump_sweep(spec)
        _check_no_secrets(self._text, out)
        self._variables = sorted(set(_VARIABLE.findall(spec.study.storage or "")))
        self._modules = own_modules(Path.cwd(), read_yaml(self._text).content)
        n_trials, n_seeds = spec.n_trials(), len(spec.seeds)
        self.summary = (
            f"{n_trials} trials x {n_seeds} {'seed' if n_seeds == 1 else 'seeds'} = "
            f"{n_trials * n_seeds} runs of {spec.cycles_in_words()}"
        )

    def submit(self, server: JobServer, command: Sequence[str], say: Say) -> tuple[str, str]:
        """Sends it, if the head node finds no fault either.

        Args:
            server: of the cluster.
            command: the user's command line.
            say: prints a line.

        Returns:
            The names of the job and of the run folder there.

        Raises:
            InvalidInput: a fault that only shows there; no job was begun then.
        """
        _check_versions(server, say)
        job = new_name(self._name, datetime.now(), secrets.token_hex(2))
        order = Order("run", job, "", tuple(command), sweep=self._text)
        details = {
            "job": job,
            "out": self._out,
            "output": self._output,
            "variables": self._variables,
        }
        with loaded(order, self._modules) as runtime_env:
            answer = ask(server, "new", details, runtime_env)
        _tell_of_versions(answer, say)
        order = replace(order, folder=answer["folder"])
        _send(server, job, order, self._modules, self._name)
        return job, order.folder


def resubmit(
    name: str, overrides: Sequence[str], server: JobServer, command: Sequence[str], say: Say
) -> tuple[str, str]:
    """Sends a job that goes on with the sweep of another one, which is over.

    Args:
        name: of the other job.
        overrides: the values of `--set`, as for `rso-sweep resume`.
        server: of the cluster.
        command: the user's command line.
        say: prints a line.

    Returns:
        The names of the new job and of the run folder.

    Raises:
        InvalidInput: there is no such job, it runs, or its sweep cannot be gone on with.
    """
    for override in overrides:
        _check_no_secrets(override, None)
    jobs = server.jobs()
    last = found(found(name, jobs).about.first, jobs)
    if not last.is_over:
        raise InvalidInput(
            f"'JOB' must be one that is over to be gone on with, got '{last.name}', which is "
            f"{last.state()}; `rso-sweep stop {last.about.first}` stops it"
        )
    modules = _modules_again(last.about)
    _check_versions(server, say)
    about = last.about
    order = Order("resume", about.first, about.folder, tuple(command), tuple(overrides))
    with loaded(order, modules) as runtime_env:
        details = {"folder": about.folder, "overrides": list(overrides)}
        _tell_of_versions(ask(server, "resumable", details, runtime_env), say)
    job = next_name(about.first, {job.name for job in jobs})
    _send(server, job, order, modules, about.sweep)
    return job, about.folder


def _send(server: JobServer, job: str, order: Order, modules: OwnModules, sweep: str) -> None:
    mine = versions()
    about = About(
        sweep=sweep,
        first=order.job,
        folder=order.folder,
        modules=" ".join(modules.named),
        versions=", ".join(f"{name} {mine[name]}" for name in mine if name in _SHOWN_VERSIONS),
    )
    with loaded(order, modules) as runtime_env:
        server.submit(job, _DRIVER, runtime_env, about.metadata())


_SHOWN_VERSIONS = ("rso-sweep", "python", "ray")


def _modules_again(about: About) -> OwnModules:
    """The user's own modules, which travel with each job anew."""
    names = about.modules.split()
    modules = modules_below(Path.cwd(), names)
    missing = [name for name in names if name not in modules.named]
    if missing:
        raise InvalidInput(
            f"the sweep uses your own module '{missing[0]}', which is not in '{Path.cwd()}'; "
            "run from the folder that holds it"
        )
    return modules


def _check_no_secrets(text: str, out: str | None) -> None:
    """What is sent can be read by all who may see the cluster's jobs."""
    if redacted(text) != text or (out is not None and redacted(out) != out):
        raise InvalidInput(
            "the sweep has a password or a token written out, which all who may see the cluster's "
            "jobs could read; put ${NAME} in its place, such as "
            "'study.storage: postgresql://USER:${DB_PASSWORD}@HOST/DATABASE', and export NAME on "
            "the head node before `ray start`"
        )


def _check_versions(server: JobServer, say: Say) -> None:
    """The versions that show before anything is sent."""
    there, here = server.versions(), versions()
    for name, oldest in _OLDEST.items():
        if there[name] and _numbers(there[name]) < oldest:
            raise InvalidInput(
                f"the cluster has {name.capitalize()} {there[name]}, and needs at least "
                f"{'.'.join(map(str, oldest))}; install it on all its machines"
            )
    # what matters to the job is what the cluster has; that of Python's third number never shows
    if there["ray"] != here["ray"]:
        say(f"note: the cluster has Ray {there['ray']}, this machine {here['ray']}")
    if _numbers(there["python"]) != _numbers(here["python"]):
        say(f"note: the cluster has Python {there['python']}, this machine {here['python']}")


def _tell_of_versions(answer: Mapping[str, Mapping[str, str]], say: Say) -> None:
    """The versions that decide on the last digits of the numbers."""
    there, here = answer["versions"], versions()
    differing = [
        f"{name} {there[name]} there, {here[name]} here"
        for name in ("torch", "numpy", "optuna")
        if name in there and name in here and there[name] != here[name]
    ]
    if differing:
        say(f"note: numbers may differ from those of this machine: {'; '.join(differing)}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
