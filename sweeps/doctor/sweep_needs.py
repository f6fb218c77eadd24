"""What a sweep needs of a cluster, and what of it the nodes are to try."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace

import torch

from rso_core.configuration import Configuration, Scalar
from rso_core.datasets import DataOptions, Dataset, load_dataset
from rso_core.errors import InvalidInput
from rso_core.optimizers import RSOOptions
from sweeps.display import label
from sweeps.doctor.facts import RunKind, Wanted
from sweeps.doctor.gathering import Brought
from sweeps.points import typical_configurations
from sweeps.reading import check_against_data, read_sweep
from sweeps.resources import Needs
from sweeps.spec import SweepSpec
from sweeps.storage.places import StorageFailed, open_place
from sweeps.storage.redaction import redacted
from sweeps.work import WorkCounter

_N_TYPICAL = 500
"""Configurations among which the kinds of runs are looked for."""
_MANY_CYCLES = 100_000
"""More than a second is enough for."""
_DATA = DataOptions(name="mnist", train_size=5000, validation_size=0, test_size=1000)
"""Where no sweep says which."""
_CONFIGURATION: dict[str, Scalar] = {
    "architecture": "one_conv",
    "batch_size": 256,
    "optimizer": "rso",
}


def sweep_needs(
    sweep: str | None, overrides: Sequence[str], out: str | None, *, is_own: bool
) -> tuple[Wanted, Brought]:
    """Of a sweep or, without one, of a small one with the data that comes with the project.

    Args:
        sweep: a preset's name, or a sweep file.
        overrides: the values of `--set`.
        out: the run folder; None for that of the sweep file.
        is_own: whether Ray is started on this machine for it.

    Raises:
        InvalidInput: a line for every fault of the sweep, or an address that cannot be used.
    """
    if sweep is None:
        if overrides:
            raise InvalidInput(
                f"'--set' is for a sweep, got '{overrides[0]}' without one; name its file before it"
            )
        data = load_dataset(_DATA)
        configuration = Configuration.from_values(_CONFIGURATION, _MANY_CYCLES)
        wanted = Wanted(
            sweep=None,
            data=_DATA.name,
            data_bytes=_n_bytes(data),
            kinds=(RunKind(Needs(), "", 1),),
            concurrency=None,
            trial=_words(configuration),
            trial_unit="visits",
        )
        brought = Brought(data, configuration, n_threads=1, is_own=is_own)
    else:
        spec = read_sweep(sweep, overrides)
        data = load_dataset(spec.data)
        work = WorkCounter(data)
        check_against_data(spec, data, work)
        wanted, brought = _of_spec(spec, data, work)
        brought = replace(brought, is_own=is_own)
        out = out or spec.output or str(spec.run_folder)
    if out is None:
        return wanted, brought
    with suppress(StorageFailed):  # that is a finding
        open_place(out)
    wanted = replace(wanted, output=redacted(out), is_output_local="://" not in out)
    return wanted, replace(brought, output=out)


def _of_spec(spec: SweepSpec, data: Dataset, work: WorkCounter) -> tuple[Wanted, Brought]:
    # where hardly any configuration is allowed none may be drawn; this one fits all data
    any_one = Configuration.from_values({**_CONFIGURATION, "architecture": "mlp()"}, 1)
    typical = typical_configurations(spec, _N_TYPICAL) or [any_one]
    by_needs: dict[Needs, list[Configuration]] = {}
    for configuration in typical:
        by_needs.setdefault(spec.resources.needs_of(configuration), []).append(configuration)
    kinds = [RunKind(needs, _words(each[0]), len(each)) for needs, each in by_needs.items()]
    # one that is quick to begin, of RSO where there is any
    first = min(typical, key=lambda c: (c.optimizer != "rso", work.count(c).cost))
    wanted = Wanted(
        sweep=spec.name,
        data=spec.data.name,
        data_bytes=_n_bytes(data),
        kinds=tuple(sorted(kinds, key=lambda kind: kind.needs)),
        concurrency=spec.resources.concurrency,
        engine_bytes=max(_engine_bytes(configuration) for configuration in typical),
        trial=_words(first),
        trial_unit="visits" if work.count(first).n_visits else "batches",
    )
    brought = Brought(
        data,
        replace(first, cycles=_MANY_CYCLES),
        n_threads=spec.resources.needs_of(first).cpus,
        references=tuple(_references(spec)),
    )
    return wanted, brought


def _words(configuration: Configuration) -> str:
    return " ".join(label(configuration).split())


def _n_bytes(data: Dataset) -> int:
    """What the data set takes in the object store."""
    members = (getattr(data, item.name) for item in fields(data))
    return sum(m.numel() * m.element_size() for m in members if isinstance(m, torch.Tensor))


def _engine_bytes(configuration: Configuration) -> int:
    options = configuration.options
    if configuration.optimizer != "rso" or not isinstance(options, RSOOptions):
        return 0
    return 0 if options.engine == "reference" else int(options.engine_memory_gib * 2**30)


def _references(spec: SweepSpec) -> list[tuple[str, str]]:
    """A user's own code that actors import."""
    names = [("space.architecture", str(a)) for a in spec.space["architecture"].domain.listed()]
    names += [("space.optimizer", optimizer) for optimizer in spec.space.optimizers()]
    return [(field, name) for field, name in names if ":" in name]
