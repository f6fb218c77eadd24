"""A user's own code, named as `package.module:function`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rso_core.errors import InvalidInput, reason


def resolve(reference: str, field: str) -> Callable[..., Any]:
    """Imports what `package.module:attribute` names.

    Args:
        reference: the name; the module is imported, which runs its code.
        field: the option that holds the name, for the message.

    Raises:
        InvalidInput: the module cannot be imported, or has no such callable.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module may do anything when imported
        raise InvalidInput(
            f"'{field}' names module '{module_name}', which cannot be imported "
            f"({reason(error)}), got '{reference}'; "
            "run from the folder that holds it, or install it"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        raise InvalidInput(
            f"'{field}' must name a function of module '{module_name}', or a class, "
            f"got '{reference}'"
        )
    return found  # type: ignore[no-any-return]
