"""What pydantic cannot check of a sweep file: values against networks, data and optimisers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from rso_core.configuration import Configuration, Scalar
from rso_core.datasets import check_dataset_name, n_training_images
from rso_core.errors import InvalidInput, nearest
from rso_core.networks import canonical_architecture, check_architecture
from rso_core.optimizers import OPTIMIZERS, optimizer_class
from rso_core.validation import listing, sentences, shown
from sweeps.domains import Choices, Domain, Fixed, Range
from sweeps.space import MAIN_DIMENSIONS, Dimension, Space, option_names, unlistable
from sweeps.spec import SweepSpec
from sweeps.spec_faults import Fault, Path
from sweeps.storage.study_address import check_storage_address

LARGEST_GRID = 100_000
"""More combinations than this are taken for a slip."""
_MOST_CHECKED = 5_000


def check_spec(
    spec: SweepSpec, content: Mapping[str, Any], broken: Collection[Path]
) -> list[Fault]:
    """Checks a sweep across its fields.

    Args:
        spec: what is sound of the sweep file; defaults stand where something is not.
        content: the sweep file as it was read.
        broken: what is not sound, and has been found to be; nothing that hangs on it is checked.
    """
    sections = {str(path[0]) for path in broken if path}
    dimensions = {str(path[1]) for path in broken if path[:1] == ("space",) and len(path) > 1}
    faults: list[Fault] = []
    if not {("data",), ("data", "name")} & set(broken):
        faults += _problems(lambda: check_dataset_name(spec.data.name))
    if not faults and "data" not in sections:
        faults += _problems(lambda: n_training_images(spec.data))
    n_images = None if faults or "data" in sections else n_training_images(spec.data)
    if not sections & {"data", "objective"}:
        faults += _objective(spec, content)
    if not sections & {"sampler", "trials"}:
        faults += _trials(spec)
    if "study" not in sections:
        faults += _study(spec)
    if ("space",) in broken:
        return faults
    in_space = list(_dimensions(spec.space, n_images, dimensions))
    if not dimensions and not in_space:
        in_space += [] if "sampler" in sections else _grid(spec)
        in_space += _combinations(spec.space)
    return faults + in_space


def _problems(check: Callable[[], object]) -> list[Fault]:
    """What a check of the core finds; its sentences start with the field."""
    try:
        check()
    except InvalidInput as error:
        return [Fault(_named_path(problem), problem) for problem in error.problems]
    return []


def _objective(spec: SweepSpec, content: Mapping[str, Any]) -> Iterator[Fault]:
    metric = spec.objective.metric
    if metric.startswith("validation_") and spec.data.validation_size == 0:
        is_given = "objective" in content
        yield Fault(
            ("objective", "metric") if is_given else ("data", "validation_size"),
            f"'objective.metric' {metric} needs validation images, but 'data.validation_size' "
            f"is 0; hold some out, or choose {metric.replace('validation', 'test')}",
        )


def _trials(spec: SweepSpec) -> Iterator[Fault]:
    if spec.trials is None and spec.sampler.name != "grid":
        yield Fault(
            ("sampler",),
            f"'trials' is missing; sampler '{spec.sampler.name}' needs a number of trials, "
            "an integer of at least 1",
        )


def _study(spec: SweepSpec) -> Iterator[Fault]:
    if spec.study.storage is not None:
        try:
            check_storage_address(spec.study.storage)
        except InvalidInput as error:
            yield from (Fault(("study", "storage"), problem) for problem in error.problems)


def _dimensions(space: Space, n_images: int | None, broken: Collection[str]) -> Iterator[Fault]:
    for name in MAIN_DIMENSIONS:
        if name not in space and name not in broken:
            yield Fault(("space", name), f"'space.{name}' is missing; {_MISSING[name]}")
    optimizers = _sound_optimizers(space)
    for dimension in space.dimensions:
        if dimension.name in ("architecture", "optimizer"):
            yield from _names(dimension)
        elif dimension.name == "batch_size":
            yield from _batch_sizes(dimension.domain, n_images)
        else:
            yield from _option(dimension, space, optimizers)


_MISSING = {
    "architecture": "name a network or a list of them, such as one_conv",
    "batch_size": "give an integer or a list of them, such as [256, 1024]",
    "optimizer": "name an optimiser or a list of them, such as [rso, sgd]",
}


def _sound_optimizers(space: Space) -> tuple[str, ...]:
    """The listed optimisers; the built-in ones too where it is not clear which are meant."""
    if "optimizer" not in space or isinstance(space["optimizer"].domain, Range):
        return tuple(OPTIMIZERS)
    listed = space.optimizers()
    sound = tuple(filter(_is_optimizer, listed))
    return sound if len(sound) == len(listed) else tuple(dict.fromkeys((*sound, *OPTIMIZERS)))


def _is_optimizer(name: str) -> bool:
    try:
        optimizer_class(name)
    except InvalidInput:
        return False
    return True


def _names(dimension: Dimension) -> Iterator[Fault]:
    """Faults of the networks or of the optimisers."""
    name = dimension.name
    path = ("space", name)
    if isinstance(dimension.domain, Range):
        yield Fault(path, f"'space.{name}' must be a name or a list of names, got a range")
        return
    seen: set[str] = set()
    for at, value in _values(path, dimension.domain):
        if not isinstance(value, str):
            yield Fault(at, f"'space.{name}' must be a name, got {value!r}")
            continue
        try:
            if name == "architecture":
                check_architecture(value, f"space.{name}")
                value = canonical_architecture(value)
            else:
                optimizer_class(value, f"space.{name}")
        except InvalidInput as error:
            yield from (Fault(at, problem) for problem in error.problems)
        if value in seen:  # mlp(64,32) and mlp(64, 32)
            yield Fault(at, f"'space.{name}' must list every value once, got '{value}' again")
        seen.add(value)


def _batch_sizes(domain: Domain, n_images: int | None) -> Iterator[Fault]:
    bounds = "of at least 1" if n_images is None else f"from 1 to {n_images}"
    for at, value in _values(("space", "batch_size"), domain):
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        if is_integer and 1 <= int(str(value)) <= (n_images or int(str(value))):
            continue
        sentence = f"'space.batch_size' must be an integer {bounds}, got {shown(value)}"
        if is_integer and int(str(value)) > 0:
            sentence += f"; {n_images} training images are left after validation is held out"
        yield Fault(at, sentence)


def _option(dimension: Dimension, space: Space, optimizers: tuple[str, ...]) -> Iterator[Fault]:
    name = dimension.name
    path = ("space", name)
    prefix, _, option = name.rpartition(".")
    if prefix and not _is_optimizer(prefix):
        hint = nearest(prefix, {*optimizers, *OPTIMIZERS})
        yield Fault(path, f"'space.{name}' must name an optimiser before the dot; {hint}")
        return
    candidates = (prefix,) if prefix else optimizers
    owners = [known for known in candidates if option in option_names(known)]
    if not owners:
        yield Fault(path, _unknown_option(name, option, candidates))
        return
    if not set(owners) & set(optimizers):
        yield Fault(path, _unlisted(name, owners, optimizers))
        return
    used = [owner for owner in owners if prefix or f"{owner}.{option}" not in space]
    if not used:
        own = listing([f"'space.{owner}.{option}'" for owner in owners], "and")
        yield Fault(path, f"'space.{name}' is never used, since there is {own}; leave it out")
    for owner in owners:
        yield from _option_values(dimension, owner, option)


def _unknown_option(name: str, option: str, optimizers: tuple[str, ...]) -> str:
    elsewhere = [known for known in OPTIMIZERS if option in option_names(known)]
    if elsewhere and "." not in name:
        return _unlisted(name, elsewhere, optimizers)
    valid = {known for optimizer in optimizers for known in option_names(optimizer)}
    hint = nearest(option, valid if "." in name else {*valid, *MAIN_DIMENSIONS})
    return f"'space.{name}' is not an option of {listing(optimizers, 'or')}; {hint}"


def _unlisted(name: str, owners: list[str], optimizers: tuple[str, ...]) -> str:
    return (
        f"'space.{name}' is an option of {listing(owners, 'and')}, "
        f"but 'space.optimizer' has only {listing(optimizers, 'and')}"
    )


def _option_values(dimension: Dimension, optimizer: str, option: str) -> Iterator[Fault]:
    """Every value of an option by itself, the others at their defaults."""
    options = optimizer_class(optimizer).Options
    prefix = f"space.{dimension.name.removesuffix(option)}"
    for at, value in _values(("space", dimension.name), dimension.domain):
        try:
            options.model_validate({option: value})
        except ValidationError as error:
            for sentence in sentences(error, options, prefix):
                # a fault with another field, or with several, may not be there in a configuration
                if sentence.startswith(f"'{prefix}{option}'"):
                    yield Fault(at, sentence)


def _values(path: Path, domain: Domain) -> Iterator[tuple[Path, Scalar]]:
    """The values to check, each with where it stands; of a range its ends."""
    if isinstance(domain, Fixed):
        yield path, domain.value
    elif isinstance(domain, Choices):
        yield from (((*path, index), value) for index, value in enumerate(domain.choices))
    else:
        yield (*path, "low"), domain.low
        yield (*path, "high"), domain.high


def _grid(spec: SweepSpec) -> Iterator[Fault]:
    if spec.sampler.name != "grid":
        return
    for dimension in spec.space.unlistable_dimensions():
        yield Fault(("space", dimension.name), unlistable(dimension.name))
    n_combinations = spec.space.n_combinations()
    if n_combinations is not None and n_combinations > LARGEST_GRID:
        yield Fault(
            ("space",),
            f"'space' must have at most {LARGEST_GRID} combinations for sampler 'grid', "
            f"got {n_combinations}; shorten its lists, or choose sampler 'random' or 'tpe'",
        )


def _combinations(space: Space) -> Iterator[Fault]:
    """Options that are sound by themselves, but not together."""
    is_listable = (space.n_combinations() or LARGEST_GRID + 1) <= LARGEST_GRID
    listed = itertools.islice(space.grid() if is_listable else (), _MOST_CHECKED)
    found: set[str] = set()
    for values in itertools.chain(_corners(space), listed):
        try:
            Configuration.from_values(values, cycles=1)
        except InvalidInput as error:
            found.update(error.problems)
    for problem in sorted(found):
        shared = [name for name in re.findall(r"'([\w.]+)'", problem) if name in space]
        yield Fault(("space", *shared[:1]), f"'space' cannot be used: {problem}")


def _corners(space: Space) -> Iterator[dict[str, Scalar]]:
    """A few configurations under each optimiser: every dimension at its first and last value."""
    for optimizer in space.optimizers():
        dimensions = (space["architecture"], space["batch_size"], *space.options_of(optimizer))
        for end in (0, -1):
            values = {d.name: d.domain.ends()[end] for d in dimensions}
            yield {**values, "optimizer": optimizer}


def _named_path(problem: str) -> Path:
    """The field with which a sentence starts: 'data.train_size' must be ..."""
    found = re.match(r"'(\w+)\.(\w+)'", problem)
    return found.groups() if found else ("data",)
