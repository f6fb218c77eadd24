"""Samplers and pruners of the user's own, or of OptunaHub, named as `module:Class`."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from rso_core.errors import InvalidInput, reason
from rso_core.references import resolve
from rso_core.validation import shown


def own_sampler(reference: str, options: Mapping[str, Any], seed: int) -> BaseSampler:
    """Makes the sampler that a sweep file names.

    Args:
        reference: `module:Class`; a function that returns a sampler will do.
        options: its keyword arguments.
        seed: goes to it as `seed` if it takes one and the options have none.

    Raises:
        InvalidInput: there is no such class, or it does not take the options; one line.
    """
    make = _callable(reference, "sampler", BaseSampler)
    seeded = {"seed": seed} if "seed" not in options and _takes_seed(make) else {}
    made = _made(partial(make, **seeded), reference, options, "sampler", BaseSampler)
    return cast(BaseSampler, made)


def own_pruner(reference: str, options: Mapping[str, Any]) -> BasePruner:
    """Makes the pruner that a sweep file names; see `own_sampler`."""
    make = _callable(reference, "pruner", BasePruner)
    return cast(BasePruner, _made(make, reference, options, "pruner", BasePruner))


def _callable(reference: str, field: str, kind: type) -> Callable[..., Any]:
    found = resolve(reference, field)
    if isinstance(found, type) and not issubclass(found, kind):
        raise InvalidInput(
            f"'{field}' must name a subclass of optuna's {kind.__name__} or a function that "
            f"returns a {field}, got '{reference}', which is another class"
        )
    return found


def _made(
    make: Callable[..., Any],
    reference: str,
    options: Mapping[str, Any],
    field: str,
    kind: type,
) -> object:
    try:
        with warnings.catch_warnings():
            # optuna warns of what is not settled yet, but the user has asked for it by name
            warnings.simplefilter("ignore", ExperimentalWarning)
            made = make(**options)
            is_right = isinstance(made, kind)
    except (Exception, SystemExit) as error:  # a user's class may raise anything
        raise InvalidInput(
            f"'{field}' '{reference}' cannot be made with options {shown(dict(options))} "
            f"({_said(error)}); see what it takes"
        ) from error
    if not is_right:
        raise InvalidInput(
            f"'{field}' must name what makes an optuna {kind.__name__}, "
            f"but '{reference}' returned {_article(type(made).__name__)}"
        )
    return made


def _takes_seed(make: Callable[..., Any]) -> bool:
    try:
        return "seed" in inspect.signature(make).parameters
    except Exception:  # some callables have no signature that could be read
        return False


def _said(error: BaseException) -> str:
    try:
        return reason(error)
    except Exception:  # an exception of a user's may not even have a text
        return type(error).__name__


def _article(name: str) -> str:
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
