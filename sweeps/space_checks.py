"""What pydantic cannot check of a space: its values against networks, data and optimisers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator

from pydantic import ValidationError

from rso_core.configuration import CYCLES, Configuration, Scalar
from rso_core.errors import InvalidInput, nearest
from rso_core.networks import canonical_architecture, check_architecture
from rso_core.optimizers import OPTIMIZERS, optimizer_class
from rso_core.validation import listing, sentences, shown
from sweeps.domains import Choices, Domain, Fixed, Range
from sweeps.space import LARGEST_GRID, MAIN_DIMENSIONS, Dimension, Space, option_names
from sweeps.spec_faults import Fault, Path

_MOST_CHECKED = 5_000


def dimension_faults(
    space: Space, n_images: int | None, broken: Collection[str]
) -> Iterator[Fault]:
    """Faults of each dimension by itself.

    Args:
        space: what is sound of it as far as pydantic can tell.
        n_images: training images; None where it is not known.
        broken: the dimensions that are not in it, having been found at fault.
    """
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


def combination_faults(space: Space) -> Iterator[Fault]:
    """Options that are sound by themselves, but not together; what is not allowed may be so."""
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
    if option == CYCLES:
        yield from _cycles(dimension)
        return
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


def _cycles(dimension: Dimension) -> Iterator[Fault]:
    for at, value in _values(("space", dimension.name), dimension.domain):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            yield Fault(
                at,
                f"'space.{dimension.name}' must be an integer of at least 1, got {shown(value)}",
            )


def _values(path: Path, domain: Domain) -> Iterator[tuple[Path, Scalar]]:
    """The values to check, each with where it stands; of a range its ends."""
    if isinstance(domain, Fixed):
        yield path, domain.value
    elif isinstance(domain, Choices):
        yield from (((*path, index), value) for index, value in enumerate(domain.choices))
    else:
        yield (*path, "low"), domain.low
        yield (*path, "high"), domain.high


def _corners(space: Space) -> Iterator[dict[str, Scalar]]:
    """A few configurations under each optimiser: every dimension at its first and last value."""
    for optimizer in space.optimizers():
        for end in (0, -1):
            values = {d.name: d.domain.ends()[end] for d in space.main_dimensions()}
            values["optimizer"] = optimizer
            for dimension in space.options_of(optimizer):
                if dimension.exists(values):
                    values[dimension.name] = dimension.domain.ends()[end]
            if space.is_allowed(values):
                yield values
